"""Multiple DeepLabV3: one network a tissue, dilated instead of shrunk, with context at several distances.

Chen et al., "Rethinking Atrous Convolution", arXiv 1706.05587, in NVIDIA's form (``DeepV3``, ResNet-50): output
stride 8, every 3×3 convolution of the last two stages dilated by 2 and 4, pyramid rates 12, 24 and 36, no projection
after the pyramid, two 3×3 convolutions and a classifier without bias, bilinear enlargement. Weights are drawn
(He et al., ICCV 2015), never pre-trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.method import TISSUES
from nephrospot.models.separate import Separate

OUTPUT_STRIDE = 8
RATES = (12, 24, 36)
# Blocks, stride and dilation of ResNet-50's four stages.
STAGES = ((3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4))
EXPANSION = 4


def _conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1, each with batch norm, and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, middle: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = EXPANSION * middle
        self.body = nn.Sequential(
            *_conv_norm(inputs, middle),
            nn.ReLU(inplace=True),
            *_conv_norm(middle, middle, 3, stride, dilation),
            nn.ReLU(inplace=True),
            *_conv_norm(middle, outputs),
        )
        changed = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(*_conv_norm(inputs, outputs, stride=stride)) if changed else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class Branch(nn.Module):
    """A dilated convolution, batch norm and ReLU, only for the rows and columns that are asked for."""

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__()
        self.rate = rate  # 0 for a 1×1 convolution
        kernel = 3 if rate else 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, dilation=max(1, rate), bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        margin = 2 * self.rate
        x = F.pad(x, [self.rate] * 4)[:, :, rows.start : rows.stop + margin, columns.start : columns.stop + margin]
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the image's average, a 1×1 and three dilated convolutions, side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.image = nn.Sequential(*_conv_norm(inputs, outputs), nn.ReLU(inplace=True))
        self.branches = nn.ModuleList(Branch(inputs, outputs, rate) for rate in (0, *RATES))

    def forward(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        if self.training and len(x) == 1:
            raise ValueError(
                "a DeepLabV3 can't be trained on one image at a time: the batch norm of the image's average needs "
                "two of the same tissue; give larger batches."
            )
        image = self.image(x.mean(dim=(2, 3), keepdim=True))
        image = image.expand(-1, -1, rows.stop - rows.start, columns.stop - columns.start)
        return torch.cat([image, *(branch(x, rows, columns) for branch in self.branches)], dim=1)


def plan_cells(size: int, core: slice | None) -> tuple[slice, slice, slice]:
    """The cells (of 8 px) that one axis of the core depends on.

    Enlarging needs a cell to each side, the two 3×3 convolutions two more.

    Returns
    -------
    The pyramid's cells; of these, those that are enlarged; of the enlarged pixels, the core.
    """
    cells = size // OUTPUT_STRIDE
    start, stop = (0, size) if core is None else core.indices(size)[:2]
    first, last = max(0, start // OUTPUT_STRIDE - 1), min(cells, -(-stop // OUTPUT_STRIDE) + 1)
    outer = slice(max(0, first - 2), min(cells, last + 2))
    inner = slice(first - outer.start, last - outer.start)
    return outer, inner, slice(start - first * OUTPUT_STRIDE, stop - first * OUTPUT_STRIDE)


class DeepLab(nn.Module):
    """DeepLabV3 on ResNet-50, (N, 3, H, W) → (N, 2, H, W); H and W are multiples of 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        stem = [*_conv_norm(3, width, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]
        self.stem = nn.Sequential(*stem)
        stages, channels = [], width
        for index, (blocks, stride, dilation) in enumerate(STAGES):
            middle = width * 2**index
            for block in range(blocks):
                stages.append(Bottleneck(channels, middle, stride if block == 0 else 1, dilation))
                channels = EXPANSION * middle
        self.stages = nn.Sequential(*stages)
        deep = 4 * width
        self.pyramid = Pyramid(channels, deep)
        self.classify = nn.Sequential(
            *_conv_norm((2 + len(RATES)) * deep, deep, 3),
            nn.ReLU(inplace=True),
            *_conv_norm(deep, deep, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(deep, 2, 1, bias=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor, core: slice | None = None) -> Tensor:
        """Logits (N, 2, H, W), or only those of the core: from the pyramid on what it doesn't see is left out."""
        (outer_rows, rows, core_rows), (outer_columns, columns, core_columns) = (
            plan_cells(size, core) for size in x.shape[-2:]
        )
        x = self.stages(self.stem(x))
        x = self.classify(self.pyramid(x, outer_rows, outer_columns))[:, :, rows, columns]
        x = F.interpolate(x, scale_factor=OUTPUT_STRIDE, mode="bilinear", align_corners=False)
        return x[:, :, core_rows, core_columns]


class MultiDeepLab(Separate):
    """A `DeepLab` for each tissue.

    In training a batch needs at least two images of each tissue in it (the pyramid's image average is normalised
    over the batch).

    Parameters
    ----------
    width
        Channels of the stem (64 as published: 42,255,424 parameters a tissue); the deepest stage has 32 times as many.
    """

    stride = OUTPUT_STRIDE

    def __init__(self, width: int = 64) -> None:
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        super().__init__({tissue: DeepLab(width) for tissue in TISSUES})
        self.width = width
