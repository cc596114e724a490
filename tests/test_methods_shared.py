"""Methods that share one network among the tissues: TAL, Med3D, MultiClass, MultiKidney."""

import pytest
import torch
import torch.nn.functional as F

from nephrospot.models import TISSUES
from nephrospot.models.competing import CLASSES, merge_classes
from nephrospot.models.loss import competing_loss
from nephrospot.models.med3d import Med3D
from nephrospot.models.multiclass import MultiClass
from nephrospot.models.multikidney import MultiKidney
from nephrospot.models.tal import TAL

pytest.register_assert_rewrite("method_tests")
from method_tests import READINGS, MethodTests, draw  # noqa: E402

DT, PT, CAP, TUFT = (TISSUES.index(tissue) for tissue in ("DT", "PT", "CAP", "TUFT"))


def draw_tissues(size=64):
    """One patch twice: red discs are DT, each with a dark core, and green squares are PT; masks (2, H, W) of both.

    Both tissues are on both patches and only one is labelled, so a network that ignores the tissue can't be right.
    """
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    discs, squares = torch.zeros(size, size), torch.zeros(size, size)
    for y, x in ((16, 18), (46, 40)):
        discs[(rows - y) ** 2 + (columns - x) ** 2 < 100] = 1
    for y, x in ((14, 44), (44, 14)):
        squares[((rows - y).abs() < 9) & ((columns - x).abs() < 9)] = 1
    image = torch.full((3, size, size), 0.8)
    image[:, discs > 0] = torch.tensor([0.8, 0.2, 0.2])[:, None]
    image[:, squares > 0] = torch.tensor([0.2, 0.7, 0.2])[:, None]
    image = image + 0.05 * (draw(1, size, size)[0] - 0.5)
    return image.expand(2, -1, -1, -1), torch.stack([discs, squares])


def learn(method, images, masks, tissues, rate=5e-3, steps=60):
    """Losses, and Dice of each tissue in evaluation; one labelled tissue a batch, as in training."""
    optimiser, losses, method = torch.optim.Adam(method.parameters(), lr=rate), [], method.train()
    for step in range(steps):
        at = step % len(tissues)
        ids = torch.tensor([tissues[at]]), torch.tensor([1])
        loss = method.loss(method(images[at : at + 1], *ids), masks[at : at + 1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with torch.inference_mode():
        found = method.eval().margins(images[:1], [(tissue, 1) for tissue in tissues])[0] > 0
    overlap = (found * masks).sum(dim=(1, 2))
    return losses, (2 * overlap / (found.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)))).tolist()


class SharedTests(MethodTests):
    """What the four have in common besides."""

    rate = 5e-3

    def test_two_tissues_are_learnt_from_patches_with_one_label(self):
        images, masks = draw_tissues()
        losses, dice = learn(self.make(), images, masks, (DT, PT), self.rate)
        assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
        assert min(dice) > 0.8, dice

    @torch.inference_mode()
    def test_one_pass_serves_all_readings(self, small):
        passes = []
        first = next(module for module in small.modules() if isinstance(module, torch.nn.Conv2d))
        first.register_forward_hook(lambda *_: passes.append(1))
        small.margins(draw(1, 64, 64), READINGS)
        assert len(passes) == 1

    @torch.inference_mode()
    def test_the_scale_code_is_ignored(self, small):
        images = draw(1, 64, 64)
        one, other = (small(images, torch.tensor([1]), torch.tensor([scale])) for scale in (0, 3))
        assert torch.equal(one, other)


class CompetingTests(SharedTests):
    """One soft-max: every label teaches the whole network, and the answer is the soft-max over all, added up."""

    def reaches(self, name, parameter, tissue):
        return True

    @torch.inference_mode()
    def test_the_answer_is_the_soft_max_over_all_classes(self, small):
        images = draw(2, 64, 64)
        shares = small.classify(images).double().softmax(dim=1)
        assert shares.shape == (2, 7, 64, 64), "background and six tissues"
        for tissue, channels in (("DT", [1]), ("PT", [2]), ("CAP", [3, 4]), ("TUFT", [4]), ("VES", [5]), ("PTC", [6])):
            ids = torch.full((2,), TISSUES.index(tissue)), torch.zeros(2, dtype=torch.long)
            foreground = small(images, *ids).softmax(dim=1)[:, 1]
            assert torch.allclose(foreground.double(), shares[:, channels].sum(dim=1), atol=1e-5), tissue

    @torch.inference_mode()
    def test_a_tuft_lies_in_its_glomerulus(self, small):
        margins = small.margins(draw(2, 64, 64), [(CAP, 0), (TUFT, 0)])
        assert (margins[:, 0] > margins[:, 1]).all()


def double(i, o):
    """Parameters of two 3×3 convolutions without bias, each followed by a norm's scale and shift."""
    return 9 * i * o + 2 * o + 9 * o * o + 2 * o


def count_tal(w):
    def block(i, o):  # norm, convolution, norm, convolution; norm and 1×1 convolution where the size changes
        return 2 * i + 9 * i * o + 2 * o + 9 * o * o + (2 * i + i * o if i != o else 0)

    sizes = [w, 2 * w, 4 * w, 8 * w, 16 * w]
    down = block(w, w) + sum(block(o // 2, o) for o in sizes[1:])
    up = sum(block(3 * o, o) for o in sizes[:-1])
    outputs = sum(2 * c + (7 * c + 7) + (c + 1) for c in sizes)
    return 27 * w + down + up + outputs


class TestTAL(CompetingTests):
    method, parameters, options = TAL, count_tal(32), {"width": 4}
    golden = [
        [1.76563, 0.85422],
        [1.98283, -0.07097],
        [1.8874, 0.46537],
        [1.95881, 0.09887],
        [1.99755, -0.1938],
        [1.93563, 0.23616],
    ]

    @torch.inference_mode()
    def test_attention_chooses_among_the_depths_for_each_image(self, small):
        said = {}
        for depth, output in enumerate(small.outputs):
            output.register_forward_hook(lambda _, __, answer, depth=depth: said.update({depth: answer}))
        images = draw(2, 64, 64)
        small.classify(images)
        assert [said[depth][0].shape[-1] for depth in range(5)] == [4, 8, 16, 32, 64]
        shares = torch.cat([said[depth][1] for depth in range(5)], dim=1).softmax(dim=1)
        assert not torch.allclose(shares[0], shares[1], atol=1e-3), "another image, another trust"
        for depth, output in enumerate(small.outputs):
            output.weigh.bias.add_(1000)
            only = F.interpolate(said[depth][0], size=(64, 64), mode="bilinear")
            assert torch.allclose(small.classify(images), only, atol=1e-4), "the trusted depth is the answer"
            output.weigh.bias.sub_(1000)


def count_multiclass(w):
    down = double(3, w) + double(w, 2 * w) + double(2 * w, 4 * w) + double(4 * w, 8 * w) + double(8 * w, 8 * w)
    skips = sum(9 * c * c + 2 * c for c in (8 * w, 4 * w, 2 * w, w))
    up = double(16 * w, 4 * w) + double(8 * w, 2 * w) + double(4 * w, w) + double(2 * w, w)
    return down + skips + up + 7 * w + 7


class TestMultiClass(CompetingTests):
    method, parameters = MultiClass, count_multiclass(64)
    golden = [
        [2.40674, 0.56416],
        [2.22483, 1.28198],
        [2.0156, 1.67717],
        [2.44956, 0.24087],
        [2.44008, 0.32334],
        [2.50902, -0.57492],
    ]

    def test_a_tuft_and_its_glomerulus_are_both_learnt(self):
        images, masks = draw_tissues()
        both = torch.stack([masks.amax(dim=0), masks[0]])  # the discs are the tufts, discs and squares the glomeruli
        _, dice = learn(self.make(), images, both, (CAP, TUFT))
        assert min(dice) > 0.8, f"classes that exclude each other can't have both: {dice}"

    @torch.inference_mode()
    def test_each_skip_goes_through_its_convolution(self, small):
        images = draw(1, 64, 64)
        before = small.classify(images)
        for skip in small.skip:
            old = skip[0].weight.clone()
            skip[0].weight.mul_(-1)
            assert not torch.allclose(small.classify(images), before, atol=1e-3)
            skip[0].weight.copy_(old)


def count_multikidney(w):
    sizes = [w, 2 * w, 4 * w, 8 * w, 16 * w, 32 * w]
    down = sum(double(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
    up = sum(4 * (2 * c) ** 2 + 2 * c + double(3 * c, c) for c in sizes[:-1])  # 2×2 with bias keeps 2c; c beside it
    return down + up + 7 * w + 7


class TestMultiKidney(CompetingTests):
    method, parameters, stride = MultiKidney, count_multikidney(32), 32
    golden = [
        [1.72239, 0.20449],
        [1.72987, 0.16964],
        [1.70098, 0.29676],
        [1.82524, -0.47725],
        [1.81715, -0.39976],
        [1.74297, 0.10479],
    ]

    @torch.inference_mode()
    def test_the_bottleneck_is_alive(self, small):
        images = draw(1, 64, 64)
        before = small.classify(images)
        small.down[-1][-2].weight.mul_(-1)
        assert not torch.allclose(small.classify(images), before, atol=1e-2)

    def test_a_bottleneck_of_one_pixel_is_refused(self, small):
        with pytest.raises(ValueError, match="32×32 px: one side must be 64 or more"):
            small(torch.rand(1, 3, 32, 32), torch.tensor([0]), torch.tensor([1]))


def count_med3d(w):
    def block(i, o):  # two 3×3 convolutions with norms; 1×1 and norm where the size changes
        return double(i, o) + (i * o + 2 * o if i != o else 0)

    stem = 3 * 49 * w + 2 * w
    stages = [(w, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)]
    encoder = stem + sum(block(i, o) + block(o, o) for i, o in stages)
    decoder = (4 * 8 * w * w + w) + (4 * w * w + w) + 2 * (9 * 2 * w * w + 2 * w) + 2 * w + 2
    return encoder + 6 * decoder


class TestMed3D(SharedTests):
    method, parameters = Med3D, count_med3d(64)
    golden = [
        [2.25305, 0.67774],
        [1.67268, -1.24033],
        [-0.05174, 0.99676],
        [-1.07114, 0.73899],
        [0.29977, 0.21805],
        [-3.13722, -0.48911],
    ]

    def reaches(self, name, parameter, tissue):
        return not name.startswith("decoders") or name.startswith(f"decoders.{tissue}.")

    def test_a_patch_leaves_the_other_decoders_as_they_were(self, small):
        images, masks = draw_tissues()
        other = small.train().margins(images, [(PT, 1)]).detach()
        optimiser = torch.optim.SGD(small.decoders.parameters(), lr=0.1)
        small.loss(small(images, torch.tensor([DT, DT]), torch.tensor([1, 1])), masks[[0, 0]]).backward()
        optimiser.step()
        assert torch.equal(small.margins(images, [(PT, 1)]), other)

    @torch.inference_mode()
    def test_features_have_an_eighth_of_the_resolution(self, small):
        shapes = [tuple(part.shape[1:]) for part in small.encoder(draw(1, 64, 96))]
        assert shapes == [(8, 32, 48), (8, 16, 24), (64, 8, 12)]


class TestMerging:
    def test_classes_without_a_label_are_added_up(self):
        logits = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 4, 1, 1)
        own = torch.tensor([[False, True, False, True]])
        merged = merge_classes(logits, own).flatten().exp()
        assert merged.tolist() == pytest.approx([1 + 2.718281828**2, 2.718281828 + 2.718281828**3], rel=1e-5)

    def test_a_foreground_taken_for_certain_background_is_still_pulled_up(self):
        """Where a loss on the own channel's probability alone has given up: why the port goes empty."""
        logits = torch.zeros(1, len(CLASSES), 8, 8)
        logits[:, 1 + DT] = -20.0
        masks = torch.zeros(1, 8, 8)
        masks[:, 3:5, 3:5] = 1
        own = torch.tensor([[name == "DT" for name in CLASSES]])
        for sound in (True, False):
            leaf = logits.clone().requires_grad_()
            if sound:
                loss = competing_loss(merge_classes(leaf, own), masks)
            else:
                p = leaf.softmax(dim=1)[:, 1 + DT]
                dice = 1 - 2 * (p * masks).sum() / (p.sum() + masks.sum() + 1)
                loss = dice + F.binary_cross_entropy_with_logits(p, masks)
            loss.backward()
            pull = float(-leaf.grad[0, 1 + DT, 3:5, 3:5].min()) * masks.numel()
            assert pull > 0.9 if sound else pull < 1e-6, pull

    def test_half_precision_is_merged_in_single(self):
        logits = torch.randn(1, 7, 4, 4).half() * 100
        merged = merge_classes(logits, torch.arange(7)[None] == 2)
        assert merged.dtype == torch.float32 and torch.isfinite(merged).all()
