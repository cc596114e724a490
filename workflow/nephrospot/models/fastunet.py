"""A U-Net's inference form: no batch norm and no concatenation is left, and every answer stays.

Each norm's scale and shift move forward into whatever reads it: the next convolution, the one after the pooling
(an average commutes with them), the widening layer and the classifier.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.convolve import choose_convolution, multiply
from nephrospot.models.normalise import relu_with_border_, shuffle_beside
from nephrospot.models.unets import UNet, plan_crops

Affine = tuple[Tensor, Tensor, Tensor]  # scale, shift, and the mean of what is scaled; one number a channel


def read_affine(norm: nn.BatchNorm2d) -> Affine:
    """What a batch norm does in evaluation: x · scale + shift."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale, norm.running_mean


class FoldedConv(nn.Module):
    """relu(convolution(x · scale + shift)), 3×3 with zero padding, exact at the border.

    The shift becomes a bias inside; at the border the padding has none, so the missing part is taken off there. What
    rounded weights make of the mean of x is taken off, too: x isn't centred any more, so that it would be the most of
    their error.
    """

    def __init__(self, conv: nn.Conv2d, affine: Affine | None, dtype: torch.dtype) -> None:
        super().__init__()
        inside = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        weight, inside.bias.data, self.missing = conv.weight, conv.bias, None
        if affine is not None:
            scale, shift, mean = affine
            weight = weight * scale[:, None, None]
            lost = weight - weight.to(dtype)
            constant, weights = torch.cat([shift, mean]), torch.cat([conv.weight, lost], dim=1)
            seen = F.conv2d(constant[None, :, None, None].expand(1, -1, 3, 3), weights, padding=1)[0]
            inside.bias.data = conv.bias + seen[:, 1, 1]
            missing = seen - seen[:, 1:2, 1:2]  # (outputs, 3, 3): corners, edges, and nothing in the middle
            self.missing = np.ascontiguousarray(missing.permute(1, 2, 0).detach().numpy())
        inside.weight.data = weight.to(dtype, memory_format=torch.channels_last)
        inside.requires_grad_(False)
        self.conv, self.inner = choose_convolution(inside), choose_convolution(inside, relu=True)

    def forward(self, x: Tensor, border: bool = True) -> Tensor:
        """Without ``border`` the answers at the border don't matter."""
        if self.missing is None or not border:
            return self.inner(x)
        return relu_with_border_(self.conv(x), self.missing)


class FoldedWiden(nn.Module):
    """A 2×2 transposed convolution of x · scale + shift as one matrix product, written beside the skip."""

    def __init__(self, widen: nn.ConvTranspose2d, affine: Affine, dtype: torch.dtype) -> None:
        super().__init__()
        scale, shift, mean = affine
        weight = widen.weight.permute(2, 3, 1, 0)  # (2, 2, outputs, inputs)
        scaled = weight * scale
        self.weight = scaled.flatten(0, 2).to(dtype)
        self.bias = (weight @ shift + (scaled - scaled.to(dtype)) @ mean + widen.bias).flatten()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)
        wide = multiply(pixels.reshape(-1, x.shape[1]), self.weight, self.bias)
        return shuffle_beside(wide.view(*pixels.shape[:3], -1), skip)


class FastUNet(nn.Module):
    """`UNet` with its norms folded, called alike."""

    def __init__(self, unet: UNet, dtype: torch.dtype) -> None:
        super().__init__()
        self.down, self.up, self.widen = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        affine, skips = None, []
        for block in unet.down:
            self.down.append(FoldedPair(block, affine, dtype))
            affine = read_affine(block[5])
            skips.append(affine)
        for widen, block, skip in zip(unet.widen, unet.up, skips[-2::-1], strict=True):
            self.widen.append(FoldedWiden(widen, affine, dtype))
            # What was widened has no norm behind it, and a mean that isn't known.
            plain = torch.ones(widen.out_channels), *torch.zeros(2, widen.out_channels)
            beside = tuple(torch.cat(both) for both in zip(plain, skip, strict=True))
            self.up.append(FoldedPair(block, beside, dtype))
            affine = read_affine(block[5])
        scale, shift, _ = affine
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
            keep = keep_rows, keep_columns
            border = any(part.start == 0 or part.stop == size for part, size in zip(keep, skip.shape[2:], strict=True))
            x = block(widen(x[:, :, top, left], skip[:, :, *keep]), border)
        (rows, _), (columns, _) = crops[-1]
        # In float32: where two logits are near one another, rounding either would decide.
        x = x[:, :, rows, columns]
        n, _, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).float().flatten(1, 2)
        logits = torch.baddbmm(self.bias[:, None], self.weight.expand(n, -1, -1), pixels.mT)
        return logits.view(n, -1, height, width)


class FoldedPair(nn.Module):
    """Two convolutions, each with its ReLU, and the norms before them."""

    def __init__(self, block: nn.Sequential, affine: Affine | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = FoldedConv(block[0], affine, dtype)
        self.second = FoldedConv(block[3], read_affine(block[2]), dtype)

    def forward(self, x: Tensor, border: bool = True) -> Tensor:
        return self.second(self.first(x, border), border)
