"""Group norm and ReLU on a CPU with as few passes over memory as there can be.

Between convolutions a network's time is memory's. torch takes five passes over a tensor for a group norm and the
ReLU behind it, the last two in bfloat16 at half of memory's rate; here one is for the statistics and two, reading
and writing, for all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from nephrospot.models import kernels

LINE = 512  # numbers, some whole pixels of them, that the processor works on side by side
BLOCK = 256  # lines whose sums float32 holds without loss
SMALL = 1 << 18  # numbers that aren't worth a second thread


class NormReLU(nn.Module):
    """A group norm and the ReLU behind it.

    Parameters
    ----------
    norm : in float32
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.affine = torch.stack([norm.weight, norm.bias]).detach().double().numpy()

    def forward(self, x: Tensor, means: np.ndarray | None = None, in_place: bool = False) -> Tensor:
        """The normalised and rectified image.

        Parameters
        ----------
        x : (N, C, H, W), channels last, bfloat16 or float32
        means : of `measure` of ``x``, or of the image that ``x`` is a part of
        in_place : write over ``x``
        """
        x = x.contiguous(memory_format=torch.channels_last)
        means = measure(x) if means is None else means
        y = x if in_place else torch.empty_like(x)
        for image in range(len(x)):
            lines = _lines(x[image : image + 1])
            scale, shift = np.empty((2, lines.shape[1]), np.float32)
            kernels.tell_affine(means[image], self.affine, self.groups, self.eps, scale, shift)
            if in_place:
                work = partial(kernels.rectify_in_place, lines, scale, shift)
            else:
                work = partial(kernels.rectify, lines, _lines(y[image : image + 1]), scale, shift)
            _share(work, len(lines), lines.size)
        return y


def measure(x: Tensor) -> np.ndarray:
    """Means of each channel's numbers and of their squares over the pixels; float64 (N, 2, C).

    The same whatever the number of threads.

    Parameters
    ----------
    x : (N, C, H, W), channels last, bfloat16 or float32
    """
    means = np.empty((len(x), 2, x.shape[1]))
    for image in range(len(x)):
        lines = _lines(x[image : image + 1])
        blocks = -(-len(lines) // BLOCK)
        sums, squares = np.empty((2, blocks, lines.shape[1]), np.float32)
        _share(partial(kernels.sum_up, lines, sums, squares), blocks, lines.size)
        for own, mean in zip((sums, squares), means[image], strict=True):
            kernels.fold(own, x.shape[2] * x.shape[3], mean)
    return means


def relu_with_border_(x: Tensor, missing: np.ndarray) -> Tensor:
    """ReLU in place, after ``missing``, float32 (3, 3, C), is added to the corners and edges.

    torch's own ReLU takes twice as long in bfloat16.
    """
    for image in range(len(x)):
        kernels.add_border(as_array(x[image].permute(1, 2, 0)), missing)
        lines = _lines(x[image : image + 1])
        one, zero = np.ones(lines.shape[1], np.float32), np.zeros(lines.shape[1], np.float32)
        _share(partial(kernels.rectify_in_place, lines, one, zero), len(lines), lines.size)
    return x


def shuffle_beside(wide: Tensor, skip: Tensor) -> Tensor:
    """What a 2×2 transposed convolution makes of each pixel, in its place, and a skip's channels behind it.

    Parameters
    ----------
    wide : (N, H, W, 4 · outputs), the upper two pixels first
    skip : (N, channels, 2 H, 2 W), channels last

    Returns
    -------
    (N, outputs + channels, 2 H, 2 W), channels last
    """
    n, height, width, four = wide.shape
    y = wide.new_empty(n, 2 * height, 2 * width, four // 4 + skip.shape[1])
    for image in range(n):
        own = wide[image].view(height, width, 2, 2, four // 4), skip[image].permute(1, 2, 0), y[image]
        arrays = [as_array(part) for part in own]
        if all(part.nbytes // part.size * part.shape[-1] % 8 == 0 for part in arrays):
            arrays = [part.view(np.uint64) for part in arrays]  # several channels at a time
        _share(partial(kernels.shuffle_beside, *arrays), height, y[image].numel())
    return y.permute(0, 3, 1, 2)


class FastWidenAdd(nn.Module):
    """`nephrospot.models.omniseg.WidenAdd` in one pass."""

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        y = torch.empty_like(skip, memory_format=torch.channels_last)
        for image in range(len(skip)):
            arrays = [as_array(own[image].permute(1, 2, 0)) for own in (deep, skip, y)]
            _share(partial(kernels.widen_add, *arrays), y.shape[2], arrays[-1].size)
        return y


def _lines(x: Tensor) -> np.ndarray:
    """One image's numbers as lines of whole pixels, a view."""
    return as_array(x.permute(0, 2, 3, 1)).reshape(-1, _wide(x.shape[2] * x.shape[3], x.shape[1]))


@cache
def _wide(pixels: int, channels: int) -> int:
    wide = 1
    while pixels % (2 * wide) == 0 and 2 * wide * channels <= LINE:
        wide *= 2
    return wide * channels


def as_array(x: Tensor) -> np.ndarray:
    """The same numbers for `nephrospot.models.kernels`; bfloat16 as uint16."""
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _share(work: Callable[[int, int], object], count: int, numbers: int) -> None:
    """Call ``work`` for all of 0 to ``count``, in as many parts as torch has threads."""
    threads = min(torch.get_num_threads(), count) if numbers > SMALL else 1
    if threads == 1:
        work(0, count)
        return
    edges = [count * part // threads for part in range(threads + 1)]
    others = [_pool(threads).submit(work, *ends) for ends in pairwise(edges[1:])]
    work(*edges[:2])
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="passes")
