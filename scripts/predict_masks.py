"""Tiles of one slide → bits of each tissue, by one method."""

from nephrospot.check import read_slide_manifest
from nephrospot.infer import run_method
from nephrospot.job import job

with job(snakemake):
    run_method(
        snakemake.input.image, read_slide_manifest(snakemake.input.manifest), snakemake.input.tiles,
        snakemake.params.network, snakemake.input.weights, snakemake.params.readings, snakemake.params.segmentation,
        snakemake.output.masks, snakemake.output.summary, snakemake.threads,
    )  # fmt: skip
