"""What people look at: overlays, and one HTML page."""


rule draw_overlay:
    """Outlines of every tissue on the slide, and three places at full resolution."""
    input:
        image=column("image"),
        manifest="<results>/{slide}/slide.json",
        masks="<results>/{slide}/{method}/masks.ome.zarr",
    output:
        overview=report(
            "<results>/{slide}/{method}/overview.jpg",
            caption="../workflow/report/overlay.rst",
            category="Overlays",
            labels={"slide": "{slide}", "method": "{method}", "picture": "whole slide"},
        ),
        regions=report(
            "<results>/{slide}/{method}/regions.jpg",
            caption="../workflow/report/overlay.rst",
            category="Overlays",
            labels={"slide": "{slide}", "method": "{method}", "picture": "three places"},
        ),
    log:
        "<logs>/draw_overlay/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        tissues=settings["tissues"],
        code=code("draw_overlay"),
    script:
        "../scripts/draw_overlay.py"


rule draw_worst:
    """The spots where a method and its reference are farthest apart, as pictures."""
    input:
        table="<results>/worst.parquet",
        images=each("image", WITH_SPOTS),
        manifests=every("<results>/{slide}/slide.json", slide=WITH_SPOTS),
        masks=every("<results>/{slide}/{method}/masks.ome.zarr", slide=WITH_SPOTS, method=LOOKED_AT),
    output:
        crops=directory("<results>/worst"),
    log:
        "<logs>/draw_worst.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.crops).parent),
        images=included.loc[WITH_SPOTS, "image"].to_dict(),
        colours={name: tissue["colour"] for name, tissue in settings["tissues"].items()},
        diameter_um=settings["spots"]["diameter_um"],
        code=code("draw_worst"),
    script:
        "../scripts/draw_worst.py"


rule write_report:
    """results/report.html: the answer first, then everything behind it."""
    input:
        table="<results>/table2.tsv",
        correlations="<results>/correlations.parquet",
        differences="<results>/differences.parquet",
        verdicts="<results>/verdicts.json",
        manifests=every("<results>/{slide}/slide.json", slide=SLIDES),
        trials=every("<results>/{slide}/{file}", slide=WITH_SPOTS, file=["shifts.parquet", "trials.json"]),
        spots=every("<results>/{slide}/{method}/spots.parquet", slide=WITH_SPOTS, method=METHODS),
        proportions=every(
            "<results>/{slide}/{file}", slide=DECONVOLVED, file=["proportions.parquet", "deconvolution.json"]
        ),
        scores=each("scores", WITH_SCORES),
        overlays=every(
            "<results>/{slide}/{method}/{file}.jpg", slide=SLIDES, method=DETAILED, file=["overview", "regions"]
        ),
        objects=every("<results>/{slide}/{method}/objects.parquet", slide=SLIDES, method=DETAILED),
        worst=["<results>/worst.parquet", "<results>/worst"] if WITH_SPOTS else [],
        evaluation="<results>/evaluation.tsv" if EVALUATED else [],
        readers="<results>/readers.tsv" if SCORED else [],
        sensitivity="<results>/sensitivity.tsv" if DECONVOLVED and TRANSCRIBED else [],
        second=every("<results>/{slide}/second_deconvolution.json", slide=AGAIN),
        predictions=every("<results>/{slide}/{method}/predict.json", slide=SLIDES, method=NETWORKS),
        weights=sorted(weights_of(*NETWORKS)),
    output:
        page=report("<results>/report.html", caption="../workflow/report/report.rst", category="Report"),
    log:
        "<logs>/write_report.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        settings=settings | {"methods": METHODS},
        sheet=sheet.to_dict("records"),
        code=code("write_report", "nephrospot/report/templates"),
    script:
        "../scripts/write_report.py"
