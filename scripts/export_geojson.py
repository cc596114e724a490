"""masks.ome.zarr → masks.geojson.gz, for QuPath."""

from nephrospot.check import read_slide_manifest
from nephrospot.geojson import write_geojson
from nephrospot.job import job

with job(snakemake):
    given, tissues = snakemake.input, snakemake.params.tissues
    colours = {tissue: facts["colour"] for tissue, facts in tissues.items()}
    names = {tissue: facts["name"] for tissue, facts in tissues.items()}
    mpp, wildcards = read_slide_manifest(given.manifest)["mpp"], snakemake.wildcards
    key = f"{wildcards.slide}/{wildcards.method}"
    write_geojson(snakemake.output.outlines, given.masks, mpp, colours, names, key)
