"""The inference form: the same answers as the trained method, whatever the size, the batch and the core."""

import numpy as np
import pytest
import torch
from torch import nn

from nephrospot.models import build, convolve
from nephrospot.models.convolve import PointwiseConv, WinogradConv, choose_convolution
from nephrospot.models.fast import quicken
from nephrospot.models.fastunet import FoldedConv, read_affine
from nephrospot.models.unets import UNet
from nephrospot.models.weights import load_weights
from networks import seeded_state

READINGS = [(0, 1), (4, 1), (2, 0)]


def far(a, b):
    """Largest difference in units of b's range."""
    return float((a - b).abs().max() / (b.max() - b.min()))


def make(network, **options):
    """A method whose norms do something: fresh ones are the identity, which hides a wrong fold."""
    torch.manual_seed(3)
    method = build(network, **options).eval()
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.3, 3)
    return method


@torch.inference_mode()
@pytest.mark.parametrize(("network", "width"), [("omni-seg", 16), ("omni-seg-class", 32), ("multi-unet", 16)])
def test_same_margins(network, width):
    method = make(network, width=width)
    images = torch.rand(2, 3, 64, 96)
    before = method.margins(images, READINGS)
    assert far(quicken(method).margins(images, READINGS), before) < 1e-4
    assert torch.equal(method.margins(images, READINGS), before), "quicken leaves the method as it was"


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "omni-seg-class"])
def test_golden_margins(root, network):
    golden = np.load(root / "tests/golden/omniseg_width8.npz")
    method = build(network, width=8).eval()
    method.load_state_dict(seeded_state(method, 11))
    pairs = [(0, 1), (1, 1), (2, 0), (3, 0), (4, 1), (5, 3), (2, 2), (1, 2)]
    margins = quicken(method).margins(torch.from_numpy(golden["images"]), pairs)[:, :, ::4, ::4]
    assert far(margins, torch.from_numpy(golden[network])) < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "multi-unet"])
@pytest.mark.parametrize("core", [slice(32, 96), slice(16, 112), slice(0, 128), slice(7, 90)])
def test_the_core_alone_is_the_cores_part_of_the_whole(network, core):
    method = make(network, width=8)
    images = torch.rand(1, 3, 128, 128)
    whole = method.margins(images, READINGS)
    for form in (method, quicken(method)):
        part = form.margins(images, READINGS, core=core)
        assert part.shape == whole[:, :, core, core].shape
        assert far(part, whole[:, :, core, core]) < 1e-4


@torch.inference_mode()
def test_the_way_up_is_cropped_to_what_the_core_sees():
    unet, seen = UNet(4).eval(), []
    unet.up[-1].register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape[-2:])))
    unet(torch.rand(1, 3, 256, 256), slice(64, 192))
    assert seen == [(136, 136)], "128 pixels, two to each side, and starts and stops at multiples of four"


@torch.inference_mode()
@pytest.mark.parametrize("size", [(8, 8), (20, 32), (64, 36), (10, 12)])
@pytest.mark.parametrize("bias", [False, True])
def test_winograd_is_the_convolution(size, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3, padding=1, bias=bias)
    fast = choose_convolution(conv)
    assert isinstance(fast, WinogradConv)
    images = torch.randn(2, 64, *size)
    assert far(fast(images), conv(images)) < 1e-5
    images = images.double()
    exact = conv.double()(images)
    assert far(fast.float()(images.float()).double(), exact) < 1e-5, "float32 against float64"


@torch.inference_mode()
@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_is_the_convolution(stride):
    conv = nn.Conv2d(8, 24, 1, stride)
    fast, images = choose_convolution(conv), torch.randn(2, 8, 12, 20)
    assert isinstance(fast, PointwiseConv)
    assert far(fast(images), conv(images)) < 1e-5


class Standardised(nn.Conv2d):
    """A convolution that does something to its weights first, as some of timm's do."""

    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True), self.bias)


@torch.inference_mode()
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(96, 96, 3, padding=1, groups=96),
        nn.Conv2d(8, 24, 1, groups=4),
        nn.Conv2d(96, 96, 3, padding=1, dilation=2),
        nn.Conv2d(8, 24, 1, padding=1),
        Standardised(8, 24, 1),
        Standardised(96, 96, 3, padding=1),
    ],
    ids=str,
)
def test_convolutions_of_other_kinds_answer_as_they_did(conv):
    """Grouped, dilated, padded, or with weights of their own making: encoders of other libraries have them."""
    images = torch.randn(2, conv.in_channels, 8, 12)
    assert far(quicken(nn.Sequential(conv))(images), conv(images)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("sizes", [(8, 24, 3, 1), (8, 24, 3, 2), (16, 8, 1, 1), (128, 128, 3, 1)])
def test_sums_and_relus_are_those_of_the_convolution(sizes, relu, dtype, fused, monkeypatch):
    """Whichever form is chosen: what is added is added before the ReLU, and stays as it was; with oneDNN or without."""
    if not fused:
        monkeypatch.setattr(convolve, "is_fused", lambda dtype: False)
    inputs, outputs, side, stride = sizes
    torch.manual_seed(1)
    conv = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2).to(memory_format=torch.channels_last)
    images = torch.randn(2, inputs, 16, 24)
    plain = conv(images)
    other = torch.randn_like(plain)
    fast = choose_convolution(conv.to(dtype), relu=relu)
    given = other.to(dtype).contiguous(memory_format=torch.channels_last)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    near = 1e-5 if dtype == torch.float32 else 2e-2
    for answer, wanted in ((fast(images), plain), (fast(images, given), plain + other)):
        assert answer.dtype == dtype and far(answer.float(), wanted.relu() if relu else wanted) < near
    assert torch.equal(given, other.to(dtype))


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "omni-seg-class", "multi-unet"])
def test_bfloat16_is_at_least_as_near_as_torchs_own_operations(network):
    method = make(network, width=8)
    images = torch.rand(1, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    exact = method.margins(images, READINGS)
    fast = quicken(method, torch.bfloat16).margins(images.bfloat16(), READINGS)
    plain = method.to(torch.bfloat16).margins(images.bfloat16(), READINGS)
    assert (fast - exact).square().mean() < 1.1 * (plain - exact).square().mean()


@torch.inference_mode()
def test_rounded_weights_shift_nothing():
    """Folding takes off the centring, so that what rounding does to weights meets the mean of what they multiply."""
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(32).eval()
    norm.running_mean[:] = 20
    images = 20 + torch.randn(1, 32, 64, 64)
    conv = nn.Conv2d(32, 16, 3, padding=1)
    folded = FoldedConv(conv, read_affine(norm), torch.bfloat16)
    found = folded(images.bfloat16().contiguous(memory_format=torch.channels_last)).float()
    wanted = conv(norm(images.bfloat16().float())).relu()
    shift = (found - wanted).mean(dim=(0, 2, 3)).abs().max()
    assert shift < 2e-3 * wanted.std(), "no channel as a whole is shifted"
    edge = (found - wanted)[:, :, 0].mean(dim=(0, 2)).abs().max()
    assert edge < 2e-2 * wanted.std(), "nor at the border"


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "multi-unet"])
def test_shipped_weights_give_the_same_masks(root, network):
    method, _ = load_weights(network, root / f"workflow/weights/simulated/{network}.safetensors")
    torch.manual_seed(5)
    coarse = nn.functional.interpolate(torch.rand(1, 3, 12, 12), size=128, mode="bicubic").clamp(0, 1)
    images = 0.8 * coarse + 0.2 * torch.rand(1, 3, 128, 128)
    before, after = method.margins(images, READINGS), quicken(method).margins(images, READINGS)
    assert far(after, before) < 1e-4
    assert ((before > 0) == (after > 0)).float().mean() >= 0.9999
