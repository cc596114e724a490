"""Test patches of trainings with less data → a curve a tissue."""

import pandas as pd

from nephrospot.job import job
from nephrospot.report.fractions import draw_fractions, make_fractions
from nephrospot.table1 import summarise

with job(snakemake):
    p = snakemake.params
    long = pd.concat([pd.read_parquet(path) for path in snakemake.input.tables], ignore_index=True)
    draw_fractions(make_fractions(summarise(long, p.seed), p.runs), *snakemake.output)
