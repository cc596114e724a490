"""How far readers agree, with each other and with themselves: the ceiling of every r against them.

A method can't correlate with a reader better than √ICC (Spearman's attenuation), however right it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        {slide: `nephrospot.scores.read_readings`}. Slide by slide they are asked for and let go of.
    places
        {slide: barcode, x_um, y_um}: blocks of neighbouring spots are drawn again for the intervals. Of slides without,
        no spot has a place.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``kind`` "between" (readers) or "within" (one reader's readings), ``who``; ``n`` spots that all of
        them scored, ``n_positive`` of which somebody above 0; ``icc`` with its 95 % interval, ``ceiling`` √icc; the
        mean difference (second less first, percentage points) and Bland and Altman's limits, and quadratic-weighted
        κ of scores in five bins, of pairs alone. Where a tissue has one reading, its row says what is missing.
    """
    rows = []
    for tissue, sections in _gather(readings, places).items():
        readers = sorted({reader for section in sections for reader, _ in section.columns})
        groups = [("between", pair) for pair in combinations(readers, 2)]
        if len(readers) > 2:
            groups.append(("between", tuple(readers)))
        taken = [(kind, " and ".join(map(str, who)), [(reader, None) for reader in who]) for kind, who in groups]
        for reader in readers:
            times = sorted(
                {time for section in sections for own, time in section.columns if own == reader and time is not None}
            )
            taken += [
                ("within", reader or "the reader", [(reader, time) for time in pair]) for pair in combinations(times, 2)
            ]
        found = [_compare(kind, who, [own.take(columns) for own in sections], seed, replicates)
                 for kind, who, columns in taken]  # fmt: skip
        found = [row for row in found if row is not None]
        if not found:
            found = [dict.fromkeys(COLUMNS, np.nan) | {"kind": "", "who": "", "n": 0, "n_slides": 0, "n_positive": 0,
                                                       "reason": ADVICE}]  # fmt: skip
        rows += [row | {"tissue": tissue} for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class Section:
    """One slide's readings of one tissue as numbers alone, since a cohort's are held together.

    Attributes
    ----------
    columns : list of (reader, reading)
        With None for the reading, each reader's first of a spot.
    scores : float (spots, columns), percent, NaN where not scored
    place : float (spots, 2), µm
    """

    columns: list[tuple[str, str | None]]
    scores: np.ndarray
    place: np.ndarray

    def take(self, columns: Sequence[tuple[str, str | None]]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places of the spots that have all of some columns, in the columns' order."""
        if not set(columns) <= set(self.columns):
            return np.empty((0, len(columns))), np.empty((0, 2))
        scores = self.scores[:, [self.columns.index(column) for column in columns]]
        complete = ~np.isnan(scores).any(axis=1)
        return scores[complete], self.place[complete]


def _gather(readings: Mapping[str, pd.DataFrame], places: Mapping[str, pd.DataFrame]) -> dict[str, list[Section]]:
    """Sections by tissue, slides by name and spots by barcode; each table is asked for once."""
    found: dict[str, dict[str, Section]] = {}
    for slide in readings:
        table = readings[slide]
        for tissue in table.columns.drop(["barcode", "reader", "reading"]):
            own = found.setdefault(tissue, {})
            own[slide] = _section(table.dropna(subset=[tissue]), tissue, places.get(slide))
    return {tissue: [own[slide] for slide in sorted(own)] for tissue, own in found.items()}


def _section(scored: pd.DataFrame, tissue: str, where: pd.DataFrame | None) -> Section:
    first = scored.groupby(["barcode", "reader"])[tissue].first().unstack("reader")
    again = scored.pivot(index="barcode", columns=["reader", "reading"], values=tissue)
    columns = [*((reader, None) for reader in first.columns), *again.columns]
    place = np.full((len(first), 2), np.nan)
    if where is not None:
        place = where.set_index("barcode")[["x_um", "y_um"]].reindex(first.index).to_numpy(float)
    return Section(columns, np.column_stack([first, again]), place)


def _compare(
    kind: str, who: str, parts: Sequence[tuple[np.ndarray, np.ndarray]], seed: int, replicates: int
) -> dict | None:
    """A row from the scores and places of each slide's complete spots; None where nothing was scored by all."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return None
    values = np.concatenate([scores for scores, _ in parts])
    row = dict.fromkeys(COLUMNS, np.nan) | {"kind": kind, "who": who, "n": len(values)}
    row |= {"n_slides": len(parts), "n_positive": int((values > 0).any(axis=1).sum())}
    if len(values) < FEWEST_SPOTS:
        return row | {"reason": f"only {len(values)} spots that both saw; {FEWEST_SPOTS} are needed"}
    row |= {"icc": agreement_icc(values), "reason": ""}
    row["lo"], row["hi"], row["reason"] = _interval(parts, float(values.mean()), seed, replicates)
    row["ceiling"] = float(np.sqrt(row["icc"])) if row["icc"] > 0 else np.nan
    if values.shape[1] == 2:
        difference = values[:, 1] - values[:, 0]
        reach = 1.96 * difference.std(ddof=1)
        row |= {"mean_difference_pp": difference.mean(), "limit_lo_pp": difference.mean() - reach}
        bins = bin_scores(values)
        kappa = cohen_kappa_score(*bins.T, weights="quadratic", labels=range(5)) if len(np.unique(bins)) > 1 else np.nan
        row |= {"limit_hi_pp": difference.mean() + reach, "kappa": float(kappa)}
    return row


def _interval(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], centre: float, seed: int, replicates: int
) -> tuple[float, float, str]:
    """Percentiles of the ICC with blocks of spots drawn again, slide by slide; a block enters as its moments."""
    moments = [_add_up_moments(scores - centre) for scores, _ in parts]
    rng, found = np.random.default_rng(seed), []
    for part in np.array_split(np.arange(replicates), ORIGINS):
        origin = rng.random(2) * SMALLEST_UM
        blocks = []
        for own, (_, place) in zip(moments, parts, strict=True):
            block = assign_blocks(place, SMALLEST_UM, origin)
            blocks.append(np.column_stack([np.bincount(block, column) for column in own.T]))
        for _ in part:
            drawn = sum(own[rng.integers(len(own), size=len(own))].sum(axis=0) for own in blocks)
            found.append(_icc_of_moments(drawn))
    undefined = np.isnan(found).mean()
    if undefined > MOST_UNDEFINED:
        return np.nan, np.nan, f"{undefined:.0%} of the replicates had no variation"
    return (*np.nanpercentile(found, [2.5, 97.5]).tolist(), "")
