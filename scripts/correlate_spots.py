"""Tissue under the spots × pathologist × transcripts → correlations."""

from nephrospot.cohort import join_cohort
from nephrospot.correlate import correlate
from nephrospot.files import write_parquet
from nephrospot.job import job

with job(snakemake):
    p = snakemake.params
    tables = join_cohort(p.results, p.slides, p.deconvolved, p.methods, p.comparisons, p.tissues)
    write_parquet(snakemake.output.table, correlate(tables, p.comparisons, p.methods))
