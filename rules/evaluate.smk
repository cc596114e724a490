"""Where a drop-in method is the truth: every other method against it, on the slide, in patches and object by object."""


rule evaluate_masks:
    """Overlap and objects of one method on one slide."""
    input:
        masks="<results>/{slide}/{method}/masks.ome.zarr",
        truth=lambda wildcards: f"{settings['results']}/{wildcards.slide}/{TRUTH}/masks.ome.zarr",
    output:
        table="<results>/{slide}/{method}/evaluation.parquet",
    log:
        "<logs>/evaluate_masks/{slide}.{method}.log",
    benchmark:
        "<logs>/evaluate_masks/{slide}.{method}.benchmark.tsv"
    wildcard_constraints:
        method=any_of(EVALUATED),
    conda:
        "../envs/nephrospot.yaml"
    resources:
        mem_mb=4000,
    params:
        # Not validation and candidates_um2: another choice of slides changes no slide's figures.
        evaluation=evaluation_keys("tissues", "min_area_um2", "iou", "patch_um", "kpis_mpp", "unions"),
        code=code("evaluate_masks"),
    script:
        "../scripts/evaluate_masks.py"


rule write_evaluation:
    """All slides in one table, and one row a method and tissue."""
    input:
        tables=every("<results>/{slide}/{method}/evaluation.parquet", slide=SLIDES, method=EVALUATED),
    output:
        long="<results>/evaluation.parquet",
        pooled="<results>/evaluation.tsv",
    log:
        "<logs>/write_evaluation.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        validation=settings["evaluation"]["validation"],
        code=code("write_evaluation"),
    script:
        "../scripts/write_evaluation.py"


rule choose_postprocessing:
    """The smallest size of an object that would have been best on the validation slides."""
    input:
        masks=every(
            "<results>/{slide}/{method}/masks.ome.zarr",
            slide=settings["evaluation"]["validation"],
            method=[*EVALUATED, *([TRUTH] if TRUTH else [])],
        ),
    output:
        table="<results>/postprocessing.tsv",
    log:
        "<logs>/choose_postprocessing.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.table).parent),
        methods=EVALUATED,
        evaluation=settings["evaluation"],
        code=code("choose_postprocessing"),
    script:
        "../scripts/choose_postprocessing.py"
