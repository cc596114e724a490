"""Tissue under the spots × pathologist × transcripts → correlations, how sure they are, and which differ."""

from functools import partial

from nephrospot.cohort import join_cohort
from nephrospot.comparisons import measure_comparisons
from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.refusals import leave_out

with job(snakemake, can_leave_out=True) as refused:
    p, out, without = snakemake.params, snakemake.output, [s for s in snakemake.params.slides if s in refused]
    join = partial(join_cohort, p.results, leave_out(p.slides, refused), p.deconvolved, p.methods, tissues=p.tissues)
    given = {"ceilings": p.ceilings, "looked_at": p.looked_at, "processes": snakemake.threads, **p.statistics}
    table, differences, worst = measure_comparisons(join, p.comparisons, p.methods, **given)
    write_parquet(out.table, table.assign(left_out=", ".join(without)))
    write_parquet(out.differences, differences)
    if "worst" in out.keys():  # noqa: SIM118 (iterating gives the paths)
        write_parquet(out.worst, worst)
