"""Outlines of every tissue on the whole slide, and three places at full resolution."""

from nephrospot.check import read_slide_manifest
from nephrospot.job import job
from nephrospot.report.overlay import draw_overlay, draw_regions
from nephrospot.slide import open_slide

with job(snakemake):
    mpp = read_slide_manifest(snakemake.input.manifest)["mpp"]
    colours = {name: tissue["colour"] for name, tissue in snakemake.params.tissues.items()}
    with open_slide(snakemake.input.image) as slide:
        draw_overlay(slide, mpp, snakemake.input.masks, colours, snakemake.output.overview)
        draw_regions(slide, mpp, snakemake.input.masks, colours, snakemake.output.regions)
