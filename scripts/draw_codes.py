"""One test patch under every tissue and scale code → Fig. 8."""

import pandas as pd

from nephrospot.job import job
from nephrospot.report.codes import draw_test_patch

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    draw_test_patch(p.network, given.weights, pd.read_parquet(given.patches), snakemake.output.figure, p.simulated)
