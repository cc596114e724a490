"""Convolutions for inference on a CPU: the same weights with fewer multiplications and passes over memory."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Inputs and outputs together; with fewer the transforms cost about what the multiplications save.
WINOGRAD_CHANNELS = 192
# Numbers in a strip's transformed input: about what a core's second-level cache holds.
STRIP_NUMBERS = 2**19

# F(4, 3): transforms of six input pixels, three weights, and back to four output pixels.
INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip  # noqa: E501
WEIGHT = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip  # noqa: E501
OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def choose_convolution(conv: nn.Conv2d, relu: bool = False) -> nn.Module:
    """The fastest form of a convolution, with a ReLU behind it or without; itself where there is none.

    All forms but itself can be called as ``form(x, other)``, which answers the sum of both. The bias may be float32
    where the weights are bfloat16.
    """
    # All forms mix all channels, and a subclass may do something to its weights or borders first.
    if conv.groups > 1 or type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        conv = conv.to(conv.weight.dtype)
        return nn.Sequential(conv, nn.ReLU(inplace=True)) if relu else conv
    if (conv.kernel_size, conv.padding) == ((1, 1), (0, 0)) and not relu:
        return PointwiseConv(conv)
    many = conv.in_channels + conv.out_channels >= WINOGRAD_CHANNELS
    plain = (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
    # In bfloat16 the hardware multiplies faster than the transforms can be made, and they would lose digits.
    if many and plain and conv.weight.dtype == torch.float32:
        return WinogradConv(conv, relu)
    return DirectConv(conv, relu)


@cache
def is_fused(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there for this type: not on every processor for bfloat16, nor in every build of torch."""
    there = torch.backends.mkldnn.is_available()
    return there and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`, which in bfloat16 writes the bias to memory first."""
    if x.dtype == torch.bfloat16 and bias is not None and is_fused(x.dtype):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, None if bias is None else bias.to(x.dtype))


class PointwiseConv(nn.Module):
    """A 1×1 convolution as a matrix product over the pixels of a channels-last image."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.stride = conv.weight.flatten(1), conv.bias, conv.stride[0]

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride].permute(0, 2, 3, 1)
        x = multiply(x, self.weight, self.bias).permute(0, 3, 1, 2)
        return x if other is None else x.add_(other)


class DirectConv(nn.Module):
    """A convolution by oneDNN, whose ReLU or sum is made before the result leaves the processor."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.how = conv.padding, conv.stride, conv.dilation, conv.groups
        self.plain = conv.stride, conv.padding, conv.dilation, conv.groups

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if not is_fused(x.dtype):
            y = F.conv2d(x, self.weight, None if self.bias is None else self.bias.to(x.dtype), *self.plain)
            y = y if other is None else y.add_(other)
            return y.relu_() if self.relu else y
        convolve, then = torch.ops.mkldnn._convolution_pointwise, "relu" if self.relu else "none"
        if other is None:
            return convolve(x, self.weight, self.bias, *self.how, then, [], "")
        if self.bias is not None and self.bias.dtype != x.dtype:  # not to be had together with a sum
            x = convolve(x, self.weight, self.bias, *self.how, "none", [], "").add_(other)
            return x.relu_() if self.relu else x
        then = "relu" if self.relu else None
        return convolve.binary(x, other, self.weight, self.bias, *self.how, "add", 1.0, then, [], None)


class WinogradConv(nn.Module):
    """A 3×3 convolution with stride 1 and padding 1 by Winograd's minimal filtering, F(4×4, 3×3).

    The two-dimensional transforms are matrix products too (36×36 and 16×36), taken over strips of tiles that stay
    in the cache. Sizes that aren't multiples of 4 go the direct way.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.direct, self.relu = DirectConv(conv, relu), relu
        self.bias = conv.bias
        one, weight, back = (torch.tensor(m, dtype=torch.float64) for m in (INPUT, WEIGHT, OUTPUT))
        self.forth, self.back = torch.kron(one, one).float(), torch.kron(back, back).float()
        weights = torch.einsum("ik,jl,ockl->ijco", weight, weight, conv.weight.double())
        self.weights = weights.flatten(0, 1).float().contiguous()  # (36, inputs, outputs)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if x.shape[-2] % 4 or x.shape[-1] % 4:
            return self.direct(x, other)
        images = [self._convolve(image)[None] for image in x.permute(0, 2, 3, 1)]
        y = (images[0] if len(images) == 1 else torch.cat(images)).permute(0, 3, 1, 2)
        y = y if other is None else y.add_(other)
        return y.relu_() if self.relu else y

    def _convolve(self, image: Tensor) -> Tensor:
        height, width, inputs = image.shape
        outputs, rows, columns = self.weights.shape[2], height // 4, width // 4
        tiles = F.pad(image, (0, 0, 1, 1, 1, 1)).unfold(0, 6, 4).unfold(1, 6, 4)  # (rows, columns, inputs, 6, 6)
        tiles = tiles.permute(3, 4, 0, 1, 2)
        result = image.new_empty(rows, 4, columns, 4, outputs)
        step = max(1, STRIP_NUMBERS // (36 * columns * inputs))
        for top in range(0, rows, step):
            strip = tiles[:, :, top : top + step]
            n = strip.shape[2]
            transformed = (self.forth @ strip.reshape(36, -1)).view(36, n * columns, inputs)
            products = torch.bmm(transformed, self.weights).view(36, -1)
            pixels = (self.back @ products).view(4, 4, n, columns, outputs)
            result[top : top + n] = pixels.permute(2, 0, 3, 1, 4)
        result = result.view(height, width, outputs)
        return result if self.bias is None else result.add_(self.bias)
