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
    """One backbone pass for each window and magnification, whatever the number of tissues."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        tiles="<results>/{slide}/tiles.parquet",
        tissue="<results>/{slide}/tissue.png",
        weights=weights,
    output:
        masks=directory("<results>/{slide}/{method}/predicted.zarr"),
        summary="<results>/{slide}/{method}/predict.json",
    log:
        "<logs>/predict_masks/{slide}.{method}.log",
    benchmark:
        "<logs>/predict_masks/{slide}.{method}.benchmark.tsv"
    wildcard_constraints:
        method=any_of([*NETWORKS, *ABLATION]),
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        network=lambda wildcards: any_method(wildcards.method)["network"],
        readings=readings,
        segmentation=reading_options,
        code=code("predict_masks"),
    script:
        "../scripts/predict_masks.py"


# `snakemake predict_ahead`, then the usual command, which takes the work over: many small slides on one GPU, since Python,
# torch and CUDA start once for all of them, or a large slide on several, since each process does a share of every slide.
scattergather:
    share=settings["segmentation"]["shares"],


AHEAD_INPUT = {
    "images": each("image", SLIDES),
    "manifests": every("<results>/{slide}/slide.json", slide=SLIDES),
    "tiles": every("<results>/{slide}/tiles.parquet", slide=SLIDES),
    "tissues": every("<results>/{slide}/tissue.png", slide=SLIDES),
    "weights": weights_of(*NETWORKS),
}
AHEAD_PARAMS = {
    "slides": SLIDES,
    "networks": {method: METHODS[method]["network"] for method in NETWORKS},
    "weights": {method: weights_of(method) for method in NETWORKS},
    "readings": {slide: {method: readings_of(slide, method) for method in NETWORKS} for slide in SLIDES},
    "segmentation": {method: options_of(method) for method in NETWORKS},
    "code": code("predict_masks"),
}


rule predict_share:
    """A run of the chunks of every slide that isn't done yet, about as much work as each other share's."""
    input:
        **AHEAD_INPUT,
    output:
        summary="<results>/ahead/{scatteritem}.json",
    log:
        "<logs>/predict_share/{scatteritem}.log",
    wildcard_constraints:
        scatteritem="[0-9]+-of-[0-9]+",
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        **AHEAD_PARAMS,
        results=lambda wildcards, output: str(Path(output.summary).parents[1]),
    script:
        "../scripts/predict_share.py"


rule predict_ahead:
    """The shares of each slide joined into the files that one job would have written, byte by byte."""
    input:
        **AHEAD_INPUT,
        shares=gather.share("<results>/ahead/{scatteritem}.json"),
    output:
        summary="<results>/ahead.json",
    log:
        "<logs>/predict_ahead.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        **AHEAD_PARAMS,
        results=lambda wildcards, output: str(Path(output.summary).parent),
    script:
        "../scripts/predict_ahead.py"


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
        method=any_of([*NETWORKS, *ABLATION]),
    conda:
        "../envs/nephrospot.yaml"
    params:
        tissues=settings["tissues"],
        stitch=settings["stitch"],
        postprocess=settings["postprocess"],
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


rule export_geojson:
    """Outlines of every object, for QuPath."""
    input:
        manifest="<results>/{slide}/slide.json",
        masks="<results>/{slide}/{method}/masks.ome.zarr",
    output:
        outlines="<results>/{slide}/{method}/masks.geojson.gz",
    log:
        "<logs>/export_geojson/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        tissues=settings["tissues"],
        code=code("export_geojson"),
    script:
        "../scripts/export_geojson.py"
