"""Patches of simulated human-like kidneys to train on, and the regions that they were cut from."""

from nephrospot.job import job
from nephrospot.training.simulated import write_patches

with job(snakemake):
    p = snakemake.params
    write_patches(*snakemake.output, p.simulated["donors"], p.simulated["patches_per_tissue"], p.seed)
