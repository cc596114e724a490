"""Scatters of the spots as small SVG, the same bytes for the same numbers.

Words stay words in the reader's own font; dots become pixels where they are many.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

INK, FAINT, BLUE = "#1c2328", "#9aa3a8", "#0072b2"
# Okabe and Ito's colours, and marks, so that lines differ without colour too.
LINES = ["#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#000000"]
MARKS = "os^vDPX"
COLUMNS = 4
WORTH_TELLING = 10  # spots with 0 on both sides, which lie on one another
MANY_DOTS = 300  # as shapes, more than these outgrow their pixels
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nephrospot",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"],
    "font.size": 8,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "text.parse_math": False,  # names may hold a $
}


def draw_scatter(
    pairs: pd.DataFrame,
    numbers: Mapping[str, tuple[float, int]],
    x_label: str,
    y_label: str,
    diagonal: bool,
    y_max: float = 100.0,
) -> str:
    """Every spot of every slide, one panel a slide, with r and n.

    Parameters
    ----------
    pairs : DataFrame
        ``slide, predicted, observed`` in percent, complete spots only, slides in the order wanted.
    numbers
        {slide: (r, n)} to print; also for slides that have no spots in ``pairs``.
    x_label, y_label
        With their units.
    diagonal
        Whether both axes are the same quantity, so that the line of equality means something.
    y_max
        Upper end of the y axis; x always ends at 100.

    Returns
    -------
    str, SVG
    """
    slides = list(numbers)
    rows, columns = _grid(len(slides))
    empty = pairs.loc[(pairs["predicted"] == 0) & (pairs["observed"] == 0), "slide"].value_counts()
    tell_empty = len(empty) > 0 and empty.max() >= WORTH_TELLING
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.15 * columns + 0.45, 2.15 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, slide in zip(axes, slides, strict=False):
            mine = pairs[pairs["slide"] == slide]
            x, y = mine["predicted"].to_numpy(float), mine["observed"].to_numpy(float)
            if diagonal:
                axis.plot([0, 100], [0, 100], color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
            # The more dots, the fainter, so that a crowd looks like one; those on the origin are counted instead.
            alpha = float(np.clip(150 / max(len(x) - empty.get(slide, 0), 1), 0.2, 0.75))
            axis.scatter(
                x, y, s=9, color=BLUE, alpha=alpha, linewidths=0,
                rasterized=len(pairs) > MANY_DOTS, clip_on=False, zorder=2,
            )  # fmt: skip
            r, n = numbers[slide]
            counted = f"\n{empty.get(slide, 0):,} of them 0 on both sides" if tell_empty else ""
            axis.set_title(f"{slide}   {_tell_r(r)}, n = {n:,}{counted}")
            axis.set(xlim=(-3, 103), ylim=(-0.03 * y_max, 1.03 * y_max), box_aspect=1)
            axis.set_xticks([0, 25, 50, 75, 100])
            axis.spines[["top", "right"]].set_visible(False)
        for axis in axes[len(slides) :]:
            axis.set_visible(False)
        figure.supxlabel(x_label, fontsize=8)
        figure.supylabel(y_label, fontsize=8)
        return to_svg(figure, 110 if len(slides) > COLUMNS else 150)


def _grid(n: int) -> tuple[int, int]:
    columns = max(1, min(COLUMNS, n))
    return max(1, -(-n // columns)), columns


def _tell_r(r: float) -> str:
    return f"r = {r:.2f}".replace("-", "−") if np.isfinite(r) else "r not defined"


def to_svg(figure: Figure, dpi: int) -> str:
    """A figure as SVG that a page can hold, the same bytes for the same figure."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", dpi=dpi, bbox_inches="tight", pad_inches=0.03, metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
