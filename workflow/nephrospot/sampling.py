"""From pixels as they are stored to windows at any resolution: which pixels, and how they become the window's.

Whole factors are averaged over blocks anchored at the slide's origin; what is left (less than two) is interpolated.
`Slide.read_window` does it on the CPU; for a GPU `nephrospot.resample` does the same with many windows at once, so that
the threads which feed it only decode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL_TOLERANCE = 1.01  # Aperio's levels are 4.0001× and 16.0005×: 1 % off is the same level


@dataclass(frozen=True)
class Sampling:
    """How a window's pixels lie on a level's, along both axes.

    Attributes
    ----------
    block : int
        Level pixels averaged along a side.
    ratio : float
        Blocks a window pixel.
    first_x, first_y : float
        Centre of the window's first pixel, in blocks from the level's corner.
    """

    block: int
    ratio: float
    first_x: float
    first_y: float

    @classmethod
    def of(cls, x_px: float, y_px: float, scale: float, downsample: float) -> Sampling:
        """Of a window whose corner is at (x_px, y_px) of level 0, with ``scale`` level-0 pixels a pixel, read from a
        level with ``downsample``."""
        step = scale / downsample  # level pixels a window pixel
        block = max(1, int(step * LEVEL_TOLERANCE))
        first_x, first_y = (
            (position / downsample + 0.5 * step - 0.5 - (block - 1) / 2) / block for position in (x_px, y_px)
        )
        return cls(block, step / block, first_x, first_y)

    @property
    def corner(self) -> tuple[int, int]:
        """(x, y) of the block that the first pixel begins in."""
        return math.floor(self.first_x), math.floor(self.first_y)

    @property
    def shift(self) -> tuple[float, float]:
        """(x, y) of the first pixel's centre from that of that block, in blocks; 0 to below 1."""
        left, top = self.corner
        return self.first_x - left, self.first_y - top

    @property
    def is_stored(self) -> bool:
        """Whether the window's pixels are the level's own."""
        return self.block == self.ratio == 1 and self.shift == (0, 0)

    def count_blocks(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of blocks that a window of this size touches."""
        columns, rows = (
            math.ceil(shift + self.ratio * (size - 1)) + 1
            for shift, size in zip(self.shift, (width, height), strict=True)
        )
        return columns, rows


@dataclass(frozen=True)
class RawWindows:
    """Windows of one size and resolution as they are stored.

    Attributes
    ----------
    pixels : uint8 (N, rows, columns, 3)
        Of the level, from the corner of each window's first block; ``block`` pixels a block.
    shifts : float32 (N, 2)
        (x, y), see `Sampling.shift`.
    block, ratio
        See `Sampling`.
    side_px : int
        Of the windows wanted.
    """

    pixels: np.ndarray
    shifts: np.ndarray
    block: int
    ratio: float
    side_px: int

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> RawWindows:
        return RawWindows(self.pixels[part], self.shifts[part], self.block, self.ratio, self.side_px)


def join_raw(windows: Sequence[RawWindows]) -> RawWindows:
    """Windows of the same size and resolution in one."""
    first = windows[0]
    pixels, shifts = (np.concatenate([getattr(raw, name) for raw in windows]) for name in ("pixels", "shifts"))
    return RawWindows(pixels, shifts, first.block, first.ratio, first.side_px)
