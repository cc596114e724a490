"""The demonstration's weights, trained on simulated human-like tissue: `snakemake train_demo`."""


rule simulate_patches:
    """Partially labelled patches of simulated human-like kidneys, in the layout of the published data."""
    output:
        patches=directory("<results>/training/patches"),
    log:
        "<logs>/simulate_patches.log",
    conda:
        "../envs/nephrospot.yaml"
    params:
        training=settings["training"],
        code=code("simulate_patches"),
    script:
        "../scripts/simulate_patches.py"


rule train_method:
    """One network from scratch; the weights carry a card that says what they were trained on."""
    input:
        patches="<results>/training/patches",
    output:
        weights="<results>/training/{network}.safetensors",
        curve="<results>/training/{network}.json",
    log:
        "<logs>/train_method/{network}.log",
    wildcard_constraints:
        network=any_of(settings["training"]["networks"]),
    conda:
        "../envs/nephrospot.yaml"
    # One thread: the sums, and so the weights, are then the same on any number of cores.
    threads: 1
    resources:
        mem_mb=4000,
    params:
        recipe=lambda wildcards: settings["training"]["networks"][wildcards.network],
        seed=settings["training"]["seed"],
        code=code("train_method"),
    script:
        "../scripts/train_method.py"


rule train_demo:
    """All of the demonstration's weights; `make weights` copies them to workflow/weights/simulated."""
    input:
        expand("<results>/training/{network}.safetensors", network=settings["training"]["networks"]),
