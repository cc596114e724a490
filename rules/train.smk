"""Patches → weights, and what each makes of the test patches: `snakemake train`. Tables and figures of it are in train_tables.smk."""


include: "train_common.smk"


wildcard_constraints:
    run=any_of(RUNS),


rule simulate_patches:
    """Partially labelled patches of simulated human-like kidneys, in the layout of the published data, and their regions."""
    output:
        patches=directory("<results>/training/patches"),
        rois=directory("<results>/training/rois"),
    log:
        "<logs>/simulate_patches.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        simulated=TRAINING["simulated"],
        seed=TRAINING["seed"],
        code=code("simulate_patches"),
    script:
        "../scripts/simulate_patches.py"


rule split_patches:
    """Which patch is for training, validation, test: whole regions or patients."""
    input:
        patches=PATCHES,
    output:
        table="<results>/patches.parquet",
    log:
        "<logs>/split_patches.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        side_px=TRAINING["side_px"],
        split=TRAINING["split"],
        seed=TRAINING["seed"],
        code=code("split_patches"),
    script:
        "../scripts/split_patches.py"


rule check_rates:
    """Short runs at several learning rates, so that no method is compared at one that doesn't suit it."""
    input:
        patches="<results>/patches.parquet",
        initial=initial_if_any,
    output:
        table="<results>/training/{run}.rates.tsv",
    log:
        "<logs>/check_rates/{run}.log",
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        run=run_of("network", "options", "recipe"),
        factors=TRAINING["rates"],
        epochs=TRAINING["rate_epochs"],
        seed=TRAINING["seed"],
        code=code("check_rates"),
    script:
        "../scripts/check_rates.py"


rule train_method:
    """One training; the weights carry a card that says what they were trained on."""
    input:
        patches="<results>/patches.parquet",
        rois=rois_if_any,
        rates=rates_if_any,
        initial=initial_if_any,
    output:
        weights="<results>/training/{run}.safetensors",
        curve="<results>/training/{run}.json",
    log:
        "<logs>/train_method/{run}.log",
    conda:
        "../envs/nephrospot.yaml"
    # One thread: the sums, and so the weights, are then the same on any number of cores.
    threads: 1
    resources:
        mem_mb=4000,
    params:
        run=run_of("network", "options", "recipe", "semi", "fraction"),
        data=DATA,
        by=TRAINING["split"]["by"],
        seed=TRAINING["seed"],
        code=code("train_method"),
    script:
        "../scripts/train_method.py"


rule measure_patches:
    """Every patch of the test part by one training: Dice and distances, in two conventions."""
    input:
        patches="<results>/patches.parquet",
        weights=lambda wildcards: trained_weights(wildcards.run),
    output:
        table="<results>/training/{run}.parquet",
    log:
        "<logs>/measure_patches/{run}.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        network=lambda wildcards: RUNS[wildcards.run]["network"],
        code=code("measure_patches"),
    script:
        "../scripts/measure_patches.py"


rule train:
    """The weights of every method; `make weights` copies them to workflow/weights/simulated."""
    input:
        [trained_weights(name) for name in TABLE1],
