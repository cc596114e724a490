"""The inference form of a method on a CPU: the same weights and answers, with fewer multiplications and passes.

What is exchanged, and why each pays, was measured by ``tests/benchmarks/forward.py``:

- group norm and its ReLU: two passes over memory (`nephrospot.models.normalise`);
- convolutions: their ReLU or sum is made before the result leaves the processor; in float32 those of many
  channels by Winograd's F(4×4, 3×3) (Lavin & Gray, CVPR 2016), 2.25 multiplications a pixel and pair of channels
  instead of 9;
- 1×1 convolutions: one matrix product over pixels; with a stride, only the pixels that are kept are normalised;
- batch norm: folded into the convolution that reads it, exactly, the border too.

In bfloat16 only what is stored between layers and multiplied is rounded: norms, sums, what is pooled, the layers
that write other layers' weights and the last ones are float32.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from nephrospot.models.convolve import choose_convolution
from nephrospot.models.fastunet import FastUNet
from nephrospot.models.method import Method
from nephrospot.models.normalise import FastWidenAdd, NormReLU, measure
from nephrospot.models.omniseg import Block, WidenAdd
from nephrospot.models.unets import UNet


def quicken(method: Method, dtype: torch.dtype = torch.float32) -> Method:
    """A copy of ``method`` for inference on a CPU.

    Logits in float32 agree with the method's to some 1e-5 of their range (sums come in another order).
    The copy can't be trained, saved or moved to another type.

    Parameters
    ----------
    method : in float32
    dtype : torch.float32 or torch.bfloat16
        Of the images that it will be given.
    """
    exchanged = [part for part in method.modules() if isinstance(part, Block | UNet)]
    fast = copy.deepcopy(method, {id(part): nn.Identity() for part in exchanged})
    fast = fast.eval().requires_grad_(False).to(dtype, memory_format=torch.channels_last)
    with torch.no_grad():
        _exchange(fast, method, dtype)
    return fast


def _exchange(fast: nn.Module, exact: nn.Module, dtype: torch.dtype) -> None:
    """Put the fast forms of the children of ``exact``, in float32, into ``fast``."""
    for name, child in exact.named_children():
        kinds = [type(part) for part in child.children()]
        if name in getattr(exact, "WRITERS", ()):
            setattr(fast, name, copy.deepcopy(child))
        elif isinstance(child, Block):
            setattr(fast, name, FastBlock(child, dtype))
        elif isinstance(child, UNet):
            setattr(fast, name, FastUNet(child, dtype))
        elif isinstance(child, WidenAdd):
            setattr(fast, name, FastWidenAdd())
        elif isinstance(child, nn.Conv2d):
            setattr(fast, name, choose_convolution(_cast(child, dtype)))
        elif kinds == [nn.GroupNorm, nn.ReLU, nn.AdaptiveAvgPool2d] and child[2].output_size == 1:
            setattr(fast, name, NormReLUPool(child[0]))
        else:
            own = getattr(fast, name)
            _exchange(own, child, dtype)
            if isinstance(child, nn.Sequential):
                for place, pair in enumerate(pairwise(kinds)):
                    if pair == (nn.GroupNorm, nn.ReLU):
                        own[place], own[place + 1] = NormReLU(child[place]), nn.Identity()


def _cast(conv: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    """A copy with weights of another type; the bias stays as it is."""
    conv = copy.deepcopy(conv)
    conv.weight.data = conv.weight.data.to(dtype, memory_format=torch.channels_last)
    return conv


class NormReLUPool(nn.Module):
    """A group norm, its ReLU and the average over all pixels, which isn't rounded; float32 (N, C, 1, 1)."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.rectify = NormReLU(norm)

    def forward(self, x: Tensor) -> Tensor:
        means = measure(self.rectify(x))
        return torch.from_numpy(means[:, 0, :, None, None]).float()


class FastBlock(nn.Module):
    """`Block` with its statistics computed once: both norms of the input share them."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = NormReLU(block.gn1), NormReLU(block.gn2)
        self.conv1, self.conv2 = (choose_convolution(_cast(conv, dtype)) for conv in (block.conv1, block.conv2))
        self.shortcut, self.project, self.stride = None, None, 1
        if block.downsample is not None:
            norm, _, conv = block.downsample
            self.shortcut, self.stride = NormReLU(norm), conv.stride[0]
            self.project = choose_convolution(_cast(conv, dtype))
            self.project.stride = 1  # its input comes without the pixels in between

    def forward(self, x: Tensor) -> Tensor:
        means = measure(x)
        y = self.second(self.conv1(self.first(x, means)), in_place=True)
        if self.shortcut is None:
            return self.conv2(y, x)
        kept = x[:, :, :: self.stride, :: self.stride]
        return self.conv2(y, self.project(self.shortcut(kept, means)))
