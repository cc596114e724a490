"""Learning curves: loss and validation Dice by epoch, a panel a training."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nephrospot.report.figures import BLUE, FAINT, INK, STYLE, to_svg

COLUMNS = 4


def draw_curves(curves: Mapping[str, Mapping]) -> str:
    """Every training's curve.

    Parameters
    ----------
    curves
        {label: content of the curve's file}, in the order wanted; see `nephrospot.training.train.train_method`.

    Returns
    -------
    str, SVG
    """
    columns = max(1, min(COLUMNS, len(curves)))
    rows = max(1, -(-len(curves) // columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.15 * columns + 0.5, 1.7 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (label, curve) in zip(axes, curves.items(), strict=False):
            epochs = list(range(1, len(curve["epochs"]) + 1))
            dice = [point["mean_dice"] for point in curve["epochs"]]
            best = curve["best_epoch"]
            axis.plot(epochs, [point["loss"] for point in curve["epochs"]], color=FAINT, linewidth=1.2)
            axis.set_ylim(bottom=0)
            axis.set_title(f"{label}\nDice {dice[best - 1]:.2f}, epoch {best}", color=INK)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
            axis.spines[["top"]].set_visible(False)
            right = axis.twinx()
            right.plot(epochs, dice, color=BLUE, linewidth=1.2)
            right.plot([best], [dice[best - 1]], color=BLUE, marker="o", markersize=3.5, clip_on=False)
            right.set_ylim(0, 1)
            right.tick_params(axis="y", labelcolor=BLUE)
            right.spines[["top"]].set_visible(False)
        for axis in axes[len(curves) :]:
            axis.set_visible(False)
        figure.supxlabel("epoch", fontsize=8)
        figure.supylabel("loss (grey); Dice (blue, right)", fontsize=8)
        return to_svg(figure, 150)
