"""How much of each tissue lies under every Visium spot.

A spot is a disc of 55 µm. Pixels at its rim count by the share of their area
that the disc covers, computed exactly, so sub-pixel centres and coarse masks
make no steps. Discs that the image's edge cuts have no percentage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, did_you_mean
from nephrospot.omezarr import list_labels, open_masks, open_plane, read_place
from nephrospot.registration import Transform
from nephrospot.visium import VisiumGrid

BLOCK_PX = 2048  # windows of this size (plus a disc) bound the memory, whatever the mask's size
CUT_REASON = "the disc is cut by the image's edge"
OUTSIDE_REASON = "the disc lies outside the image"


def measure_discs(
    mask,
    mask_mpp: float | tuple[float, float],
    x_um: np.ndarray,
    y_um: np.ndarray,
    diameter_um: float,
    block_px: int = BLOCK_PX,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentage of each disc's area that a mask covers.

    Parameters
    ----------
    mask
        Array-like of (rows, columns) with ``shape`` and slicing: numpy, zarr. Non-zero is inside.
    mask_mpp
        µm per mask pixel, or (mpp_y, mpp_x).
    x_um, y_um : float arrays (n,)
        Centres, in µm from the outer corner of the mask's first pixel.
    diameter_um
        Diameter of the discs.
    block_px
        Side of the windows read at once, in mask pixels.

    Returns
    -------
    percent : float array (n,)
        0 to 100; NaN where the disc isn't wholly on the mask.
    inside_share : float array (n,)
        Share of the disc's area that lies on the mask, 0 to 1.
    """
    mpp_y, mpp_x = (float(mpp) for mpp in np.broadcast_to(mask_mpp, (2,)))
    rows, columns = mask.shape
    x, y = np.asarray(x_um, float) / mpp_x, np.asarray(y_um, float) / mpp_y
    radius_x, radius_y = diameter_um / 2 / mpp_x, diameter_um / 2 / mpp_y  # a disc in µm, in mask pixels

    def cover(spot: int, left: int, right: int, top: int, bottom: int, cells: tuple[int, int]) -> np.ndarray:
        edges_x = (np.linspace(left, right, cells[1] + 1) - x[spot]) / radius_x
        edges_y = (np.linspace(top, bottom, cells[0] + 1) - y[spot]) / radius_y
        return cover_cells(edges_x, edges_y)

    whole = (x - radius_x >= 0) & (x + radius_x <= columns) & (y - radius_y >= 0) & (y + radius_y <= rows)
    inside_share = np.ones(len(x))
    for spot in np.flatnonzero(~whole):
        inside_share[spot] = cover(spot, 0, columns, 0, rows, (1, 1))[0, 0]

    left, right = np.floor(x - radius_x).astype(int), np.ceil(x + radius_x).astype(int)
    top, bottom = np.floor(y - radius_y).astype(int), np.ceil(y + radius_y).astype(int)
    block = np.column_stack([top // block_px, left // block_px])
    percent = np.full(len(x), np.nan)
    for place in np.unique(block[whole], axis=0):
        spots = np.flatnonzero(whole & (block == place).all(axis=1))
        first_row, first_column = top[spots].min(), left[spots].min()
        window = np.asarray(mask[first_row : bottom[spots].max(), first_column : right[spots].max()]) != 0
        for spot in spots:
            l, r, t, b = left[spot], right[spot], top[spot], bottom[spot]  # noqa: E741
            weights = cover(spot, l, r, t, b, (b - t, r - l))
            under = window[t - first_row : b - first_row, l - first_column : r - first_column]
            percent[spot] = 100 * weights[under].sum() / weights.sum()
    return percent, inside_share


def cover_cells(edges_x: np.ndarray, edges_y: np.ndarray) -> np.ndarray:
    """Share of the unit disc's area in each cell of a grid, exactly.

    Parameters
    ----------
    edges_x, edges_y : increasing float arrays (columns + 1,), (rows + 1,)
        The grid's lines, in radii from the disc's centre.

    Returns
    -------
    float array (rows, columns); sums to 1 when the grid covers the disc.
    """
    x, y = np.clip(edges_x, -1, 1)[None, :], np.clip(edges_y, -1, 1)[:, None]
    half = np.sqrt(1 - y**2)  # half the chord at height y
    inner = np.clip(x, -half, half)
    # Area left of x and below y: under a chord at height y inside it, under the circle beside it.
    area = y * (inner + half)
    area += np.where(x < half, _half_disc(inner), _half_disc(half)) - _half_disc(-half)
    beside = _half_disc(np.minimum(x, -half)) + np.where(x > half, _half_disc(x) - _half_disc(half), 0)
    area += np.where(y > 0, 2 * beside, 0)
    return np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0) / np.pi


def _half_disc(x: np.ndarray) -> np.ndarray:
    """Area of the upper half of the unit disc left of x."""
    return (x * np.sqrt(np.maximum(1 - x**2, 0)) + np.arcsin(x) + np.pi / 2) / 2


def measure_spots(
    masks_path: str | Path,
    grid: VisiumGrid,
    transform: Transform,
    slide_mpp: float,
    diameter_um: float,
    tissues: list[str],
) -> pd.DataFrame:
    """Percentage of every tissue under every spot on tissue, each tissue at its own resolution.

    Parameters
    ----------
    masks_path
        ``masks.ome.zarr`` with one label a tissue; labels beyond ``tissues`` are measured too.
    grid, transform
        The spots and the way from Space Ranger's pixels to the slide's.
    slide_mpp
        µm per level-0 pixel of the slide.
    diameter_um
        Diameter of a spot.
    tissues
        The tissues of the configuration, which come first.

    Returns
    -------
    DataFrame
        barcode, array_row, array_col, x_px, y_px (level 0), inside_share, ``{tissue}_percent``, reason.
        Percentages are NaN for every tissue where the image's edge cuts the disc, with the reason.

    Raises
    ------
    InputError
        When the masks aren't an OME-Zarr with labels, or hold none of the tissues.
    """
    labels = open_masks(masks_path)
    present = list_labels(labels)
    names = [name for name in tissues if name in present] + sorted(set(present) - set(tissues))
    if not set(names) & set(tissues):
        hint = did_you_mean(present[0], tissues) if present else "run the method again."
        raise InputError(f"{masks_path}: none of the configured tissues has a mask, found {present}; {hint}")
    spots = grid.in_tissue
    x_px, y_px = transform.to_slide(spots["x_px"].to_numpy(), spots["y_px"].to_numpy())
    table = spots[["barcode", "array_row", "array_col"]].assign(x_px=x_px, y_px=y_px)
    share = np.ones(len(table))
    columns = {}
    for name in names:
        label = labels[name]
        (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
        # Positions are indices of pixels: the disc's centre is the middle of that pixel.
        x_um, y_um = (x_px + 0.5) * slide_mpp - corner_x, (y_px + 0.5) * slide_mpp - corner_y
        columns[f"{name}_percent"], inside = measure_discs(open_plane(label), (mpp_y, mpp_x), x_um, y_um, diameter_um)
        share = np.minimum(share, inside)
    # Labels of different resolutions end a fraction of a pixel apart: a disc counts for all or for none.
    for values in columns.values():
        values[share < 1] = np.nan
    reason = np.where(share == 0, OUTSIDE_REASON, np.where(share < 1, CUT_REASON, ""))
    return table.assign(inside_share=share, **columns, reason=reason)
