"""Spots of all slides → the worst of every method and comparison, as pictures."""

import pandas as pd

from nephrospot.cohort import join_cohort
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.report.worst import COLUMNS, choose_worst, draw_all

with job(snakemake):
    p, out = snakemake.params, snakemake.output
    tables = list(join_cohort(p.results, p.slides, p.deconvolved, p.methods, p.comparisons, p.tissues))
    worst = choose_worst(pd.concat(tables)) if tables else pd.DataFrame(columns=COLUMNS)
    images = {slide: given["image"] for slide, given in p.slides.items()}
    draw_all(worst, p.results, images, p.colours, p.diameter_um, out.crops)
    write_parquet(out.table, worst)
