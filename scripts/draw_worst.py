"""Spots of all slides → the worst of every method and comparison, as pictures."""

from pathlib import Path

import pandas as pd

from nephrospot.check import read_slide_manifest
from nephrospot.cohort import join_cohort
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.omezarr import open_masks
from nephrospot.report.worst import COLUMNS, choose_worst, crop_path, draw_worst, write_crop
from nephrospot.slide import open_slide

with job(snakemake):
    p = snakemake.params
    tables = list(join_cohort(p.results, p.slides, p.deconvolved, p.methods, p.comparisons, p.tissues))
    worst = choose_worst(pd.concat(tables)) if tables else pd.DataFrame(columns=COLUMNS)
    Path(snakemake.output.crops).mkdir(parents=True, exist_ok=True)
    for slide, own in worst.groupby("slide"):
        mpp = read_slide_manifest(f"{p.results}/{slide}/slide.json")["mpp"]
        with open_slide(p.slides[slide]["image"]) as opened:
            for row in own.itertuples():
                label = open_masks(f"{p.results}/{slide}/{row.method}/masks.ome.zarr")[row.tissue]
                crop = draw_worst(opened, mpp, label, row.x_px, row.y_px, p.diameter_um, p.colours[row.tissue])
                write_crop(crop, crop_path(snakemake.output.crops, row))
    write_parquet(snakemake.output.table, worst)
