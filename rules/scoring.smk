"""Blinded scoring, only when asked for: `snakemake scoring_sheet`, and `import_scores` once the sheet is filled in."""

SCORING = settings["scoring"]


rule scoring_sheet:
    """Shuffled pictures of spots, some twice, with a sheet to fill in; key.csv isn't for the reader."""
    input:
        manifests=every("<results>/{slide}/slide.json", slide=WITH_SPOTS),
        spots=every("<results>/{slide}/{method}/spots.parquet", slide=WITH_SPOTS, method=list(METHODS)[0]),
        images=each("image", WITH_SPOTS),
        scores=each("scores", SCORED),
    output:
        sheet="<results>/scoring/sheet.csv",
        key="<results>/scoring/key.csv",
        page="<results>/scoring/scoring.html",
        crops=directory("<results>/scoring/crops"),
    log:
        "<logs>/scoring_sheet.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        folder=lambda wildcards, output: str(Path(output.sheet).parent),
        slides=included.loc[WITH_SPOTS, ["image", "visium", "scores"]].to_dict("index"),
        scoring={key: SCORING[key] for key in SCORING if key not in ("filled", "reader")},
        tissues=list(settings["tissues"]),
        diameter_um=settings["spots"]["diameter_um"],
        code=code("scoring_sheet"),
    script:
        "../scripts/scoring_sheet.py"


rule import_scores:
    """A filled-in sheet as scores of each slide, for column scores of the sample sheet."""
    input:
        sheet=filled_sheet,
    output:
        folder=directory("<results>/scoring/scores"),
    log:
        "<logs>/import_scores.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        # Not an input: a key made anew would no longer be that of the sheet that was filled in.
        key=f"{settings['results']}/scoring/key.csv",
        tissues=SCORING["tissues"],
        reader=SCORING["reader"],
        code=code("import_scores"),
    script:
        "../scripts/import_scores.py"
