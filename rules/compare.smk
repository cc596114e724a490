"""Tissue under the spots × pathologist × transcripts → correlations → Table II."""


rule correlate_spots:
    """Every method against every reference, with intervals, and against every other method; where it is farthest off."""
    input:
        # No table from a cohort that wasn't checked as a whole. It needn't have passed: what can't be used is left out.
        verdicts="<results>/verdicts.json",
        slides=every("<results>/{slide}/slide.json", slide=WITH_SPOTS),
        spots=every("<results>/{slide}/{method}/spots.parquet", slide=WITH_SPOTS, method=METHODS),
        proportions=every("<results>/{slide}/proportions.parquet", slide=DECONVOLVED),
        scores=each("scores", SCORED),
    output:
        table="<results>/correlations.parquet",
        differences="<results>/differences.parquet",
        worst="<results>/worst.parquet",
    log:
        "<logs>/correlate_spots.log",
    conda:
        "../envs/nephrospot.yaml"
    threads: min(4, max(1, len(settings["comparisons"])))
    params:
        results=lambda wildcards, output: str(Path(output.table).parent),
        slides=included.loc[WITH_SPOTS, ["visium", "scores"]].to_dict("index"),
        deconvolved=DECONVOLVED,
        methods=list(METHODS),
        ceilings=[name for name, method in METHODS.items() if method["ceiling"]],
        looked_at=LOOKED_AT,
        statistics=settings["statistics"],
        comparisons=settings["comparisons"],
        tissues=list(settings["tissues"]),
        code=code("correlate_spots"),
    script:
        "../scripts/correlate_spots.py"


rule measure_sensitivity:
    """r with RCTD's share of mRNA beside r with the other shares that the same counts allow."""
    input:
        verdicts="<results>/verdicts.json",
        spots=every("<results>/{slide}/{method}/spots.parquet", slide=DECONVOLVED, method=METHODS),
        proportions=every("<results>/{slide}/proportions.parquet", slide=DECONVOLVED),
        facts=every("<results>/{slide}/deconvolution.json", slide=DECONVOLVED),
        second=every("<results>/{slide}/second_proportions.parquet", slide=AGAIN),
    output:
        table="<results>/sensitivity.tsv",
    log:
        "<logs>/measure_sensitivity.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.table).parent),
        slides=DECONVOLVED,
        second=bool(AGAIN),
        methods=list(METHODS),
        tissues=TRANSCRIBED,
        cell_types=FITS["first"]["tissues"],
        factors={key: settings["deconvolution"][key] for key in ("cell_umi", "cell_area_um2")},
        code=code("measure_sensitivity"),
    script:
        "../scripts/measure_sensitivity.py"


rule measure_readers:
    """How far readers agree with each other and with themselves: the ceiling of every r against them."""
    input:
        verdicts="<results>/verdicts.json",
        manifests=every("<results>/{slide}/slide.json", slide=SCORED),
        scores=each("scores", SCORED),
    output:
        table="<results>/readers.tsv",
    log:
        "<logs>/measure_readers.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.table).parent),
        slides=included.loc[SCORED, ["visium", "scores"]].to_dict("index"),
        statistics=settings["statistics"],
        tissues=list(settings["tissues"]),
        code=code("measure_readers"),
    script:
        "../scripts/measure_readers.py"


rule try_spots:
    """Would the spots of a slide fit better elsewhere, or larger: r under trial shifts and diameters."""
    input:
        manifest="<results>/{slide}/slide.json",
        masks=expand("<results>/{{slide}}/{method}/masks.ome.zarr", method=LOOKED_AT),
        spots=expand("<results>/{{slide}}/{method}/spots.parquet", method=LOOKED_AT),
        proportions=proportions_if_any,
        scores=scores_if_any,
    output:
        shifts="<results>/{slide}/shifts.parquet",
        trials="<results>/{slide}/trials.json",
    log:
        "<logs>/try_spots/{slide}.log",
    wildcard_constraints:
        slide=any_of(WITH_SPOTS),
    conda:
        "../envs/nephrospot.yaml"
    params:
        results=lambda wildcards, output: str(Path(output.shifts).parent.parent),
        given=sheet_row("visium", "scores"),
        # Not the whole cohort's: another slide changes nothing here.
        deconvolved=deconvolved_if_any,
        methods=LOOKED_AT,
        comparisons=settings["comparisons"],
        tissues=list(settings["tissues"]),
        diameter_um=settings["spots"]["diameter_um"],
        seed=settings["statistics"]["seed"],
        code=code("try_spots"),
    script:
        "../scripts/try_spots.py"


rule write_table2:
    """Table II: a row for every method, ours and published, and what perfect masks would score."""
    input:
        correlations="<results>/correlations.parquet",
        differences="<results>/differences.parquet",
        published=settings["published"],
    output:
        tsv="<results>/table2.tsv",
        html=report("<results>/table2.html", caption="../workflow/report/table2.rst", category="Table II"),
        latex="<results>/table2.tex",
    log:
        "<logs>/write_table2.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        methods=METHODS,
        comparisons=settings["comparisons"],
        code=code("write_table2"),
    script:
        "../scripts/write_table2.py"
