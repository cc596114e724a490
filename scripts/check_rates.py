"""One training at several learning rates, in short → the best of them."""

import pandas as pd

from nephrospot.files import whole
from nephrospot.job import job
from nephrospot.training.rates import check_learning_rates
from nephrospot.training.recipe import read_recipe

with job(snakemake):
    p, run = snakemake.params, snakemake.params.run
    recipe = read_recipe(run["recipe"], f"training → {snakemake.wildcards.run} → recipe")
    table = check_learning_rates(
        run["network"], run["options"], pd.read_parquet(snakemake.input.patches), recipe,
        [factor * recipe.learning_rate for factor in p.factors], p.epochs, p.seed, snakemake.threads,
        snakemake.input.initial or None,
    )  # fmt: skip
    with whole(snakemake.output.table) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
