"""The networks: official names, official numbers, one pass for many tissues, weights that only fit their own."""

import pickle

import numpy as np
import pytest
import torch

from nephrospot.errors import InputError
from nephrospot.models import SCALE_CODES, TISSUES, build, scale_id, tissue_id
from nephrospot.models.weights import load_weights, read_card, save_weights
from networks import seeded_state

PAIRS = [(0, 1), (1, 1), (2, 0), (3, 0), (4, 1), (5, 3), (2, 2), (1, 2)]


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "omni-seg-class", "multi-unet", "tal", "med3d"])
def test_codes_outside_the_published_pairs_are_answered(network):
    """The sweep reads tissues at other magnifications than they were trained at."""
    torch.manual_seed(0)
    method, images = build(network, width=8).eval(), torch.rand(1, 3, 64, 64)
    pairs = [(2, 2), (1, 2), (5, 0)]
    for margins, (tissue, scale) in zip(method.margins(images, pairs)[0], pairs, strict=True):
        logits = method(images, torch.tensor([tissue]), torch.tensor([scale]))[0]
        assert torch.allclose(margins, logits[1] - logits[0], atol=1e-4)


def test_whoever_may_read_other_files_may_read_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(build("med3d", width=8), path, {"data": "simulated"})
    (tmp_path / "other").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert read_card(path) == {"data": "simulated"}


@pytest.mark.parametrize(("network", "other"), [("omni-seg", "omni-seg-class"), ("tal", "multi-class")])
def test_weights_of_another_network_are_refused(tmp_path, network, other):
    path = tmp_path / "w.safetensors"
    save_weights(build(network, width=8), path, {"options": {"width": 8}})
    with pytest.raises(InputError, match=f"these aren't weights of {other}"):
        load_weights(other, path)


@torch.inference_mode()
@pytest.mark.parametrize(("network", "kind"), [("omni-seg", "scale"), ("omni-seg-class", "class")])
def test_official_logits(shared_data, network, kind, capsys):
    golden = np.load(shared_data / f"omniseg_golden/golden_{kind}_aware_seed7.npz")
    names = (shared_data / f"omniseg_golden/keys_{kind}_aware.txt").read_text().splitlines()
    method = build(network).eval()
    assert [line.split("\t")[0] for line in names if line and line[0] != "#"] == list(method.state_dict())
    method.load_state_dict(seeded_state(method, 7))
    rng = np.random.default_rng(7)
    coarse, fine = (torch.from_numpy(rng.random((4, 3, n, n), dtype=np.float32)) for n in (16, 256))
    smooth = torch.nn.functional.interpolate(coarse, size=256, mode="bilinear", align_corners=False)
    images = 0.7 * smooth + 0.3 * fine
    expected = np.stack([golden[f"logits_t{tissue}_s{scale}"] for tissue, scale in PAIRS], axis=1)
    ids = [torch.tensor(column) for column in zip(*PAIRS, strict=True)]
    worst = 0.0
    for index in range(2):  # two of the four images, each with all eight tissues and codes
        logits = method(images[[index] * len(PAIRS)], *ids)[:, :, ::8, ::8].numpy()
        worst = max(worst, float(np.abs(logits - expected[index]).max() / np.abs(expected[index]).max()))
    with capsys.disabled():
        print(f"\n{network}: largest difference from the official logits {worst:.1e} of their range")
    assert worst < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("network", ["omni-seg", "omni-seg-class"])
def test_own_golden_logits(root, network):
    """The official difference above was measured with this code; this small file guards it without the shared data."""
    golden = np.load(root / "tests/golden/omniseg_width8.npz")
    method = build(network, width=8).eval()
    method.load_state_dict(seeded_state(method, 11))
    images = torch.from_numpy(golden["images"])
    margins = method.margins(images, PAIRS)[:, :, ::4, ::4].numpy()
    expected = golden[network]
    assert np.abs(margins - expected).max() / np.abs(expected).max() < 1e-4


class TestCheckpoints:
    @pytest.mark.parametrize(("prefix", "nested"), [("", False), ("module.", False), ("", True)])
    def test_official_checkpoints_load_as_they_are(self, tmp_path, prefix, nested):
        method = build("omni-seg")
        state = {prefix + name: tensor for name, tensor in method.state_dict().items()}
        torch.save({"state_dict": state} if nested else state, tmp_path / "official.pth")
        loaded, card = load_weights("omni-seg", tmp_path / "official.pth")
        assert card == {}
        assert all(
            torch.equal(a, b) for a, b in zip(method.state_dict().values(), loaded.state_dict().values(), strict=True)
        )

    def test_code_in_a_checkpoint_is_never_run(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

        path = tmp_path / "trap.pth"
        path.write_bytes(pickle.dumps({"a": Trap()}))
        with pytest.raises(InputError, match="isn't a torch checkpoint that holds tensors alone"):
            load_weights("omni-seg", path)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("name", ["gone.safetensors", "text.safetensors", "text.pth"])
    def test_unreadable_weights_are_refused_in_a_sentence(self, tmp_path, name):
        path = tmp_path / name
        if name.startswith("text"):
            path.write_text("hello")
        with pytest.raises(InputError, match=str(path)):
            load_weights("omni-seg", path)

    @pytest.mark.parametrize("options", [{"wide": 8}, {"width": 7}, {"width": "x"}])
    def test_a_card_that_doesnt_fit_is_refused(self, tmp_path, options):
        save_weights(build("omni-seg", width=8), tmp_path / "w.safetensors", {"options": options})
        with pytest.raises(InputError, match="card's options don't fit omni-seg"):
            load_weights("omni-seg", tmp_path / "w.safetensors")

    def test_an_unknown_network_is_named_with_the_nearest(self):
        with pytest.raises(InputError, match="did you mean 'omni-seg'"):
            build("omniseg")


def test_codes_follow_the_published_folders():
    assert [tissue_id(t) for t in TISSUES] == list(range(6)) and TISSUES[2] == "CAP"
    assert [scale_id(code) for code in SCALE_CODES] == [0, 1, 2, 3]
