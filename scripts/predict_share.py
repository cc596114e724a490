"""A share of every slide that isn't done yet → its bits, one slide after the other in this process."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.predict import list_tasks, run_share

with job(snakemake):
    given, p = snakemake.input, snakemake.params
    manifests = [read_slide_manifest(path) for path in given.manifests]
    files = zip(p.slides, given.images, manifests, given.tiles, given.tissues, strict=True)
    tasks = list_tasks(files, p.networks, p.weights, p.readings, p.segmentation, p.code, p.results)
    i, n = map(int, snakemake.wildcards.scatteritem.split("-of-"))
    write_json(snakemake.output.summary, run_share(tasks, i, n, snakemake.threads))
