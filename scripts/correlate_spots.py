"""Tissue under the spots × pathologist × transcripts → correlations, how sure they are, and which differ."""

import pandas as pd

from nephrospot.certainty import add_certainty
from nephrospot.cohort import join_cohort
from nephrospot.correlate import PAIR_COLUMNS, correlate
from nephrospot.differences import compare_methods
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    p, chance = snakemake.params, snakemake.params.statistics
    slides = leave_out(p.slides, refused)
    tables = list(join_cohort(p.results, slides, p.deconvolved, p.methods, p.comparisons, p.tissues))
    pairs = pd.concat(tables) if tables else pd.DataFrame(columns=[*PAIR_COLUMNS, "x_um", "y_um"])
    table = correlate(tables, p.comparisons, p.methods)
    table = add_certainty(table, pairs, **chance).assign(left_out=", ".join(s for s in p.slides if s in refused))
    write_parquet(snakemake.output.table, table)
    differences = compare_methods(pairs, p.comparisons, p.methods, ceilings=p.ceilings, **chance)
    write_parquet(snakemake.output.differences, differences)
