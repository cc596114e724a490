"""One slide's spots, image and masks → AnnData and SpatialData."""

import pandas as pd

from nephrospot.check import read_slide_manifest
from nephrospot.cohort import read_slide_scores
from nephrospot.counts import read_counts_if_any
from nephrospot.handover import build_anndata, write_anndata, write_spatialdata
from nephrospot.job import job
from nephrospot.slide import open_slide

with job(snakemake):
    p, given, slide = snakemake.params, snakemake.input, snakemake.wildcards.slide
    manifest = read_slide_manifest(given.manifest)
    spots = {name: pd.read_parquet(path) for name, path in zip(p.methods, given.spots, strict=True)}
    scores = read_slide_scores(slide, p.given, p.tissues) if given.scores else None
    proportions = pd.read_parquet(given.proportions) if given.proportions else None
    counts = read_counts_if_any(given.visium)
    data = build_anndata(slide, manifest, spots, counts, proportions, scores)
    write_anndata(data, snakemake.output.table)
    masks = dict(zip(p.methods, given.masks, strict=True))
    with open_slide(given.image) as opened:
        write_spatialdata(data, opened, manifest["mpp"], masks, p.diameter_um, snakemake.output.spatial)
