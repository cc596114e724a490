"""How well each method's tissue shares follow the pathologist and the transcripts.

In: tables of spots joined by barcode. Out: one row a method, comparison and level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from nephrospot.errors import InputError, did_you_mean
from nephrospot.moran import NONE as NO_LINKS
from nephrospot.moran import Links, link_spots
from nephrospot.pairs import Pairs

REFERENCES = ("pathologist", "rctd", "nnls", "rctd_cells", "rctd_area", "rctd_second")
PAIR_COLUMNS = ["slide", "method", "tissue", "reference", "barcode", "x_px", "y_px", "predicted", "observed", "dropped"]
NUMBERS = ["r", "rho", "r_positive", "auroc", "ccc", "mean_error_pp", "mae_pp", "moran_i"]
COLUMNS = ["method", "tissue", "reference", "level", "n", "n_slides", *NUMBERS, "reason", "dropped"]


def join_spots(
    slide: str,
    method: str,
    spots: pd.DataFrame,
    comparisons: Sequence[Mapping[str, str]],
    scores: pd.DataFrame | None = None,
    proportions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Pair a method's percentage with its reference in every spot of one slide, by barcode.

    Parameters
    ----------
    slide, method : str
        Names.
    spots : DataFrame
        spots.parquet: ``barcode, x_px, y_px, reason``, ``{tissue}_percent`` (0 to 100).
    comparisons : list of mappings
        ``{"tissue": …, "reference": …}`` with a name of `REFERENCES`.
    scores : DataFrame, optional
        ``barcode`` and one column a tissue (0 to 100).
    proportions : DataFrame, optional
        proportions.parquet: ``barcode, deconvolution, status``, ``tissue:{tissue}`` (0 to 1).

    Returns
    -------
    DataFrame
        One row a comparison and spot: ``slide, method, tissue, reference, barcode, x_px, y_px``,
        ``predicted`` and ``observed`` (percent), ``dropped`` (why one is lacking, else empty).
        Barcodes unknown to ``spots`` don't appear.

    Raises
    ------
    InputError
        An unknown reference, or a barcode twice in one table.
    """
    _refuse_repeats(spots, f"{slide}, {method}: spots")
    reason = spots.get("reason", pd.Series("", index=spots.index)).astype(object).fillna("").replace("", "not measured")
    barcodes, pairs = pd.Index(spots["barcode"], dtype=object), []
    for comparison in comparisons:
        tissue, reference = comparison["tissue"], comparison["reference"]
        observed, absent = _reference_values(slide, tissue, reference, barcodes, scores, proportions)
        column = f"{tissue}_percent"
        predicted = spots[column].to_numpy(float) if column in spots else np.full(len(spots), np.nan)
        lacking = reason.to_numpy() if column in spots else f"{method} doesn't segment {tissue}"
        dropped = np.where(np.isnan(predicted), lacking, np.where(np.isnan(observed), absent, ""))
        named = {"slide": slide, "method": method, "tissue": tissue, "reference": reference, "barcode": barcodes}
        values = {"predicted": predicted, "observed": observed, "dropped": dropped.astype(object)}
        pairs.append(pd.DataFrame(named | {name: spots[name].to_numpy() for name in ("x_px", "y_px")} | values))
    return pd.concat(pairs, ignore_index=True)


def _reference_values(slide, tissue, reference, barcodes, scores, proportions) -> tuple[np.ndarray, np.ndarray]:
    """Observed percentages of the barcodes, NaN where there is none, and why it isn't there (text)."""
    if reference not in REFERENCES:
        raise InputError(f"Comparisons: unknown reference {reference!r}; {did_you_mean(reference, REFERENCES)}")
    held = scores if reference == "pathologist" else proportions
    column = tissue if reference == "pathologist" else f"tissue:{tissue}"
    if held is not None and reference != "pathologist":
        held = held[(held["deconvolution"] == reference).to_numpy()]
    if held is None or not len(held):
        return np.full(len(barcodes), np.nan), np.full(len(barcodes), f"no {reference} for {slide}", object)
    _refuse_repeats(held, f"{slide}: {reference}")
    at = pd.Index(held["barcode"], dtype=object).get_indexer(barcodes)
    factor = 1 if reference == "pathologist" else 100
    values = held[column].to_numpy(float) * factor if column in held else np.full(len(held), np.nan)
    without = "not scored" if reference == "pathologist" else f"no {reference} proportion"
    told = held.get("status", pd.Series("used", index=held.index)).astype(object).replace("used", without)
    reasons = told.fillna(without).to_numpy() if column in held else np.full(len(held), f"no column {column!r}", object)
    known = at >= 0
    return np.where(known, values[at], np.nan), np.where(known, reasons[at], without)


def _refuse_repeats(table: pd.DataFrame, what: str) -> None:
    repeated = table["barcode"][table["barcode"].duplicated()]
    if len(repeated):
        raise InputError(f"{what} have barcode {repeated.iloc[0]} twice; keep one row a barcode.")


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
            found[order, place] = [{"method": method} | pairs.key | row for row in rows]
    return pd.DataFrame([row for key in sorted(found) for row in found[key]], columns=COLUMNS)


def _link_methods(pairs: Pairs, methods: Sequence[str]) -> dict[tuple[str, int], tuple[Links, Links]]:
    """For Moran's I: {(method, slide's number): of the values as they are, and with the slide's means taken off}."""
    links = {}
    for number in range(len(pairs.slides)):
        for method in methods:
            if pairs.lacking(number, method) is not None:
                x, y, place = _take_complete(pairs, number, method)
                x_mid, y_mid = (_centre(values, [len(values)]) for values in (x, y))
                links[method, number] = link_spots(x, y, place), link_spots(x_mid, y_mid, place)
    return links


def _take_complete(pairs: Pairs, number: int, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted, observed and places of the spots of one slide that a method has."""
    predicted = pairs.predicted(number, [method])[:, 0]
    known = np.isfinite(predicted)
    return predicted[known], pairs.observed(number)[known], pairs.places(number)[known]


def _describe_method(pairs: Pairs, method: str, links: Mapping[int, tuple[Links, Links]]) -> list[dict]:
    """Rows of one method and comparison: pooled, within, and its slides in the order in which they came."""
    numbers = [number for number in pairs.by_name if pairs.lacking(number, method) is not None]
    sides, lacking, slides = [], Counter(), {}
    for number in numbers:
        x, y, _ = _take_complete(pairs, number, method)
        level, counted = f"slide:{pairs.slides[number]}", pairs.lacking(number, method)
        own = links.get(number, (NO_LINKS, NO_LINKS))
        slides[number] = _describe(pairs.reference, level, x, y, [len(x)], counted, own[0])
        sides.append(np.stack([x, y]))
        lacking += counted
    sizes = [side.shape[1] for side in sides]
    x, y = np.concatenate(sides, axis=1) if sides else np.empty((2, 0))
    del sides
    rows = []
    for place, level in enumerate(("pooled", "within") if numbers else ("pooled",)):
        own = sum((links[number][place] for number in numbers if number in links), NO_LINKS)
        rows.append(_describe(pairs.reference, level, x, y, sizes, lacking, own))
    return rows + [slides[number] for number in sorted(numbers)]


def _describe(
    reference: str, level: str, x: np.ndarray, y: np.ndarray, sizes: Sequence[int], lacking: Counter, links: Links
) -> dict:
    """One row's numbers.

    Parameters
    ----------
    x, y
        Predicted and observed in the complete spots, slide by slide.
    sizes
        Complete spots of each slide.
    lacking
        Incomplete spots by reason.
    """
    counted = sorted(lacking.items(), key=lambda item: (-item[1], item[0]))
    n_slides = sum(size > 0 for size in sizes)
    row = dict.fromkeys(NUMBERS, np.nan) | {"level": level, "n": len(x), "n_slides": n_slides}
    row["dropped"] = "; ".join(f"{count:,} {why}" for why, count in counted)
    if level != "within" and len(x) and reference == "pathologist":
        row |= {"ccc": concordance(x, y), "mean_error_pp": np.mean(x - y), "mae_pp": np.mean(np.abs(x - y))}
    if level == "within":
        x, y = (_centre(values, sizes) for values in (x, y))
    x_rank, y_rank = stats.rankdata(x), stats.rankdata(y)
    if level != "within":
        row |= _describe_presence(x, y, x_rank)
    row["reason"] = _why_undefined(reference, level, x, y, n_slides, counted)
    if not row["reason"]:
        row |= {"r": stats.pearsonr(x, y).statistic, "rho": float(np.corrcoef(x_rank, y_rank)[0, 1])}
        row["moran_i"] = links.moran_i(_slope(x, y))
    return row


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


def _describe_presence(x: np.ndarray, y: np.ndarray, x_rank: np.ndarray) -> dict:
    """For tissues that most spots have none of: r where there is some, and whether there is any."""
    some, present = (x > 0) | (y > 0), y > 0
    row, n = {}, int(present.sum())
    if some.sum() >= 3 and not _is_constant(x[some]) and not _is_constant(y[some]):
        row["r_positive"] = stats.pearsonr(x[some], y[some]).statistic
    if 0 < n < len(y):
        # The area under the curve is Mann and Whitney's U as a share of all pairs.
        row["auroc"] = float((x_rank[present].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))
    return row


def _centre(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Subtract each slide's mean; a slide where all is the same becomes exactly zero."""
    centred = np.zeros_like(values)
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        own = slice(end - size, end)
        if not _is_constant(values[own]):
            centred[own] = values[own] - values[own].mean()
    return centred


def _is_constant(values: np.ndarray) -> bool:
    return len(values) == 0 or np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max())


def _why_undefined(reference: str, level: str, x: np.ndarray, y: np.ndarray, n_slides: int, counted: list) -> str:
    n = len(x)
    if not n and not counted:
        return "no spots from this method"
    if n < 3:
        return f"only {n} spots with both values" + (f" (mostly: {counted[0][0]})" if counted else "")
    if level == "within" and n_slides < 2:
        return "needs two slides"
    for side, values in (("prediction", x), (reference, y)):
        if _is_constant(values):
            where = " on every slide" if level == "within" else ""
            value = "" if level == "within" else f"{values[0]:g} "
            return f"{side} constant{where} ({value}in {n:,} spots)"
    return ""


def concordance(x: np.ndarray, y: np.ndarray) -> float:
    """Lin's concordance correlation coefficient with moments over n (Lin 1989); NaN if both are the same constant."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread > 0 else float("nan")
