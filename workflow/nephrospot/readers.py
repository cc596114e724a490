"""How far readers agree, with each other and with themselves: the ceiling of every r against them.

A method can't correlate with a reader better than √ICC (Spearman's attenuation), however right it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from nephrospot.blocks import ORIGINS, REPLICATES, SMALLEST_UM, assign_blocks
from nephrospot.studentised import MOST_UNDEFINED

BINS = [0, 25, 50, 75]  # 0 alone, then up to 25, 50, 75, 100 %
FEWEST_SPOTS = 20
NOTHING = 1e-12  # of the mean square: what rounding leaves of values that are all the same
COLUMNS = [
    "tissue", "kind", "who", "n", "n_slides", "n_positive", "icc", "lo", "hi", "ceiling", "mean_difference_pp",
    "limit_lo_pp", "limit_hi_pp", "kappa", "reason",
]  # fmt: skip
ADVICE = (
    "one reader and one reading, so that nothing is known of the reader's own error; have 100 to 150 spots read again "
    "without the first scores at hand, 30 % of them above 0, and give them with a column reading"
)


def agreement_icc(values: np.ndarray) -> float:
    """ICC(A,1): two-way random effects, absolute agreement, single rater (McGraw & Wong 1996, Psychol Methods 1:30).

    Parameters
    ----------
    values : (spots, readers), complete

    Returns
    -------
    float, 1 at best; NaN where nothing varies
    """
    return float(_icc_of_moments(_add_up_moments(values - values.mean()).sum(axis=0)))


def _add_up_moments(values: np.ndarray) -> np.ndarray:
    """What ICC(A,1) is made of, for each spot: 1, the sum of squares, the square of the sum, every reader's value."""
    columns = [np.ones(len(values)), (values**2).sum(axis=1), values.sum(axis=1) ** 2]
    return np.column_stack([*columns, values])


def _icc_of_moments(moments: np.ndarray) -> np.ndarray:
    """ICC(A,1) from sums of `_add_up_moments` over spots, (…, 3 + readers); of values near zero on the whole."""
    n, squares, rows, sums = moments[..., 0], moments[..., 1], moments[..., 2], moments[..., 3:]
    k = sums.shape[-1]
    middle = sums.sum(axis=-1) ** 2 / (n * k)
    between, raters = rows / k - middle, (sums**2).sum(axis=-1) / n - middle
    error = (squares - middle - between - raters) / ((n - 1) * (k - 1))
    between, raters = between / (n - 1), raters / (k - 1)
    total = between + (k - 1) * error + k / n * (raters - error)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > NOTHING * np.maximum(1, squares / n), (between - error) / total, np.nan)


def bin_scores(values: np.ndarray) -> np.ndarray:
    """0, then 1 to 4 for above 0 and up to 25, 50, 75 and 100 %."""
    return np.searchsorted(BINS, values, side="left")


def measure_readers(
    readings: Mapping[str, pd.DataFrame], places: Mapping[str, pd.DataFrame], seed: int, replicates: int = REPLICATES
) -> pd.DataFrame:
    """Agreement of every two readers, of all of them, and of each with themselves.

    Parameters
    ----------
    readings
        {slide: `nephrospot.scores.read_readings`}.
    places
        {slide: barcode, x_um, y_um}: blocks of neighbouring spots are drawn again for the intervals.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``kind`` "between" (readers) or "within" (one reader's readings), ``who``; ``n`` spots that all of
        them scored, ``n_positive`` of which somebody above 0; ``icc`` with its 95 % interval, ``ceiling`` √icc; the
        mean difference (second less first, percentage points) and Bland and Altman's limits, and quadratic-weighted
        κ of scores in five bins, of pairs alone. Where a tissue has one reading, its row says what is missing.
    """
    rows = []
    table = pd.concat([own.assign(slide=slide) for slide, own in readings.items()]) if readings else pd.DataFrame()
    named = {"barcode", "reader", "reading", "slide"}
    where = pd.concat([own.assign(slide=slide) for slide, own in places.items()]) if places else pd.DataFrame()
    for tissue in [name for name in table.columns if name not in named]:
        scored = table.dropna(subset=[tissue])
        keys = ["slide", "barcode"]
        first = scored.groupby([*keys, "reader"])[tissue].first().unstack("reader")
        groups = [("between", list(pair)) for pair in combinations(first.columns, 2)]
        if len(first.columns) > 2:
            groups.append(("between", list(first.columns)))
        found = [_compare(first[who], kind, who, where, seed, replicates) for kind, who in groups]
        for reader, own in scored.groupby("reader"):
            again = own.pivot(index=keys, columns="reading", values=tissue)
            for pair in combinations(again.columns, 2):
                compared = _compare(again[list(pair)], "within", [reader or "the reader"], where, seed, replicates)
                if compared is not None:
                    found.append(compared)
        found = [row for row in found if row is not None]
        if not found:
            found = [dict.fromkeys(COLUMNS, np.nan) | {"kind": "", "who": "", "n": 0, "n_slides": 0, "n_positive": 0,
                                                       "reason": ADVICE}]  # fmt: skip
        rows += [row | {"tissue": tissue} for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _compare(
    scores: pd.DataFrame, kind: str, who: list[str], where: pd.DataFrame, seed: int, replicates: int
) -> dict | None:
    """A row from (slide, barcode) × readers; None where nothing was scored by all."""
    complete = scores.dropna()
    if not len(complete):
        return None
    values = complete.to_numpy(float)
    row = dict.fromkeys(COLUMNS, np.nan) | {"kind": kind, "who": " and ".join(map(str, who)), "n": len(values)}
    row |= {
        "n_slides": complete.index.get_level_values("slide").nunique(),
        "n_positive": int((values > 0).any(axis=1).sum()),
    }
    if len(values) < FEWEST_SPOTS:
        return row | {"reason": f"only {len(values)} spots that both saw; {FEWEST_SPOTS} are needed"}
    row |= {"icc": agreement_icc(values), "reason": ""}
    row["lo"], row["hi"], row["reason"] = _interval(complete, where, seed, replicates)
    row["ceiling"] = float(np.sqrt(row["icc"])) if row["icc"] > 0 else np.nan
    if values.shape[1] == 2:
        difference = values[:, 1] - values[:, 0]
        reach = 1.96 * difference.std(ddof=1)
        row |= {"mean_difference_pp": difference.mean(), "limit_lo_pp": difference.mean() - reach}
        bins = bin_scores(values)
        kappa = cohen_kappa_score(*bins.T, weights="quadratic", labels=range(5)) if len(np.unique(bins)) > 1 else np.nan
        row |= {"limit_hi_pp": difference.mean() + reach, "kappa": float(kappa)}
    return row


def _interval(complete: pd.DataFrame, where: pd.DataFrame, seed: int, replicates: int) -> tuple[float, float, str]:
    """Percentiles of the ICC with blocks of spots drawn again, slide by slide; a block enters as its moments."""
    place = complete.join(where.set_index(["slide", "barcode"])[["x_um", "y_um"]], how="left")
    values, spots = complete.to_numpy(float), place[["x_um", "y_um"]].to_numpy(float)
    moments = _add_up_moments(values - values.mean())
    slides = pd.factorize(place.index.get_level_values("slide"), sort=True)[0]
    parts = np.split(np.argsort(slides, kind="stable"), np.cumsum(np.bincount(slides))[:-1])
    rng, found = np.random.default_rng(seed), []
    for part in np.array_split(np.arange(replicates), ORIGINS):
        origin = rng.random(2) * SMALLEST_UM
        blocks = []
        for own in parts:
            block = assign_blocks(spots[own], SMALLEST_UM, origin)
            blocks.append(np.column_stack([np.bincount(block, column) for column in moments[own].T]))
        for _ in part:
            drawn = sum(own[rng.integers(len(own), size=len(own))].sum(axis=0) for own in blocks)
            found.append(_icc_of_moments(drawn))
    undefined = np.isnan(found).mean()
    if undefined > MOST_UNDEFINED:
        return np.nan, np.nan, f"{undefined:.0%} of the replicates had no variation"
    return (*np.nanpercentile(found, [2.5, 97.5]).tolist(), "")
