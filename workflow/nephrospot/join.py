"""Tables of spots joined by barcode: what a method says of each spot, and what the reference says of it.

In: spots.parquet, a pathologist's scores and proportions.parquet of one slide. Out: one row a spot and comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, did_you_mean

REFERENCES = ("pathologist", "rctd", "nnls", "rctd_cells", "rctd_area", "rctd_second")
PAIR_COLUMNS = ["slide", "method", "tissue", "reference", "barcode", "x_px", "y_px", "predicted", "observed", "dropped"]


def join_each(
    slide: str,
    method: str,
    spots: pd.DataFrame,
    comparisons: Sequence[Mapping[str, str]],
    scores: pd.DataFrame | None = None,
    proportions: pd.DataFrame | None = None,
) -> Iterator[pd.DataFrame]:
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

    Yields
    ------
    DataFrame
        For each comparison, one row a spot: ``slide, method, tissue, reference, barcode, x_px, y_px``,
        ``predicted`` and ``observed`` (percent), ``dropped`` (why one is lacking, else empty).
        Barcodes unknown to ``spots`` don't appear.

    Raises
    ------
    InputError
        An unknown reference, or a barcode twice in one table.
    """
    _refuse_repeats(spots["barcode"], f"{slide}, {method}: spots")
    reason = spots.get("reason", pd.Series("", index=spots.index)).astype(object).fillna("").replace("", "not measured")
    barcodes = pd.Index(spots["barcode"], dtype=object)
    for comparison in comparisons:
        tissue, reference = comparison["tissue"], comparison["reference"]
        observed, absent = _reference_values(slide, tissue, reference, barcodes, scores, proportions)
        column = f"{tissue}_percent"
        predicted = spots[column].to_numpy(float) if column in spots else np.full(len(spots), np.nan)
        lacking = reason.to_numpy() if column in spots else f"{method} doesn't segment {tissue}"
        dropped = np.where(np.isnan(predicted), lacking, np.where(np.isnan(observed), absent, ""))
        named = {"slide": slide, "method": method, "tissue": tissue, "reference": reference, "barcode": barcodes}
        values = {"predicted": predicted, "observed": observed, "dropped": dropped.astype(object)}
        yield pd.DataFrame(named | {name: spots[name].to_numpy() for name in ("x_px", "y_px")} | values)


def join_spots(*given, **named) -> pd.DataFrame:
    """`join_each` in one table."""
    return pd.concat(join_each(*given, **named), ignore_index=True)


def _reference_values(slide, tissue, reference, barcodes, scores, proportions) -> tuple[np.ndarray, np.ndarray]:
    """Observed percentages of the barcodes, NaN where there is none, and why it isn't there (text)."""
    if reference not in REFERENCES:
        raise InputError(f"Comparisons: unknown reference {reference!r}; {did_you_mean(reference, REFERENCES)}")
    held = scores if reference == "pathologist" else proportions
    column = tissue if reference == "pathologist" else f"tissue:{tissue}"
    rows = np.arange(0 if held is None else len(held))
    if reference != "pathologist" and len(rows):
        rows = np.flatnonzero(held["deconvolution"].to_numpy() == reference)
    if not len(rows):
        return np.full(len(barcodes), np.nan), np.full(len(barcodes), f"no {reference} for {slide}", object)
    own = pd.Index(held["barcode"].to_numpy()[rows], dtype=object)
    _refuse_repeats(own, f"{slide}: {reference}")
    at = own.get_indexer(barcodes)
    factor = 1 if reference == "pathologist" else 100
    values = held[column].to_numpy(float)[rows] * factor if column in held else np.full(len(rows), np.nan)
    without = "not scored" if reference == "pathologist" else f"no {reference} proportion"
    reasons = np.full(len(rows), without if column in held else f"no column {column!r}", object)
    if "status" in held and column in held:
        told = held["status"].to_numpy()[rows]
        unused = ~pd.isna(told) & (told != "used")
        reasons[unused] = told[unused]
    known = at >= 0
    return np.where(known, values[at], np.nan), np.where(known, reasons[at], without)


def _refuse_repeats(barcodes: pd.Series | pd.Index, what: str) -> None:
    repeated = barcodes[barcodes.duplicated()]
    if len(repeated):
        raise InputError(f"{what} have barcode {next(iter(repeated))} twice; keep one row a barcode.")
