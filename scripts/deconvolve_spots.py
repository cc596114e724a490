"""Counts of one slide and a labelled reference → share of each spot's mRNA by cell type and tissue."""

from nephrospot.deconvolve import deconvolve_slide
from nephrospot.files import write_json, write_parquet
from nephrospot.job import job
from nephrospot.visium import read_positions

with job(snakemake):
    visium, reference, tables = (snakemake.input[name] for name in ("visium", "reference", "tables"))
    in_tissue = read_positions(visium).in_tissue
    table, notes = deconvolve_slide(visium, in_tissue, reference, tables, snakemake.params.fit, snakemake.threads)
    write_json(snakemake.output.notes, notes)
    write_parquet(snakemake.output.table, table)
