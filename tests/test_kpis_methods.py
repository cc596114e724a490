"""The KPIs paper's two networks, which need the optional extra ``kpis``; without it only the refusals are tested."""

import copy
import functools
import importlib.util
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

pytest.register_assert_rewrite("method_tests")

from method_tests import MethodTests, draw, draw_discs, far, fill  # noqa: E402
from nephrospot.errors import InputError  # noqa: E402
from nephrospot.models import TISSUES  # noqa: E402
from nephrospot.models.ensemble import Ensemble  # noqa: E402
from nephrospot.models.fast import quicken  # noqa: E402
from nephrospot.models.kpis import FPNMiT, UNetPPResNeSt, dice_entropy_loss, import_library  # noqa: E402

MODULES = ("segmentation_models_pytorch", "timm", "torchvision")
LACKING = [name for name in MODULES if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(
    bool(LACKING), reason=f"{', '.join(LACKING)} not installed: pip install --requirement envs/kpis.txt"
)
CAP = (2, 0)


def import_torchvision():
    """torchvision from PyPI holds operators for a torch with CUDA; beside another one, two empty ones stand for them.

    Nothing here calls them. They are only put where they are missing, since they can't be there twice.
    """
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
            del sys.modules[name]
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401

        return operators  # they last as long as this does
    return None


OPERATORS = None if LACKING else import_torchvision()


@functools.cache
def make_small(tests):
    """The small version of a test class's method, which takes a second to build, once."""
    return fill(tests().make(), 11)


@needs_extra
class GlomeruliTests(MethodTests):
    """All six tissues on a tiny encoder of timm's, so that the checks of all methods apply."""

    kind: type
    encoder: str
    options = {"encoder": "tu-test_resnet", "width": 4}
    stride = 32

    @classmethod
    def method(cls, **options):
        return cls.kind(tissues=TISSUES, **options)

    @pytest.fixture
    def small(self):
        return copy.deepcopy(make_small(type(self)))

    def reaches(self, name, parameter, tissue):
        return name.startswith(f"networks.{tissue}.")

    def test_number_of_parameters(self, monkeypatch):
        # The Mix Transformer reads numbers out of a tensor while it is built, which a meta tensor doesn't have.
        monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
        with torch.device("meta"):
            published = self.kind()
        assert sum(p.numel() for p in published.parameters()) == self.parameters
        assert list(published.networks) == ["CAP"], "one network for glomeruli"

    def test_the_network_is_the_librarys_own(self):
        library = import_library()
        torch.manual_seed(3)
        own = self.build_own(library).state_dict()
        state = self.make(3).networks[TISSUES[0]].network.state_dict()
        assert state.keys() == own.keys() and all(torch.equal(state[name], own[name]) for name in own)

    @torch.inference_mode()
    def test_folds_are_averaged(self, small):
        images, members = draw(1, 64, 64), [small, fill(self.make(1), 12)]
        answers = [member.margins(images, [CAP]).double().sigmoid() for member in members]
        found = Ensemble(members).margins(images, [CAP]).double().sigmoid()
        assert torch.allclose(found, sum(answers) / 2, atol=1e-6) and not torch.allclose(*answers, atol=1e-2)

    @torch.inference_mode()
    def test_a_tissue_without_a_network_is_refused(self):
        method, images = self.kind(**self.options).eval(), draw(1, 64, 64)
        assert method.tissues == ("CAP",) and method.margins(images, [CAP]).shape == (1, 1, 64, 64)
        with pytest.raises(InputError, match="a network for CAP and none for PT; leave"):
            method.margins(images, [CAP, (1, 1)])
        with pytest.raises(InputError, match="a network for CAP and none for PT; leave"):
            method(images, torch.tensor([1]), torch.tensor([1]))

    @torch.inference_mode()
    def test_the_papers_encoders_family_works_in_every_form(self):
        """A core, the inference form, bfloat16: with attention and grouped convolutions, too."""
        method = fill(self.kind(encoder=self.encoder, width=4), 3)
        images, core = draw(2, 64, 96), slice(8, 56)
        whole = method.margins(images, [CAP])
        assert far(method.margins(images, [CAP], core), whole[:, :, core, core]) < 1e-5
        assert far(quicken(method).margins(images, [CAP]), whole) < 1e-4
        half = method.to(torch.bfloat16, memory_format=torch.channels_last).margins(images.bfloat16(), [CAP])
        assert half.dtype == torch.float32 and far(half, whole) < 0.3

    def test_the_encoders_family_learns(self):
        torch.manual_seed(1)
        method = self.kind(encoder=self.encoder, width=4).train()
        images, masks = draw_discs(2, 64)
        method.loss(method(images, torch.tensor([2, 2]), torch.tensor([0, 0])), masks).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.parameters())

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"encoder": "resnet_18"}, r"encoder 'resnet_18' is unknown; did you mean 'resnet18'\?"),
            ({"encoder": "tu-resnest101"}, r"encoder 'tu-resnest101' is unknown; did you mean 'tu-resnest101e'\?"),
            ({"encoder": "zzz"}, "encoder 'zzz' is unknown; see segmentation_models.pytorch's table"),
            ({"tissues": ["CAPS"]}, r"tissues: 'CAPS' is unknown; did you mean 'CAP'\?"),
            ({"tissues": "CAP"}, r"tissues is 'CAP'; give a list of at least one, such as \[CAP\]"),
            ({"tissues": []}, r"tissues is \[\]; give a list of at least one"),
        ],
    )
    def test_options_that_cant_be_are_refused(self, options, sentence):
        with pytest.raises(InputError, match=sentence):
            self.kind(**{**self.options, **options})


class TestFPNMiT(GlomeruliTests):
    kind, parameters, encoder = FPNMiT, 62_729_793, "mit_b0"
    golden = [[0.0, -2.61932], [0.0, 0.39582], [0.0, -0.80576], [0.0, -2.04666], [0.0, -0.34244], [0.0, 3.03379]]

    def build_own(self, library):
        return library.FPN(
            "tu-test_resnet",
            encoder_weights=None,
            classes=1,
            decoder_pyramid_channels=64,
            decoder_segmentation_channels=32,
        )


class TestUNetPPResNeSt(GlomeruliTests):
    kind, parameters, encoder = UNetPPResNeSt, 73_215_921, "tu-resnest14d"
    golden = [[0.0, 0.06062], [0.0, 1.09479], [0.0, 0.01594], [0.0, 0.18854], [0.0, -1.20927], [0.0, -0.12038]]

    def build_own(self, library):
        return library.UnetPlusPlus(
            "tu-test_resnet", encoder_weights=None, classes=1, decoder_channels=(64, 32, 16, 8, 4)
        )


def test_the_loss_is_dice_plus_cross_entropy():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    masks = (torch.rand(3, 8, 6) < 0.3).int()
    masks[2] = 0
    found = dice_entropy_loss(logits, masks)
    p = logits.softmax(dim=1)
    entropy = F.nll_loss(p.log(), masks.long())
    dice = [2 * p[i, 1][masks[i] > 0].sum() / (p[i, 1].sum() + masks[i].sum()) for i in range(3)]
    assert torch.allclose(found, entropy + 1 - sum(dice) / 3, atol=1e-5)
    sure = torch.stack([1 - masks, masks], dim=1) * 100.0
    assert dice_entropy_loss(sure, masks) < 1e-5 < 1.9 < dice_entropy_loss(-sure, masks), "nothing is lost when right"


def refuse(monkeypatch, error):
    """Let the import of the library fail."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in MODULES:
                raise error

    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


@pytest.mark.parametrize("kind", [FPNMiT, UNetPPResNeSt])
def test_without_the_extra_its_command_is_told(kind, monkeypatch):
    refuse(monkeypatch, ModuleNotFoundError("No module named 'timm'", name="timm"))
    with pytest.raises(InputError, match=r"timm isn't installed; run in the repository: .*envs/kpis\.txt"):
        kind()


def test_a_torchvision_of_another_torch_is_told(monkeypatch):
    refuse(monkeypatch, RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(InputError, match=r"torchvision is built for another torch than 2.*nms does not exist.*whl/cpu"):
        import_library()


def test_nothing_of_the_extra_is_imported_before_it_is_needed():
    lines = "import sys, nephrospot.models.kpis, nephrospot.models.ensemble\n"
    lines += f"found = [name for name in {MODULES} if name in sys.modules]\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
