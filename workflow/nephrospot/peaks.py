"""Where a grid of values is highest, between its steps."""

from __future__ import annotations

import numpy as np


def find_highest(values: np.ndarray, step: float) -> tuple[float, float, float]:
    """Place and height of the highest point of a square grid around zero, by a parabola along each axis.

    Parameters
    ----------
    values : float (side, side)
        Rows run along y; the middle stands for (0, 0). NaN is passed over, but not everywhere.
    step
        Distance of two neighbours.

    Returns
    -------
    x, y, height
        In units of ``step``'s and of ``values``.
    """
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    middle = len(values) // 2
    found, top = [], values[row, column]
    for at, line in ((column, values[row]), (row, values[:, column])):
        offset = 0.0
        if 0 < at < len(line) - 1:
            before, after = line[at - 1], line[at + 1]
            bend = before - 2 * line[at] + after
            if bend < 0:  # not with NaN beside it
                offset = 0.5 * (before - after) / bend
                top = max(top, line[at] - 0.25 * (before - after) * offset)
        found.append((at + offset - middle) * step)
    return float(found[0]), float(found[1]), float(top)
