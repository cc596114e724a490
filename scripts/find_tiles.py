"""Tissue of one slide → the tiles at each magnification that some method reads."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.slide import open_slide
from nephrospot.tiles import tile_slide

with job(snakemake):
    manifest = read_slide_manifest(snakemake.input.manifest)
    with open_slide(snakemake.input.image) as slide:
        p = snakemake.params
        tiles = tile_slide(slide, manifest, p.magnifications, p.segmentation, p.tissue)
    write_parquet(snakemake.output.tiles, tiles)
