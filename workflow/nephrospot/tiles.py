"""The grid of tiles: square cores that cover the slide at a magnification, each read with a halo.

The grid is anchored at the slide's origin, so that neither the order of work nor a restart can move a seam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError
from nephrospot.mpp import magnification_to_mpp
from nephrospot.readings import can_serve
from nephrospot.tissue import TISSUE_MPP


@dataclass(frozen=True)
class Grid:
    """Tiles of one slide at one magnification.

    Three sizes: the *window* is what the network sees, the *core* (window minus a halo on each side)
    is what is kept of its answer, and both are in pixels of the magnification; ``scale`` turns them
    into level-0 pixels.
    """

    magnification: float
    slide_mpp: float
    slide_width_px: int
    slide_height_px: int
    window_px: int
    halo_px: int

    @property
    def mpp(self) -> float:
        """µm per pixel of the grid."""
        return magnification_to_mpp(self.magnification)

    @property
    def scale(self) -> float:
        """Level-0 pixels per pixel of the grid."""
        return self.mpp / self.slide_mpp

    @property
    def core_px(self) -> int:
        """Side of a core."""
        return self.window_px - 2 * self.halo_px

    @property
    def width_px(self) -> int:
        """Width of the slide in pixels of the grid."""
        return max(1, math.ceil(self.slide_width_px / self.scale - 1e-6))

    @property
    def height_px(self) -> int:
        """Height of the slide in pixels of the grid."""
        return max(1, math.ceil(self.slide_height_px / self.scale - 1e-6))

    @property
    def columns(self) -> int:
        """Tiles from left to right."""
        return math.ceil(self.width_px / self.core_px)

    @property
    def rows(self) -> int:
        """Tiles from top to bottom."""
        return math.ceil(self.height_px / self.core_px)

    def core_corner(self, column: int, row: int) -> tuple[float, float]:
        """Level-0 (x, y) of a core's top left corner."""
        return column * self.core_px * self.scale, row * self.core_px * self.scale

    def window_corner(self, column: int, row: int) -> tuple[float, float]:
        """Level-0 (x, y) of a window's top left corner; may lie outside the slide."""
        x_px, y_px = self.core_corner(column, row)
        return x_px - self.halo_px * self.scale, y_px - self.halo_px * self.scale


def list_tiles(grid: Grid, tissue: np.ndarray) -> pd.DataFrame:
    """The tiles of a grid whose core touches tissue, row by row.

    Parameters
    ----------
    tissue : bool (rows, columns) at 16 µm per pixel, from `nephrospot.tissue.find_tissue`

    Returns
    -------
    Columns magnification, column, row, x_px, y_px (level-0 corner of the core), tissue_share (0..1).
    """
    ratio = grid.core_px * grid.mpp / TISSUE_MPP  # mask pixels per core
    rows = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            top, left = int(row * ratio), int(column * ratio)
            under = tissue[top : math.ceil((row + 1) * ratio), left : math.ceil((column + 1) * ratio)]
            if under.any():
                x_px, y_px = grid.core_corner(column, row)
                rows.append((float(grid.magnification), column, row, x_px, y_px, float(under.mean())))
    return pd.DataFrame(rows, columns=["magnification", "column", "row", "x_px", "y_px", "tissue_share"])


def tile_slide(tissue: np.ndarray, manifest: dict, magnifications: list[float], segmentation: dict) -> pd.DataFrame:
    """The tiles of one slide at every magnification that the slide can serve.

    Parameters
    ----------
    tissue : from `nephrospot.tissue.find_tissue`
    manifest : slide.json of the slide
    magnifications : what the methods read at
    segmentation : ``window_px``, ``halo_px`` and ``max_upsampling`` of the configuration

    Returns
    -------
    As `list_tiles`, magnifications one below the other.
    """
    served = [m for m in sorted(set(magnifications)) if can_serve(manifest["mpp"], m, segmentation["max_upsampling"])]
    if not served:
        raise InputError(
            f"slide {manifest['slide']}: no tissue can be read at {manifest['mpp']:.3g} µm per pixel; raise "
            "segmentation → max_upsampling, read at a lower magnification, or leave the slide out."
        )
    return pd.concat([list_tiles(make_grid(manifest, m, segmentation), tissue) for m in served], ignore_index=True)


def read_tiles(path: str | Path) -> pd.DataFrame:
    """The table that `tile_slide` made, from tiles.parquet."""
    return pd.read_parquet(path)


def make_grid(manifest: dict, magnification: float, segmentation: dict) -> Grid:
    """The grid of one slide at one magnification."""
    return Grid(
        magnification=magnification,
        slide_mpp=manifest["mpp"],
        slide_width_px=manifest["width_px"],
        slide_height_px=manifest["height_px"],
        window_px=segmentation["window_px"],
        halo_px=segmentation["halo_px"],
    )
