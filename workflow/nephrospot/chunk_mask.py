"""The mask of a chunk: made of its windows' answers, cleared where there is glass, counted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nephrospot.chunks import Chunk
from nephrospot.models import Place
from nephrospot.models.bits import clear_parts, count_bits
from nephrospot.scheme import Scheme
from nephrospot.tissue import TISSUE_MPP


class ChunkAnswer:
    """The answers of one chunk's windows, added up on the device until they are a mask.

    Parameters
    ----------
    side_px : the chunk's side
    n : number of readings
    scheme : how windows are joined
    """

    def __init__(self, side_px: int, n: int, scheme: Scheme, device: torch.device) -> None:
        self.scheme, self.n, self.side_px = scheme, n, side_px
        # Where every pixel is answered by one window, nothing need be there before; what no window is asked for is
        # cleared when the chunk is written.
        self.bits = torch.empty((side_px, side_px), dtype=torch.uint8, device=device)
        self.values = torch.tensor([1 << bit for bit in range(n)], dtype=torch.uint8, device=device).view(n, 1, 1)
        self.finite: list[tuple[tuple[int, int], Tensor]] = []
        self.broken: list[tuple[int, int]] = []
        if not scheme.covers_once:
            kind = torch.uint8 if scheme.min_votes else torch.float32
            self.sums = torch.zeros((n, side_px, side_px), dtype=kind, device=device)
            self.weights = torch.from_numpy(scheme.weights).to(device)

    def clear(self) -> None:
        """Begin another chunk of the same kind, in the same memory: new memory has to be mapped by the system."""
        self.finite.clear()
        self.broken.clear()
        if not self.scheme.covers_once:
            self.sums.zero_()

    def place(self, x: int, y: int) -> Place:
        """Where `nephrospot.engine.Engine.foreground` is to write the window whose corner is at (x, y) of the chunk.

        For windows that don't overlap, which lie in it wholly.
        """
        return Place(self.bits.numpy(), y, x)

    @torch.inference_mode()
    def put(self, place: tuple[int, int], x: int, y: int, margins: Tensor) -> None:
        """Add one window's margins, float32 (n, kept, kept), whose corner is at (x, y) of the chunk.

        ``place`` is what the window is called when it turns out that its answer isn't finite.
        """
        here, part = self._overlap(x, y, margins.shape[-1])
        inside = margins[:, *part]
        # A sum is finite where all its terms are; it is looked at once a chunk, so that the GPU needn't wait.
        self.finite.append((place, torch.isfinite(margins.sum())))
        if self.scheme.covers_once:
            self.bits[here] = self._pack(inside > 0)
        elif self.scheme.min_votes:
            self.sums[:, *here] += inside > 0
        else:
            # Every pixel has the same windows in every reading, so the sign of the weighted sum is that of the mean.
            self.sums[:, *here] += inside * self.weights[part]

    def _overlap(self, x: int, y: int, kept: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that a window's answer has in common with the chunk: the chunk's, and the answer's."""
        here, part = [], []
        for at in (y, x):
            first, last = max(at, 0), min(at + kept, self.side_px)
            here.append(slice(first, last))
            part.append(slice(first - at, last - at))
        return tuple(here), tuple(part)

    @torch.inference_mode()
    def finish(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """The mask, uint8 (side, side) with one bit a reading, and the windows whose answer wasn't finite."""
        if not self.scheme.covers_once:
            yes = self.sums >= self.scheme.min_votes if self.scheme.min_votes else self.sums > 0
            self.bits = self._pack(yes)
        flags = torch.stack([flag for _, flag in self.finite]).cpu().tolist() if self.finite else []
        broken = [place for (place, _), flag in zip(self.finite, flags, strict=True) if not flag] + self.broken
        return self.bits.cpu().numpy(), broken

    def _pack(self, yes: Tensor) -> Tensor:
        """One bit a reading, uint8 (H, W) from bool (n, H, W); a sum over readings would take seven times as long."""
        first, *others = yes.view(torch.uint8).mul_(self.values)
        for bits in others:
            first = first.bitwise_or_(bits)
        return first


def clear_glass(bits: np.ndarray, chunk: Chunk, tissue: np.ndarray) -> None:
    """Set to background, in place, what isn't asked for, what isn't on tissue and what is beyond the slide."""
    grid = chunk.grid
    rows = _list_parts(chunk, chunk.top_px, grid.height_px, len(tissue))
    columns = _list_parts(chunk, chunk.left_px, grid.width_px, tissue.shape[1])
    starts, cells, places, inside = zip(rows, columns, strict=True)
    stays = chunk.cells[np.ix_(*cells)] & tissue[np.ix_(*places)] & np.logical_and.outer(*inside)
    clear_parts(bits, *(np.append(start, chunk.side_px) for start in starts), stays)


def _list_parts(chunk: Chunk, first_px: int, slide_px: int, tissue_px: int) -> tuple[np.ndarray, ...]:
    """Along a side of a chunk, the parts that lie in one cell and in one pixel of the tissue's mask: where they start,
    which cell and which pixel it is, and whether they lie inside the slide."""
    pixels = np.arange(chunk.side_px)
    cells = pixels // chunk.grid.core_px
    places = np.minimum(((first_px + pixels + 0.5) * (chunk.grid.mpp / TISSUE_MPP)).astype(int), tissue_px - 1)
    inside = first_px + pixels < slide_px
    differs = (np.diff(cells) != 0) | (np.diff(places) != 0) | np.diff(inside)
    starts = np.flatnonzero(np.append(True, differs))
    return starts, cells[starts], places[starts], inside[starts]


def count_foreground(bits: np.ndarray, n: int) -> list[int]:
    """Pixels with each of the lowest ``n`` bits set.

    Parameters
    ----------
    bits : uint8 (rows, columns)
    """
    flat = np.ascontiguousarray(bits).reshape(-1)
    if flat.size % 8:
        flat = np.pad(flat, (0, -flat.size % 8))
    counts = np.empty(n, np.int64)
    count_bits(flat.view(np.uint64), counts)
    return counts.tolist()
