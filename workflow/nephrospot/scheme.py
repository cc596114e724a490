"""How windows lie on a slide and how their answers become one mask.

Group norm and global pooling let every pixel of a window speak in the answer for every other one, so the
window's size belongs to the method. What can be chosen is the rim that is cropped, how many shifted grids are
averaged, and how they are weighed; docs/performance.md says what each costs and how far neighbours then disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nephrospot.tiles import Grid

MODES = ("nephrospot", "omniseg-official", "kpis")
CHUNK_CELLS = 8  # cores a chunk and side: few files, and a buffer of some MB
MANY_CHUNKS = 512  # a file each
KPIS_CHUNK_PX = 8192  # wide beside a 2048 px window, so that little is computed twice


@dataclass(frozen=True)
class Scheme:
    """Windows on a regular grid that is repeated at some phases.

    Parameters
    ----------
    window_px : side of what the network sees
    halo_px : rim of its answer that is dropped on each side
    stride_px : from one window to the next
    phases : (x, y) shifts of the grid, in pixels
    gaussian : weigh a window's middle more than its rim, instead of all alike
    min_votes : where above 0, a pixel is foreground when so many windows say so, instead of by their mean margin
    flush : windows never stick out of the slide; the last one is moved back instead
    """

    window_px: int
    halo_px: int
    stride_px: int
    phases: tuple[tuple[int, int], ...] = ((0, 0),)
    gaussian: bool = False
    min_votes: int = 0
    flush: bool = False

    @property
    def kept_px(self) -> int:
        """Side of what is kept of a window's answer."""
        return self.window_px - 2 * self.halo_px

    @property
    def covers_once(self) -> bool:
        """Whether every pixel is answered by exactly one window, so that nothing needs to be added up."""
        return len(self.phases) == 1 and self.stride_px == self.kept_px and not (self.min_votes or self.flush)

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each kept pixel of a window; float32 (kept, kept), at most 1."""
        if not self.gaussian:
            return np.ones((self.kept_px, self.kept_px), np.float32)
        # Standard deviation of an eighth of the window, as is usual for sliding windows (nnU-Net, MONAI).
        distance = (np.arange(self.kept_px) + 0.5 - self.kept_px / 2) / (self.window_px / 8)
        profile = np.exp(-0.5 * distance**2)
        return np.maximum(np.outer(profile, profile), 1e-3).astype(np.float32)

    def list_windows(self, grid: Grid, cells: np.ndarray, left_px: int, top_px: int) -> list[tuple[int, int]]:
        """The windows that a chunk needs.

        Parameters
        ----------
        grid : the slide's grid, whose cores are the cells
        cells : bool (rows, columns), which cells of the chunk are to be answered
        left_px, top_px : the chunk's corner in pixels of the grid

        Returns
        -------
        (x, y) of the kept part's corner in pixels of the grid, phase by phase and row by row; may be negative
        """
        cell = grid.core_px
        wanted = np.argwhere(cells) * cell + (top_px, left_px)  # (n, 2) row, column
        wanted = wanted[(wanted < (grid.height_px, grid.width_px)).all(axis=1)]
        if not len(wanted):
            return []
        ends = np.minimum(wanted + cell, (grid.height_px, grid.width_px))
        found: dict[tuple[int, int], None] = {}
        for shift_x, shift_y in self.phases:
            rows = self._starts(wanted[:, 0].min(), ends[:, 0].max(), shift_y, grid.height_px)
            columns = self._starts(wanted[:, 1].min(), ends[:, 1].max(), shift_x, grid.width_px)
            for y in rows:
                near = (wanted[:, 0] < y + self.kept_px) & (ends[:, 0] > y)
                for x in columns:
                    if (near & (wanted[:, 1] < x + self.kept_px) & (ends[:, 1] > x)).any():
                        found[(x, y)] = None
        return list(found)

    def _starts(self, first: int, end: int, shift: int, size: int) -> list[int]:
        """Where windows that touch pixels first … end − 1 of a side of ``size`` pixels begin, in order."""
        low = (int(first) - self.kept_px - shift) // self.stride_px + 1
        high = (int(end) - 1 - shift) // self.stride_px
        starts = [index * self.stride_px + shift for index in range(low, high + 1)]
        if not self.flush:
            return starts
        last = max(0, size - self.window_px)
        moved = {min(max(start, 0), last) for start in [*starts, last]}
        return sorted(start for start in moved if start < end and start + self.kept_px > first)


def make_scheme(mode: str, window_px: int, halo_px: int, shifts: int = 1, blend: str = "flat") -> Scheme:
    """The scheme of a mode.

    Parameters
    ----------
    mode
        "nephrospot": the window and halo given, on ``shifts`` grids (1, 2 or 4) half a core apart.
        "kpis": windows of 2048 px at a stride of 1024, foreground by at least two votes (KPIs challenge 2024,
        task 2, as its organisers run it): a slide's corners, which one window sees, are never foreground.
    blend
        "flat" or "gaussian" weights where grids overlap.
    """
    if mode == "kpis":
        return Scheme(2048, 0, 1024, min_votes=2, flush=True)
    stride = window_px - 2 * halo_px
    half = stride // 2
    phases = {1: ((0, 0),), 2: ((0, 0), (half, half)), 4: ((0, 0), (half, 0), (0, half), (half, half))}[shifts]
    return Scheme(window_px, halo_px, stride, phases, gaussian=blend == "gaussian" and shifts > 1)


def chunk_cells(scheme: Scheme, grid: Grid) -> int:
    """Cells along a chunk's side; twice as many where there would be thousands of chunks."""
    if scheme.flush:
        return -(-KPIS_CHUNK_PX // grid.core_px)
    chunks = -(-grid.rows // CHUNK_CELLS) * -(-grid.columns // CHUNK_CELLS)
    return CHUNK_CELLS if chunks <= MANY_CHUNKS else 2 * CHUNK_CELLS
