"""Table I: agreement with labelled patches by tissue, in our convention and in the published one, beside print.

In: predictions of patches, the methods, config/published_table1.tsv. Out: table1.parquet (a row a patch and figure),
table1.tsv (means, counts and intervals) and table1.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.agree import BOTH_EMPTY, METRICS, ONE_SIDED, agree
from nephrospot.errors import InputError, did_you_mean
from nephrospot.files import whole, write_parquet
from nephrospot.intervals import DRAWS, resample_rois
from nephrospot.models import TISSUES
from nephrospot.published import read_published_cells
from nephrospot.report.table1_page import render_table1
from nephrospot.training.patches import read_patch

AVERAGE = "Average"
LONG_COLUMNS = ["method", "tissue", "patch", "roi", "convention", "metric", "value", "worst", "status"]
KEYS = ["method", "tissue", "convention", "metric"]
FIGURES = ["mean", "lo", "hi", "worst_mean", "worst_lo", "worst_hi"]
COUNTS = ["n", "n_defined", "n_both_empty", "n_one_sided", "n_rois"]
SUMMARY_COLUMNS = [*KEYS, *FIGURES, *COUNTS, "interval", "worst_interval"]
# Columns of the published table, and what they are here: name and factor.
PUBLISHED_METRICS = {"dice_x100": ("dice", 0.01), "hd_um": ("hd_um", 1.0), "msd_um": ("msd_um", 1.0)}
PUBLISHED_COLUMNS = ["method", "tissue", *PUBLISHED_METRICS, "source", "note"]
PUBLISHED_CONVENTION = "omniseg"


def measure_patches(
    method: str,
    predictions: Iterable[tuple[tuple, np.ndarray, np.ndarray]],
    conventions: Iterable[str] = tuple(METRICS),
) -> pd.DataFrame:
    """Every figure of every patch.

    Parameters
    ----------
    method
        The row's name.
    predictions
        Of `nephrospot.training.validate.predict_patches`: a patch (``image, mask, tissue, roi, mpp``, if wanted
        ``side_px``), the predicted and the labelled mask, (H, W) each.
    conventions
        Names in `nephrospot.agree.METRICS`.

    Returns
    -------
    DataFrame
        `LONG_COLUMNS`: ``patch`` is the image's path; ``value`` and ``worst`` as in `nephrospot.agree.Agreement`.

    Raises
    ------
    InputError
        When a convention can't measure a patch, such as a wholly black one; the sentence names it.
    """
    rows, conventions = [], list(conventions)
    for patch, predicted, truth in predictions:
        # The published convention looks at the part of the picture that isn't black.
        read = PUBLISHED_CONVENTION in conventions
        image = read_patch(patch.image, patch.mask, int(getattr(patch, "side_px", 0)))[0] if read else None
        for convention in conventions:
            try:
                agreement = agree(convention, predicted, truth, float(patch.mpp), image)
            except InputError as error:
                raise InputError(f"{patch.image}: {error}") from error
            named = (method, patch.tissue, str(patch.image), str(patch.roi), convention)
            rows += [
                (*named, name, value, agreement.worst[name], agreement.status)
                for name, value in agreement.values.items()
            ]
    return pd.DataFrame(rows, columns=LONG_COLUMNS)


def summarise(long: pd.DataFrame, seed: int = 0, draws: int = DRAWS) -> pd.DataFrame:
    """Means over patches by method and tissue, and the average of the tissues.

    Parameters
    ----------
    long : DataFrame
        Of `measure_patches`, of one or more methods.
    seed
        Of the intervals' draws.

    Returns
    -------
    DataFrame
        `SUMMARY_COLUMNS`. ``mean`` is that of the patches with a value, ``worst_mean`` also takes those with one empty
        mask, at the patch's diagonal; ``lo, hi`` and ``worst_lo, worst_hi`` are 95 % intervals of both by drawing
        regions, and ``interval`` and ``worst_interval`` say how, or why there is none. ``n`` patches, of which
        ``n_defined`` have a value, ``n_both_empty`` are empty on both sides and ``n_one_sided`` on one (their Dice is
        0, and so has a value); ``n_rois`` regions. Tissue "Average" is the plain mean of the tissues' means, NaN
        where one of them is.
    """
    rows = []
    for (method, convention, metric), group in long.groupby(["method", "convention", "metric"], sort=False):
        tissues = sorted(group["tissue"].unique(), key=_rank)
        parts = {tissue: group[group["tissue"] == tissue] for tissue in tissues}
        own = [_summarise_parts([part], seed, draws) for part in parts.values()]
        own.append(_summarise_parts(list(parts.values()), seed, draws))
        rows += [
            {"method": method, "tissue": tissue, "convention": convention, "metric": metric} | row
            for tissue, row in zip([*tissues, AVERAGE], own, strict=True)
        ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def read_published_table1(path: str | Path) -> pd.DataFrame:
    """Read published patch metrics (tab separated, ``#`` comments).

    Returns
    -------
    DataFrame
        ``method, tissue, metric, value, note``: Dice from 0 to 1 (of background and foreground), distances in µm.

    Raises
    ------
    InputError
        A column is lacking, or a value isn't a number.
    """
    table = read_published_cells(path, PUBLISHED_COLUMNS)
    parts = []
    for column, (metric, factor) in PUBLISHED_METRICS.items():
        values = pd.to_numeric(table[column], errors="coerce")
        for place in np.flatnonzero(values.isna()):
            row = table.iloc[place]
            raise InputError(f"{path}: {row['method']}, {row['tissue']}: {column} is {row[column]!r}; give a number.")
        parts.append(table[["method", "tissue", "note"]].assign(metric=metric, value=(values * factor).round(6)))
    return pd.concat(parts, ignore_index=True)[["method", "tissue", "metric", "value", "note"]]


def make_table1(summary: pd.DataFrame, methods_config: Mapping[str, Mapping], published: pd.DataFrame) -> pd.DataFrame:
    """The summary with labels and the published values, which belong to the convention omniseg alone.

    Parameters
    ----------
    summary : DataFrame
        Of `summarise`.
    methods_config
        {method: {"label": text, "published": name in ``published`` or None}}, in the order wanted.
    published : DataFrame
        Of `read_published_table1`.

    Returns
    -------
    DataFrame
        ``block`` ("method", "published"), ``label``, `SUMMARY_COLUMNS`, ``published``. What is published and wasn't run
        has rows without figures (``n`` missing), with ``method`` "" where the configuration has no such method.

    Raises
    ------
    InputError
        A method names a published one that isn't there, or is in ``summary`` but not in the configuration.
    """
    known = list(pd.unique(published["method"]))
    for method, settings in methods_config.items():
        if settings.get("published") and settings["published"] not in known:
            raise InputError(
                f"Method {method}: published {settings['published']!r} is not in the published table; "
                f"{did_you_mean(settings['published'], known)}"
            )
    for method in pd.unique(summary["method"]):
        if method not in methods_config:
            raise InputError(f"Method {method} has figures but no settings; {did_you_mean(method, methods_config)}")
    printed = {
        name: group.set_index(["tissue", "metric"])["value"].to_dict() for name, group in published.groupby("method")
    }
    claimed = {settings.get("published") for settings in methods_config.values()}
    entries = [
        ("method", method, settings.get("label") or method, settings.get("published"))
        for method, settings in methods_config.items()
    ] + [("published", "", name, name) for name in known if name not in claimed]
    rows = []
    for block, method, label, name in entries:
        left = dict(printed.get(name, {}))
        for row in summary[summary["method"] == method].to_dict("records"):
            same = row["convention"] == PUBLISHED_CONVENTION
            value = left.pop((row["tissue"], row["metric"]), np.nan) if same else np.nan
            rows.append({"block": block, "label": label, **row, "published": value})
        for (tissue, metric), value in left.items():
            row = {"block": block, "label": label, "method": method, "tissue": tissue, "metric": metric}
            rows.append(row | {"convention": PUBLISHED_CONVENTION, "published": value})
    table = pd.DataFrame(rows, columns=["block", "label", *SUMMARY_COLUMNS, "published"])
    return table.astype({name: "Int64" for name in COUNTS})


def write_table1(
    long: pd.DataFrame,
    table: pd.DataFrame,
    parquet_path: str | Path,
    tsv_path: str | Path,
    html_path: str | Path,
    title: str = "Table I",
) -> None:
    """Write the figures of all patches (Parquet), and the table for machines (tsv) and for readers (html)."""
    write_parquet(parquet_path, long[LONG_COLUMNS])
    with whole(tsv_path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="nan", float_format="%.6g", lineterminator="\n")
    with whole(html_path) as temporary:
        temporary.write_text(render_table1(table, title), encoding="utf-8")


def _summarise_parts(parts: list[pd.DataFrame], seed: int, draws: int) -> dict:
    row: dict = {}
    for column, prefix in (("value", ""), ("worst", "worst_")):
        tables = [pd.DataFrame({"roi": part["roi"], "value": part[column]}) for part in parts]
        interval = resample_rois(tables, seed, draws)
        # A tissue without a value leaves the average without one: mean() over its NaN must not pass it by.
        row[f"{prefix}mean"] = float(np.mean([table["value"].mean() for table in tables]))
        row |= {f"{prefix}lo": interval.lo, f"{prefix}hi": interval.hi, f"{prefix}interval": interval.told}
    everything = pd.concat(parts)
    return row | {
        "n": len(everything),
        "n_defined": int(everything["value"].notna().sum()),
        "n_both_empty": int((everything["status"] == BOTH_EMPTY).sum()),
        "n_one_sided": int(everything["status"].isin(ONE_SIDED).sum()),
        "n_rois": int(everything["roi"].nunique()),
    }


def _rank(tissue: str) -> tuple[int, str]:
    return (TISSUES.index(tissue) if tissue in TISSUES else len(TISSUES), tissue)
