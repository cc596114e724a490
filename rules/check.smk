"""Look at everything that was given before any work: `snakemake check`."""


rule check_slide:
    """One slide: can it be read, how large is a pixel, does the Visium folder belong to it."""
    input:
        image=column("image"),
        visium=lambda wildcards: included.at[wildcards.slide, "visium"] or [],
    output:
        manifest="<results>/{slide}/slide.json",
    params:
        row=sheet_row("slide", "image", "visium", "species", "stain", "group", "mpp", "visium_scale", "visium_x_px", "visium_y_px"),
        registration=settings["registration"],
        code=code("check_slide"),
    log:
        "<logs>/check_slide/{slide}.log",
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/check_slide.py"


rule check:
    """The whole cohort: every problem at once, as sentences with a remedy."""
    input:
        manifests=expand("<results>/{slide}/slide.json", slide=SLIDES),
        scores=[included.at[slide, "scores"] for slide in WITH_SCORES],
    output:
        text="<results>/check.txt",
    params:
        sheet=sheet.to_dict("records"),
        tissues=list(settings["tissues"]),
        code=code("check"),
    log:
        "<logs>/check.log",
    conda:
        "../envs/nephrospot.yaml"
    script:
        "../scripts/check.py"
