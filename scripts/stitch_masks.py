"""Bits of each tissue → masks.ome.zarr."""

from nephrospot.check import read_slide_manifest
from nephrospot.job import job
from nephrospot.slide import open_slide
from nephrospot.stitch import open_predicted, write_masks

with job(snakemake):
    mpp = read_slide_manifest(snakemake.input.manifest)["mpp"]
    colours = {name: tissue["colour"] for name, tissue in snakemake.params.tissues.items()}
    with open_slide(snakemake.input.image) as slide:
        sources = open_predicted(snakemake.input.masks)
        write_masks(snakemake.output.masks, sources, slide, mpp, colours, **snakemake.params.stitch)
