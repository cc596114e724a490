"""What a mask is to the rest of the library: a size, a µm per pixel, and a way to read any block of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nephrospot.omezarr import SHARD_PX

# (rows, columns), µm per pixel, and a reader of uint8 blocks that are 0 or 1.
MaskSource = tuple[tuple[int, int], float, Callable[[slice, slice], np.ndarray]]


def resample_mask(
    source: MaskSource, rows: slice, columns: slice, mpp: float, shift_um: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """A block of a mask on another grid: the pixel under each centre.

    Parameters
    ----------
    source : the mask
    rows, columns : of the block, in pixels of ``mpp``, with start and stop
    mpp : µm per pixel of the other grid
    shift_um : (y, x) of the other grid's outer corner from the mask's

    Returns
    -------
    uint8 (rows, columns). Beyond the mask its last pixels go on, since grids of one slide end up to a pixel apart.
    No more than a shard's size of the mask is read at once.
    """
    shape, source_mpp, read = source
    i, j = (
        np.clip(((np.arange(axis.start, axis.stop) + 0.5) * mpp + shift) / source_mpp, 0, size - 1).astype(int)
        for axis, shift, size in zip((rows, columns), shift_um, shape, strict=True)
    )
    block = np.zeros((len(i), len(j)), np.uint8)
    step = max(1, int(SHARD_PX * source_mpp / mpp))
    for top in range(0, len(i), step):
        for left in range(0, len(j), step):
            y, x = i[top : top + step], j[left : left + step]
            part = read(slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1))
            block[top : top + step, left : left + step] = part[np.ix_(y - y[0], x - x[0])]
    return block


def unite_masks(sources: Sequence[MaskSource]) -> MaskSource:
    """Where any of several masks of one slide is, on the grid of the finest."""
    shape, mpp, _ = finest = min(sources, key=lambda source: source[1])

    def read(rows: slice, columns: slice) -> np.ndarray:
        block = finest[2](rows, columns) > 0
        for source in sources:
            if source is not finest:
                block = block | (resample_mask(source, rows, columns, mpp) > 0)
        return block.astype(np.uint8)

    return shape, mpp, read
