"""Spots of all slides → the worst of every method and comparison, as pictures."""

from nephrospot.cohort import join_cohort
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.pairs import gather_pairs
from nephrospot.refusals import leave_out
from nephrospot.report.worst import choose_worst, draw_all

with job(snakemake, can_leave_out=True) as refused:
    p, out = snakemake.params, snakemake.output
    slides = leave_out(p.slides, refused)
    tables = join_cohort(p.results, slides, p.deconvolved, p.methods, p.comparisons, p.tissues)
    worst = choose_worst(gather_pairs(tables, p.comparisons, p.methods, place=("x_px", "y_px")))
    images = {slide: given["image"] for slide, given in slides.items()}
    draw_all(worst, p.results, images, p.colours, p.diameter_um, out.crops)
    write_parquet(out.table, worst)
