"""What the official Omni-Seg pipeline does with one region: overlapping windows at random places vote on its pixels.

Written, like `nephrospot.official`, from a description of the official code (commit fcf72cc); none of it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nephrospot.engine import Engine
from nephrospot.models import scale_id, tissue_id
from nephrospot.readings import Reading

MAGNIFICATION = 40.0  # of regions and masks


@dataclass(frozen=True)
class Voting:
    """Overlapping windows of one magnification; ``padding_px`` of black all round, ``votes`` make foreground."""

    stride_px: int
    padding_px: int
    votes: int


@dataclass(frozen=True)
class OfficialScheme:
    """The official numbers, for 512 px windows; tests use smaller ones.

    Parameters
    ----------
    region_px : side of a region at 40×, a multiple of 8; regions lie half a side apart
    trim_px : rim of a region's mask that is dropped, at 40×
    window_px, rim_px : what the network sees, and the rim of its answer that is dropped
    batch : windows a pass
    coarse, finest : below 40×, and at 40×
    guard_magnification, guard_share : a region with more foreground at this magnification is blanked
    tuft_votes : regions that must say TUFT
    """

    region_px: int = 4096
    trim_px: int = 256
    window_px: int = 512
    rim_px: int = 64
    batch: int = 4
    coarse: Voting = Voting(stride_px=64, padding_px=384, votes=4)
    finest: Voting = Voting(stride_px=256, padding_px=192, votes=1)
    guard_magnification: float = 5.0
    guard_share: float = 0.2
    tuft_votes: int = 2

    @property
    def stride_px(self) -> int:
        """From one region to the next; also the side of a cell of the output."""
        return self.region_px // 2

    def voting(self, magnification: float) -> Voting:
        """The windows of a magnification; 20×, at which the official pipeline reads nothing, goes like 10× and 5×."""
        return self.finest if magnification >= MAGNIFICATION else self.coarse

    def image_px(self, magnification: float) -> int:
        """Side of a region at a magnification."""
        return round(self.region_px * magnification / MAGNIFICATION)

    def windows_per_side(self, magnification: float) -> int:
        """Windows along one side of a padded region."""
        voting = self.voting(magnification)
        return (self.image_px(magnification) + 2 * voting.padding_px - self.window_px) // voting.stride_px + 1


OFFICIAL = OfficialScheme()


def passes_per_region(readings: list[Reading], scheme: OfficialScheme = OFFICIAL) -> int:
    """Windows that the network sees for one region: 444 for a tissue at 10×, 172 at 5×, 260 at 40×, 1936 for all six.

    Every tissue has windows of its own, and after the full batches the last four windows are always run again, as in
    the official code.
    """
    return sum(sum(map(len, _batches(scheme.windows_per_side(r.magnification) ** 2, scheme.batch))) for r in readings)


def draw_windows(magnification: float, rng: np.random.Generator, scheme: OfficialScheme = OFFICIAL) -> np.ndarray:
    """Where the windows of one tissue begin in the padded region.

    A regular grid, each window moved by up to one stride either way (integers, the upper end excluded) in y
    and in x, but the first and the last row not in y and the first and the last column not in x. (Read so, 6.9 % of the
    pixels get no vote at 40×, with a standard deviation of 0.8 between regions; the official code has 6.4 %, and outer
    windows that don't move at all would give 4.8 %.)

    Returns
    -------
    int64 (n, 2): y and x, row by row
    """
    stride, n = scheme.voting(magnification).stride_px, scheme.windows_per_side(magnification)
    starts = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1) * stride
    shifts = rng.integers(-stride, stride, starts.shape)
    shifts[[0, -1], :, 0] = 0
    shifts[:, [0, -1], 1] = 0
    return (starts + shifts).reshape(-1, 2)


@torch.inference_mode()
def add_votes(
    engine: Engine, image: Tensor, reading: Reading, windows: np.ndarray, scheme: OfficialScheme = OFFICIAL
) -> tuple[Tensor, list[int]]:
    """How many windows call each pixel of a padded region foreground.

    Parameters
    ----------
    image : float32 (3, side, side) in 0..1 at the reading's magnification, without padding
    windows : from `draw_windows`

    Returns
    -------
    votes : uint8 (padded side, padded side)
    broken : indices of the windows whose answer isn't finite

    Notes
    -----
    A window votes once, though those of the last batch are run again. (Taken from the official code's memory: it
    holds one answer a window.)
    """
    padding, rim, window = scheme.voting(reading.magnification).padding_px, scheme.rim_px, scheme.window_px
    kept = slice(rim, window - rim)
    side = image.shape[-1] + 2 * padding
    votes = torch.zeros((side, side), dtype=torch.uint8, device=image.device)
    finite = torch.ones(len(windows), dtype=torch.bool, device=image.device)
    answered = 0
    for batch in _batches(len(windows), scheme.batch):
        crops = [_crop(image, *(windows[i] - padding), window) for i in batch]
        pixels = torch.stack(crops).to(engine.dtype).contiguous(memory_format=torch.channels_last)
        ids = [
            torch.full((len(batch),), value, device=image.device)
            for value in (tissue_id(reading.tissue), scale_id(reading.scale_code))
        ]
        logits = engine.method(pixels, *ids)[:, :, kept, kept]
        finite[batch.start : batch.stop] = torch.isfinite(logits.float().flatten(1).sum(dim=1))
        for index, foreground in zip(batch, logits[:, 1] > logits[:, 0], strict=True):
            if index >= answered:
                y, x = windows[index] + rim
                votes[y : y + window - 2 * rim, x : x + window - 2 * rim] += foreground
        answered = batch.stop
    return votes, (~finite).nonzero().flatten().tolist()


def enlarge_mask(mask: Tensor, side_px: int) -> Tensor:
    """Interpolate a bool mask to 40×, where all that isn't zero becomes True: it grows by 2 px a side from 10×."""
    blend = F.interpolate(mask[None, None].float(), size=(side_px, side_px), mode="bilinear", align_corners=False)
    return blend[0, 0] > 0


def merge_counts(counts: np.ndarray, tissues: list[str], tuft_votes: int = OFFICIAL.tuft_votes) -> np.ndarray:
    """One mask a tissue from how many regions found it.

    The most wins, at a draw the first of DT, PT, CAP, TUFT, VES, PTC. CAP is wherever CAP or TUFT won, and
    TUFT that part of it where at least ``tuft_votes`` regions found TUFT.

    Parameters
    ----------
    counts : uint8 (tissues, rows, columns)
    tissues : in the order of the six

    Returns
    -------
    uint8 (rows, columns), bit b for the b-th tissue
    """
    winner = np.where(counts.any(axis=0), counts.argmax(axis=0), len(tissues))
    won = {tissue: winner == index for index, tissue in enumerate(tissues)}
    nowhere = np.zeros(winner.shape, bool)
    glomerulus = won.get("CAP", nowhere) | won.get("TUFT", nowhere)
    if "CAP" in won:
        won["CAP"] = glomerulus
    if "TUFT" in won:
        won["TUFT"] = glomerulus & (counts[tissues.index("TUFT")] >= tuft_votes)
    bits = np.zeros(winner.shape, np.uint8)
    for index, tissue in enumerate(tissues):
        bits |= won[tissue].astype(np.uint8) << index
    return bits


def _batches(n: int, size: int) -> list[range]:
    """Full batches, then the last ``size`` once more, needed or not."""
    return [range(start, start + size) for start in range(0, n - size + 1, size)] + [range(max(0, n - size), n)]


def _crop(image: Tensor, y: int, x: int, side: int) -> Tensor:
    """A square of an image, black beyond its border."""
    height, width = image.shape[-2:]
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + side, height), min(x + side, width)
    crop = image.new_zeros((3, side, side))
    if bottom > top and right > left:
        crop[:, top - y : bottom - y, left - x : right - x] = image[:, top:bottom, left:right]
    return crop
