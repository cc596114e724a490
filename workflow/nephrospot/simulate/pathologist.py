"""A simulated pathologist, who estimates percentages by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd


def score_spots(barcodes: pd.Series, percent: pd.DataFrame, settings: dict, seed: int) -> pd.DataFrame:
    """Scores of the tissues in ``settings["tissues"]``, 0 to 100 in steps, from the true percentages.

    The error grows with the percentage, slivers are often missed, and now and then a little is seen
    that isn't there. ``settings``: see `nephrospot.simulate.cohort.DEFAULTS`.

    Returns
    -------
    pandas.DataFrame
        barcode and one column a tissue.
    """
    rng = np.random.default_rng([seed, 400])
    scores = {"barcode": np.asarray(barcodes)}
    for tissue in settings["tissues"]:
        true = percent[f"{tissue}_percent"].to_numpy()
        n = len(true)
        factor = settings["gain"] * np.exp(settings["gain_sd"] * rng.normal(size=n))
        seen = true * factor + settings["error_sd_pp"] * rng.normal(size=n)
        missed = (true < settings["sliver_pp"]) & (rng.random(n) < settings["miss_probability"])
        seen[missed | (true == 0)] = 0.0
        false = (true == 0) & (rng.random(n) < settings["false_probability"])
        seen[false] = rng.uniform(5, 10, int(false.sum()))
        step = settings["step_pp"]
        rounded = np.round(seen / step) * step if step > 0 else seen
        scores[tissue] = np.clip(rounded, 0, 100)
    return pd.DataFrame(scores)
