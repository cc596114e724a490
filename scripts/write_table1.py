"""Every training's test patches and the published values → Table I."""

import pandas as pd

from nephrospot.job import job
from nephrospot.table1 import make_table1, read_published_table1, summarise, write_table1

with job(snakemake):
    long = pd.concat([pd.read_parquet(path) for path in snakemake.input.tables], ignore_index=True)
    published = read_published_table1(snakemake.input.published)
    table = make_table1(summarise(long, snakemake.params.seed), snakemake.params.methods, published)
    write_table1(long, table, *snakemake.output)
