"""How much of each tissue lies under each Visium spot, and the single objects that spots fall on."""


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


rule measure_objects:
    """The single objects of some tissues, such as glomeruli, and the spots that they lie in."""
    input:
        masks="<results>/{slide}/{method}/masks.ome.zarr",
        manifest="<results>/{slide}/slide.json",
        visium=visium_if_any,
    output:
        table="<results>/{slide}/{method}/objects.parquet",
    log:
        "<logs>/measure_objects/{slide}.{method}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        tissues=settings["objects"]["tissues"],
        diameter_um=settings["spots"]["diameter_um"],
        code=code("measure_objects"),
    script:
        "../scripts/measure_objects.py"
