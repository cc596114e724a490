"""For other tools, only when asked for: `snakemake handover` writes an AnnData and a SpatialData of each slide with Visium,
and two tables for MultiQC."""


rule hand_over:
    """Counts, tissue under the spots, cell types and scores in one table; image, masks and spots beside it."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        visium=column("visium"),
        spots=expand("<results>/{{slide}}/{method}/spots.parquet", method=settings["methods"]),
        masks=expand("<results>/{{slide}}/{method}/masks.ome.zarr", method=settings["methods"]),
        proportions=proportions_if_any,
        scores=scores_if_any,
    output:
        table="<results>/{slide}/spots.h5ad",
        spatial=directory("<results>/{slide}/spatialdata.zarr"),
    log:
        "<logs>/hand_over/{slide}.log",
    wildcard_constraints:
        slide=any_of(WITH_SPOTS),
    conda:
        "../envs/nephrospot.yaml"
    resources:
        mem_mb=8000,
    params:
        given=sheet_row("visium", "scores"),
        methods=list(settings["methods"]),
        tissues=list(settings["tissues"]),
        diameter_um=settings["spots"]["diameter_um"],
        code=code("hand_over"),
    script:
        "../scripts/hand_over.py"


rule write_multiqc:
    """Slides and methods as custom content of MultiQC, which finds such files by the end of their names."""
    input:
        verdicts="<results>/verdicts.json",
        manifests=every("<results>/{slide}/slide.json", slide=SLIDES),
        deconvolutions=every("<results>/{slide}/deconvolution.json", slide=DECONVOLVED),
        correlations="<results>/correlations.parquet",
    output:
        slides="<results>/nephrospot_slides_mqc.json",
        methods="<results>/nephrospot_methods_mqc.json",
    log:
        "<logs>/write_multiqc.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.slides).parent),
        slides=SLIDES,
        deconvolved=DECONVOLVED,
        labels={name: method["label"] for name, method in METHODS.items()},
        code=code("write_multiqc"),
    script:
        "../scripts/write_multiqc.py"


rule handover:
    """Both files of every slide with Visium, and MultiQC's."""
    input:
        every("<results>/{slide}/spots.h5ad", slide=WITH_SPOTS),
        rules.write_multiqc.output,
