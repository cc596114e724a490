"""Tiles of one slide → bits of each tissue, by one method."""

from nephrospot.check import read_slide_manifest
from nephrospot.infer import run_method
from nephrospot.job import job

with job(snakemake):
    given, p = snakemake.input, snakemake.params
    manifest = read_slide_manifest(given.manifest)
    run_method(
        given.image, manifest, given.tiles, given.tissue, p.network, given.weights, p.readings, p.segmentation,
        snakemake.output.masks, snakemake.output.summary, snakemake.threads,
    )  # fmt: skip
