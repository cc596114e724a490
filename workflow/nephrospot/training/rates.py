"""Short runs at several learning rates, so that no method is compared at one that doesn't suit it."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError
from nephrospot.files import read_json
from nephrospot.training.recipe import Recipe
from nephrospot.training.train import DivergedError, train_method

log = logging.getLogger(__name__)


def check_learning_rates(
    network: str,
    options: dict,
    patches: pd.DataFrame,
    recipe: Recipe,
    rates: Iterable[float],
    epochs: int,
    seed: int,
    threads: int | None = None,
    initial: str | Path | None = None,
) -> pd.DataFrame:
    """Train ``epochs`` epochs at each rate, the schedule shortened with them, and compare by validation Dice.

    Parameters
    ----------
    network, options, patches, recipe, seed, threads, initial
        As for `nephrospot.training.train.train_method`; the test part isn't touched.

    Returns
    -------
    A row a rate, by rate: learning_rate, validation_foreground_dice (best epoch, mean over tissues; NaN where it
    failed), epoch, loss (of the last epoch), best (True in one row: the highest Dice, the lowest rate of equals),
    reason (why it failed, or "")

    Raises
    ------
    InputError
        When no rate works, or none is given.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="nephrospot-rates-") as folder:
        for rate in sorted({float(rate) for rate in rates}):
            curve = Path(folder, "curve.json")
            row = {"learning_rate": rate, "validation_foreground_dice": np.nan, "epoch": 0, "loss": np.nan}
            short = dataclasses.replace(recipe, learning_rate=rate, epochs=epochs)
            try:
                train_method(
                    network, options, patches, short, Path(folder, f"{rate:g}.safetensors"), curve, seed,
                    data="a learning-rate check", threads=threads, initial=initial,
                )  # fmt: skip
            except DivergedError as error:
                rows.append(row | {"reason": str(error)})
                continue
            written = read_json(curve)
            best, last = written["epochs"][written["best_epoch"] - 1], written["epochs"][-1]
            rows.append(
                row
                | {"validation_foreground_dice": best["mean_dice"], "epoch": written["best_epoch"]}
                | {"loss": last["loss"], "reason": ""}
            )
            log.info("%s at %g: validation Dice %.3f", network, rate, best["mean_dice"])
    table = pd.DataFrame(rows)
    if not len(table) or table["validation_foreground_dice"].isna().all():
        raise InputError(f"{network}: no learning rate of the check works; give lower ones.")
    table["best"] = table.index == table["validation_foreground_dice"].idxmax()
    return table[["learning_rate", "validation_foreground_dice", "epoch", "loss", "best", "reason"]]
