"""Look at everything that was given before any work: `snakemake check`."""

from nephrospot.given import look_for_files
from nephrospot.reads import check_reads

# Jobs needn't look again.
if workflow.is_main_process:
    try:
        look_for_files(settings, SLIDES, generated=[DEMO, settings["results"]])
        check_reads(settings, included)
    except InputError as error:
        raise WorkflowError(str(error)) from None


rule check_slide:
    """One slide: can it be read, how large is a pixel, does the Visium folder belong to it."""
    input:
        image=column("image"),
        visium=lambda wildcards: included.at[wildcards.slide, "visium"] or [],
    output:
        manifest="<results>/{slide}/slide.json",
    log:
        "<logs>/check_slide/{slide}.log",
    # The check comes first, and where it fails nothing more is started. It isn't an input of the heavy rules: that would
    # run them all again after every check, or hide that they must run (docs/decisions.md).
    priority: 100
    conda:
        "../envs/nephrospot.yaml"
    params:
        # Not stain and group: they are for the report alone, and a new wording mustn't start the networks.
        row=sheet_row("slide", "image", "visium", "species", "mpp", "visium_scale", "visium_x_px", "visium_y_px"),
        registration=settings["registration"],
        code=code("check_slide"),
    script:
        "../scripts/check_slide.py"


rule judge_cohort:
    """The whole cohort, and what its slides share; what is wrong is written down, for the tables to leave it out."""
    input:
        manifests=every("<results>/{slide}/slide.json", slide=SLIDES),
        scores=each("scores", WITH_SCORES),
        visium=each("visium", DECONVOLVED),
        weights=sorted(weights_of(*NETWORKS)),
        reference=settings["deconvolution"]["reference"] if DECONVOLVED else [],
        second=settings["deconvolution"]["second"]["reference"] if AGAIN else [],
        published=settings["published"],
    output:
        verdicts="<results>/verdicts.json",
    log:
        "<logs>/judge_cohort.log",
    priority: 100
    conda:
        "../envs/nephrospot.yaml"
    resources:
        mem_mb=6000,
    params:
        given=included[["visium", "scores"]].to_dict("index"),
        tissues=list(settings["tissues"]),
        code=code("judge_cohort"),
    script:
        "../scripts/judge_cohort.py"


rule check:
    """Every problem at once, as sentences with a remedy: fails where there is one."""
    input:
        found="<results>/verdicts.json",
    output:
        text="<results>/check.txt",
    log:
        "<logs>/check.log",
    priority: 100
    localrule: True
    conda:
        "../envs/nephrospot.yaml"
    params:
        excluded=sheet.loc[sheet["exclude"] != ""].set_index("slide")["exclude"].to_dict(),
        code=code("check"),
    script:
        "../scripts/check.py"
