"""TAL: a residual U-Net whose outputs at five depths are fused by learned attention, one soft-max over all classes.

Fang & Yan, IEEE TMI 2020 (PIPO-FAN and the target adaptive loss); `omniseg` §5.4.

The port that the Omni-Seg papers probably compare with has six channels and none for the background. Every pixel
that is no tissue must then be given to a tissue that isn't there, and what a channel learns as a stand-in for the
background on one patch it must unlearn on the next; Table I as printed has it empty on DT, VES and PTC. Here the
background has a channel of its own.

Two parts of PIPO-FAN are left out: the image pyramid at the input, and a loss at each depth besides the fused output's
(a method answers one pair of logits). Blocks are Omni-Seg's, with group norm: batches hold one tissue each
(`omniseg` §3.3), so a shared batch norm would learn with each tissue's own statistics and be read with those of all.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.competing import CLASSES, Competing
from nephrospot.models.omniseg import Block

LEVELS = 5


class Output(nn.Module):
    """What one depth says: logits of the classes, and one number for how far to trust it on this image."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.classify = nn.Conv2d(channels, len(CLASSES), 1)
        self.weigh = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 7, h, w) and score (N, 1, 1, 1)."""
        x = F.relu(self.norm(x))
        pooled = F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1)
        return self.classify(x), self.weigh(pooled)


class TAL(Competing):
    """Residual U-Net of five levels with an output at each.

    Parameters
    ----------
    width
        Channels of the first level, doubled at each; 32 by default, Omni-Seg's own (`omniseg` §5 names none).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        self.width = width
        groups = min(16, width // 2)
        sizes = [width * 2**level for level in range(LEVELS)]
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.down = nn.ModuleList([Block(width, width, groups)])
        self.down.extend(Block(i, o, groups, stride=2) for i, o in pairwise(sizes))
        self.up = nn.ModuleList(
            Block(deep + shallow, shallow, groups) for deep, shallow in zip(sizes[:0:-1], sizes[-2::-1], strict=True)
        )
        self.outputs = nn.ModuleList(Output(size, groups) for size in reversed(sizes))

    def classify(self, images: Tensor, core: slice | None = None) -> Tensor:
        """See `Competing.classify`."""
        self.check_size(images)
        x = self.stem(images)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        depths = [skips.pop()]
        for block, skip in zip(self.up, reversed(skips), strict=True):
            above = F.interpolate(depths[-1], scale_factor=2, mode="nearest")
            depths.append(block(torch.cat([above, skip], dim=1)))
        said = [output(depth) for output, depth in zip(self.outputs, depths, strict=True)]
        shares = torch.cat([score for _, score in said], dim=1).softmax(dim=1)  # (N, 5, 1, 1)
        fused, core = 0, core or slice(None)
        for depth, (logits, _) in enumerate(said):
            if logits.shape != said[-1][0].shape:
                logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear")
            fused = fused + logits[:, :, core, core] * shares[:, depth : depth + 1]
        return fused
