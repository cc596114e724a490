"""Passes over memory: the numbers of torch's own operations, rounded once, whatever the threads and the shape."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nephrospot.models import kernels
from nephrospot.models.bits import pack_shares, pack_signs
from nephrospot.models.normalise import (
    FastWidenAdd,
    NormReLU,
    as_array,
    measure,
    relu_with_border_,
    shuffle_beside,
)

TYPES = [torch.float32, torch.bfloat16]
SHAPES = [(1, 8, 16, 16), (2, 32, 48, 40), (1, 12, 5, 7), (1, 1024, 4, 4), (1, 16, 300, 300)]


def draw(shape, dtype, seed=0):
    """Numbers with a mean that isn't zero, channels last."""
    generator = torch.Generator().manual_seed(seed)
    values = 3 + 2 * torch.randn(shape, generator=generator)
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def make_norm(channels, groups=4):
    norm = nn.GroupNorm(groups, channels).requires_grad_(False)
    nn.init.uniform_(norm.weight, -1.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


def same(a, b):
    """Equal but for one step of b's own rounding."""
    step, least = (2**-7, 0.02) if a.dtype == torch.bfloat16 else (2e-6, 1)
    return bool(((a.float() - b.float()).abs() <= step * b.float().abs().clamp(min=least)).all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_means_and_norms_are_torchs(shape, dtype):
    x, norm = draw(shape, dtype), make_norm(shape[1])
    means = measure(x)
    exact = x.double()
    assert np.allclose(means[:, 0], exact.mean(dim=(2, 3)), rtol=1e-6)
    assert np.allclose(means[:, 1], (exact**2).mean(dim=(2, 3)), rtol=1e-6)
    wanted = F.relu(F.group_norm(exact, 4, norm.weight.double(), norm.bias.double())).to(dtype)
    y = NormReLU(norm)(x)
    assert same(y, wanted) and y.is_contiguous(memory_format=torch.channels_last) and y.dtype == dtype
    assert torch.equal(x, draw(shape, dtype)), "the input stays as it was"
    assert NormReLU(norm)(x, in_place=True) is x and torch.equal(x, y)


def test_a_part_is_normalised_by_the_whole():
    x, norm = draw((1, 8, 32, 32), torch.float32), make_norm(8)
    part = x[:, :, ::2, ::2]
    rectify = NormReLU(norm)
    assert torch.equal(rectify(part, measure(x)), rectify(x)[:, :, ::2, ::2])


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_change_nothing(dtype):
    x, norm, threads = draw((1, 16, 300, 300), dtype), make_norm(16), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append((NormReLU(norm)(x), measure(x)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(y, found[0][0]) and np.array_equal(means, found[0][1]) for y, means in found)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_isnt_a_number_comes_through(dtype):
    """A slide stops at NaN, so no pass may swallow one."""
    norm = make_norm(8)
    for wrong in (float("nan"), float("inf")):
        x = draw((1, 8, 16, 16), dtype)
        x[0, 3, 5, 6] = wrong
        assert NormReLU(norm)(x).isnan().any()
    x = draw((1, 8, 16, 16), dtype)
    x[0, 3, 5, 6] = float("nan")
    assert relu_with_border_(x, np.zeros((3, 3, 8), np.float32))[0, 3, 5, 6].isnan()


def test_bfloat16_is_rounded_as_torch_does():
    """All kinds of bits: numbers, ties, the smallest, infinities."""
    bits = np.random.default_rng(0).integers(0, 2**32, 2**16, dtype=np.uint32)
    bits[: 2**12] = (bits[: 2**12] & 0xFFFF0000) | 0x8000  # halfway
    bits = np.concatenate([bits, np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 1], np.uint32)])
    values = bits.view(np.float32)
    x = torch.from_numpy(values[np.isfinite(values) | np.isinf(values)])
    zero = torch.zeros_like(x, dtype=torch.bfloat16)
    y = torch.empty_like(zero)
    # A pixel of as many channels at half of the resolution, and nothing to add to it.
    wide = [own.view(1, 1, -1).expand(2, 2, -1).contiguous() for own in (zero, y)]
    kernels.widen_add(x.view(1, 1, -1).numpy(), *map(as_array, wide), 0, 2)
    assert torch.equal(wide[1][1, 1], x.to(torch.bfloat16) + 0)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(4, 4), (6, 10), (64, 64)])
def test_widening_and_adding_are_torchs(size, dtype):
    deep, skip = draw((2, 8, *size), dtype), draw((2, 8, 2 * size[0], 2 * size[1]), dtype, seed=1)
    assert torch.equal(FastWidenAdd()(deep, skip), F.interpolate(deep, scale_factor=2, mode="nearest") + skip)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outputs", "channels"), [(16, 16), (4, 8), (3, 5)])
def test_what_is_widened_lies_beside_the_skip(outputs, channels, dtype):
    wide = draw((2, 6, 5, 4 * outputs), dtype).contiguous()
    whole = draw((2, channels, 20, 20), dtype, seed=1)
    skip = whole[:, :, 4:16, 6:16]  # a crop of a skip, as on the way up
    y = shuffle_beside(wide, skip)
    assert torch.equal(y[:, outputs:], skip)
    for lower in range(2):
        for right in range(2):
            place = (2 * lower + right) * outputs
            found = y[:, :outputs, lower::2, right::2]
            assert torch.equal(found, wide[..., place : place + outputs].permute(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_border_is_mended_before_it_is_rectified(dtype):
    x, missing = draw((2, 8, 6, 9), dtype) - 3, np.random.default_rng(2).normal(size=(3, 3, 8)).astype(np.float32)
    missing[1, 1] = 0
    wanted = x.float().clone()
    for i, rows in enumerate((slice(0, 1), slice(1, -1), slice(-1, None))):
        for j, columns in enumerate((slice(0, 1), slice(1, -1), slice(-1, None))):
            wanted[:, :, rows, columns] += torch.from_numpy(missing[i, j])[:, None, None]
    assert torch.equal(relu_with_border_(x, missing), wanted.to(dtype).relu())


@pytest.mark.parametrize("dtype", TYPES)
def test_bytes_are_divided_as_torch_does(dtype):
    pixels = torch.arange(256, dtype=torch.uint8).view(8, 32)
    values = torch.full((10, 40), 7, dtype=dtype)
    first = pixels.data_ptr()
    parts = [(first + 32 + 2, 32, 3, 4, 7, 30), (first, 32, 0, 35, 2, 3)]
    kernels.read_parts(np.array(parts), as_array(values))
    wanted = torch.full((10, 40), 7, dtype=dtype)
    wanted[3:, 4:34] = pixels[1:, 2:].to(dtype).div_(255)
    wanted[:2, 35:38] = pixels[:2, :3].to(dtype).div_(255)
    assert torch.equal(values, wanted)
    whole = torch.empty(8, 32, dtype=dtype)
    kernels.read_parts(np.array([(first, 32, 0, 0, 8, 32)]), as_array(whole))
    assert torch.equal(whole, pixels.to(dtype).div_(255)), "all 256 values"


def test_signs_are_packed_and_what_isnt_finite_is_told():
    margins = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(1))
    margins[1, 4, 5] = 0
    whole = margins[:, 2:-2, 3:-3].numpy()
    bits = np.full((16, 24), 255, np.uint8)
    assert pack_signs(whole, bits, 0, 0)
    assert np.array_equal(bits, sum((whole[r] > 0).astype(np.uint8) << r for r in range(3)))
    for wrong in (np.nan, np.inf, -np.inf):
        broken = whole.copy()
        broken[2, 15, 23] = wrong
        assert not pack_signs(broken, bits, 0, 0)


def test_shares_are_packed_where_a_readings_classes_have_more_than_half():
    logits = torch.randn(16, 24, 7, generator=torch.Generator().manual_seed(2)) * 3
    logits[3, 4] = torch.tensor([500.0, -500, 0, 0, 0, 0, 0])
    logits[5, 6] = -1000.0  # none of the exponentials may vanish for all
    own = np.zeros((3, 7), bool)
    own[0, 1] = own[1, [2, 3, 4, 5]] = own[2, 0] = True
    bits = np.full((16, 24), 255, np.uint8)
    assert pack_shares(logits.numpy(), own, bits, 0, 0)
    shares = logits.double().softmax(dim=2).numpy()
    assert np.array_equal(
        bits, sum((shares[..., o].sum(axis=2) > 0.5).astype(np.uint8) << r for r, o in enumerate(own))
    )
    assert bits[3, 4] == 4 and bits[5, 6] == 2 and len(np.unique(bits)) > 3
    for wrong in (np.nan, np.inf, -np.inf):
        broken = logits.numpy().copy()
        broken[15, 23, 6] = wrong
        assert not pack_shares(broken, own, bits, 0, 0)
