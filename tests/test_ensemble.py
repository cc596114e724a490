"""Ensembles and flips: one answer that is the average of many, in the right place."""

import copy
import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

pytest.register_assert_rewrite("method_tests")

from method_tests import draw, far, fill  # noqa: E402
from nephrospot.errors import InputError  # noqa: E402
from nephrospot.models import build  # noqa: E402
from nephrospot.models.ensemble import FLIPS, Ensemble, follow_core, load_ensemble  # noqa: E402
from nephrospot.models.fast import quicken  # noqa: E402
from nephrospot.models.method import Method  # noqa: E402
from nephrospot.models.weights import load_weights, save_weights  # noqa: E402

CORES = [None, slice(16, 48), slice(0, 40), slice(24, 64), slice(7, 30)]
NETWORKS = ["omni-seg", "multi-unet"]
READINGS = [(1, 1), (2, 0)]


@functools.cache
def make(network, seed):
    return fill(build(network, width=8), seed)


def chance(margins):
    """Probability in double precision."""
    return margins.double().sigmoid()


class Pointwise(Method):
    """Looks at each pixel alone, so that flips go through it unchanged."""

    def __init__(self, scale=3.0, shift=-4.0):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))

    def forward(self, images, tissue_ids, scale_ids):
        margins = self.scale * images.sum(dim=1) + self.shift + tissue_ids[:, None, None]
        return torch.stack([-margins / 2, margins / 2], dim=1)


class Ramp(Method):
    """Answers the column's number plus a hundred times the row's, wherever the image is: no flip leaves it alone."""

    def forward(self, images, tissue_ids, scale_ids):
        n, _, height, width = images.shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        margins = (rows / 100 + columns / 30 - 1 + images[:, 0]).float()
        return torch.stack([torch.zeros(n, height, width), margins], dim=1)


@torch.inference_mode()
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("core", CORES)
def test_an_ensemble_of_one_is_its_member(network, core):
    member, images = make(network, 1), draw(2, 64, 64)
    assert torch.equal(Ensemble([member]).margins(images, READINGS, core), member.margins(images, READINGS, core))


@torch.inference_mode()
@pytest.mark.parametrize("network", NETWORKS)
def test_the_average_is_that_of_probabilities(network):
    members, images = [make(network, seed) for seed in (1, 2, 3)], draw(2, 64, 96)
    answers = [member.margins(images, READINGS) for member in members]
    expected = torch.stack([chance(answer) for answer in answers]).mean(dim=0)
    found = Ensemble(members).margins(images, READINGS)
    assert found.dtype == torch.float32 and found.shape == (2, len(READINGS), 64, 96)
    assert torch.allclose(chance(found), expected, atol=1e-6)
    logits = torch.stack(answers).mean(dim=0)
    assert not torch.allclose(chance(found), chance(logits), atol=1e-3), "averages of margins are something else"


@torch.inference_mode()
@pytest.mark.parametrize("network", NETWORKS)
def test_the_order_of_members_and_copies_make_no_difference(network):
    members, images = [make(network, seed) for seed in (1, 2, 3)], draw(1, 64, 64)
    orders = [Ensemble(list(order)).margins(images, READINGS) for order in itertools.permutations(members)]
    assert max(far(order, orders[0]) for order in orders) < 1e-6
    five = Ensemble([copy.deepcopy(members[0]) for _ in range(5)]).margins(images, READINGS)
    assert far(five, members[0].margins(images, READINGS)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize(("flips", "width"), [(False, 64), (True, 64), (True, 96)])
@pytest.mark.parametrize("core", CORES[1:])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_core_is_a_crop(network, width, core, flips):
    ensemble, images = Ensemble([make(network, 1), make(network, 2)], flips), draw(2, 64, width)
    whole = ensemble.margins(images, READINGS)[:, :, core, core]
    found = ensemble.margins(images, READINGS, core)
    assert found.shape == whole.shape and far(found, whole) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("core", CORES)
def test_flips_leave_a_network_of_single_pixels_as_it_is(core):
    images = draw(2, 64, 96)
    member = Pointwise()
    found = Ensemble([member], flips=True).margins(images, READINGS, core)
    assert far(found, member.margins(images, READINGS, core)) < 1e-6


@torch.inference_mode()
def test_flips_average_the_four_answers():
    images, readings = draw(2, 64, 96), [(2, 0)]
    for member in (Ramp(), make("multi-unet", 4)):
        pixels = images.numpy()
        expected = np.zeros((2, 64, 96))
        for up, left in itertools.product((1, -1), (1, -1)):
            turned = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::up, ::left]))
            answer = member.margins(turned, readings)[:, 0].double().numpy()
            expected += 1 / (1 + np.exp(-answer[:, ::up, ::left])) / 4
        found = Ensemble([member], flips=True).margins(images, readings)[:, 0]
        assert np.allclose(chance(found), expected, atol=1e-6)
        assert not np.allclose(expected, chance(member.margins(images, readings)[:, 0]), atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("axes", FLIPS[1:])
def test_flips_make_the_answer_turn_with_the_image(axes):
    ensemble, images = Ensemble([make("omni-seg", 1), make("omni-seg", 2)], flips=True), draw(1, 64, 64)
    turned = ensemble.margins(images.flip(axes), READINGS)
    assert far(turned.flip(axes), ensemble.margins(images, READINGS)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("flips", [False, True])
def test_logits_are_the_averages_logarithms(flips):
    ensemble, images = Ensemble([make("omni-seg", 1), make("omni-seg", 2)], flips), draw(2, 64, 96)
    tissues, scales = torch.tensor([3, 5]), torch.tensor([0, 3])
    logits = ensemble(images, tissues, scales)
    assert torch.allclose(logits.exp().sum(dim=1), torch.ones(2, 64, 96), atol=1e-5), "they are probabilities"
    for i in range(2):
        margins = ensemble.margins(images[i : i + 1], [(int(tissues[i]), int(scales[i]))])[0, 0]
        assert far(logits[i, 1] - logits[i, 0], margins) < 1e-5


@torch.inference_mode()
def test_sure_answers_stay_finite_and_infinite_ones_are_seen():
    images, readings = draw(1, 32, 32), [(0, 0)]
    sure = Ensemble([Pointwise(shift=200.0), Pointwise(shift=300.0)]).margins(images, readings)
    assert torch.isfinite(sure).all() and (sure > 190).all() and (sure < 310).all()
    for broken in (float("inf"), float("-inf"), float("nan")):
        answer = Ensemble([Pointwise(), Pointwise(shift=broken)]).margins(images, readings)
        assert not torch.isfinite(answer).any(), f"one member's {broken} isn't hidden by the other's answer"


@pytest.mark.parametrize("network", NETWORKS)
@torch.inference_mode()
def test_the_inference_form_answers_alike(network):
    ensemble, images = Ensemble([make(network, 1), make(network, 2)], flips=True), draw(1, 64, 64)
    core = slice(16, 48)
    assert far(quicken(ensemble).margins(images, READINGS, core), ensemble.margins(images, READINGS, core)) < 1e-4


def test_members_say_what_the_ensemble_can():
    wide, narrow = Pointwise(), Pointwise()
    wide.stride, narrow.tissues = 32, ("CAP",)
    ensemble = Ensemble([wide, narrow])
    assert ensemble.stride == 32 and ensemble.tissues == ("CAP",)
    with pytest.raises(ValueError, match="48×64 px: both must be multiples of 32"):
        ensemble.margins(torch.rand(1, 3, 48, 64), READINGS)
    with pytest.raises(ValueError, match="at least one method"):
        Ensemble([])


@pytest.mark.parametrize("axes", FLIPS)
@pytest.mark.parametrize("spans", [[(0, 8), (0, 5)], [(2, 6), (2, 5)], [(1, 3), (1, 3)], [(7, 8), (0, 1)]])
def test_a_core_is_found_again_after_a_flip(axes, spans):
    image = np.arange(40).reshape(8, 5)
    asked, rows, columns = follow_core(spans, image.shape, axes)
    found = np.flip(np.flip(image, axes)[asked, asked][rows, columns], axes)
    assert np.array_equal(found, image[slice(*spans[0]), slice(*spans[1])])


class TestLoading:
    @pytest.fixture
    def files(self, tmp_path):
        paths = [tmp_path / f"fold{fold}.safetensors" for fold in range(3)]
        for fold, path in enumerate(paths):
            save_weights(make("multi-unet", fold), path, {"options": {"width": 8}, "data": f"fold {fold}"})
        return paths

    @torch.inference_mode()
    @pytest.mark.parametrize("flips", [False, True])
    def test_each_file_is_a_member(self, files, flips):
        method, card = load_ensemble("multi-unet", files, flips)
        members = [load_weights("multi-unet", path)[0] for path in files]
        images = draw(1, 64, 64)
        assert torch.equal(method.margins(images, READINGS), Ensemble(members, flips).margins(images, READINGS))
        assert [part["data"] for part in card["folds"]] == ["fold 0", "fold 1", "fold 2"] and not method.training

    @torch.inference_mode()
    @pytest.mark.parametrize("wrap", [str, lambda path: [path]])
    def test_one_file_is_the_network_itself(self, files, wrap):
        method, card = load_ensemble("multi-unet", wrap(files[1]))
        assert type(method) is type(build("multi-unet", width=8)) and card["data"] == "fold 1"
        flipped, card = load_ensemble("multi-unet", wrap(files[1]), flips=True)
        assert card["data"] == "fold 1"
        images = draw(1, 64, 64)
        assert far(flipped.margins(images, READINGS), method.margins(images, READINGS)) > 1e-3

    def test_mistakes_are_told(self, files, tmp_path):
        with pytest.raises(InputError, match=r"fold1.*twice"):
            load_ensemble("multi-unet", [files[0], files[1], files[1]])
        with pytest.raises(InputError, match="multi-unet: the list of weights is empty"):
            load_ensemble("multi-unet", [])
        with pytest.raises(InputError, match=r"gone\.safetensors: there are no weights"):
            load_ensemble("multi-unet", [files[0], tmp_path / "gone.safetensors"])
        with pytest.raises(InputError, match="these aren't weights of omni-seg"):
            load_ensemble("omni-seg", files)

    def test_what_a_network_says_of_its_options_is_told_as_it_is(self, tmp_path):
        path = tmp_path / "w.safetensors"
        save_weights(make("multi-unet", 0), path, {"options": {"tissues": ["CAPS"]}})
        with pytest.raises(InputError, match=r"^tissues: 'CAPS' is unknown; did you mean 'CAP'\?$"):
            load_ensemble("kpis-fpn", path)
