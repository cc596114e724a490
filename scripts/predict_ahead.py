"""Shares of every slide → the bits of the whole, where predict_masks looks for them."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.predict import join_shares, list_tasks

with job(snakemake, can_leave_out=True) as refused:
    given, p = snakemake.input, snakemake.params
    every = zip(p.slides, given.images, given.manifests, given.tiles, given.tissues, strict=True)
    files = [
        (slide, image, read_slide_manifest(told), *rest) for slide, image, told, *rest in every if slide not in refused
    ]
    tasks = list_tasks(files, p.networks, p.weights, p.readings, p.segmentation, p.code, p.results)
    ready = join_shares(tasks, len(given.shares))
    write_json(snakemake.output.summary, {"ready": ready})
