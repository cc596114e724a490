"""Spots of one slide on trial, moved and resized → r of each, and where it is highest."""

import pandas as pd

from nephrospot.check import read_slide_manifest
from nephrospot.cohort import join_cohort
from nephrospot.files import write_json, write_parquet
from nephrospot.job import job
from nephrospot.trials import describe_trials, try_spots

with job(snakemake):
    p, slide = snakemake.params, snakemake.wildcards.slide
    mpp = read_slide_manifest(snakemake.input.manifest)["mpp"]
    tables = join_cohort(p.results, {slide: p.given}, p.deconvolved, p.methods, p.comparisons, p.tissues)
    pairs = dict(iter(pd.concat(tables).groupby("method", sort=False)))
    masks = dict(zip(p.methods, snakemake.input.masks, strict=True))
    shifted, peaks, resized = try_spots(pairs, masks, mpp, p.diameter_um, p.seed)
    write_parquet(snakemake.output.shifts, shifted)
    write_json(snakemake.output.trials, describe_trials(slide, peaks, resized))
