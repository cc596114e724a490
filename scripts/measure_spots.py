"""Percentage of each tissue under every spot of one slide."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.registration import Transform
from nephrospot.spots import measure_spots
from nephrospot.visium import read_positions

with job(snakemake):
    manifest = read_slide_manifest(snakemake.input.manifest)
    grid, transform = read_positions(snakemake.input.visium), Transform(**manifest["transform"])
    diameter_um, tissues = snakemake.params.diameter_um, snakemake.params.tissues
    table = measure_spots(snakemake.input.masks, grid, transform, manifest["mpp"], diameter_um, tissues)
    write_parquet(snakemake.output.table, table)
