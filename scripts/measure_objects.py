"""The single objects of some tissues of one slide, such as its glomeruli."""

from nephrospot.check import read_slide_manifest
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.objects import measure_objects
from nephrospot.registration import Transform
from nephrospot.visium import read_positions

with job(snakemake):
    manifest, visium = read_slide_manifest(snakemake.input.manifest), snakemake.input.get("visium")
    grid, transform = read_positions(visium) if visium else None, Transform(**manifest["transform"])
    tissues, diameter_um = snakemake.params.tissues, snakemake.params.diameter_um
    table = measure_objects(snakemake.input.masks, manifest["mpp"], tissues, grid, transform, diameter_um)
    write_parquet(snakemake.output.table, table)
