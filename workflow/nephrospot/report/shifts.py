"""r under trial shifts of the spots: a map a slide and comparison, and what is suspicious."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nephrospot.report.figures import INK, STYLE, to_svg
from nephrospot.report.pictures import embed_svg
from nephrospot.report.wording import tell_reference, tell_signed, tell_value
from nephrospot.shifts import tell_peak

COLUMNS = 4
PAPER = "#ffffff"


def list_shifts(peaks: Mapping[str, list[dict]], labels: Mapping[str, str]) -> dict:
    """One row a slide, comparison and method: where r is highest.

    Parameters
    ----------
    peaks
        {slide: the peaks of its trials.json}.
    """
    head = ["slide", "comparison", "method", "r as it is", "r at the best shift", "x, µm", "y, µm", "distance, µm",
            "draws that agree", "suspicious"]  # fmt: skip
    rows = [
        [
            slide,
            f"{peak['tissue']} against {tell_reference(peak['reference'])}",
            labels.get(peak["method"], peak["method"]),
            tell_value(peak["r_here"], 3),
            tell_value(peak["r"], 3),
            tell_signed(peak["x_um"], 0),
            tell_signed(peak["y_um"], 0),
            tell_value(peak["distance_um"], 0) + (" or more" if peak["at_edge"] else ""),
            f"{100 * peak['certainty']:.0f} %",
            "yes" if peak["suspicious"] else "",
        ]
        for slide, own in peaks.items()
        for peak in own
    ]
    return {"head": head, "rows": rows, "numeric": [3, 4, 5, 6, 7, 8]}


def list_suspicions(peaks: Mapping[str, list[dict]], labels: Mapping[str, str]) -> list[str]:
    """A sentence for every slide that seems to lie elsewhere: its clearest suspicious peak."""
    told = []
    for slide, own in peaks.items():
        suspicious = [peak for peak in own if peak["suspicious"]]
        if suspicious:
            peak = max(suspicious, key=lambda peak: peak["r"])
            comparison = f"{peak['tissue']} against {tell_reference(peak['reference'])}"
            told.append(tell_peak(slide, comparison, labels.get(peak["method"], peak["method"]), peak))
    return told


def draw_shifts(
    tables: Mapping[str, pd.DataFrame], peaks: Mapping[str, list[dict]], labels: Mapping[str, str]
) -> list[dict]:
    """A figure a comparison: r of the method with the highest peak on each slide, under every shift.

    Parameters
    ----------
    tables
        {slide: its shifts.parquet}.

    Returns
    -------
    list of {"comparison", "figure": address of the SVG}
    """
    chosen: dict[tuple[str, str], dict[str, dict]] = {}
    for slide, own in peaks.items():
        for peak in own:
            panels = chosen.setdefault((peak["tissue"], peak["reference"]), {})
            if slide not in panels or peak["r"] > panels[slide]["r"]:
                panels[slide] = peak
    figures = []
    for (tissue, reference), panels in chosen.items():
        comparison = f"{tissue} against {tell_reference(reference)}"
        figures.append({"comparison": comparison, "figure": embed_svg(_draw(tables, panels, labels))})
    return figures


def _draw(tables: Mapping[str, pd.DataFrame], panels: Mapping[str, dict], labels: Mapping[str, str]) -> str:
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.1 * columns + 0.4, 2.25 * rows + 0.3), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, (slide, peak) in zip(axes, panels.items(), strict=False):
            table = tables[slide]
            keys = ("method", "tissue", "reference")
            own = table[np.logical_and.reduce([table[key] == peak[key] for key in keys])]
            grid = own.pivot(index="dy_um", columns="dx_um", values="r")
            reach, step = grid.columns.max(), np.diff(grid.columns[:2])[0] / 2
            extent = (-reach - step, reach + step, reach + step, -reach - step)  # y runs down, as on the slide
            axis.imshow(grid.to_numpy(), cmap="cividis", extent=extent, interpolation="nearest")
            axis.plot([0], [0], marker="+", color=PAPER, markersize=9, markeredgewidth=1.4)
            axis.plot([peak["x_um"]], [peak["y_um"]], marker="o", color=PAPER, markeredgecolor=INK, markersize=5)
            name = labels.get(peak["method"], peak["method"])
            axis.set_title(f"{slide}: {name}\nr {peak['r_here']:.2f} at +, {peak['r']:.2f} at the dot", color=INK)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        figure.supxlabel("spots moved in x (µm)", fontsize=8)
        figure.supylabel("in y (µm)", fontsize=8)
        return to_svg(figure, 150)
