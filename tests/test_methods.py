"""The methods with a network for each tissue, and Omni-Seg, through the checks that all methods pass."""

import pytest
import torch

pytest.register_assert_rewrite("method_tests")

from method_tests import READINGS, MethodTests, draw  # noqa: E402
from nephrospot.models import SCALE_CODES, TISSUES  # noqa: E402
from nephrospot.models.deeplab import DeepLab, MultiDeepLab, Pyramid, plan_cells  # noqa: E402
from nephrospot.models.omniseg import OmniSeg  # noqa: E402
from nephrospot.models.resunets import MultiResUNet, count_groups  # noqa: E402
from nephrospot.models.unets import MultiUNet  # noqa: E402


class SeparateTests(MethodTests):
    """A network of another tissue has no part in an answer, and learns nothing from it."""

    def reaches(self, name, parameter, tissue):
        return name.startswith(f"networks.{tissue}.")

    @torch.inference_mode()
    def test_the_scale_code_is_ignored(self, small):
        images = draw(1, 64, 64)
        one, other = (small(images, torch.tensor([1]), torch.tensor([scale])) for scale in (0, 3))
        assert torch.equal(one, other)


def count_unet(f):
    """Parameters of the published U-Net with f filters at the first of five levels, layer by layer."""

    def double(i, o):  # two 3×3 convolutions with bias, each followed by a norm's scale and shift
        return (9 * i * o + o + 2 * o) + (9 * o * o + o + 2 * o)

    sizes = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    down = sum(double(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
    up = sum(4 * 2 * o * o + o + double(2 * o, o) for o in sizes[:-1])
    return down + up + 2 * f + 2


class TestMultiUNet(SeparateTests):
    method, parameters = MultiUNet, 4 * count_unet(16) + 2 * count_unet(4)
    golden = [[-0.10176, -0.53396], [-0.42942, -0.19422], [0.18467, -0.07118], [0.76794, 0.27743], [1.62149, 1.95259], [-0.08069, 1.85945]]  # fmt: skip  # noqa: E501


def count_deeplab():
    """ResNet-50 without its classifier has 25,557,032 - 2048·1000 - 1000 parameters, as is widely printed.

    The pyramid: two 1×1 and three 3×3 convolutions 2048→256, five norms. The classifier: 3×3 1280→256 and 256→256,
    each with a norm, and 1×1 256→2 without bias.
    """
    trunk = 25_557_032 - 2048 * 1000 - 1000
    pyramid = (2 + 3 * 9) * 2048 * 256 + 5 * 2 * 256
    return trunk + pyramid + (9 * 1280 * 256 + 2 * 256) + (9 * 256 * 256 + 2 * 256) + 2 * 256


class TestMultiDeepLab(SeparateTests):
    method, parameters, stride = MultiDeepLab, 6 * count_deeplab(), 8
    golden = [[-84.61154, 71.11292], [-193.19028, -346.4581], [217.62743, 83.75523], [-78.59056, -139.92821], [-54.9735, -29.87008], [-133.36301, 55.48711]]  # fmt: skip  # noqa: E501

    def test_a_single_image_isnt_trained_on(self):
        with pytest.raises(ValueError, match="needs two of the same tissue; give larger batches"):
            self.make().train()(torch.rand(2, 3, 64, 64), torch.tensor([0, 1]), torch.tensor([1, 1]))

    @torch.inference_mode()
    def test_no_more_is_lost_than_an_eighth(self):
        """The last two stages see further by dilation, and shrink nothing."""
        shapes = {}
        network = DeepLab(8).eval()
        for index, block in enumerate(network.stages):
            block.register_forward_hook(lambda _, __, out, index=index: shapes.update({index: tuple(out.shape[1:])}))
        network(torch.rand(1, 3, 64, 96))
        assert [shapes[last] for last in (2, 6, 12, 15)] == [(32, 16, 24), (64, 8, 12), (128, 8, 12), (256, 8, 12)]
        rates = [block.body[3].dilation[0] for block in network.stages]
        assert rates == [1] * 7 + [2] * 6 + [4] * 3

    @torch.inference_mode()
    @pytest.mark.parametrize("core", [slice(8, 24), slice(300, 301), slice(0, 512), slice(100, 400)])
    def test_only_the_cores_cells_are_worked_out(self, core):
        outer, inner, pixels = plan_cells(512, core)
        cells = torch.arange(64)[outer][inner]
        assert torch.equal(torch.arange(8 * cells[0], 8 * cells[-1] + 8)[pixels], torch.arange(512)[core])
        assert len(range(64)[outer]) <= (core.stop - core.start) / 8 + 8

    @torch.inference_mode()
    def test_the_images_average_reaches_everywhere(self):
        """On 8×8 cells a rate of 12 or more reads its own cell alone, so a far cell is felt by the average only."""
        pyramid, everything = Pyramid(16, 4).eval(), slice(0, 8)
        x = torch.rand(1, 16, 8, 8)
        before = pyramid(x, everything, everything)
        x[:, :, -1, -1] += 5
        changed = (pyramid(x, everything, everything) != before)[0, :, 0, 0]
        assert before.shape == (1, 20, 8, 8) and changed[:4].any() and not changed[4:].any()


def count_resunet(w):
    """Parameters of a residual U-Net with w channels at the stem (and our bias of the classifier), layer by layer."""

    def block(i, o, project):  # norm, 3×3, norm, 3×3; the shortcut's norm and 1×1
        return 2 * i + 9 * i * o + 2 * o + 9 * o * o + project * (2 * i + i * o)

    down = block(w, w, False)
    for i, o in [(w, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)]:
        down += block(i, o, True) + block(o, o, False)
    fuse = 2 * 8 * w + (8 * w) ** 2
    up = sum(
        block(i, o, True)
        for i, o in [
            (8 * w + 4 * w, 4 * w),
            (4 * w + 2 * w, 2 * w),
            (2 * w + w, w // 2),
            (w // 2 + w, w // 2),
            (w // 2, w // 4),
        ]
    )
    return 27 * w + down + fuse + up + 2 * (w // 4) + 9 * (w // 4) * 2 + 2


class TestMultiResUNet(SeparateTests):
    method, parameters = MultiResUNet, 6 * count_resunet(64)
    golden = [[-0.40964, -0.84936], [0.75088, 0.6593], [-0.78363, -0.97744], [0.82912, 0.38358], [-0.34368, 0.04725], [1.41577, -1.04737]]  # fmt: skip  # noqa: E501

    @pytest.mark.parametrize(
        ("channels", "groups"), [((64, 64), 16), ((96, 32), 16), ((32, 16), 8), ((8,), 4), ((4, 2), 1), ((24, 48), 8)]
    )
    def test_a_group_has_at_least_two_channels(self, channels, groups):
        assert count_groups(*channels) == groups

    @torch.inference_mode()
    def test_silent_features_can_still_be_foreground(self, small):
        """Without the classifier's bias both logits would be zero there for ever."""
        network = small.networks["PT"]
        norm = network.classify[0]
        norm.weight.zero_()
        norm.bias.fill_(-1)
        network.classify[2].bias.copy_(torch.tensor([-1.0, 1.0]))
        assert torch.equal(small.margins(draw(1, 64, 64), [(1, 1)]), torch.full((1, 1, 64, 64), 2.0))


class OmniSegTests(MethodTests):
    """One backbone for all tissues; the controller has columns for one tissue alone."""

    dead = ("add_0.", "add_1.", "x1_resb_add0.", "x1_resb_add1.")

    def reaches(self, name, parameter, tissue):
        return not name.startswith(self.dead)


class TestScaleAware(OmniSegTests):
    method, parameters = staticmethod(lambda **options: OmniSeg(scale_aware=True, **options)), 6_986_122
    golden = [[0.11561, 0.20677], [0.35725, 0.19279], [-0.02852, 0.02167], [0.23789, -0.14798], [-0.09411, 0.29143], [-0.47679, 0.39362]]  # fmt: skip  # noqa: E501

    def reaches(self, name, parameter, tissue):
        if name != "controller_trilinear.weight":
            return super().reaches(name, parameter, tissue)
        mask = torch.zeros(64, len(TISSUES), len(SCALE_CODES), dtype=torch.bool)
        mask[:, *READINGS[TISSUES.index(tissue)]] = True
        return mask.view(1, -1, 1, 1)


class TestClassAware(OmniSegTests):
    method, parameters = staticmethod(lambda **options: OmniSeg(scale_aware=False, **options)), 6_033_238
    golden = [[-3.08471, 3.79056], [-1.58278, 1.02642], [-5.38406, 8.34851], [-2.84326, 3.38882], [-4.6305, 5.48392], [-4.90286, 6.64493]]  # fmt: skip  # noqa: E501

    def reaches(self, name, parameter, tissue):
        if name != "controller.weight":
            return super().reaches(name, parameter, tissue)
        mask = torch.ones(64 + len(TISSUES), dtype=torch.bool)
        mask[64:] = torch.tensor([other == tissue for other in TISSUES])
        return mask.view(1, -1, 1, 1)

    @torch.inference_mode()
    def test_the_scale_code_is_ignored(self, small):
        images = draw(1, 64, 64)
        one, other = (small(images, torch.tensor([1]), torch.tensor([scale])) for scale in (0, 3))
        assert torch.equal(one, other)
