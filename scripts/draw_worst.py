"""The worst spots of every method and comparison → pictures."""

import pandas as pd

from nephrospot.job import job
from nephrospot.report.worst import draw_all

with job(snakemake, can_leave_out=True):
    p, worst = snakemake.params, pd.read_parquet(snakemake.input.table)
    draw_all(worst, p.results, p.images, p.colours, p.diameter_um, snakemake.output.crops)
