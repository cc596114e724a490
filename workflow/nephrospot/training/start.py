"""One training as the configuration names it: its share of the data, its learning rate, its extras."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError
from nephrospot.training.recipe import read_recipe
from nephrospot.training.rois import list_rois
from nephrospot.training.semi import SemiSupervision, read_semi_options
from nephrospot.training.splits import keep_fraction
from nephrospot.training.train import train_method


def train_run(
    run: dict,
    patches: pd.DataFrame,
    rois: str | Path | None,
    rates: str | Path | None,
    initial: str | Path | None,
    output: str | Path,
    curve: str | Path,
    seed: int,
    by: str,
    data: str,
    threads: int | None = None,
) -> dict:
    """Train one of `nephrospot.training.runs.list_runs`.

    Parameters
    ----------
    run
        network, options, recipe, semi and fraction.
    patches
        With the column ``split``; only the training part is thinned out by ``fraction``.
    rois
        Folder of regions, for pseudo-labels.
    rates
        Table of `nephrospot.training.rates.check_learning_rates`, whose best rate is taken; without one the recipe's.
    by
        "roi" or "patient": what a fraction keeps whole.
    output, curve, seed, data, threads, initial
        As for `nephrospot.training.train.train_method`.

    Returns
    -------
    dict, the card

    Raises
    ------
    InputError
        As there, and where pseudo-labels are asked for without regions.
    """
    recipe = read_recipe(run["recipe"])
    if rates:
        table = pd.read_csv(rates, sep="\t")
        recipe = dataclasses.replace(recipe, learning_rate=float(table.loc[table["best"], "learning_rate"].iloc[0]))
    training = patches["split"] == "training"
    kept = keep_fraction(patches[training], run["fraction"], seed, by)
    patches = pd.concat([kept, patches[~training]])
    extras = []
    if run["semi"] is not None:
        options = read_semi_options(run["semi"])
        if options.pseudo and not rois:
            raise InputError("training → rois: pseudo-labels need the regions' folder; give it, or set pseudo: false.")
        extras.append(SemiSupervision(options, list_rois(rois) if options.pseudo else None, patches))
    return train_method(
        run["network"], run["options"], patches, recipe, output, curve, seed, data, threads, extras, initial or None
    )
