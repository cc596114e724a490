"""One training → weights with their card, and the learning curve."""

import pandas as pd

from nephrospot.job import job
from nephrospot.training.start import train_run

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    train_run(
        p.run, pd.read_parquet(given.patches), given.rois, given.rates, given.initial, snakemake.output.weights,
        snakemake.output.curve, p.seed, p.by, p.data, snakemake.threads,
    )  # fmt: skip
