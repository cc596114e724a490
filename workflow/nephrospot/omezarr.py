"""OME-Zarr: multi-scale images and labels whose pixels know their place in µm.

Version 0.5 (Zarr 3, sharded) is the product; 0.4 (Zarr 2, a file a chunk) is for QuPath and Bio-Formats, which can't
read 0.5 yet. The Zarr format of a group decides: what is written into a Zarr 2 group is OME-Zarr 0.4.

Every level's centre of pixel (row i, column j) lies at ((j + ½)·mpp, (i + ½)·mpp) from the slide's
top left corner, so labels of different magnifications lie on one another in any viewer.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zarr

from nephrospot.errors import InputError, did_you_mean, tell_cause

CHUNK_PX = 512
SHARD_PX = 4096
MIN_LEVEL_PX = 256
MAX_SIDE_PX = 2_000_000  # of a label: no slide has more
MAX_CHUNK_PX = 1 << 28  # unpacked as a whole
# What zarr and its codecs raise on damaged stores.
ZARR_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, StopIteration,
    zlib.error,
)  # fmt: skip
ZARR_FORMATS = {"0.5": 3, "0.4": 2}


def create_root(path: str | Path, ngff: str = "0.5") -> zarr.Group:
    """Begin an OME-Zarr of version "0.5" or "0.4"; groups within it are of the same version.

    Raises
    ------
    InputError
        When there is no such version.
    """
    if ngff not in ZARR_FORMATS:
        raise InputError(f"stitch.ngff: the value is {ngff!r}; {did_you_mean(ngff, ZARR_FORMATS)}")
    return zarr.open_group(str(path), mode="w", zarr_format=ZARR_FORMATS[ngff])


def add_metadata(group: zarr.Group, **content) -> None:
    """Add keys such as ``multiscales``, ``labels`` and ``image_label`` to a group's OME metadata.

    Notes
    -----
    0.5 has one version a group, under "ome" (§ "OME-Zarr Metadata"); 0.4 has the keys bare and a version in each
    multiscale and image-label. Underscores stand for hyphens.
    """
    content = {key.replace("_", "-"): value for key, value in content.items()}
    if group.metadata.zarr_format == 3:
        group.attrs["ome"] = {**group.attrs.get("ome", {}), "version": "0.5", **content}
        return
    if "multiscales" in content:
        content["multiscales"] = [{**multiscale, "version": "0.4"} for multiscale in content["multiscales"]]
    if "image-label" in content:
        content["image-label"] = {**content["image-label"], "version": "0.4"}
    group.attrs.update(content)


def read_metadata(group: zarr.Group) -> dict:
    """A group's OME metadata, of either version."""
    return dict(group.attrs.get("ome", group.attrs))


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
    add_metadata(group, multiscales=[multiscale])


def create_plane(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str = "uint8") -> zarr.Array:
    """A compressed array; shards (Zarr 3) keep the number of files small, chunks keep reads local."""
    lead = shape[:-2]
    chunks = (*lead, CHUNK_PX, CHUNK_PX)
    if group.metadata.zarr_format == 2:
        return group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            fill_value=0,
            # JZarr, which QuPath reads with, has zlib in Java itself and anything faster in libraries to install.
            compressors={"id": "zlib", "level": 6},
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    # No shard beyond the array: a small level is one chunk in one file.
    shard = min(SHARD_PX, -(-max(shape[-2:]) // CHUNK_PX) * CHUNK_PX)
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
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
    """Open a ``masks.ome.zarr`` of either version for reading.

    Raises
    ------
    InputError
        When it isn't one: what its metadata say of each tissue's label is looked at, its pixels aren't
        (`open_plane`).
    """
    try:
        labels = zarr.open_group(str(path), mode="r")["labels"]
        for name in list_labels(labels):
            _check_label(labels[name])
        return labels
    except ZARR_ERRORS as error:
        raise InputError(
            f"{path}: this isn't an OME-Zarr with labels ({tell_cause(error)}); delete it and run again."
        ) from error


def _check_label(label: zarr.Group) -> None:
    """Raise a ValueError for levels that aren't pictures, lie nowhere, or are declared beyond any slide's size."""
    (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
    if not (0 < mpp_y < math.inf and 0 < mpp_x < math.inf and math.isfinite(corner_y) and math.isfinite(corner_x)):
        raise ValueError(f"{label.path} has no place in µm")
    for dataset in read_metadata(label)["multiscales"][0]["datasets"]:
        scale = next(step["scale"] for step in dataset["coordinateTransformations"] if step["type"] == "scale")
        if not all(0 < float(size) < math.inf for size in scale[-2:]):
            raise ValueError(f"{label.path}/{dataset['path']} has no pixels in µm")
        array = label[dataset["path"]]
        if not isinstance(array, zarr.Array) or array.ndim != 2 or array.dtype.kind not in "bui":
            raise ValueError(f"{label.path}/{dataset['path']} isn't a plane of labels")
        if min(array.shape) < 1 or max(array.shape) > MAX_SIDE_PX or math.prod(array.chunks) > MAX_CHUNK_PX:
            raise ValueError(
                f"{label.path}/{dataset['path']} is declared as {array.shape} px in chunks of {array.chunks}"
            )


class Plane:
    """A level of a label: ``shape``, and windows of its pixels.

    Raises
    ------
    InputError
        Where a chunk is damaged.
    """

    def __init__(self, array: zarr.Array) -> None:
        self._array, self.shape = array, array.shape

    def __getitem__(self, window) -> np.ndarray:
        try:
            return np.asarray(self._array[window])
        except ZARR_ERRORS as error:
            raise InputError(
                f"{self._array.store_path}: a piece of it is damaged ({tell_cause(error)}); delete the masks.ome.zarr "
                "and run again."
            ) from error


def open_plane(label: zarr.Group, name: str = "0") -> Plane:
    """A level of a label of `open_masks`, the finest by default."""
    return Plane(label[name])


def list_labels(labels: zarr.Group) -> list[str]:
    """Names of the tissues with a label of their own, without the merged one."""
    return [name for name in read_metadata(labels)["labels"] if name != "merged"]


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
    steps = read_metadata(label)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    y, x = next(step["scale"][-2:] for step in steps if step["type"] == "scale")
    centre = next((step["translation"][-2:] for step in steps if step["type"] == "translation"), (y / 2, x / 2))
    return (float(y), float(x)), (float(centre[0]) - y / 2, float(centre[1]) - x / 2)
