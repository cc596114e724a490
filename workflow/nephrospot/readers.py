"""How far readers agree, with each other and with themselves: the ceiling of every r against them.

A method can't correlate with a reader better than √ICC (Spearman's attenuation), however right it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from nephrospot.blocks import ORIGINS, REPLICATES, SMALLEST_UM, assign_blocks
from nephrospot.spool import Parts, Spool
from nephrospot.studentised import MOST_UNDEFINED

Column = tuple[str, str | None]  # reader and reading
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


def agreement_icc(parts: Sequence[np.ndarray]) -> float:
    """ICC(A,1): two-way random effects, absolute agreement, single rater (McGraw & Wong 1996, Psychol Methods 1:30).

    Parameters
    ----------
    parts : sequence of (spots, readers), complete
        Such as a slide each.

    Returns
    -------
    float, 1 at best; NaN where nothing varies
    """
    centre = _find_centre(parts)
    return float(_icc_of_moments(sum(_add_up_moments(values - centre).sum(axis=0) for values in parts)))


def _find_centre(parts: Sequence[np.ndarray]) -> float:
    """Mean of all values."""
    return sum(values.sum() for values in parts) / sum(values.size for values in parts)


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
        known = sections.columns
        readers = sorted({reader for reader, _ in known})
        groups = [("between", pair) for pair in combinations(readers, 2)]
        if len(readers) > 2:
            groups.append(("between", tuple(readers)))
        taken = [(kind, " and ".join(map(str, who)), [(reader, None) for reader in who]) for kind, who in groups]
        for reader in readers:
            times = sorted({time for own, time in known if own == reader and time is not None})
            taken += [
                ("within", reader or "the reader", [(reader, time) for time in pair]) for pair in combinations(times, 2)
            ]
        found = [_compare(kind, who, sections.take(columns), seed, replicates) for kind, who, columns in taken]
        found = [row for row in found if row is not None]
        if not found:
            found = [dict.fromkeys(COLUMNS, np.nan) | {"kind": "", "who": "", "n": 0, "n_slides": 0, "n_positive": 0,
                                                       "reason": ADVICE}]  # fmt: skip
        rows += [row | {"tissue": tissue} for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


class Sections:
    """One tissue's readings in the spots of every slide, of which one slide is held at a time."""

    def __init__(self) -> None:
        self._slides: dict[str, tuple[int, list[Column]]] = {}  # where its values are, and their columns
        self._values = Spool()

    @property
    def columns(self) -> set[Column]:
        """All that some slide has."""
        return {column for _, columns in self._slides.values() for column in columns}

    def add(self, slide: str, columns: Sequence[Column], scores: np.ndarray, place: np.ndarray) -> None:
        """Add a slide.

        Parameters
        ----------
        columns
            Reader and reading; with None for the reading, each reader's first of a spot.
        scores : (spots, columns), percent, NaN where not scored
        place : (spots, 2), µm
        """
        self._slides[slide] = len(self._slides), list(columns)
        self._values.append(np.column_stack([scores, place]).astype(float).tobytes())

    def take(self, columns: Sequence[Column]) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Scores and places of the spots that have all of some columns, in their order; slides by name, if any."""

        def read(slide: str) -> tuple[np.ndarray, np.ndarray]:
            number, held = self._slides[slide]
            values = np.frombuffer(self._values.read(number)).reshape(-1, len(held) + 2)
            scores = values[:, [held.index(column) for column in columns]]
            complete = ~np.isnan(scores).any(axis=1)
            return scores[complete], values[complete, -2:]

        slides = [slide for slide in sorted(self._slides) if set(columns) <= set(self._slides[slide][1])]
        return Parts(read, [slide for slide in slides if len(read(slide)[0])])


def _gather(readings: Mapping[str, pd.DataFrame], places: Mapping[str, pd.DataFrame]) -> dict[str, Sections]:
    """Sections by tissue, spots by barcode; each table is asked for once."""
    found: dict[str, Sections] = {}
    for slide in readings:
        table = readings[slide]
        for tissue in table.columns.drop(["barcode", "reader", "reading"]):
            own = _section(table.dropna(subset=[tissue]), tissue, places.get(slide))
            found.setdefault(tissue, Sections()).add(slide, *own)
    return found


def _section(
    scored: pd.DataFrame, tissue: str, where: pd.DataFrame | None
) -> tuple[list[Column], np.ndarray, np.ndarray]:
    first = scored.groupby(["barcode", "reader"])[tissue].first().unstack("reader")
    again = scored.pivot(index="barcode", columns=["reader", "reading"], values=tissue)
    columns = [*((reader, None) for reader in first.columns), *again.columns]
    place = np.full((len(first), 2), np.nan)
    if where is not None:
        place = where.set_index("barcode")[["x_um", "y_um"]].reindex(first.index).to_numpy(float)
    return columns, np.column_stack([first, again]), place


def _compare(
    kind: str, who: str, parts: Sequence[tuple[np.ndarray, np.ndarray]], seed: int, replicates: int
) -> dict | None:
    """A row from the scores and places of each slide's complete spots; None where nothing was scored by all."""
    if not len(parts):
        return None
    n = sum(len(scores) for scores, _ in parts)
    row = dict.fromkeys(COLUMNS, np.nan) | {"kind": kind, "who": who, "n": n, "n_slides": len(parts)}
    row["n_positive"] = sum(int((scores > 0).any(axis=1).sum()) for scores, _ in parts)
    if n < FEWEST_SPOTS:
        return row | {"reason": f"only {n} spots that both saw; {FEWEST_SPOTS} are needed"}
    values = Parts(lambda at: parts[at][0], range(len(parts)))
    icc = agreement_icc(values)
    row |= {"icc": icc, "ceiling": float(np.sqrt(icc)) if icc > 0 else np.nan}
    row["lo"], row["hi"], row["reason"] = _interval(parts, _find_centre(values), seed, replicates)
    return row | (_compare_two(parts, n) if parts[0][0].shape[1] == 2 else {})


def _compare_two(parts: Sequence[tuple[np.ndarray, np.ndarray]], n: int) -> dict[str, float]:
    """Bland and Altman's figures and κ of two columns."""
    mean = sum(np.diff(scores).sum() for scores, _ in parts) / n
    reach = 1.96 * np.sqrt(sum(((np.diff(scores) - mean) ** 2).sum() for scores, _ in parts) / (n - 1))
    table = np.zeros((len(BINS) + 1,) * 2)
    for scores, _ in parts:
        np.add.at(table, tuple(bin_scores(scores).T), 1)
    first, second = np.indices(table.shape).reshape(2, -1)
    several = np.count_nonzero(table.sum(axis=0) + table.sum(axis=1)) > 1
    kappa = cohen_kappa_score(first, second, weights="quadratic", sample_weight=table.ravel()) if several else np.nan
    row = {"mean_difference_pp": mean, "limit_lo_pp": mean - reach, "limit_hi_pp": mean + reach, "kappa": kappa}
    return {name: float(value) for name, value in row.items()}


def _interval(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], centre: float, seed: int, replicates: int
) -> tuple[float, float, str]:
    """Percentiles of the ICC with blocks of spots drawn again, slide by slide; a block enters as its moments."""
    rng, found = np.random.default_rng(seed), []
    for part in np.array_split(np.arange(replicates), ORIGINS):
        origin, sums = rng.random(2) * SMALLEST_UM, 0.0
        for scores, place in parts:
            block = assign_blocks(place, SMALLEST_UM, origin)
            moments = np.column_stack([np.bincount(block, column) for column in _add_up_moments(scores - centre).T])
            blocks = len(moments)
            sums = sums + rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=len(part)) @ moments
        found.append(_icc_of_moments(sums))
    found = np.concatenate(found)
    undefined = np.isnan(found).mean()
    if undefined > MOST_UNDEFINED:
        return np.nan, np.nan, f"{undefined:.0%} of the replicates had no variation"
    return (*np.nanpercentile(found, [2.5, 97.5]).tolist(), "")
