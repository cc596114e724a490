"""Bits of each tissue → masks.ome.zarr, cleaned where the configuration says so."""

from nephrospot.check import read_slide_manifest
from nephrospot.job import job
from nephrospot.postprocess import clean_masks
from nephrospot.slide import open_slide
from nephrospot.stitch import open_predicted, write_masks

with job(snakemake):
    given, p = snakemake.input, snakemake.params
    mpp = read_slide_manifest(given.manifest)["mpp"]
    colours = {name: tissue["colour"] for name, tissue in p.tissues.items()}
    with open_slide(given.image) as slide:
        sources, cleaned = clean_masks(open_predicted(given.masks), p.postprocess, list(p.tissues))
        write_masks(snakemake.output.masks, sources, slide, mpp, colours, cleaned=cleaned, **p.stitch)
