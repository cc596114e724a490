"""Table I as a standalone html page: a block a tissue, our convention, the published one, and print."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from nephrospot.models import TISSUES
from nephrospot.report.footnotes import Footnotes
from nephrospot.table2 import STYLE

OURS = {"dice": "Dice × 100", "hd_um": "HD, µm", "hd95_um": "HD95, µm", "msd_um": "MSD, µm"}
PUBLISHED = {"dice": "Dice* × 100", "hd_um": "HD*, µm", "msd_um": "MSD*, µm"}
MORE_STYLE = "td small{display:block;color:#666}tbody tr.print td{color:#666}"
EXPLAINED = (
    "Ours: Dice of the foreground; Hausdorff distance, its 95th percentile and mean surface distance in µm, means over "
    "the patches where both masks hold something, with 95 % intervals from drawing regions again. “At worst” also "
    "takes the patches with one empty mask, at the patch's diagonal. Patches: with distances / empty on both sides / "
    "on one.",
    "* Convention omniseg: as Omni-Seg's script computes them, mistakes included, to compare with print. Its Dice "
    "averages background and foreground, so that a prediction of nothing scores nearly 50; its distances of an empty "
    "mask run to a point outside the patch.",
)


def render_table1(table: pd.DataFrame, title: str = "Table I") -> str:
    """The page; everything from data is escaped.

    Parameters
    ----------
    table : DataFrame
        Of `nephrospot.table1.make_table1`.
    """
    notes, body = Footnotes(), []
    columns = 1 + 2 * len(OURS) + 2 * len(PUBLISHED)
    order = [*TISSUES, *sorted(set(table["tissue"]) - {*TISSUES, "Average"}), "Average"]
    for tissue in [tissue for tissue in order if (table["tissue"] == tissue).any()]:
        body.append(f'<tbody><tr><th colspan="{columns}">{escape(tissue)}</th></tr>')
        mine = table[table["tissue"] == tissue]
        for (block, label), rows in mine.groupby(["block", "label"], sort=False):
            name = escape(str(label)) + (" (published, not run here)" if block == "published" else "")
            kind = ' class="print"' if block == "published" else ""
            body.append(f"<tr{kind}><td>{name}</td>{''.join(_cells(rows, notes))}</tr>")
        body.append("</tbody>")
    ours = "".join(
        f"<th>{escape(name)}</th>" + ("" if metric == "dice" else "<th>at worst</th>") for metric, name in OURS.items()
    )
    theirs = "".join(f"<th>{escape(name)}</th>" for name in PUBLISHED.values())
    explained = "".join(f"<p>{escape(sentence)}</p>" for sentence in EXPLAINED)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}{MORE_STYLE}</style></head><body><table><caption>{escape(title)}: agreement with labelled "
        f'patches</caption><thead><tr><th rowspan="2">Method</th><th colspan="{2 * len(OURS)}">ours</th>'
        f'<th colspan="{len(PUBLISHED)}">omniseg*, this run</th><th colspan="{len(PUBLISHED)}">omniseg*, published</th>'
        f"</tr><tr>{ours}<th>patches</th>{theirs}{theirs}</tr></thead>{''.join(body)}</table>{explained}"
        f"{notes.render()}</body></html>\n"
    )


def _cells(rows: pd.DataFrame, notes: Footnotes) -> list[str]:
    ours, theirs = ({row["metric"]: row for row in _of(rows, name)} for name in ("ours", "omniseg"))
    cells = []
    for metric in OURS:
        row = ours.get(metric)
        cells.append(_mean(row, metric, "", notes))
        if metric != "dice":
            cells.append(_mean(row, metric, "worst_", notes))
    counted = ours.get("hd_um")
    counts = ("n_defined", "n_both_empty", "n_one_sided")
    cells.append("" if counted is None else " / ".join(f"{int(counted[name]):,}" for name in counts))
    cells += [_mean(theirs.get(metric), metric, "", notes) for metric in PUBLISHED]
    for metric in PUBLISHED:
        value = theirs[metric]["published"] if metric in theirs else np.nan
        cells.append(_number(value, metric, 2) if np.isfinite(value) else "")
    return [f"<td>{cell}</td>" for cell in cells]


def _of(rows: pd.DataFrame, convention: str) -> list[dict]:
    return rows[rows["convention"] == convention].to_dict("records")


def _mean(row: dict | None, metric: str, prefix: str, notes: Footnotes) -> str:
    if row is None or pd.isna(row["n"]):
        return ""
    value, lo, hi = (row[f"{prefix}{name}"] for name in ("mean", "lo", "hi"))
    if not np.isfinite(value):
        return "–" + notes.mark(_why_undefined(row))
    if np.isfinite(lo):
        return f"{_number(value, metric)}<small>{_number(lo, metric)} – {_number(hi, metric)}</small>"
    return _number(value, metric) + notes.mark(row[f"{prefix}interval"])


def _why_undefined(row: dict) -> str:
    if row["tissue"] == "Average":
        return "a tissue has no value, so there is no average"
    return f"no patch has a value: {row['n_both_empty']} are empty on both sides, {row['n_one_sided']} on one"


def _number(value: float, metric: str, digits: int = 1) -> str:
    return f"{100 * value if metric == 'dice' else value:.{digits}f}"
