"""The demonstration: simulated mouse kidneys with Visium, scores and a labelled reference, all from seeds."""


rule simulate_slide:
    """One simulated kidney: slide, Space Ranger folder, pathologist's scores, and the truth behind them."""
    output:
        image="<demo>/{slide}/slide.tiff",
        visium=directory("<demo>/{slide}/outs"),
        masks=directory("<demo>/{slide}/masks"),
        scores="<demo>/{slide}/scores.csv",
        truth="<demo>/{slide}/truth.parquet",
    log:
        "<logs>/simulate_slide/{slide}.log",
    priority: 100
    conda:
        "../envs/nephrospot.yaml"
    params:
        demo=settings["demo"],
        code=code("simulate_slide"),
    script:
        "../scripts/simulate_slide.py"


rule simulate_reference:
    """Single cells with labels, from other donors than the slides."""
    output:
        reference="<demo>/reference.h5ad",
    log:
        "<logs>/simulate_reference.log",
    priority: 100
    conda:
        "../envs/nephrospot.yaml"
    params:
        demo=settings["demo"],
        code=code("simulate_reference"),
    script:
        "../scripts/simulate_reference.py"
