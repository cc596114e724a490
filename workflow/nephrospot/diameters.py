"""Would the spots fit better if they were larger or smaller: r as a function of the disc's diameter.

Transcripts wander before they are caught, and a reader's eye takes in more than the ring. Where r is highest well away
from the diameter as it is, the disc isn't what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from nephrospot.discs import measure_shifted

DIAMETERS_UM = (25.0, 40.0, 55.0, 70.0, 85.0, 100.0, 150.0)
COLUMNS = ["diameter_um", "n", "r", "mean_percent", "sd_percent", "mean_observed", "sd_observed"]


def try_diameters(coverage: np.ndarray, place_um: np.ndarray, observed: np.ndarray, diameter_um: float) -> pd.DataFrame:
    """r of one method on one slide for every diameter, over the spots whose largest disc stays on the slide.

    Parameters
    ----------
    coverage
        Of `nephrospot.discs.make_coverage`.
    place_um : (spots, 2)
        Centres on the slide.
    observed : (spots,)
        The reference, in percent.
    diameter_um
        Of the spots as they are, tried beside `DIAMETERS_UM`.

    Returns
    -------
    DataFrame
        `COLUMNS`: n spots; r, NaN where a side is constant; mean and standard deviation (over n) of both sides in
        percent, from which `pool_diameters` makes r over slides.
    """
    sizes = sorted({float(diameter_um), *DIAMETERS_UM})
    percent = np.column_stack([measure_shifted(coverage, *place_um.T, size, np.zeros((1, 2)))[:, 0] for size in sizes])
    whole = np.isfinite(percent).all(axis=1) & np.isfinite(observed)
    percent, observed = percent[whole], observed[whole]
    rows = [[size, len(observed), *_summarise(own, observed)] for size, own in zip(sizes, percent.T, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def pool_diameters(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """r over the spots of all slides, from each slide's n, r, means and standard deviations.

    Parameters
    ----------
    tables
        `resized` of `nephrospot.trials.try_spots`, of each slide.

    Returns
    -------
    DataFrame
        method, tissue, reference, diameter_um, n, r
    """
    keys = ["method", "tissue", "reference", "diameter_um"]
    known = [table[table["n"] > 0] for table in tables]
    if not known:
        return pd.DataFrame(columns=[*keys, "n", "r"])
    rows = [[*key, int(own["n"].sum()), _pool(own)] for key, own in pd.concat(known).groupby(keys, sort=False)]
    return pd.DataFrame(rows, columns=[*keys, "n", "r"])


def _summarise(percent: np.ndarray, observed: np.ndarray) -> list[float]:
    """r, and the mean and standard deviation of each side."""
    if not len(observed):
        return [np.nan] * 5
    told = [percent.mean(), percent.std(), observed.mean(), observed.std()]
    varies = min(np.ptp(percent), np.ptp(observed)) > 0
    return [np.corrcoef(percent, observed)[0, 1] if varies else np.nan, *told]


def _pool(own: pd.DataFrame) -> float:
    share = own["n"] / own["n"].sum()

    def covariance(a: str, b: str, within: pd.Series) -> float:
        between = share @ (own[a] * own[b]) - (share @ own[a]) * (share @ own[b])
        return float(share @ within + between)

    # A slide without any of the tissue has no r, and no covariance within.
    together = (own["r"] * own["sd_percent"] * own["sd_observed"]).fillna(0)
    sides = [
        covariance(name, name, own[spread] ** 2)
        for name, spread in (("mean_percent", "sd_percent"), ("mean_observed", "sd_observed"))
    ]
    if min(sides) <= 0:
        return float("nan")
    return covariance("mean_percent", "mean_observed", together) / float(np.sqrt(sides[0] * sides[1]))
