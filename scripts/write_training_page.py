"""Everything about training → results/training.html."""

from nephrospot.job import job
from nephrospot.report.training_page import write_training_page

with job(snakemake):
    p, given = snakemake.params, snakemake.input
    write_training_page(
        snakemake.output.page, p.labels, given.patches, given.table1, given.costs,
        dict(zip(p.curves, given.curves, strict=True)), dict(zip(p.rates, given.rates, strict=True)),
        given.table3, given.fig4, given.fig10, given.fig8, p.data, p.simulated, p.by,
    )  # fmt: skip
