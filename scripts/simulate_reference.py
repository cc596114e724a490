"""Labelled single cells of the demonstration."""

from nephrospot.job import job
from nephrospot.simulate.demo import write_demo_reference

with job(snakemake):
    write_demo_reference(snakemake.output.reference, snakemake.params.demo)
