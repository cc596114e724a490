"""One network from patches → weights with their card."""

from nephrospot.job import job
from nephrospot.training.train import train_method

with job(snakemake):
    train_method(
        snakemake.wildcards.network, patches_root=snakemake.input.patches, output=snakemake.output.weights,
        curve=snakemake.output.curve, seed=snakemake.params.seed, threads=snakemake.threads,
        data="simulated human-like kidney tissue (snakemake train_demo)", **snakemake.params.recipe,
    )  # fmt: skip
