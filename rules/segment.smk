"""Slide → tiles → bits of each tissue → stitched masks; or masks made elsewhere, brought into the same form."""


rule find_tiles:
    """The tiles over tissue at each magnification that some method reads."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        # Nothing heavy starts before the whole cohort is checked; the date of the check doesn't matter.
        checked=ancient("<results>/check.txt"),
    output:
        tiles="<results>/{slide}/tiles.parquet",
    params:
        species=settings["species"],
        methods={name: METHODS[name] for name in NETWORKS},
        segmentation=settings["segmentation"],
        code=code("find_tiles"),
    log:
        "<logs>/find_tiles/{slide}.log",
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/find_tiles.py"


rule predict_masks:
    """One backbone pass for each tile and magnification, whatever the number of tissues."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        tiles="<results>/{slide}/tiles.parquet",
        weights=weights,
    output:
        masks=temp(directory("<results>/{slide}/{method}/predicted.zarr")),
        summary="<results>/{slide}/{method}/predict.json",
    params:
        method=lambda wildcards: METHODS[wildcards.method],
        species=settings["species"],
        segmentation=settings["segmentation"],
        code=code("predict_masks"),
    wildcard_constraints:
        method=any_of(NETWORKS),
    threads: 1
    resources:
        mem_mb=4000,
    log:
        "<logs>/predict_masks/{slide}.{method}.log",
    benchmark:
        "<logs>/predict_masks/{slide}.{method}.benchmark.tsv"
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/predict_masks.py"


rule stitch_masks:
    """One multi-scale label for each tissue, and the merged one."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        masks="<results>/{slide}/{method}/predicted.zarr",
    output:
        masks=directory("<results>/{slide}/{method}/masks.ome.zarr"),
    params:
        tissues=settings["tissues"],
        stitch=settings["stitch"],
        code=code("stitch_masks"),
    wildcard_constraints:
        method=any_of(NETWORKS),
    log:
        "<logs>/stitch_masks/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/stitch_masks.py"


rule import_masks:
    """Masks of another tool or of an expert, as a method of their own."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        masks=drop_in,
        checked=ancient("<results>/check.txt"),
    output:
        masks=directory("<results>/{slide}/{method}/masks.ome.zarr"),
    params:
        template=lambda wildcards: METHODS[wildcards.method]["masks"],
        tissues=settings["tissues"],
        stitch=settings["stitch"],
        code=code("import_masks"),
    wildcard_constraints:
        method=any_of(DROP_INS),
    log:
        "<logs>/import_masks/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/import_masks.py"
