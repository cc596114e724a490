"""Tiles of one slide → bits of each tissue, by one method."""

from nephrospot.check import read_slide_manifest
from nephrospot.job import job
from nephrospot.predict import Task, run_method

with job(snakemake):
    given, p = snakemake.input, snakemake.params
    manifest = read_slide_manifest(given.manifest)
    task = Task(
        given.image, manifest, given.tiles, given.tissue, p.network, given.weights, p.readings, p.segmentation, p.code
    )
    run_method(task, snakemake.output.masks, snakemake.output.summary, snakemake.threads)
