"""Correlations of the ablation's networks and published values → Table III."""

import pandas as pd

from nephrospot.job import job
from nephrospot.table3 import make_table3, read_published_table3, write_table3

with job(snakemake):
    correlations = pd.read_parquet(snakemake.input.correlations)
    table = make_table3(correlations, snakemake.params.methods, read_published_table3(snakemake.input.published))
    write_table3(table, *snakemake.output)
