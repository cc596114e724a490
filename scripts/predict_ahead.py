"""Shares of every slide → the bits of the whole, where predict_masks looks for them."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.predict import join_shares, list_tasks

with job(snakemake):
    given, p = snakemake.input, snakemake.params
    manifests = [read_slide_manifest(path) for path in given.manifests]
    files = zip(p.slides, given.images, manifests, given.tiles, given.tissues, strict=True)
    tasks = list_tasks(files, p.networks, p.weights, p.readings, p.segmentation, p.code, p.results)
    ready = join_shares(tasks, len(given.shares))
    write_json(snakemake.output.summary, {"ready": ready})
