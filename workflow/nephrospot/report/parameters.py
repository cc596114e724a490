"""Foreground Dice against the number of parameters, a dot a method (Omni-Seg, MIDL 2022, Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from nephrospot.cost import ALL
from nephrospot.files import whole
from nephrospot.report.figures import BLUE, FAINT, INK, STYLE, to_svg
from nephrospot.table1 import AVERAGE

DOT_AREA = 400  # points² of the method with the most multiply–accumulates


def draw_parameters(table1: pd.DataFrame, costs: pd.DataFrame, labels: Mapping[str, str], svg_path: str | Path) -> None:
    """Write the figure: up is better, left is cheaper in parameters, a small dot is cheaper in work.

    Parameters
    ----------
    table1 : DataFrame
        Of `nephrospot.table1.make_table1`: the average over tissues of the foreground Dice, convention ours, with its
        interval.
    costs : DataFrame
        Of `nephrospot.cost.list_costs`: parameters of the whole method, MACs of all tissues of a patch.
    labels
        {method: name to print}; one without a Dice is left out.
    """
    ours = table1[(table1["convention"] == "ours") & (table1["metric"] == "dice") & (table1["tissue"] == AVERAGE)]
    table = ours.set_index("method").join(costs[costs["tissue"] == ALL].set_index("method")[["parameters", "macs"]])
    table = table.loc[[name for name in labels if name in table.index]].dropna(subset=["mean", "parameters"])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axis = figure.subplots()
        for name, row in table.iterrows():
            x, y = row["parameters"] / 1e6, row["mean"]
            reach = [[max(0.0, y - row["lo"])], [max(0.0, row["hi"] - y)]]
            axis.errorbar([x], [y], yerr=reach, color=FAINT, linewidth=0.8, zorder=1)
            axis.scatter([x], [y], s=DOT_AREA * row["macs"] / table["macs"].max(), color=BLUE, alpha=0.6, zorder=2)
            axis.annotate(labels[name], (x, y), xytext=(5, 4), textcoords="offset points", color=INK, fontsize=7)
        axis.set(xscale="log", xlabel="parameters (millions)", ylabel="foreground Dice, mean over tissues", ylim=(0, 1))
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.1e}"[0] in "25" else "")
        drawn = to_svg(figure, 150)
    with whole(svg_path) as temporary:
        temporary.write_text(drawn, encoding="utf-8")
