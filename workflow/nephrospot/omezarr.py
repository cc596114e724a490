"""OME-Zarr 0.5: multi-scale images and labels whose pixels know their place in µm.

Every level's centre of pixel (row i, column j) lies at ((j + ½)·mpp, (i + ½)·mpp) from the slide's
top left corner, so labels of different magnifications lie on one another in any viewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zarr

from nephrospot.errors import InputError

CHUNK_PX = 512
SHARD_PX = 4096
MIN_LEVEL_PX = 256


def count_levels(longest_px: int) -> int:
    """Levels of a pyramid whose coarsest has at most 256 pixels on its longer side."""
    return 1 + max(0, math.ceil(math.log2(longest_px / MIN_LEVEL_PX)))


def write_multiscale(
    group: zarr.Group, level0: zarr.Array, mpp: float, shrink: Callable, name: str, levels: int
) -> None:
    """Add the coarser levels below ``level0`` (already in ``group`` as "0") and the metadata.

    Parameters
    ----------
    level0 : uint8 (rows, columns) or (3, rows, columns)
    mpp : µm per pixel of ``level0``
    shrink : function that halves rows and columns of a block with even sides
    levels : number of levels, which OME-Zarr wants alike for an image and all its labels
    """
    arrays = [level0]
    while len(arrays) < levels:
        arrays.append(_halve(group, arrays[-1], str(len(arrays)), shrink))
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in ("y", "x")]
    lead = []
    if level0.ndim == 3:
        axes, lead = [{"name": "c", "type": "channel"}, *axes], [1.0]
    datasets = []
    for index in range(len(arrays)):
        level_mpp = mpp * 2**index
        datasets.append(
            {
                "path": str(index),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [*lead, level_mpp, level_mpp]},
                    {"type": "translation", "translation": [*(0.0 for _ in lead), level_mpp / 2, level_mpp / 2]},
                ],
            }
        )
    multiscale = {"name": name, "axes": axes, "datasets": datasets, "type": shrink.__name__}
    group.attrs["ome"] = {**group.attrs.get("ome", {}), "version": "0.5", "multiscales": [multiscale]}


def create_plane(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str = "uint8") -> zarr.Array:
    """A sharded, compressed array; shards keep the number of files small, chunks keep reads local."""
    # No shard beyond the array: a small level is one chunk in one file.
    shard = min(SHARD_PX, -(-max(shape[-2:]) // CHUNK_PX) * CHUNK_PX)
    lead = shape[:-2]
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(*lead, CHUNK_PX, CHUNK_PX),
        shards=(*lead, shard, shard),
        fill_value=0,
        compressors=zarr.codecs.ZstdCodec(level=5),
        dimension_names=("c", "y", "x")[-len(shape) :],
    )


def blocks(shape: tuple[int, ...], side: int = SHARD_PX) -> Iterator[tuple[slice, slice]]:
    """Row and column slices that cover an array shard by shard."""
    height, width = shape[-2:]
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def majority(block: np.ndarray) -> np.ndarray:
    """Halve a 0/1 mask by the majority of each four pixels; at two against two the top left one decides,
    so that masks neither grow nor shrink from level to level."""
    first = block[..., 0::2, 0::2]
    count = first + block[..., 1::2, 0::2] + block[..., 0::2, 1::2] + block[..., 1::2, 1::2]
    return ((count > 2) | ((count == 2) & (first > 0))).astype(np.uint8)


def nearest(block: np.ndarray) -> np.ndarray:
    """Halve a label image by taking every second pixel, so that no label is invented."""
    return block[..., ::2, ::2]


def mean(block: np.ndarray) -> np.ndarray:
    """Halve a picture by averaging."""
    *lead, height, width = block.shape
    return block.reshape(*lead, height // 2, 2, width // 2, 2).mean(axis=(-3, -1)).round().astype(np.uint8)


def _halve(group: zarr.Group, finer: zarr.Array, name: str, shrink: Callable) -> zarr.Array:
    height, width = ((size + 1) // 2 for size in finer.shape[-2:])
    coarser = create_plane(group, name, (*finer.shape[:-2], height, width))
    for rows, columns in blocks(coarser.shape):
        block = finer[..., 2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
        odd = [(0, 0)] * (block.ndim - 2) + [(0, size % 2) for size in block.shape[-2:]]
        coarser[..., rows, columns] = shrink(np.pad(block, odd, mode="edge"))
    return coarser


def open_masks(path: str | Path) -> zarr.Group:
    """Open a ``masks.ome.zarr`` for reading.

    Raises
    ------
    InputError
        When it isn't one.
    """
    try:
        return zarr.open_group(str(path), mode="r")["labels"]
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(f"{path}: this isn't an OME-Zarr with labels; delete it and run again.") from error


def list_labels(labels: zarr.Group) -> list[str]:
    """Names of the tissues with a label of their own, without the merged one."""
    return [name for name in labels.attrs["ome"]["labels"] if name != "merged"]


def read_place(label: zarr.Group) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a label's finest level lies.

    Returns
    -------
    mpp : µm per pixel (y, x)
    corner : µm (y, x) of the outer corner of its first pixel

    Notes
    -----
    OME-Zarr's translation is the centre of the first pixel; without one the corner is the slide's.
    """
    steps = label.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    y, x = next(step["scale"][-2:] for step in steps if step["type"] == "scale")
    centre = next((step["translation"][-2:] for step in steps if step["type"] == "translation"), (y / 2, x / 2))
    return (float(y), float(x)), (float(centre[0]) - y / 2, float(centre[1]) - x / 2)
