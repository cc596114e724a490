"""Table I and costs → a dot a method."""

import pandas as pd

from nephrospot.job import job
from nephrospot.report.parameters import draw_parameters

with job(snakemake):
    table1, costs = (pd.read_csv(path, sep="\t") for path in (snakemake.input.table1, snakemake.input.costs))
    draw_parameters(table1, costs, snakemake.params.labels, snakemake.output.figure)
