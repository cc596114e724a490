"""What every method must do: a test class for a method derives from `MethodTests` and names its class and numbers.

A file with such classes begins with ``pytest.register_assert_rewrite("method_tests")`` before it imports this one.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from nephrospot import models
from nephrospot.errors import InputError
from nephrospot.models import TISSUES, Place
from nephrospot.models.fast import quicken
from nephrospot.models.weights import load_weights, save_weights

READINGS = [(0, 1), (1, 1), (2, 0), (3, 0), (4, 1), (5, 3)]
ALL = [torch.tensor(ids) for ids in zip(*READINGS, strict=True)]


def far(a, b):
    """Largest difference in units of b's range."""
    return float((a - b).abs().max() / (b.max() - b.min()))


def fill(method, seed):
    """The method with numpy's numbers for weights: the same whatever the torch, and norms that do something."""
    rng = np.random.default_rng(seed)
    state = method.state_dict()
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        n = rng.standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            n = np.exp(0.2 * n)
        elif n.ndim == 1:
            n = 1 + 0.2 * n if name.endswith("weight") else 0.1 * n
        else:
            n = n * np.sqrt(2 / np.prod(n.shape[1:]))
        state[name] = torch.from_numpy(n.astype(np.float32))
    method.load_state_dict(state)
    return method.eval()


def draw(n, height, width, seed=5):
    """Smooth random images (N, 3, H, W) in 0..1."""
    coarse = np.random.default_rng(seed).random((n, 3, height // 8, width // 8), dtype=np.float32)
    return torch.from_numpy(coarse.repeat(8, 2).repeat(8, 3))


def draw_discs(n, size):
    """Images with a dark disc each, and their masks (N, H, W): something that can be learnt."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centres = [(size * (0.35 + 0.08 * i), size * (0.6 - 0.06 * i)) for i in range(n)]
    masks = torch.stack([((rows - y) ** 2 + (columns - x) ** 2 < (size / 5) ** 2).float() for y, x in centres])
    return 0.3 * draw(n, size, size) + 0.6 * (1 - masks[:, None]), masks


class MethodTests:
    """Checks that every method passes.

    A subclass gives ``method`` (a class, or a `staticmethod` that builds one from options), ``parameters`` (their
    number at the published width, worked out from the layers' description by a formula in the test), ``golden``
    (rows of background and foreground logit, a row for each tissue; a wrong one fails and prints what it should be),
    and where they differ ``options`` (of a small version) and ``stride``, and `reaches`.
    """

    method: type
    parameters: int
    golden: list
    options: dict = {"width": 8}
    stride = 16

    def reaches(self, name, parameter, tissue):
        """Where a one-tissue batch has gradients: True for the whole parameter, False for none of it, or a mask."""
        raise NotImplementedError

    def make(self, seed=0, **options):
        torch.manual_seed(seed)
        return self.method(**{**self.options, **options})

    @pytest.fixture
    def small(self):
        return fill(self.make(), 11)

    def test_number_of_parameters(self):
        with torch.device("meta"):
            published = self.method()
        assert sum(p.numel() for p in published.parameters()) == self.parameters

    def test_an_odd_width_is_refused(self):
        with pytest.raises(ValueError, match="width is 7; it must be a multiple of"):
            self.make(width=7)

    @torch.inference_mode()
    @pytest.mark.parametrize(("n", "rows", "columns"), [(1, 4, 4), (2, 3, 5)])
    def test_logits_have_the_images_size(self, small, n, rows, columns):
        height, width = rows * self.stride, columns * self.stride
        logits = small(draw(n, height, width), torch.arange(n), torch.zeros(n, dtype=torch.long))
        assert logits.shape == (n, 2, height, width) and logits.dtype == torch.float32
        margins = small.margins(draw(n, height, width), READINGS[1:4])
        assert margins.shape == (n, 3, height, width) and margins.dtype == torch.float32

    @pytest.mark.parametrize("odd", [0, 1])
    def test_other_sizes_are_refused(self, small, odd):
        assert small.stride == self.stride
        size = [4 * self.stride, 4 * self.stride]
        size[odd] += self.stride // 2
        sentence = f"{size[0]}×{size[1]} px: both must be multiples of {self.stride}"
        with pytest.raises(ValueError, match=sentence):
            small(torch.rand(1, 3, *size), torch.tensor([0]), torch.tensor([1]))
        with pytest.raises(ValueError, match=sentence):
            small.margins(torch.rand(1, 3, *size), READINGS)

    @torch.inference_mode()
    def test_margins_are_the_difference_of_the_logits(self, small):
        images = draw(2, 64, 96)
        margins = small.margins(images, READINGS)
        for index, (tissue, scale) in enumerate(READINGS):
            logits = small(images, torch.full((2,), tissue), torch.full((2,), scale))
            assert far(margins[:, index], logits[:, 1] - logits[:, 0]) < 1e-5, TISSUES[tissue]

    @torch.inference_mode()
    @pytest.mark.parametrize("core", [slice(32, 96), slice(0, 64), slice(96, 128), slice(7, 90), slice(0, 128)])
    def test_a_core_is_a_crop(self, small, core):
        images = draw(2, 128, 128)
        whole = small.margins(images, READINGS)[:, :, core, core]
        found = small.margins(images, READINGS, core)
        assert found.shape == whole.shape and far(found, whole) < 1e-5

    @torch.inference_mode()
    def test_foreground_is_where_margins_are_above_zero(self, small):
        images, core = draw(2, 64, 64), slice(9, 56)
        for form in (small, quicken(small)):
            margins = form.margins(images, READINGS, core)
            bits = np.full((50, 100), 255, np.uint8)
            assert form.foreground(images, READINGS, [Place(bits), Place(bits, 3, 53)], core) == [True, True]
            assert (bits[47:, :47] == 255).all() and (bits[:, 47:53] == 255).all(), "nothing is written elsewhere"
            found = torch.from_numpy(np.stack([bits[:47, :47], bits[3:, 53:]]))
            for reading in range(len(READINGS)):
                differ = (found >> reading & 1).bool() != (margins[:, reading] > 0)
                assert differ.float().mean() < 0.001 and not (margins[:, reading].abs() > 1e-5)[differ].any()
        images[1, :, 30:34, 30:34] = torch.nan
        assert small.foreground(images, READINGS, [Place(bits), Place(bits, 3, 53)], core) == [True, False]

    @torch.inference_mode()
    def test_each_image_is_answered_for_its_own_tissue(self, small):
        """Whatever else is in the batch, and in whichever order."""
        tissues = torch.tensor([3, 0, 5, 1, 3, 2, 4])
        scales = ALL[1][tissues]
        images = draw(len(tissues), 64, 64)
        together = small(images, tissues, scales)
        alone = torch.cat([small(*(part[i : i + 1] for part in (images, tissues, scales))) for i in range(7)])
        assert far(together, alone) < 1e-5
        one = small(images[:1].expand(6, -1, -1, -1), *ALL)
        least = min(far(one[i], one[j]) for i in range(6) for j in range(i))
        assert least > 1e-3, "two tissues never have the same answer on an image"

    @pytest.mark.parametrize("tissue", TISSUES)
    def test_gradients_reach_what_the_tissue_uses(self, tissue):
        method = fill(self.make(), 11).train()
        images, masks = draw_discs(2, 64)
        ids = [torch.full((2,), values[TISSUES.index(tissue)]) for values in ALL]
        loss = method.loss(method(images, *ids), masks)
        assert loss.ndim == 0 and torch.isfinite(loss)
        loss.backward()
        for name, parameter in method.named_parameters():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            reached = torch.as_tensor(self.reaches(name, parameter, tissue)).expand_as(gradient)
            assert not gradient[~reached].any(), f"{name} has no part in {tissue}"
            assert gradient[reached].any() or not reached.any(), f"{name} learns from {tissue}"

    def test_a_disc_can_be_learnt(self):
        method = self.make().train()
        images, masks = draw_discs(4, max(32, 2 * self.stride))
        ids = torch.full((4,), 2), torch.full((4,), 0)
        optimiser, dices = torch.optim.Adam(method.parameters(), lr=5e-3), [0.0]
        while dices[-1] < 0.85 and len(dices) < 60:
            logits = method(images, *ids)
            optimiser.zero_grad()
            method.loss(logits, masks).backward()
            optimiser.step()
            found = logits.argmax(1) * 1.0
            dices.append(float(2 * (found * masks).sum() / (found + masks).sum()))
        assert dices[-1] >= 0.85, dices

    @torch.inference_mode()
    def test_golden_logits(self, small):
        logits = small(draw(1, 64, 64).expand(6, -1, -1, -1), *ALL)[:, :, 20, 37]
        numbers = np.round(logits.tolist(), 5).tolist()
        golden = torch.tensor(self.golden)
        assert logits.shape == golden.shape, numbers
        assert (logits - golden).abs().max() < 1e-4 * golden.abs().max(), numbers

    @torch.inference_mode()
    def test_answers_leave_no_trace(self, small):
        images = draw(2, 64, 64)
        before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
        first = small.margins(images, READINGS)
        small(draw(2, 64, 64, seed=6), ALL[0][:2], ALL[1][:2])
        assert torch.equal(small.margins(images, READINGS), first)
        assert torch.equal(images, draw(2, 64, 64)), "the images stay as they were"
        assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())

    @torch.inference_mode()
    def test_the_inference_form_answers_alike(self, small):
        images = draw(2, 64, 96)
        assert far(quicken(small).margins(images, READINGS), small.margins(images, READINGS)) < 1e-4

    @torch.inference_mode()
    def test_the_inference_form_in_half_precision_answers_nearly_alike(self, small):
        images, before = draw(2, 64, 96), copy.deepcopy(small.state_dict())
        exact = small.margins(images, READINGS)
        margins = quicken(small, torch.bfloat16).margins(images.bfloat16(), READINGS)
        assert margins.dtype == torch.float32 and far(margins, exact) < 0.2
        assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())

    @torch.inference_mode()
    def test_half_precision_answers_nearly_alike(self, small):
        """As the engine casts it for GPUs, and as training does by autocast."""
        images = draw(1, 64, 64).expand(6, -1, -1, -1)
        half = copy.deepcopy(small).to(torch.bfloat16, memory_format=torch.channels_last)
        margins = half.margins(images[:1].bfloat16(), READINGS)
        assert margins.dtype == torch.float32 and far(margins, small.margins(images[:1], READINGS)) < 0.2
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = small(images, *ALL).float()
        assert far(logits, small(images, *ALL)) < 0.2

    def test_the_seed_decides_the_weights(self):
        first, again, other = (dict(self.make(seed).named_parameters()) for seed in (3, 3, 4))
        for name, parameter in first.items():
            assert torch.equal(parameter, again[name])
            assert parameter.ndim == 1 or not torch.equal(parameter, other[name]), f"{name} is drawn"

    def test_weights_survive_being_saved(self, small, tmp_path, monkeypatch):
        monkeypatch.setitem(models.NETWORKS, "tested", self.method)
        path = tmp_path / "w.safetensors"
        save_weights(small, path, {"options": self.options, "data": "simulated"})
        loaded, card = load_weights("tested", path)
        assert card == {"options": self.options, "data": "simulated"} and not loaded.training
        rounded = {k: v.half().float() if v.is_floating_point() else v for k, v in small.state_dict().items()}
        assert loaded.state_dict().keys() == rounded.keys()
        assert all(torch.equal(tensor, rounded[name]) for name, tensor in loaded.state_dict().items())
        images = draw(1, 64, 64)
        small.load_state_dict(rounded)
        with torch.inference_mode():
            assert torch.equal(loaded.margins(images, READINGS), small.margins(images, READINGS))

    def test_weights_of_another_width_are_refused(self, small, tmp_path, monkeypatch):
        monkeypatch.setitem(models.NETWORKS, "tested", self.method)
        path = tmp_path / "w.safetensors"
        save_weights(small, path, {"options": {**self.options, "width": 2 * self.options["width"]}})
        with pytest.raises(InputError, match="these aren't weights of tested"):
            load_weights("tested", path)

    def test_no_layer_is_kept_outside_the_state(self, small):
        """A tensor that the state doesn't hold wouldn't be saved."""
        held = {name for name, _ in small.named_buffers()} | {name for name, _ in small.named_parameters()}
        assert held == set(small.state_dict()) and all(isinstance(p, nn.Parameter) for p in small.parameters())
