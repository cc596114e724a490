"""Tissue of one slide → the tiles at each magnification that some method reads."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.slide import open_slide
from nephrospot.tiles import tile_slide
from nephrospot.tissue import find_tissue, write_tissue

with job(snakemake):
    manifest, p = read_slide_manifest(snakemake.input.manifest), snakemake.params
    with open_slide(snakemake.input.image) as slide:
        tissue = find_tissue(slide, manifest["mpp"], f"slide {manifest['slide']}", **p.tissue)
    write_parquet(snakemake.output.tiles, tile_slide(tissue, manifest, p.magnifications, p.segmentation))
    write_tissue(snakemake.output.tissue, tissue)
