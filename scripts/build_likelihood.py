"""RCTD's likelihood tables → one file that every slide shares."""

import sys

from tqdm import tqdm

from nephrospot.job import job
from nephrospot.likelihood import write_likelihood_tables

with job(snakemake), tqdm(total=100, desc="likelihood tables", unit="%", disable=not sys.stderr.isatty()) as bar:
    write_likelihood_tables(snakemake.output.tables, progress=lambda share: bar.update(100 * share - bar.n))
