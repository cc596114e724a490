"""A U-Net's inference form: no batch norm and no concatenation is left, and every answer stays.

Each norm's scale and shift move forward into whatever reads it: the next convolution, the one after the pooling
(an average commutes with them), the widening layer and the classifier.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.convolve import choose_convolution
from nephrospot.models.unets import UNet, plan_crops

EDGES = (slice(0, 1), slice(1, -1), slice(-1, None))
Affine = tuple[Tensor, Tensor]  # scale and shift, one number a channel


def read_affine(norm: nn.BatchNorm2d) -> Affine:
    """What a batch norm does in evaluation: x · scale + shift."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


class FoldedConv(nn.Module):
    """relu(convolution(x · scale + shift)), 3×3 with zero padding, exact at the border.

    The shift becomes a bias inside; at the border the padding has none, so the missing part is taken off there.
    """

    def __init__(self, conv: nn.Conv2d, affine: Affine | None) -> None:
        super().__init__()
        inside = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        inside.weight.data, inside.bias.data, self.missing = conv.weight, conv.bias, None
        if affine is not None:
            scale, shift = affine
            inside.weight.data = conv.weight * scale[:, None, None]
            seen = F.conv2d(shift[None, :, None, None].expand(1, -1, 3, 3), conv.weight, padding=1)[0]
            inside.bias.data = conv.bias + seen[:, 1, 1]
            self.missing = seen - seen[:, 1:2, 1:2]  # (outputs, 3, 3): corners, edges, and nothing in the middle
        self.conv = choose_convolution(inside.to(memory_format=torch.channels_last).requires_grad_(False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.missing is not None:
            for i, rows in enumerate(EDGES):
                for j, columns in enumerate(EDGES):
                    if (i, j) != (1, 1):
                        x[:, :, rows, columns] += self.missing[:, i, j, None, None]
        return x.relu_()


class FoldedWiden(nn.Module):
    """A 2×2 transposed convolution of x · scale + shift as one matrix product, written beside the skip."""

    def __init__(self, widen: nn.ConvTranspose2d, affine: Affine) -> None:
        super().__init__()
        scale, shift = affine
        weight = widen.weight.permute(2, 3, 1, 0)  # (2, 2, outputs, inputs)
        self.weight = (weight * scale).flatten(0, 2)
        self.bias = (weight @ shift + widen.bias).flatten()
        self.outputs = widen.out_channels

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        n, _, height, width = x.shape
        both = x.new_empty(n, 2 * height, 2 * width, self.outputs + skip.shape[1])
        wide = F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).view(n, height, width, 2, 2, self.outputs)
        half = both[..., : self.outputs].unflatten(1, (height, 2)).unflatten(3, (width, 2))
        half.copy_(wide.permute(0, 1, 3, 2, 4, 5))
        both[..., self.outputs :] = skip.permute(0, 2, 3, 1)
        return both.permute(0, 3, 1, 2)


class FastUNet(nn.Module):
    """`UNet` with its norms folded, called alike."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.down, self.up, self.widen = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        affine, skips = None, []
        for block in unet.down:
            self.down.append(_fold_twice(block, affine))
            affine = read_affine(block[5])
            skips.append(affine)
        for widen, block, (scale, shift) in zip(unet.widen, unet.up, skips[-2::-1], strict=True):
            self.widen.append(FoldedWiden(widen, affine))
            beside = (torch.cat([torch.ones_like(scale), scale]), torch.cat([torch.zeros_like(shift), shift]))
            self.up.append(_fold_twice(block, beside))
            affine = read_affine(block[5])
        scale, shift = affine
        weight = unet.classify.weight.flatten(1)
        self.weight, self.bias = weight * scale, unet.classify.bias + weight @ shift

    def forward(self, x: Tensor, core: slice | None = None) -> Tensor:
        """See `UNet.forward`."""
        crops = list(zip(*(plan_crops(size, core, len(self.up)) for size in x.shape[-2:]), strict=True))
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        for widen, block, skip, ((top, keep_rows), (left, keep_columns)) in zip(
            self.widen, self.up, skips[-2::-1], crops[:-1], strict=True
        ):
            x = block(widen(x[:, :, top, left], skip[:, :, keep_rows, keep_columns]))
        (rows, _), (columns, _) = crops[-1]
        return F.linear(x[:, :, rows, columns].permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


def _fold_twice(block: nn.Sequential, affine: Affine | None) -> nn.Sequential:
    return nn.Sequential(FoldedConv(block[0], affine), FoldedConv(block[3], read_affine(block[2])))
