"""Spots and proportions of all slides → r of every method with every share, beside RCTD's share of mRNA."""

from functools import partial
from pathlib import Path

from nephrospot.cohort import Tables
from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.refusals import leave_out
from nephrospot.sensitivity import measure_sensitivity, read_shares

with job(snakemake, can_leave_out=True) as refused:
    p = snakemake.params
    folders = {slide: Path(p.results, slide) for slide in leave_out(p.slides, refused)}
    shares = Tables(folders, partial(read_shares, p.factors, p.cell_types, p.second))
    spots = Tables({(slide, name): folders[slide] / name / "spots.parquet" for slide in folders for name in p.methods})
    with whole(snakemake.output.table) as temporary:
        table = measure_sensitivity(shares, spots, p.tissues, p.methods)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")
