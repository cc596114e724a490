"""Tissue under the spots × pathologist × transcripts → correlations, how sure they are, and which differ."""

from nephrospot.certainty import add_certainty
from nephrospot.cohort import join_cohort
from nephrospot.correlate import correlate
from nephrospot.differences import compare_methods
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.pairs import gather_pairs
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    p, chance = snakemake.params, snakemake.params.statistics
    tables = join_cohort(p.results, leave_out(p.slides, refused), p.deconvolved, p.methods, p.comparisons, p.tissues)
    cohort, without = gather_pairs(tables, p.comparisons, p.methods), [s for s in p.slides if s in refused]
    table = add_certainty(correlate(cohort, p.methods), cohort, **chance).assign(left_out=", ".join(without))
    write_parquet(snakemake.output.table, table)
    differences = compare_methods(cohort, p.methods, ceilings=p.ceilings, **chance)
    write_parquet(snakemake.output.differences, differences)
