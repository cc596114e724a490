"""Multiple residual U-Nets: one network a tissue, Omni-Seg's own kind of blocks around a concatenating decoder.

After Salvi et al., Computerized Medical Imaging and Graphics 2021, as the Omni-Seg papers compare with it: a stem of
64 channels, pre-activation residual blocks with group norm, four halvings, a 1×1 fusion at the bottom, concatenation
on the way up, and a 3×3 classifier. Theirs has no bias: where all features that it reads are silent, both logits are
then zero whatever it learns, arg-max says background and no gradient comes back. Ours has one.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.method import TISSUES
from nephrospot.models.omniseg import Block
from nephrospot.models.separate import Separate

GROUPS = 16
# Channels that the last stages keep in small versions; with fewer, training often ends with all of them silent.
LEAST = 16


def count_groups(*channels: int) -> int:
    """The most groups, up to 16, that divide all these numbers of channels and leave at least two in a group."""
    groups = math.gcd(GROUPS, *channels)
    return groups if groups < min(channels) else groups // 2


def _block(inputs: int, outputs: int, stride: int = 1) -> Block:
    return Block(inputs, outputs, count_groups(inputs, outputs), stride)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(count_groups(channels), channels), nn.ReLU(inplace=True)]


class ResUNet(nn.Module):
    """A residual U-Net, (N, 3, H, W) → (N, 2, H, W); H and W are multiples of 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w, narrow, last = width, max(LEAST, width // 2), max(LEAST, width // 4)
        self.stem = nn.Conv2d(3, w, 3, padding=1, bias=False)
        sizes = [w, w, 2 * w, 4 * w, 8 * w]
        self.down = nn.ModuleList([_block(w, w)])
        for inputs, outputs in pairwise(sizes):
            self.down.append(nn.Sequential(_block(inputs, outputs, stride=2), _block(outputs, outputs)))
        self.fuse = nn.Sequential(*_norm_relu(8 * w), nn.Conv2d(8 * w, 8 * w, 1, bias=False))
        outputs = [4 * w, 2 * w, narrow, narrow]
        pairs = zip([8 * w, *outputs], sizes[-2::-1], outputs, strict=False)
        self.up = nn.ModuleList(_block(deep + skip, shallow) for deep, skip, shallow in pairs)
        self.refine = _block(narrow, last)
        self.classify = nn.Sequential(*_norm_relu(last), nn.Conv2d(last, 2, 3, padding=1))

    def forward(self, x: Tensor, core: slice | None = None) -> Tensor:
        """Logits (N, 2, H, W), or only those of the core, which need the whole window: every norm sees all of it."""
        x = self.stem(x)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.fuse(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
        core = core or slice(None)
        return self.classify(self.refine(x))[:, :, core, core]


class MultiResUNet(Separate):
    """A `ResUNet` for each tissue.

    Parameters
    ----------
    width
        Channels of the stem, 64 as published; the bottom has eight times as many, the last block a quarter, but at
        least 16.
    """

    def __init__(self, width: int = 64) -> None:
        if width % 8:
            raise ValueError(f"width is {width}; it must be a multiple of 8.")
        super().__init__({tissue: ResUNet(width) for tissue in TISSUES})
        self.width = width
