"""Every slide's comparison with the truth → one long table, and one row a method and tissue."""

from pathlib import Path

import pandas as pd

from nephrospot.evaluate import write_evaluation
from nephrospot.job import job
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    slide_of = {path: Path(path).parents[1].name for path in snakemake.input.tables}
    kept = leave_out(list(dict.fromkeys(slide_of.values())), refused)
    frames = [pd.read_parquet(path) for path, slide in slide_of.items() if slide in kept]
    write_evaluation(frames, snakemake.params.validation, snakemake.output.long, snakemake.output.pooled)
