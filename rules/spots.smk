"""How much of each tissue lies under each Visium spot."""


rule measure_spots:
    """Area share of every tissue in the 55 µm disc of every spot in tissue."""
    input:
        masks="<results>/{slide}/{method}/masks.ome.zarr",
        manifest="<results>/{slide}/slide.json",
        visium=column("visium"),
    output:
        table="<results>/{slide}/{method}/spots.parquet",
    log:
        "<logs>/measure_spots/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        diameter_um=settings["spots"]["diameter_um"],
        tissues=list(settings["tissues"]),
        code=code("measure_spots"),
    script:
        "../scripts/measure_spots.py"
