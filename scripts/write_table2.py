"""Correlations and published values → Table II."""

import pandas as pd

from nephrospot.job import job
from nephrospot.table2 import make_table2, read_published, write_table2

with job(snakemake):
    correlations = pd.read_parquet(snakemake.input.correlations)
    table = make_table2(correlations, snakemake.params.methods, read_published(snakemake.input.published))
    write_table2(table, snakemake.output.tsv, snakemake.output.html)
