"""A table of single objects, such as glomeruli: where each lies, how large and round it is, and in which spot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from scipy.spatial import cKDTree

from nephrospot.components import Components, find_components
from nephrospot.omezarr import SHARD_PX, blocks, list_labels, open_masks, open_plane, read_place
from nephrospot.registration import Transform
from nephrospot.sources import resample_mask
from nephrospot.spots import cover_cells
from nephrospot.visium import VisiumGrid

DTYPES = {
    "tissue": "str",
    "id": "int64",
    "area_um2": "float64",
    "x_px": "float64",
    "y_px": "float64",
    "left_px": "float64",
    "top_px": "float64",
    "right_px": "float64",
    "bottom_px": "float64",
    "circularity": "float64",
    "tuft_fraction": "float64",
    "on_edge": "bool",
    "barcode": "str",
    "spots_touched": "int64",
}
OUTER, INNER = "CAP", "TUFT"  # the glomerulus by its capsule, and what fills it
LEAST_SHARE = 1e-9  # of a disc's area; less is rounding


def measure_objects(
    masks_path: str | Path,
    slide_mpp: float,
    tissues: Iterable[str],
    grid: VisiumGrid | None = None,
    transform: Transform | None = None,
    diameter_um: float = 55.0,
    block_px: int = SHARD_PX,
) -> pd.DataFrame:
    """Measure every object (8-connected) of some tissues on one slide.

    Parameters
    ----------
    masks_path : ``masks.ome.zarr`` with one label a tissue
    slide_mpp : µm per level-0 pixel of the slide
    tissues : whose objects are wanted; one without a label gives no rows
    grid, transform : the spots and the way from Space Ranger's pixels to the slide's; None for a slide without Visium
    diameter_um : diameter of a spot
    block_px : side of the blocks of a mask that are read at once

    Returns
    -------
    DataFrame
        One row an object, tissue by tissue, in raster order of the objects' first pixels:

        tissue (text), id (int64, from 1 within the tissue),
        area_um2 (float64, all pixels, holes not counted),
        x_px, y_px (float64, centre of mass, as an index of level-0 pixels),
        left_px, top_px, right_px, bottom_px (float64, the box's outer lines in level-0 pixels from the slide's corner),
        circularity (float64, 4π area / perimeter², Crofton's perimeter, at most 1),
        tuft_fraction (float64, share of a CAP's area under TUFT; NaN for other tissues and without a TUFT label),
        on_edge (bool, touches the mask's border, so that some of it may be missing),
        barcode (text, of the spot on tissue whose disc holds the centre of mass, or ""),
        spots_touched (int64, spots on tissue whose disc overlaps the object; 0 without Visium).

    Raises
    ------
    InputError
        When the masks aren't an OME-Zarr with labels.
    """
    labels = open_masks(masks_path)
    present = list_labels(labels)
    tables = [pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in DTYPES.items()})]
    for tissue in dict.fromkeys(tissues):
        if tissue in present:
            label = labels[tissue]
            found = find_components(_source(label), 8, block_px)
            table = _describe(found, label, slide_mpp).assign(tissue=tissue, barcode="", spots_touched=0)
            if tissue == OUTER and INNER in present:
                table["tuft_fraction"] = _share_under(found, label, labels[INNER])
            if grid is not None and len(table):
                _find_spots(table, found, label, slide_mpp, grid, transform or Transform(), diameter_um)
            tables.append(table)
    filled = [table for table in tables if len(table)] or tables
    return pd.concat(filled, ignore_index=True)[list(DTYPES)].astype(DTYPES)


def _source(label: zarr.Group) -> tuple:
    array = open_plane(label)
    return array.shape, read_place(label)[0][0], lambda rows, columns: array[rows, columns]


def _describe(found: Components, label: zarr.Group, slide_mpp: float) -> pd.DataFrame:
    """What an object's own pixels tell."""
    (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
    area_px, centre, box = found.area_px[1:], found.centroid_px[1:], found.box[1:]
    lines = {"top_px": (0, mpp_y, corner_y), "left_px": (1, mpp_x, corner_x)}
    lines |= {"bottom_px": (2, mpp_y, corner_y), "right_px": (3, mpp_x, corner_x)}
    return pd.DataFrame(
        {
            "id": np.arange(1, len(found) + 1),
            "area_um2": area_px * mpp_y * mpp_x,
            # The centre of pixel i lies at i + ½ pixels, on the mask as on the slide.
            "x_px": ((centre[:, 1] + 0.5) * mpp_x + corner_x) / slide_mpp - 0.5,
            "y_px": ((centre[:, 0] + 0.5) * mpp_y + corner_y) / slide_mpp - 0.5,
            **{name: (box[:, side] * mpp + corner) / slide_mpp for name, (side, mpp, corner) in lines.items()},
            "circularity": np.minimum(4 * np.pi * area_px / found.perimeter_px[1:] ** 2, 1),
            "tuft_fraction": np.nan,
            "on_edge": found.on_edge[1:],
        }
    )


def _share_under(found: Components, label: zarr.Group, other: zarr.Group) -> np.ndarray:
    """Share of each object's pixels whose centre is foreground in another label."""
    (mpp, _), corner = read_place(label)
    shift_um = tuple(np.subtract(corner, read_place(other)[1]))
    under = np.zeros(len(found) + 1)
    for rows, columns in blocks(found.shape, found.block_px):
        ids = found.labels(rows, columns)
        if ids.any():
            inner = resample_mask(_source(other), rows, columns, mpp, shift_um)
            under += np.bincount(ids[inner > 0], minlength=len(under))
    return under[1:] / found.area_px[1:]


def _find_spots(table, found, label, slide_mpp: float, grid: VisiumGrid, transform: Transform, diameter_um) -> None:
    """Fill in ``barcode`` and ``spots_touched``."""
    (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
    spots = grid.in_tissue
    if not len(spots):
        return
    positions = transform.to_slide(spots["x_px"].to_numpy(), spots["y_px"].to_numpy())
    x_um, y_um = ((np.asarray(axis, float) + 0.5) * slide_mpp for axis in positions)
    tree = cKDTree(np.column_stack([x_um, y_um]))
    distance, nearest = tree.query((table[["x_px", "y_px"]].to_numpy() + 0.5) * slide_mpp)
    table["barcode"] = np.where(distance <= diameter_um / 2, spots["barcode"].to_numpy()[nearest], "")

    x, y = (x_um - corner_x) / mpp_x, (y_um - corner_y) / mpp_y
    radius_x, radius_y = diameter_um / 2 / mpp_x, diameter_um / 2 / mpp_y
    top, bottom = _within(y - radius_y, y + radius_y, found.shape[0])
    left, right = _within(x - radius_x, x + radius_x, found.shape[1])
    touched = np.zeros(len(found) + 1, np.int64)
    # In the order of the blocks, so that each is labelled once.
    for spot in np.lexsort([left // found.block_px, top // found.block_px]):
        if top[spot] >= bottom[spot] or left[spot] >= right[spot]:
            continue
        ids = found.labels(slice(top[spot], bottom[spot]), slice(left[spot], right[spot]))
        if ids.any():
            edges_x = (np.arange(left[spot], right[spot] + 1) - x[spot]) / radius_x
            edges_y = (np.arange(top[spot], bottom[spot] + 1) - y[spot]) / radius_y
            touched[np.unique(ids[cover_cells(edges_x, edges_y) > LEAST_SHARE])] += 1
    table["spots_touched"] = touched[1:]


def _within(low: np.ndarray, high: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.clip(np.floor(low), 0, size).astype(int), np.clip(np.ceil(high), 0, size).astype(int)
