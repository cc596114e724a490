"""Every slide's comparison with the truth → one long table, and one row a method and tissue."""

import pandas as pd

from nephrospot.evaluate import write_evaluation
from nephrospot.job import job

with job(snakemake):
    frames = [pd.read_parquet(path) for path in snakemake.input.tables]
    write_evaluation(frames, snakemake.params.validation, snakemake.output.long, snakemake.output.pooled)
