"""The spots where a method and its reference are farthest apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from nephrospot.pairs import Pairs

MOST = 20
COLUMNS = ["method", "tissue", "reference", "rank", "slide", "barcode", "x_um", "y_um", "predicted", "observed", "off"]


def choose_worst(cohort: Iterable[Pairs], methods: Sequence[str], most: int = MOST) -> pd.DataFrame:
    """The worst spots of every method and comparison, over all slides.

    Against a pathologist, who says the same quantity, the worst are farthest in percentage points; against a share of
    mRNA those farthest from the straight line through all spots, in standard deviations.

    Parameters
    ----------
    cohort
        Of `nephrospot.pairs.gather_pairs`, with places in µm on the slide.
    methods
        Whose spots are wanted.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``rank`` from 1, ``off`` as said, above 0 where the method sees more than expected.
    """
    named = sorted(((method, pairs) for pairs in cohort for method in methods), key=_name)
    rows = [row for method, pairs in named for row in _list_worst(pairs, method, most)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _name(item: tuple[str, Pairs]) -> tuple[str, str, str]:
    method, pairs = item
    return method, pairs.tissue, pairs.reference


def _list_worst(pairs: Pairs, method: str, most: int) -> list[dict]:
    """Rows of one method and comparison, slide by slide in memory."""
    measure = _measure_off(pairs, method)
    found: list[tuple[float, int, int, float]] = []
    for place, number in enumerate(pairs.by_name if measure else ()):
        off = measure(*_sides(pairs, number, method))
        size = np.nan_to_num(np.abs(off).round(9), nan=-1.0)
        # Of equal ones the first by name, so that the order of the rows is no information.
        first = [index for index in np.argsort(-size, kind="stable")[:most] if size[index] >= 0]
        found += [(-size[index], place, int(index), float(off[index])) for index in first]
        found = sorted(found)[:most]
    rows = []
    for rank, (_, place, index, off) in enumerate(found, start=1):
        number = pairs.by_name[place]
        x, y = _sides(pairs, number, method)
        row = {"method": method, **pairs.key, "rank": rank, "slide": pairs.slides[number], "off": off}
        row |= {"barcode": pairs.barcodes(number)[index], "predicted": x[index], "observed": y[index]}
        rows.append(row | dict(zip(("x_um", "y_um"), pairs.places(number)[index], strict=True)))
    return rows


def _sides(pairs: Pairs, number: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed of a slide's rows, NaN where the method lacks the spot."""
    return pairs.predicted(number, [method])[:, 0], pairs.observed(number)


def _measure_off(pairs: Pairs, method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """How far a spot is off, as a function of predicted and observed; None where a side is constant."""
    if pairs.reference == "pathologist":
        return lambda x, y: x - y
    n, sums, products = 0, np.zeros(2), np.zeros((2, 2))
    ends = []
    for number in pairs.by_name:
        values = np.stack(_sides(pairs, number, method))
        values = values[:, np.isfinite(values).all(axis=0)]
        if values.shape[1]:
            n, sums, products = n + values.shape[1], sums + values.sum(axis=1), products + values @ values.T
            ends.append([values.min(axis=1), values.max(axis=1)])
    if not n or (np.ptp(ends, axis=(0, 1)) == 0).any():
        return None
    x, y = sums / n
    (xx, xy), (_, yy) = products / n - np.outer(sums, sums) / n**2
    slope = xy / yy
    spread = np.sqrt(max(xx - slope * xy, 0.0))
    return lambda predicted, observed: (predicted - (x + slope * (observed - y))) / spread
