"""MultiKidney: the U-Net for kidney tissue of Bouteldja et al., JASN 2021, with a soft-max over all classes.

Written from the description in `omniseg` §5.7 alone; the original's code is AGPL and was not looked at.

What differs from that description: the original's decoder isn't padded (640 → 516 px); here it is, so that the output
has the input's size as with every other method. The original was labelled densely in eight classes; here each patch
has one label, and the rest is merged. Its class for borders needs dense labels too; the ring of the common loss
stands for it.

The port in the Omni-Seg comparison took the fifth level's features instead of the bottleneck's on its first step up,
so a bottleneck of 14 million parameters was never used. Here the first step takes the bottleneck.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.competing import CLASSES, Competing

LEVELS = 6


def _convolve_twice(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # No bias: the norm would take it off again.
        conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        layers += [conv, nn.InstanceNorm2d(outputs, affine=True), nn.LeakyReLU(inplace=True)]
    return nn.Sequential(*layers)


class MultiKidney(Competing):
    """U-Net 32…1024: five max-pools, instance norm, leaky ReLU, transposed convolutions that keep their channels.

    Images need multiples of 32 px and more than 32×32, since an instance norm of a single pixel is nothing.

    Parameters
    ----------
    width
        Channels of the first level (32 as published).
    """

    stride = 32

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        self.width = width
        sizes = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(_convolve_twice(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
        pairs = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(deep, deep, 2, stride=2) for deep, _ in pairs)
        self.up = nn.ModuleList(_convolve_twice(deep + shallow, shallow) for deep, shallow in pairs)
        self.last = nn.Conv2d(width, len(CLASSES), 1)

    def classify(self, images: Tensor, core: slice | None = None) -> Tensor:
        """See `Competing.classify`."""
        self.check_size(images)
        x, skips = images * 3.2 - 1.6, []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for widen, block, skip in zip(self.widen, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([widen(x), skip], dim=1))
        core = core or slice(None)
        return self.last(x[:, :, core, core])

    def check_size(self, images: Tensor) -> None:
        """Raise ValueError where a side isn't a multiple of ``stride``, or the bottleneck would be a single pixel."""
        super().check_size(images)
        height, width = images.shape[-2:]
        if (height, width) == (self.stride, self.stride):
            raise ValueError(f"image of {height}×{width} px: one side must be {2 * self.stride} or more.")
