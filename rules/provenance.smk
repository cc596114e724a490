"""What made the results: every file that was read, versions, code, settings and sheet, enough to make them again."""


rule hash_inputs:
    """SHA-256 of a slide's files, beside other work: it takes as long as reading them."""
    input:
        image=column("image"),
        visium=visium_if_any,
        scores=scores_if_any,
    output:
        facts="<results>/{slide}/inputs.json",
    log:
        "<logs>/hash_inputs/{slide}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        row=sheet_row("image", "visium", "scores"),
        code=code("hash_inputs"),
    script:
        "../scripts/hash_inputs.py"


rule record_provenance:
    """results/provenance: a record of everything, and configuration and sheet to run again."""
    input:
        facts=every("<results>/{slide}/inputs.json", slide=SLIDES),
        tables=cohort_tables,
        weights=sorted(weights_of(*NETWORKS)),
        published=settings["published"],
    output:
        record="<results>/provenance/provenance.json",
        config="<results>/provenance/config.yaml",
        sheet="<results>/provenance/slides.tsv",
    log:
        "<logs>/record_provenance.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        settings=settings,
        sheet=sheet.to_dict("records"),
        root=workflow.basedir,
        code=code("record_provenance"),
    script:
        "../scripts/record_provenance.py"
