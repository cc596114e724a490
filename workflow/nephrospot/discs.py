"""Discs on a coarse map of a mask: percentages at many places or of many sizes, at little cost."""

from __future__ import annotations

import cv2
import numpy as np
import zarr

from nephrospot.omezarr import blocks, open_plane, read_place
from nephrospot.spots import cover_cells

MAP_MPP = 5.0  # µm per pixel of the map


def make_coverage(label: zarr.Group, map_mpp: float = MAP_MPP) -> np.ndarray:
    """Share of each 5 µm pixel that a tissue covers; float32 (rows, columns) from the slide's corner."""
    plane = open_plane(label)
    (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
    places = [
        ((np.arange(size) + 0.5) * mpp + corner) / map_mpp
        for size, mpp, corner in zip(plane.shape, (mpp_y, mpp_x), (corner_y, corner_x), strict=True)
    ]
    rows, columns = (np.maximum(place.astype(int), 0) for place in places)
    sums, counts = (np.zeros((rows[-1] + 1, columns[-1] + 1), np.float32) for _ in range(2))
    for across, along in blocks(plane.shape):
        parts = ((rows, across), (columns, along))
        (i, top), (j, left) = (np.unique(place[part], return_index=True) for place, part in parts)
        inside = plane[across, along] != 0
        added = np.add.reduceat(np.add.reduceat(inside, top, axis=0, dtype=np.int32), left, axis=1)
        sums[i[0] : i[-1] + 1, j[0] : j[-1] + 1] += added
        heights, widths = (np.diff([*first, part.stop - part.start]) for first, part in ((top, across), (left, along)))
        counts[i[0] : i[-1] + 1, j[0] : j[-1] + 1] += np.multiply.outer(heights, widths)
    return sums / np.maximum(counts, 1)


def measure_shifted(
    coverage: np.ndarray, x_um: np.ndarray, y_um: np.ndarray, diameter_um: float, shifts: np.ndarray,
    map_mpp: float = MAP_MPP,
) -> np.ndarray:  # fmt: skip
    """Percentage under the disc of every spot, for every shift.

    Parameters
    ----------
    coverage
        Of `make_coverage`.
    x_um, y_um
        (spots,) centres on the slide.
    shifts
        (shifts, 2) x and y in µm.

    Returns
    -------
    float (spots, shifts); NaN where the disc would leave the map. Within about a percentage point of
    `nephrospot.spots.measure_discs`, since the mask is known to 5 µm alone.
    """
    radius = diameter_um / 2 / map_mpp
    half = int(np.ceil(radius + 0.5))
    edges = (np.arange(2 * half + 2) - half - 0.5) / radius
    kernel = cover_cells(edges, edges).astype(np.float32)
    discs = cv2.filter2D(coverage, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT)
    # A pixel's value stands at its centre.
    x, y = ((np.add.outer(at, shifts[:, axis]) / map_mpp - 0.5) for axis, at in enumerate((x_um, y_um)))
    percent = 100 * cv2.remap(discs, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR).clip(0, 1)
    rows, columns = coverage.shape
    inside = (np.minimum(x, y) >= radius - 0.5) & (x <= columns - radius - 0.5) & (y <= rows - radius - 0.5)
    return np.where(inside, percent, np.nan)
