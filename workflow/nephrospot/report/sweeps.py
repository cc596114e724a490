"""r under other choices: the magnification that a tissue is read at, and the diameter of the spots' discs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephrospot.diameters import pool_diameters
from nephrospot.report.figures import FAINT, LINES, MARKS, STYLE, to_svg
from nephrospot.report.pictures import embed_svg
from nephrospot.report.wording import tell_reference, tell_value

KEYS = ["method", "tissue", "reference"]


def gather_resolutions(correlations: pd.DataFrame, methods: Mapping[str, Mapping]) -> pd.DataFrame:
    """Pooled r of the sweep's methods ("omni-seg@5x" …), under the network's own name.

    Parameters
    ----------
    correlations
        Of `nephrospot.correlate.correlate`, with intervals.
    methods
        Of `nephrospot.readings.expand_sweep`.

    Returns
    -------
    DataFrame
        method, tissue, reference, x (magnification), n, r, lo, hi
    """
    swept = {name: facts["sweep_magnification"] for name, facts in methods.items() if "sweep_magnification" in facts}
    pooled = correlations[(correlations["level"] == "pooled") & correlations["method"].isin(swept)]
    networks = pooled["method"].str.replace(r"@[^@]*$", "", regex=True)
    table = pooled.assign(x=pooled["method"].map(swept), method=networks)
    # Where no interval could be had, there are no such columns. Comparisons stay in the order of the configuration.
    known = table.reindex(columns=[*KEYS, "x", "n", "r", "lo", "hi"])
    return known.sort_values("x", kind="stable", ignore_index=True)


def gather_diameters(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """`nephrospot.diameters.pool_diameters` in the same columns; x is the diameter in µm, without intervals."""
    pooled = pool_diameters(tables).rename(columns={"diameter_um": "x"})
    return pooled.assign(lo=np.nan, hi=np.nan)[[*KEYS, "x", "n", "r", "lo", "hi"]]


def draw_sweep(
    table: pd.DataFrame, labels: Mapping[str, str], x_label: str, here: float | None = None, log: bool = False
) -> str | None:
    """A panel a comparison, a line a method, bars for the intervals.

    Parameters
    ----------
    table
        Of `gather_resolutions` or `gather_diameters`.
    labels
        {method: its name}, in the order of the legend.
    here
        Where a dashed line stands: how it is.
    log
        Whether x doubles rather than adds.

    Returns
    -------
    str or None
        Address of the SVG; None where no r is known.
    """
    if not table["r"].notna().any():
        return None
    panels = list(table.groupby(["tissue", "reference"], sort=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * len(panels) + 1.8, 2.9), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False).ravel()
        for axis, ((tissue, reference), panel) in zip(axes, panels, strict=True):
            _draw_lines(axis, panel, labels)
            if here is not None:
                axis.axvline(here, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
            n = " to ".join(f"{n:,}" for n in sorted({panel["n"].min(), panel["n"].max()}))
            axis.set(title=f"{tissue} against {tell_reference(reference)}, n = {n}", xlabel=x_label)
            if log:
                axis.set_xscale("log", base=2)
            axis.set_xticks(sorted(panel["x"].unique()))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.minorticks_off()
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("Pearson’s r, all slides")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
        return embed_svg(to_svg(figure, 150))


def list_sweep(table: pd.DataFrame, labels: Mapping[str, str], x_name: str) -> dict:
    """The figure's numbers: one row a comparison and method, one column a choice."""
    choices = sorted(table["x"].unique())
    rows = []
    for (tissue, reference), panel in table.groupby(["tissue", "reference"], sort=False):
        for method, label in labels.items():
            own = panel[panel["method"] == method].set_index("x")["r"]
            if len(own):
                told = [tell_value(own.get(choice), 3) for choice in choices]
                rows.append([f"{tissue} against {tell_reference(reference)}", label, *told])
    head = ["comparison", "method", *(x_name.format(f"{choice:g}") for choice in choices)]
    return {"head": head, "rows": rows, "numeric": list(range(2, len(head)))}


def _draw_lines(axis: Axes, panel: pd.DataFrame, labels: Mapping[str, str]) -> None:
    for place, (method, label) in enumerate(labels.items()):
        line = panel[panel["method"] == method]
        # Side by side, so that no bar hides another: an eighth of the least step for all of them together.
        nudge = 2 ** ((place - (len(labels) - 1) / 2) / (8 * len(labels))) if line["lo"].notna().any() else 1
        reach = [(line["r"] - line["lo"]).clip(lower=0), (line["hi"] - line["r"]).clip(lower=0)]
        axis.errorbar(
            line["x"] * nudge, line["r"], yerr=reach if line["lo"].notna().any() else None, label=label,
            color=LINES[place % len(LINES)], marker=MARKS[place % len(MARKS)], markersize=3.5, linewidth=1,
            elinewidth=0.6,
        )  # fmt: skip
