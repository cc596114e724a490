"""Short runs at several learning rates, so that no method is compared at one that doesn't suit it."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.engine import choose_device
from nephrospot.errors import InputError
from nephrospot.files import read_json
from nephrospot.models.weights import load_weights
from nephrospot.training.recipe import Recipe
from nephrospot.training.splits import take_part
from nephrospot.training.train import DivergedError, train_method
from nephrospot.training.validate import measure_loss

log = logging.getLogger(__name__)

COLUMNS = ["learning_rate", "validation_loss", "validation_foreground_dice", "epoch", "loss", "best", "reason"]


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
    """Train ``epochs`` epochs at each rate, the schedule shortened with them, and compare by the loss on validation.

    Not by Dice, which after so few steps is mostly that of tissues not yet seen, and so chance.

    Parameters
    ----------
    network, options, patches, recipe, seed, threads, initial
        As for `nephrospot.training.train.train_method`; the test part isn't touched.

    Returns
    -------
    A row a rate, by rate: learning_rate, validation_loss (`nephrospot.training.validate.measure_loss` after the best
    epoch; NaN where it failed), validation_foreground_dice (mean over tissues) after it, epoch (that one), loss (in
    training, of the last epoch), best (True in one row: the lowest validation_loss, the lowest rate of equals), reason
    (why it failed, or "")

    Raises
    ------
    InputError
        When no rate works, or none is given.
    """
    rows, validation = [], take_part(patches, "validation")
    with tempfile.TemporaryDirectory(prefix="nephrospot-rates-") as folder:
        for rate in sorted({float(rate) for rate in rates}):
            curve, weights = Path(folder, "curve.json"), Path(folder, f"{rate:g}.safetensors")
            row = {"learning_rate": rate, "validation_loss": np.nan, "validation_foreground_dice": np.nan}
            row |= {"epoch": 0, "loss": np.nan}
            short = dataclasses.replace(recipe, learning_rate=rate, epochs=epochs)
            try:
                train_method(
                    network, options, patches, short, weights, curve, seed,
                    data="a learning-rate check", threads=threads, initial=initial,
                )  # fmt: skip
            except DivergedError as error:
                rows.append(row | {"reason": str(error)})
                continue
            written = read_json(curve)
            best, last = written["epochs"][written["best_epoch"] - 1], written["epochs"][-1]
            loss = measure_loss(load_weights(network, weights)[0].to(choose_device()), validation)
            rows.append(
                row
                | {"validation_loss": loss if np.isfinite(loss) else np.nan, "epoch": written["best_epoch"]}
                | {"validation_foreground_dice": best["mean_dice"], "loss": last["loss"], "reason": ""}
            )
            log.info("%s at %g: validation loss %.3f, Dice %.3f", network, rate, loss, best["mean_dice"])
    table = pd.DataFrame(rows)
    if not len(table) or table["validation_loss"].isna().all():
        raise InputError(f"{network}: no learning rate of the check works; give lower ones.")
    table["best"] = table.index == table["validation_loss"].idxmin()
    return table[COLUMNS]
