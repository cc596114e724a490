"""Which cells each spot's transcripts come from: RCTD, beside a plain weighted NNLS and, if asked for, a second reference."""


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
    # The tables wait for it longest, and it needs no network.
    priority: 10
    conda:
        "../envs/nephrospot.yaml"
    threads: 1
    resources:
        mem_mb=6000,
    params:
        fit=FITS["first"],
        code=code("deconvolve_spots"),
    script:
        "../scripts/deconvolve_spots.py"


use rule deconvolve_spots as deconvolve_second with:
    input:
        visium=column("visium"),
        reference=settings["deconvolution"]["second"]["reference"] or [],
        tables=settings["deconvolution"]["tables"],
    output:
        table="<results>/{slide}/second_proportions.parquet",
        notes="<results>/{slide}/second_deconvolution.json",
    log:
        "<logs>/deconvolve_second/{slide}.log",
    benchmark:
        "<logs>/deconvolve_second/{slide}.benchmark.tsv"
    params:
        fit=FITS.get("second"),
