"""Which cells each spot's transcripts come from: RCTD in full mode, beside a plain weighted NNLS."""


rule build_likelihood:
    """RCTD's likelihood tables from their definition; computed once, kept in resources."""
    output:
        tables=settings["deconvolution"]["tables"],
    log:
        "<logs>/build_likelihood.log",
    conda:
        "../envs/nephrospot.yaml"
    resources:
        mem_mb=4000,
    params:
        code=code("build_likelihood"),
    script:
        "../scripts/build_likelihood.py"


# What a fit depends on; files are inputs.
FIT = {key: value for key, value in settings["deconvolution"].items() if key not in ("reference", "tables")}


rule deconvolve_spots:
    """Share of each spot's mRNA by cell type, and summed by tissue."""
    input:
        visium=column("visium"),
        reference=settings["deconvolution"]["reference"] or [],
        tables=settings["deconvolution"]["tables"],
    output:
        table="<results>/{slide}/proportions.parquet",
        notes="<results>/{slide}/deconvolution.json",
    log:
        "<logs>/deconvolve_spots/{slide}.log",
    benchmark:
        "<logs>/deconvolve_spots/{slide}.benchmark.tsv"
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=6000,
    params:
        deconvolution=FIT,
        tissues={name: tissue["cell_types"] for name, tissue in settings["tissues"].items() if tissue["cell_types"]},
        code=code("deconvolve_spots"),
    script:
        "../scripts/deconvolve_spots.py"
