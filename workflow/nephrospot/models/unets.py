"""Multiple U-Nets: one network a tissue, the common answer to partial labels.

Jayapandian et al., Kidney International 2021: five levels, two 3×3 convolutions with batch norm a level,
average pooling, transposed convolutions, concatenation; 16 filters at the first level for tubules, arteries
and capillaries, 4 for glomeruli.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.method import TISSUES
from nephrospot.models.separate import Separate

GLOMERULAR = ("CAP", "TUFT")


def _convolve_twice(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


def plan_crops(size: int, core: slice | None, levels: int) -> list[tuple[slice, slice]]:
    """What each level on the way up must see of one axis for the core's answers to stay as they are.

    Two 3×3 convolutions see two pixels to each side. Starts and stops are multiples of 4.

    Returns
    -------
    From the deepest level on: the pixels to keep of the deeper level's output (in its own crop), and of the skip; at
    last the core (in the shallowest level's crop), twice.
    """
    start, stop = (0, size) if core is None else core.indices(size)[:2]
    spans = [(start, stop)]
    for _ in range(levels):
        start, stop = max(0, start - 2) // 4 * 4, min(size, -(-(stop + 2) // 4) * 4)
        spans.append((start, stop))
        start, stop, size = start // 2, stop // 2, size // 2
    plan = [(slice(start, stop), slice(*spans[-1]))]
    for (inner, end), (outer, _), scale in zip(spans[-2::-1], spans[:0:-1], [2] * (levels - 1) + [1], strict=True):
        plan.append((slice(inner // scale - outer, end // scale - outer), slice(inner, end)))
    return plan


class UNet(nn.Module):
    """A plain U-Net, (N, 3, H, W) → (N, 2, H, W) with the input's size."""

    def __init__(self, filters: int, depth: int = 5) -> None:
        super().__init__()
        sizes = [filters * 2**level for level in range(depth)]
        self.down = nn.ModuleList(_convolve_twice(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
        pairs = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in pairs)
        self.up = nn.ModuleList(_convolve_twice(deep, shallow) for deep, shallow in pairs)
        self.classify = nn.Conv2d(filters, 2, 1)

    def forward(self, x: Tensor, core: slice | None = None) -> Tensor:
        """Logits (N, 2, H, W), or only those of the core: the way up leaves out what it doesn't see."""
        plans = [plan_crops(size, core, len(self.up)) for size in x.shape[-2:]]
        crops = list(zip(*plans, strict=True))
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        for widen, block, skip, ((top, keep_rows), (left, keep_columns)) in zip(
            self.widen, self.up, skips[-2::-1], crops[:-1], strict=True
        ):
            x = block(torch.cat([widen(x[:, :, top, left]), skip[:, :, keep_rows, keep_columns]], dim=1))
        (rows, _), (columns, _) = crops[-1]
        return self.classify(x[:, :, rows, columns])


class MultiUNet(Separate):
    """A `UNet` for each tissue.

    Parameters
    ----------
    width
        Filters at the first level (16 as published); glomerular networks have a quarter of it, but at least 4.
    """

    def __init__(self, width: int = 16) -> None:
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        super().__init__({t: UNet(max(4, width // 4) if t in GLOMERULAR else width) for t in TISSUES})
        self.width = width
