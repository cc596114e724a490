"""Patches of simulated human-like kidneys to train on."""

from nephrospot.job import job
from nephrospot.training.simulated import write_patches

with job(snakemake):
    training = snakemake.params.training
    write_patches(snakemake.output.patches, training["donors"], training["patches_per_tissue"], training["seed"])
