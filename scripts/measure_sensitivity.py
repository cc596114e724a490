"""Spots and proportions of all slides → r of every method with every share, beside RCTD's share of mRNA."""

from pathlib import Path

import pandas as pd

from nephrospot.files import read_json, whole
from nephrospot.job import job
from nephrospot.refusals import leave_out
from nephrospot.sensitivity import list_shares, measure_sensitivity

with job(snakemake, can_leave_out=True) as refused:
    p, spots, shares = snakemake.params, {}, {}
    for slide in leave_out(p.slides, refused):
        folder = Path(p.results, slide)
        spots |= {(slide, method): pd.read_parquet(folder / method / "spots.parquet") for method in p.methods}
        own, facts = pd.read_parquet(folder / "proportions.parquet"), read_json(folder / "deconvolution.json")
        again = pd.read_parquet(folder / "second_proportions.parquet") if p.second else None
        shares[slide] = list_shares(own, facts, p.factors, p.cell_types, again)
    with whole(snakemake.output.table) as temporary:
        table = measure_sensitivity(shares, spots, p.tissues, p.methods)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")
