"""A share of every slide that isn't done yet → its bits, one slide after the other in this process."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_json
from nephrospot.job import job
from nephrospot.predict import list_tasks, run_share

with job(snakemake, can_leave_out=True) as refused:
    given, p = snakemake.input, snakemake.params
    every = zip(p.slides, given.images, given.manifests, given.tiles, given.tissues, strict=True)
    files = [
        (slide, image, read_slide_manifest(told), *rest) for slide, image, told, *rest in every if slide not in refused
    ]
    tasks = list_tasks(files, p.networks, p.weights, p.readings, p.segmentation, p.code, p.results)
    i, n = map(int, snakemake.wildcards.scatteritem.split("-of-"))
    write_json(snakemake.output.summary, run_share(tasks, i, n, snakemake.threads))
