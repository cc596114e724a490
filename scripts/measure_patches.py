"""The test part of the patches by one training → a row a patch, metric and convention."""

import pandas as pd

from nephrospot.files import write_parquet
from nephrospot.job import job
from nephrospot.models.weights import load_weights
from nephrospot.table1 import measure_patches
from nephrospot.training.splits import take_part
from nephrospot.training.validate import predict_patches

with job(snakemake):
    method, _ = load_weights(snakemake.params.network, snakemake.input.weights)
    patches = take_part(pd.read_parquet(snakemake.input.patches), "test")
    write_parquet(snakemake.output.table, measure_patches(snakemake.wildcards.run, predict_patches(method, patches)))
