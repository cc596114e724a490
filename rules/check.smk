"""Look at everything that was given before any work: `snakemake check`."""


rule check_slide:
    """One slide: can it be read, how large is a pixel, does the Visium folder belong to it."""
    input:
        image=column("image"),
        visium=lambda wildcards: included.at[wildcards.slide, "visium"] or [],
    output:
        manifest="<results>/{slide}/slide.json",
    log:
        "<logs>/check_slide/{slide}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        # Not stain and group: they are for the report alone, and a new wording mustn't start the networks.
        row=sheet_row("slide", "image", "visium", "species", "mpp", "visium_scale", "visium_x_px", "visium_y_px"),
        registration=settings["registration"],
        code=code("check_slide"),
    script:
        "../scripts/check_slide.py"


rule check:
    """The whole cohort: every problem at once, as sentences with a remedy."""
    input:
        manifests=expand("<results>/{slide}/slide.json", slide=SLIDES),
        scores=[included.at[slide, "scores"] for slide in WITH_SCORES],
    output:
        text="<results>/check.txt",
    log:
        "<logs>/check.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        sheet=sheet.to_dict("records"),
        tissues=list(settings["tissues"]),
        code=code("check"),
    script:
        "../scripts/check.py"
