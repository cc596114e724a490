"""Tissue under the spots × pathologist × transcripts → correlations, how sure they are, and which differ."""

import pandas as pd

from nephrospot.certainty import add_certainty
from nephrospot.cohort import join_cohort
from nephrospot.correlate import PAIR_COLUMNS, correlate
from nephrospot.differences import compare_methods
from nephrospot.files import write_parquet
from nephrospot.job import job

with job(snakemake):
    p, chance = snakemake.params, snakemake.params.statistics
    tables = list(join_cohort(p.results, p.slides, p.deconvolved, p.methods, p.comparisons, p.tissues))
    pairs = pd.concat(tables) if tables else pd.DataFrame(columns=[*PAIR_COLUMNS, "x_um", "y_um"])
    table = correlate(tables, p.comparisons, p.methods)
    write_parquet(snakemake.output.table, add_certainty(table, pairs, **chance))
    differences = compare_methods(pairs, p.comparisons, p.methods, ceilings=p.ceilings, **chance)
    write_parquet(snakemake.output.differences, differences)
