"""How well each method's tissue shares follow the pathologist and the transcripts.

In: tables of spots joined by barcode. Out: one row a method, comparison and level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from nephrospot.moran import NONE as NO_LINKS
from nephrospot.moran import Links, link_spots
from nephrospot.pairs import Pairs
from nephrospot.pooled import Moments, Ranks, add_up, is_constant
from nephrospot.spool import Parts

NUMBERS = ["r", "rho", "r_positive", "auroc", "ccc", "mean_error_pp", "mae_pp", "moran_i"]
COLUMNS = ["method", "tissue", "reference", "level", "n", "n_slides", *NUMBERS, "reason", "dropped"]


def correlate(cohort: Iterable[Pairs], methods: Sequence[str], moran: bool = True) -> pd.DataFrame:
    """Correlate predicted with observed percentages: pooled, within slides and on every slide.

    Pooled r over all spots is what the paper most likely prints. Within slides, the slides' means
    are subtracted from both sides first, which is the repeated-measures correlation (Bakdash and
    Marusich 2017, Front Psychol 8:456). Agreement in percentage points and Lin's concordance
    (1989, Biometrics 45:255) only make sense against the pathologist, who estimates an area as the
    masks do, and not within slides, where any offset is gone.

    Parameters
    ----------
    cohort : iterable of `nephrospot.pairs.Pairs`
        One a comparison, in the order wanted.
    methods : list of str
        In the order wanted; a method without spots gets a row that says so.
    moran : bool
        Whether to compute Moran's I (which imports squidpy, some seconds).

    Returns
    -------
    DataFrame
        ``method, tissue, reference, level`` ("pooled", "within", "slide:<id>"), ``n`` (spots with
        both values), ``n_slides``, ``r, rho, ccc, mean_error_pp`` (predicted minus observed),
        ``mae_pp, moran_i``, ``reason`` (why r is NaN) and ``dropped`` (spots without both values,
        counted by reason); ``r_positive`` over the spots where either side isn't 0, and ``auroc`` of
        the prediction for any of the tissue at all in the reference, both NaN within slides.
        `nephrospot.certainty.add_certainty` says how sure r is.
    """
    found = {}
    for place, pairs in enumerate(cohort):
        links = _link_methods(pairs, methods) if moran else {}
        for order, method in enumerate(methods):
            rows = _describe_method(
                pairs, method, {number: own for (name, number), own in links.items() if name == method}
            )
            # A table takes a tenth of the memory of its rows.
            found[order, place] = pd.DataFrame([{"method": method} | pairs.key | row for row in rows], columns=COLUMNS)
    return pd.concat([found[key] for key in sorted(found)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)


def _link_methods(pairs: Pairs, methods: Sequence[str]) -> dict[tuple[str, int], tuple[Links, Links]]:
    """For Moran's I: {(method, slide's number): of the values as they are, and with the slide's means taken off}."""
    links = {}
    for number in range(len(pairs.slides)):
        for method in methods:
            if pairs.lacking(number, method) is not None:
                sides = _take_complete(pairs, number, method)
                place = pairs.places(number)[pairs.complete(number, [method])[:, 0]]
                links[method, number] = link_spots(*sides, place), link_spots(*_centre(sides), place)
    return links


def _take_complete(pairs: Pairs, number: int, method: str) -> np.ndarray:
    """Predicted and observed in the spots of one slide that a method has, (2, spots)."""
    predicted = pairs.predicted(number, [method])[:, 0]
    known = np.isfinite(predicted)
    return np.stack([predicted[known], pairs.observed(number)[known]])


def _describe_method(pairs: Pairs, method: str, links: Mapping[int, tuple[Links, Links]]) -> list[dict]:
    """Rows of one method and comparison: pooled, within, and its slides in the order in which they came."""
    numbers = [number for number in pairs.by_name if pairs.lacking(number, method) is not None]
    lacking = {number: pairs.lacking(number, method) for number in numbers}
    sides = Parts(lambda number: _take_complete(pairs, number, method), numbers)
    levels = {"pooled": (sides, sum(lacking.values(), Counter()))}
    if numbers:
        levels["within"] = Parts(lambda number: _centre(sides[number]), range(len(sides))), levels["pooled"][1]
    rows = []
    for place, (level, (parts, counted)) in enumerate(levels.items()):
        own = sum((links[number][place] for number in numbers if number in links), NO_LINKS)
        rows.append(_describe(pairs.reference, level, parts, counted, own))
    for number in sorted(numbers):
        level, part = f"slide:{pairs.slides[number]}", [sides[numbers.index(number)]]
        own = links.get(number, (NO_LINKS, NO_LINKS))[0]
        rows.append(_describe(pairs.reference, level, part, lacking[number], own))
    return rows


def _describe(reference: str, level: str, parts: Sequence[np.ndarray], lacking: Counter, links: Links) -> dict:
    """One row's numbers.

    Parameters
    ----------
    parts
        Predicted and observed in the complete spots of each slide, (2, spots).
    lacking
        Incomplete spots by reason.
    """
    moments = add_up(parts)
    counted = sorted(lacking.items(), key=lambda item: (-item[1], item[0]))
    n_slides = sum(part.shape[1] > 0 for part in parts)
    row = dict.fromkeys(NUMBERS, np.nan) | {"level": level, "n": moments.n, "n_slides": n_slides}
    row["dropped"] = "; ".join(f"{count:,} {why}" for why, count in counted)
    if level != "within" and moments.n and reference == "pathologist":
        error = float(moments.mean[0] - moments.mean[1])
        row |= {"ccc": moments.concordance, "mean_error_pp": error, "mae_pp": moments.distance / moments.n}
    row["reason"] = _why_undefined(reference, level, moments, n_slides, counted)
    told, ranked = level != "within", not row["reason"]
    if told or ranked:
        x_ranks = Ranks(Parts(lambda at: parts[at][0], range(len(parts))))
    if told:
        row |= _describe_presence(parts, x_ranks)
    if ranked:
        y_ranks = Ranks(Parts(lambda at: parts[at][1], range(len(parts))))
        both = Parts(lambda at: np.stack([x_ranks[at], y_ranks[at]]), range(len(parts)))
        row |= {"r": moments.r, "rho": add_up(both).r, "moran_i": links.moran_i(moments.slope)}
    return row


def _describe_presence(parts: Sequence[np.ndarray], x_ranks: Ranks) -> dict:
    """For tissues that most spots have none of: r where there is some, and whether there is any."""
    some = add_up(Parts(lambda at: parts[at][:, (parts[at] > 0).any(axis=0)], range(len(parts))))
    row = {"r_positive": some.r} if some.n >= 3 and np.isfinite(some.r) else {}
    present = [part[1] > 0 for part in parts]
    n, without = (sum(int((own == value).sum()) for own in present) for value in (True, False))
    if n and without:
        # The area under the curve is Mann and Whitney's U as a share of all pairs.
        ranks = sum(float(x_ranks[at][own].sum()) for at, own in enumerate(present))
        row["auroc"] = (ranks - n * (n + 1) / 2) / (n * without)
    return row


def _centre(part: np.ndarray) -> np.ndarray:
    """Subtract a slide's means, (2, spots); a side where all is the same becomes exactly zero."""
    centred = np.zeros_like(part)
    for own, values in zip(centred, part, strict=True):
        if len(values) and not is_constant(values.min(), values.max()):
            own[:] = values - values.mean()
    return centred


def _why_undefined(reference: str, level: str, moments: Moments, n_slides: int, counted: list) -> str:
    n = moments.n
    if not n and not counted:
        return "no spots from this method"
    if n < 3:
        return f"only {n} spots with both values" + (f" (mostly: {counted[0][0]})" if counted else "")
    if level == "within" and n_slides < 2:
        return "needs two slides"
    for side, constant, value in zip(("prediction", reference), moments.constant, moments.low, strict=True):
        if constant:
            where = " on every slide" if level == "within" else ""
            value = "" if level == "within" else f"{value:g} "
            return f"{side} constant{where} ({value}in {n:,} spots)"
    return ""
