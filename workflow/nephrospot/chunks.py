"""Chunks: the squares of a slide that are computed, written and noted as done one at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nephrospot.scheme import Scheme, chunk_cells
from nephrospot.tiles import Grid

# What a chunk cost: wall time, processor time, and wall time inside the network.
COSTS = ("seconds", "cpu_seconds", "forward_seconds")


@dataclass(frozen=True)
class Chunk:
    """A square of cells (the grid's cores) of one magnification, and the windows that answer it."""

    grid: Grid
    scheme: Scheme
    column: int
    row: int
    cells: np.ndarray  # bool (n, n), which cells are to be answered
    windows: list[tuple[int, int]]

    @property
    def name(self) -> str:
        return f"{self.grid.magnification:g}x/{self.row}/{self.column}"

    @property
    def side_px(self) -> int:
        return len(self.cells) * self.grid.core_px

    @property
    def left_px(self) -> int:
        return self.column * self.side_px

    @property
    def top_px(self) -> int:
        return self.row * self.side_px

    @property
    def cost_px(self) -> int:
        """Pixels that pass through the network."""
        return len(self.windows) * self.scheme.window_px**2


def list_chunks(grid: Grid, scheme: Scheme, tiles: pd.DataFrame) -> list[Chunk]:
    """The chunks that hold tiles, row by row, with the windows that each needs."""
    n = chunk_cells(scheme, grid)
    columns, rows = tiles["column"].to_numpy(int), tiles["row"].to_numpy(int)
    chunks = []
    for row, column in np.unique(np.column_stack([rows // n, columns // n]), axis=0).tolist():
        cells = np.zeros((n, n), bool)
        here = (rows // n == row) & (columns // n == column)
        cells[rows[here] % n, columns[here] % n] = True
        side = n * grid.core_px
        windows = scheme.list_windows(grid, cells, column * side, row * side)
        chunks.append(Chunk(grid, scheme, column, row, cells, windows))
    return chunks


def take_part(chunks: list[Chunk], i: int, n: int) -> list[Chunk]:
    """The i-th (from 1) of n runs of neighbouring chunks with about the same work in each."""
    ends = np.cumsum([chunk.cost_px for chunk in chunks])
    if not len(ends):
        return []
    middles = ends - np.array([chunk.cost_px for chunk in chunks]) / 2
    return [chunk for chunk, middle in zip(chunks, middles, strict=True) if int(n * middle / ends[-1]) + 1 == i]


def sum_up(pieces: dict[str, dict], tiles: dict[str, int], core_px: int) -> dict:
    """What the pieces of a slide say together.

    Parameters
    ----------
    pieces : of each chunk ("10x/3/1"), the windows, the foreground pixels of each tissue and its `COSTS`
    tiles : number of tiles by magnification ("10x")
    core_px : side of a tile's core
    """
    windows = dict.fromkeys(tiles, 0)
    foreground: dict[str, float] = {}
    for name, piece in pieces.items():
        magnification = name.split("/")[0]
        windows[magnification] += piece["windows"]
        for tissue, pixels in piece["foreground_px"].items():
            share = 100 * pixels / (max(1, tiles[magnification]) * core_px**2)
            foreground[tissue] = foreground.get(tissue, 0.0) + share
    costs = {cost: round(sum(piece[cost] for piece in pieces.values()), 2) for cost in COSTS}
    return {"windows": windows, "foreground_percent_of_tiles": foreground} | costs
