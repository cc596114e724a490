"""Slide → tiles → bits of each tissue → stitched masks; or masks made elsewhere, brought into the same form."""


rule find_tiles:
    """The tiles over tissue at each magnification that some method reads."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
    output:
        tiles="<results>/{slide}/tiles.parquet",
        tissue="<results>/{slide}/tissue.png",
    log:
        "<logs>/find_tiles/{slide}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        magnifications=magnifications,
        segmentation=windows("window_px", "halo_px", "max_upsampling"),
        tissue=settings["segmentation"]["tissue"],
        code=code("find_tiles"),
    script:
        "../scripts/find_tiles.py"


rule predict_masks:
    """One backbone pass for each tile and magnification, whatever the number of tissues."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        tiles="<results>/{slide}/tiles.parquet",
        tissue="<results>/{slide}/tissue.png",
        weights=weights,
    output:
        masks=temp(directory("<results>/{slide}/{method}/predicted.zarr")),
        summary="<results>/{slide}/{method}/predict.json",
    log:
        "<logs>/predict_masks/{slide}.{method}.log",
    benchmark:
        "<logs>/predict_masks/{slide}.{method}.benchmark.tsv"
    wildcard_constraints:
        method=any_of(NETWORKS),
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        network=lambda wildcards: METHODS[wildcards.method]["network"],
        readings=readings,
        segmentation=windows("window_px", "halo_px", "max_upsampling", "precision"),
        code=code("predict_masks"),
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
    log:
        "<logs>/stitch_masks/{slide}.{method}.log",
    wildcard_constraints:
        method=any_of(NETWORKS),
    conda:
        "../envs/nephrospot.yaml"
    params:
        tissues=settings["tissues"],
        stitch=settings["stitch"],
        code=code("stitch_masks"),
    script:
        "../scripts/stitch_masks.py"


rule import_masks:
    """Masks of another tool or of an expert, as a method of their own."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        masks=drop_in,
    output:
        masks=directory("<results>/{slide}/{method}/masks.ome.zarr"),
    log:
        "<logs>/import_masks/{slide}.{method}.log",
    wildcard_constraints:
        method=any_of(DROP_INS),
    conda:
        "../envs/nephrospot.yaml"
    params:
        template=lambda wildcards: METHODS[wildcards.method]["masks"],
        tissues=settings["tissues"],
        stitch=settings["stitch"],
        code=code("import_masks"),
    script:
        "../scripts/import_masks.py"
