"""For other tools, only when asked for: `snakemake handover` writes an AnnData and a SpatialData of each slide with Visium."""


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


rule handover:
    """Both files of every slide with Visium."""
    input:
        expand("<results>/{slide}/spots.h5ad", slide=WITH_SPOTS),
