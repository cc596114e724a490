"""The inference form of a method on a CPU: the same weights and answers, with fewer multiplications and passes.

What is exchanged, and why each pays, was measured by ``tests/benchmarks/forward.py``:

- 3×3 convolutions of many channels: Winograd's F(4×4, 3×3) (Lavin & Gray, CVPR 2016), 2.25 multiplications
  a pixel and pair of channels instead of 9;
- 1×1 convolutions: one matrix product over pixels; with a stride, only the pixels that are kept are normalised;
- batch norm: folded into the convolution that reads it, exactly, the border too.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.convolve import choose_convolution
from nephrospot.models.fastunet import FastUNet
from nephrospot.models.method import Method
from nephrospot.models.omniseg import Block
from nephrospot.models.unets import UNet


def quicken(method: Method) -> Method:
    """A copy of ``method`` for inference in float32 on a CPU.

    Logits agree with the method's to some 1e-5 of their range (float32 rounds in another order).
    The copy can't be trained, saved or moved to another type.
    """
    fast = copy.deepcopy(method).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    _exchange(fast)
    return fast


def _exchange(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Block):
            setattr(module, name, FastBlock(child))
        elif isinstance(child, UNet):
            setattr(module, name, FastUNet(child))
        elif isinstance(child, nn.Conv2d):
            setattr(module, name, choose_convolution(child))
        else:
            _exchange(child)


class FastBlock(nn.Module):
    """`Block` with its statistics computed once: both norms of the input share them."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.gn1, self.gn2 = block.gn1, block.gn2
        self.conv1, self.conv2 = choose_convolution(block.conv1), choose_convolution(block.conv2)
        self.norm, self.project, self.stride = None, None, 1
        if block.downsample is not None:
            self.norm, conv = block.downsample[0], block.downsample[2]
            self.project, self.stride = conv.weight.flatten(1), conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        gn = self.gn1
        y, mean, rstd = torch.native_group_norm(
            x, gn.weight, gn.bias, n, channels, height * width, gn.num_groups, gn.eps
        )
        y = self.conv2(self.gn2(self.conv1(y.relu_())).relu_())
        return y.add_(x if self.project is None else self._shortcut(x, mean, rstd))

    def _shortcut(self, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride].permute(0, 2, 3, 1)
        size = x.shape[-1] // mean.shape[1]
        scale = self.norm.weight * rstd.repeat_interleave(size, dim=1)  # (N, channels)
        shift = self.norm.bias - mean.repeat_interleave(size, dim=1) * scale
        x = torch.addcmul(shift[:, None, None], x, scale[:, None, None]).relu_()
        return F.linear(x, self.project).permute(0, 3, 1, 2)
