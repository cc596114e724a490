"""Med3D in two dimensions: one residual encoder for all, a small decoder for each tissue.

Chen, Ma & Zheng, 2019 (arXiv 1904.00625), where each data set has its decoder; `omniseg` §5.5. Here each tissue has
one, and a patch teaches the encoder and the decoder of its labelled tissue, no other.

The encoder is a ResNet-18 whose third and fourth stage are dilated instead of strided, so features have an eighth of
the image's resolution. Group norm stands for batch norm, with as many parameters: batches hold one tissue each
(`omniseg` §3.3), so a shared batch norm would learn with each tissue's own statistics and be read with those of all.
A decoder takes two skips from the encoder, since a capillary's lumen is a few eighths wide. Nothing is
rectified before its last layer: where few channels are all zero on a tissue, only that layer's bias could learn it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.method import TISSUES, Method

# Growth of the width, stride of the first block and dilation of each stage.
STAGES = ((1, 1, 1), (2, 2, 1), (4, 1, 2), (8, 1, 4))
BLOCKS = 2


class Residual(nn.Module):
    """The basic block of a ResNet (He et al. 2016), dilated where asked."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int, dilation: int) -> None:
        super().__init__()

        def convolve(channels: int, step: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, outputs, 3, step, padding=dilation, dilation=dilation, bias=False)
            return nn.Sequential(conv, nn.GroupNorm(groups, outputs))

        self.first, self.second, self.shortcut = convolve(inputs, stride), convolve(outputs, 1), None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.GroupNorm(groups, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Encoder(nn.Module):
    """(N, 3, H, W) → features of width at a half and a quarter, and of 8·width at an eighth of the resolution."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(conv, nn.GroupNorm(groups, width), nn.ReLU(inplace=True))
        self.stages, inputs = nn.ModuleList(), width
        for growth, stride, dilation in STAGES:
            outputs = growth * width
            blocks = [Residual(inputs, outputs, groups, stride, dilation)]
            blocks += [Residual(outputs, outputs, groups, 1, dilation) for _ in range(BLOCKS - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.stem(images)
        quarter = self.stages[0](F.max_pool2d(half, 3, stride=2, padding=1))
        deep = quarter
        for stage in list(self.stages)[1:]:
            deep = stage(deep)
        return half, quarter, deep


class Decoder(nn.Module):
    """Two steps up with a skip each, then bilinear: logits (N, 2, H, W) of one tissue."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.widen = nn.ModuleList(nn.ConvTranspose2d(i, width, 2, stride=2) for i in (8 * width, width))
        self.join = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width))
            for _ in range(2)
        )
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, half: Tensor, quarter: Tensor, deep: Tensor) -> Tensor:
        x = F.relu(self.join[0](torch.cat([self.widen[0](deep), quarter], dim=1)))
        x = self.join[1](torch.cat([self.widen[1](x), half], dim=1))
        return F.interpolate(self.last(x), scale_factor=2, mode="bilinear")


class Med3D(Method):
    """A shared encoder and a decoder for each tissue; the scale code is ignored.

    Parameters
    ----------
    width
        Channels of the encoder's first stage (64 as published).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"width is {width}; it must be a multiple of 8.")
        self.width = width
        groups = min(16, width // 4)
        self.encoder = Encoder(width, groups)
        self.decoders = nn.ModuleDict({tissue: Decoder(width, groups) for tissue in TISSUES})

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """See `Method.forward`."""
        self.check_size(images)
        features = self.encoder(images)
        tissue_ids = torch.as_tensor(tissue_ids, device=images.device).long()
        logits = features[0].new_empty((images.shape[0], 2, *images.shape[-2:]))
        for index in tissue_ids.unique().tolist():
            chosen = tissue_ids == index
            decoded = self.decoders[TISSUES[index]](*(part[chosen] for part in features))
            logits[chosen] = decoded.to(logits.dtype)
        return logits

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`; the encoder runs once, each tissue's decoder once."""
        self.check_size(images)
        features, core = self.encoder(images), core or slice(None)
        margins = {}
        for tissue in {tissue for tissue, _ in readings}:
            logits = self.decoders[TISSUES[tissue]](*features)[:, :, core, core].float()
            margins[tissue] = logits[:, 1] - logits[:, 0]
        return torch.stack([margins[tissue] for tissue, _ in readings], dim=1)
