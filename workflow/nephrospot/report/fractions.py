"""Foreground Dice against the share of the training data, a line a tissue (Omni-Seg, IEEE TBME 2023, Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from nephrospot.files import whole
from nephrospot.report.figures import LINES, MARKS, STYLE, to_svg

COLUMNS = ["label", "tissue", "percent", "dice", "lo", "hi", "n", "n_rois", "method"]


def make_fractions(summary: pd.DataFrame, runs: Mapping[str, Mapping]) -> pd.DataFrame:
    """Foreground Dice of each training and tissue, by share of the regions: unlabelled ones where it learns
    from them, else labelled ones.

    Parameters
    ----------
    summary : DataFrame
        Of `nephrospot.table1.summarise`.
    runs
        {training: {"label": text, "share": 0 to 1}}

    Returns
    -------
    DataFrame
        `COLUMNS`: percent of the regions; dice from 0 to 1 (mean over test patches, convention ours) with its
        95 % interval lo to hi by resampling regions; n patches with a value of n_rois regions.
    """
    ours = summary[(summary["convention"] == "ours") & (summary["metric"] == "dice")]
    ours = ours[ours["method"].isin(runs)].rename(columns={"mean": "dice"})
    table = ours.assign(
        n=ours["n_defined"],
        label=ours["method"].map(lambda name: runs[name]["label"]),
        percent=ours["method"].map(lambda name: 100 * runs[name]["share"]),
    )
    return table[COLUMNS].sort_values(["label", "tissue", "percent"], ignore_index=True)


def draw_fractions(table: pd.DataFrame, tsv_path: str | Path, svg_path: str | Path) -> None:
    """Write the table of `make_fractions` and its figure: a panel a method, a line a tissue, bars for the intervals."""
    with whole(tsv_path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="nan", float_format="%.6g", lineterminator="\n")
    labels = list(dict.fromkeys(table["label"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * max(1, len(labels)) + 1.2, 3.0), layout="constrained")
        axes = figure.subplots(1, max(1, len(labels)), sharey=True, squeeze=False).ravel()
        for axis, label in zip(axes, labels, strict=False):
            panel = table[table["label"] == label]
            for place, (tissue, line) in enumerate(panel.groupby("tissue", sort=False)):
                colour, mark = LINES[place % len(LINES)], MARKS[place % len(MARKS)]
                # A little apart, so that intervals of several tissues can be told from one another.
                x = line["percent"] + 0.6 * (place - 3)
                reach = [(line["dice"] - line["lo"]).clip(lower=0), (line["hi"] - line["dice"]).clip(lower=0)]
                axis.errorbar(
                    x, line["dice"], yerr=reach, color=colour, marker=mark, markersize=3.5, linewidth=1, elinewidth=0.6,
                    label=tissue,
                )  # fmt: skip
            axis.set(title=label, xlabel="share of the regions (%)", xlim=(0, 105), ylim=(0, 1))
        axes[0].set_ylabel("foreground Dice on test patches")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
        drawn = to_svg(figure, 150)
    with whole(svg_path) as temporary:
        temporary.write_text(drawn, encoding="utf-8")
