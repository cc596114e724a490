"""How well each method's tissue shares follow the pathologist and the transcripts.

In: tables of spots joined by barcode. Out: one row a method, comparison and level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from nephrospot.errors import InputError, did_you_mean
from nephrospot.neighbours import quiet_squidpy

REFERENCES = ("pathologist", "rctd", "nnls", "rctd_cells", "rctd_area", "rctd_second")
PAIR_COLUMNS = ["slide", "method", "tissue", "reference", "barcode", "x_px", "y_px", "predicted", "observed", "dropped"]
NUMBERS = ["r", "rho", "r_positive", "auroc", "ccc", "mean_error_pp", "mae_pp", "moran_i"]
COLUMNS = ["method", "tissue", "reference", "level", "n", "n_slides", *NUMBERS, "reason", "dropped"]
FEWEST_FOR_MORAN = 10  # spots on a slide; a hexagonal neighbourhood needs seven


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
    reason = spots.get("reason", pd.Series("", index=spots.index)).astype(object).fillna("")
    pairs = []
    for comparison in comparisons:
        tissue, reference = comparison["tissue"], comparison["reference"]
        observed = _reference_values(slide, tissue, reference, scores, proportions)
        pair = spots[["barcode", "x_px", "y_px"]].assign(slide=slide, method=method, tissue=tissue, reference=reference)
        column = f"{tissue}_percent"
        pair["predicted"] = spots[column].astype(float) if column in spots else np.nan
        lacking = reason.replace("", "not measured") if column in spots else f"{method} doesn't segment {tissue}"
        pair = pair.assign(lacking=lacking).merge(observed, on="barcode", how="left", sort=False)
        without = "not scored" if reference == "pathologist" else f"no {reference} proportion"
        absent = pair["absent"].where(
            pair["absent"].notna(), without if len(observed) else f"no {reference} for {slide}"
        )
        conditions = [pair["predicted"].isna(), pair["observed"].isna()]
        pair["dropped"] = np.select(conditions, [pair["lacking"].astype(object), absent.astype(object)], default="")
        pairs.append(pair[PAIR_COLUMNS])
    return pd.concat(pairs, ignore_index=True)


def _reference_values(slide, tissue, reference, scores, proportions) -> pd.DataFrame:
    """Columns barcode, observed (percent) and absent (why it isn't there)."""
    if reference not in REFERENCES:
        raise InputError(f"Comparisons: unknown reference {reference!r}; {did_you_mean(reference, REFERENCES)}")
    held = scores if reference == "pathologist" else proportions
    column = tissue if reference == "pathologist" else f"tissue:{tissue}"
    if held is not None and reference != "pathologist":
        held = held[held["deconvolution"] == reference]
    if held is None or not len(held):
        return pd.DataFrame({"barcode": pd.Series(dtype=object), "observed": 0.0, "absent": pd.Series(dtype=object)})
    _refuse_repeats(held, f"{slide}: {reference}")
    factor = 1 if reference == "pathologist" else 100
    values = held[column].astype(float) * factor if column in held else np.nan
    absent = f"no column {column!r}" if column not in held else held.get("status", pd.Series(pd.NA, index=held.index))
    table = pd.DataFrame({"barcode": held["barcode"].astype(object), "observed": values, "absent": absent})
    return table.replace({"absent": {"used": pd.NA}})


def _refuse_repeats(table: pd.DataFrame, what: str) -> None:
    repeated = table["barcode"][table["barcode"].duplicated()]
    if len(repeated):
        raise InputError(f"{what} have barcode {repeated.iloc[0]} twice; keep one row a barcode.")


def correlate(
    tables: Iterable[pd.DataFrame],
    comparisons: Sequence[Mapping[str, str]],
    methods: Sequence[str],
    moran: bool = True,
) -> pd.DataFrame:
    """Correlate predicted with observed percentages: pooled, within slides and on every slide.

    Pooled r over all spots is what the paper most likely prints. Within slides, the slides' means
    are subtracted from both sides first, which is the repeated-measures correlation (Bakdash and
    Marusich 2017, Front Psychol 8:456). Agreement in percentage points and Lin's concordance
    (1989, Biometrics 45:255) only make sense against the pathologist, who estimates an area as the
    masks do, and not within slides, where any offset is gone.

    Parameters
    ----------
    tables : iterable of DataFrame
        From `join_spots`, a slide and method each.
    comparisons : list of mappings
        ``{"tissue", "reference"}``, in the order wanted.
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
    pairs = [table for table in tables if len(table)]
    pairs = pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(columns=PAIR_COLUMNS)
    slides = list(pd.unique(pairs["slide"]))
    # Sums depend on the order of the rows in their last digits; the order given must not.
    pairs = pairs.sort_values(["slide", "barcode"], kind="stable")
    rows = []
    for method in methods:
        for comparison in comparisons:
            key = {"method": method, "tissue": comparison["tissue"], "reference": comparison["reference"]}
            mine = pairs[np.logical_and.reduce([pairs[name] == value for name, value in key.items()])]
            here = [slide for slide in slides if (mine["slide"] == slide).any()]
            rows.append(key | _describe(mine, "pooled", moran))
            if here:
                rows.append(key | _describe(mine, "within", moran))
            rows += [key | _describe(mine[mine["slide"] == slide], f"slide:{slide}", moran) for slide in here]
    return pd.DataFrame(rows, columns=COLUMNS)


def _describe(pairs: pd.DataFrame, level: str, moran: bool) -> dict:
    """One row's numbers; ``pairs`` may hold incomplete spots."""
    spots = pairs[pairs["dropped"] == ""]
    x, y = spots["predicted"].to_numpy(float), spots["observed"].to_numpy(float)
    counted = (
        pairs.loc[pairs["dropped"] != "", "dropped"]
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    row = dict.fromkeys(NUMBERS, np.nan) | {"level": level, "n": len(spots), "n_slides": spots["slide"].nunique()}
    row["dropped"] = "; ".join(f"{count:,} {why}" for why, count in counted.items())
    if level != "within" and len(spots) and pairs["reference"].iloc[0] == "pathologist":
        row |= {"ccc": concordance(x, y), "mean_error_pp": np.mean(x - y), "mae_pp": np.mean(np.abs(x - y))}
    if level != "within":
        row |= _describe_presence(x, y)
    if level == "within":
        x, y = (_centre(values, spots["slide"].to_numpy()) for values in (x, y))
    row["reason"] = _why_undefined(pairs, spots, x, y, level, counted)
    if not row["reason"]:
        row |= {"r": stats.pearsonr(x, y).statistic, "rho": stats.spearmanr(x, y).statistic}
        if moran:
            row["moran_i"] = moran_of_residuals(x, y, spots)
    return row


def _describe_presence(x: np.ndarray, y: np.ndarray) -> dict:
    """For tissues that most spots have none of: r where there is some, and whether there is any."""
    some = (x > 0) | (y > 0)
    row = {}
    if some.sum() >= 3 and not _is_constant(x[some]) and not _is_constant(y[some]):
        row["r_positive"] = stats.pearsonr(x[some], y[some]).statistic
    if 0 < (y > 0).sum() < len(y):
        row["auroc"] = float(roc_auc_score(y > 0, x))
    return row


def _centre(values: np.ndarray, slides: np.ndarray) -> np.ndarray:
    """Subtract each slide's mean; a slide where all is the same becomes exactly zero."""
    centred = np.zeros_like(values)
    for slide in pd.unique(slides):
        own = slides == slide
        if not _is_constant(values[own]):
            centred[own] = values[own] - values[own].mean()
    return centred


def _is_constant(values: np.ndarray) -> bool:
    return len(values) == 0 or np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max())


def _why_undefined(pairs, spots, x, y, level, counted) -> str:
    n = len(spots)
    if not len(pairs):
        return "no spots from this method"
    if n < 3:
        return f"only {n} spots with both values" + (f" (mostly: {counted.index[0]})" if len(counted) else "")
    if level == "within" and spots["slide"].nunique() < 2:
        return "needs two slides"
    for side, values in (("prediction", x), (pairs["reference"].iloc[0], y)):
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


def moran_of_residuals(x: np.ndarray, y: np.ndarray, spots: pd.DataFrame) -> float:
    """Moran's I of what the straight line y on x leaves over, neighbours on the same slide only.

    Near 0 the spots are as good as independent; towards 1 neighbours repeat each other, and n
    spots are worth far fewer. Row-standardised weights of the six hexagonal neighbours (squidpy).

    Parameters
    ----------
    x, y : float arrays (n,)
        Predicted and observed.
    spots : DataFrame, n rows
        ``slide, x_px, y_px``.

    Returns
    -------
    float
        NaN where no slide has ten spots, or nothing is left over. Slides with fewer are left out.
    """
    slope, intercept = np.polyfit(x - x.mean(), y, 1)
    residual = y - intercept - slope * (x - x.mean())
    enough = spots.groupby("slide")["barcode"].transform("size").to_numpy() >= FEWEST_FOR_MORAN
    if not enough.any() or np.ptp(residual[enough]) <= 1e-9 * max(1.0, np.ptp(y)):
        return float("nan")
    obs = pd.DataFrame({"residual": residual[enough], "slide": pd.Categorical(spots["slide"][enough])})
    obs.index = obs.index.astype(str)
    held = ad.AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    held.obsm["spatial"] = spots.loc[enough, ["x_px", "y_px"]].to_numpy(float)
    with quiet_squidpy() as sq:
        sq.gr.spatial_neighbors_grid(held, n_neighs=6, library_key="slide")
        result = sq.gr.spatial_autocorr(held, attr="obs", genes="residual", mode="moran", n_perms=None, copy=True)
    return float(result.loc["residual", "I"])
