"""MultiClass: one U-Net with a convolution on each skip and a soft-max over all classes.

Gonzalez, Washko & San José Estépar, MICCAI workshops 2018 (CUNet); `omniseg` §5.6.

The port that the Omni-Seg papers probably compare with has its loss on the labelled class's channel alone; Table I as
printed has it empty on DT, TUFT, VES and PTC. The likely reason: a loss written on that channel's soft-max probability
p (Dice, or a sigmoid over it) pulls with p·(1 - p), so a class that is rare in its patches and has once been pushed
to nothing is never pulled up again. Besides, tuft pixels are told "tuft" by some patches and "glomerulus" by others.
Here the background has a channel, the classes without a label are merged before the loss, whose cross-entropy is
taken from the logits (its pull is target - p), and a glomerulus is its capsule and its tuft together.

Norms are group norms: batches hold one tissue each (`omniseg` §3.3), so a shared batch norm would learn with each
tissue's own statistics and be read with those of all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.competing import CLASSES, Competing

GROWTH = (1, 2, 4, 8, 8)


def _convolve(inputs: int, outputs: int, groups: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.GroupNorm(groups, outputs), nn.ReLU(inplace=True)]


class MultiClass(Competing):
    """U-Net 64-128-256-512-512, max-pooling, bilinear up-sampling, 3×3 convolution on each skip.

    Parameters
    ----------
    width
        Channels of the first level (64 as published).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        self.width = width
        groups = min(16, width // 2)

        def twice(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(*_convolve(inputs, outputs, groups), *_convolve(outputs, outputs, groups))

        sizes = [width * growth for growth in GROWTH]
        self.down = nn.ModuleList(twice(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
        shallow = sizes[-2::-1]
        self.skip = nn.ModuleList(nn.Sequential(*_convolve(size, size, groups)) for size in shallow)
        # What comes from below has as many channels as the skip, so each step leaves the next skip's number.
        self.up = nn.ModuleList(twice(2 * i, o) for i, o in zip(shallow, [*shallow[1:], width], strict=True))
        self.last = nn.Conv2d(width, len(CLASSES), 1)

    def classify(self, images: Tensor, core: slice | None = None) -> Tensor:
        """See `Competing.classify`."""
        self.check_size(images)
        x, skips = images, []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for block, convolve, skip in zip(self.up, self.skip, skips[-2::-1], strict=True):
            above = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = block(torch.cat([convolve(skip), above], dim=1))
        core = core or slice(None)
        return self.last(x[:, :, core, core])
