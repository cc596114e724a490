"""Parameters and multiply–accumulates of every method."""

from nephrospot.cost import list_costs, write_costs
from nephrospot.job import job

with job(snakemake):
    write_costs(list_costs(snakemake.params.methods), snakemake.output.table)
