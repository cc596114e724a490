"""Spots and proportions of all slides → r of every method with every share, beside RCTD's share of mRNA."""

import pandas as pd

from nephrospot.files import read_json, whole
from nephrospot.job import job
from nephrospot.sensitivity import list_shares, measure_sensitivity

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    keys = [(slide, method) for slide in p.slides for method in p.methods]
    spots = dict(zip(keys, map(pd.read_parquet, given.spots), strict=True))
    second = map(pd.read_parquet, given.second) if given.second else [None] * len(p.slides)
    tables = zip(p.slides, map(pd.read_parquet, given.proportions), map(read_json, given.facts), second, strict=True)
    shares = {slide: list_shares(own, facts, p.factors, p.cell_types, again) for slide, own, facts, again in tables}
    with whole(snakemake.output.table) as temporary:
        table = measure_sensitivity(shares, spots, p.tissues, p.methods)
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", na_rep="nan")
