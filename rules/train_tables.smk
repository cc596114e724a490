"""What trainings are worth: Table I, the ablation on the slides (Table III), Figs. 4, 8 and 10, and a page of all of it."""


rule write_table1:
    """Table I: foreground Dice and distances of every method and tissue, and the published convention beside them."""
    input:
        tables=expand("<results>/training/{run}.parquet", run=TABLE1),
        published="config/published_table1.tsv",
    output:
        long="<results>/table1.parquet",
        tsv="<results>/table1.tsv",
        html="<results>/table1.html",
    log:
        "<logs>/write_table1.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        methods={name: {key: RUNS[name][key] for key in ("label", "published")} for name in TABLE1},
        seed=TRAINING["seed"],
        code=code("write_table1"),
    script:
        "../scripts/write_table1.py"


rule count_costs:
    """Parameters and multiply–accumulates of every method (MIDL paper, Fig. 4)."""
    input:
        # Their card says how the network was built.
        weights=[RUNS[name]["weights"] for name in TABLE1 if RUNS[name]["weights"]],
    output:
        table="<results>/costs.tsv",
    log:
        "<logs>/count_costs.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        methods={name: {key: RUNS[name][key] for key in ("network", "options", "weights")} for name in TABLE1},
        code=code("count_costs"),
    script:
        "../scripts/count_costs.py"


rule draw_parameters:
    """Foreground Dice against the number of parameters (MIDL paper, Fig. 4)."""
    input:
        table1="<results>/table1.tsv",
        costs="<results>/costs.tsv",
    output:
        figure="<results>/fig4.svg",
    log:
        "<logs>/draw_parameters.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        labels={name: RUNS[name]["label"] for name in TABLE1},
        code=code("draw_parameters"),
    script:
        "../scripts/draw_parameters.py"


# The ablation's networks read the cohort's slides as the other methods do, for tables of their own.
use rule correlate_spots as correlate_ablation with:
    input:
        verdicts="<results>/verdicts.json",
        slides=every("<results>/{slide}/slide.json", slide=WITH_SPOTS),
        spots=every("<results>/{slide}/{method}/spots.parquet", slide=WITH_SPOTS, method=ABLATION),
        proportions=every("<results>/{slide}/proportions.parquet", slide=DECONVOLVED),
        scores=each("scores", SCORED),
    output:
        table="<results>/ablation.parquet",
        differences="<results>/ablation_differences.parquet",
    log:
        "<logs>/correlate_ablation.log",
    params:
        methods=list(ABLATION),
        ceilings=[],
        looked_at=[],


rule write_table3:
    """Table III: what the scale-aware controller, matching selection and consistency give."""
    input:
        correlations="<results>/ablation.parquet",
        published="config/published_table3.tsv",
    output:
        tsv="<results>/table3.tsv",
        html="<results>/table3.html",
    log:
        "<logs>/write_table3.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        methods=ABLATION,
        code=code("write_table3"),
    script:
        "../scripts/write_table3.py"


rule draw_fractions:
    """Foreground Dice on the test part against the share of the regions (journal, Fig. 10)."""
    input:
        tables=expand("<results>/training/{run}.parquet", run=[*FRACTIONS, *TRAINING["fractions"]["methods"]]),
    output:
        table="<results>/fig10.tsv",
        figure="<results>/fig10.svg",
    log:
        "<logs>/draw_fractions.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        runs={
            name: {key: RUNS[name][key] for key in ("label", "share")}
            for name in [*FRACTIONS, *TRAINING["fractions"]["methods"]]
        },
        seed=TRAINING["seed"],
        code=code("draw_fractions"),
    script:
        "../scripts/draw_fractions.py"


rule draw_codes:
    """What Omni-Seg answers for every tissue and scale code on one test patch (journal, Fig. 8)."""
    input:
        patches="<results>/patches.parquet",
        weights=trained_weights(OMNI_SEG) if OMNI_SEG else [],
    output:
        figure="<results>/fig8.svg",
    log:
        "<logs>/draw_codes.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        network=RUNS[OMNI_SEG]["network"] if OMNI_SEG else "",
        simulated=SIMULATED,
        code=code("draw_codes"),
    script:
        "../scripts/draw_codes.py"


rule write_training_page:
    """results/training.html: patches, Table I, learning rates and curves, costs, and what of Table III, Figs. 8 and 10 is asked for."""
    input:
        patches="<results>/patches.parquet",
        table1="<results>/table1.tsv",
        costs="<results>/costs.tsv",
        fig4="<results>/fig4.svg",
        curves=expand("<results>/training/{run}.json", run=TRAINED),
        rates=expand("<results>/training/{run}.rates.tsv", run=RATED),
        table3="<results>/table3.tsv" if ABLATION else [],
        fig10="<results>/fig10.svg" if FRACTIONS else [],
        fig8="<results>/fig8.svg" if OMNI_SEG else [],
    output:
        page="<results>/training.html",
    log:
        "<logs>/write_training_page.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        labels={name: run["label"] for name, run in RUNS.items()},
        curves=TRAINED,
        rates=RATED,
        data=DATA,
        simulated=SIMULATED,
        by=TRAINING["split"]["by"],
        code=code("write_training_page", "nephrospot/report/templates"),
    script:
        "../scripts/write_training_page.py"


rule table1:
    """Table I, what each method costs, and the two against one another."""
    input:
        "<results>/table1.tsv",
        "<results>/table1.html",
        "<results>/costs.tsv",
        "<results>/fig4.svg",


rule table3:
    """Table III."""
    input:
        "<results>/table3.tsv",
        "<results>/table3.html",


rule fig10:
    """The curve of data fractions."""
    input:
        "<results>/fig10.svg",


rule fig8:
    """One patch under every code."""
    input:
        "<results>/fig8.svg",


rule training_page:
    """The page about training."""
    input:
        "<results>/training.html",
