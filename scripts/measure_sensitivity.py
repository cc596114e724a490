"""Spots and proportions of all slides → r of every method with every share, beside RCTD's share of mRNA."""

from functools import partial
from pathlib import Path

from nephrospot.cohort import Tables
from nephrospot.files import read_columns, whole
from nephrospot.job import job
from nephrospot.refusals import leave_out
from nephrospot.sensitivity import measure_sensitivity, read_shares

with job(snakemake, can_leave_out=True) as refused:
    p = snakemake.params
    folders = {slide: Path(p.results, slide) for slide in leave_out(p.slides, refused)}
    cell_types = {tissue: types for tissue, types in p.cell_types.items() if tissue in p.tissues}
    shares = Tables(folders, partial(read_shares, p.factors, cell_types, p.second))
    wanted = {"barcode", "x_px", "y_px", "reason", *(f"{tissue}_percent" for tissue in p.tissues)}
    paths = {(slide, name): folders[slide] / name / "spots.parquet" for slide in folders for name in p.methods}
    spots = Tables(paths, lambda _, path: read_columns(path, wanted.__contains__))
    with whole(snakemake.output.table) as temporary:
        table = measure_sensitivity(shares, spots, p.tissues, p.methods)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")
