"""Correlations and published values → Table II."""

import pandas as pd

from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.table2 import make_table2, read_published, write_table2
from nephrospot.table2_latex import render_latex

with job(snakemake):
    correlations, differences = (pd.read_parquet(snakemake.input[name]) for name in ("correlations", "differences"))
    published = read_published(snakemake.input.published)
    table = make_table2(correlations, snakemake.params.methods, published, differences)
    write_table2(table, snakemake.output.tsv, snakemake.output.html)
    with whole(snakemake.output.latex) as temporary:
        temporary.write_text(render_latex(table), encoding="utf-8")
