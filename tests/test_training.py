"""Training: what a step does, what a kill leaves, that seeds decide, what is kept, what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from discs import Stopper, split_discs, train_discs, write_discs
from nephrospot.errors import InputError
from nephrospot.models import build
from nephrospot.models.loss import ring_weights, segmentation_loss
from nephrospot.models.weights import load_weights
from nephrospot.training import loading, train
from nephrospot.training.checkpoint import Checkpoint, Standing
from nephrospot.training.patches import read_patch
from nephrospot.training.rates import check_learning_rates
from nephrospot.training.recipe import Recipe
from nephrospot.training.train import train_method
from nephrospot.training.validate import measure_loss, predict_patches, validate

WEIGHTS, CURVE = "w.safetensors", "c.json"
SIDE = 32  # px, the least that the networks take twice over


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("patches"), side=SIDE)


@pytest.fixture(scope="module")
def uninterrupted(patches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_discs(patches, folder, Stopper())
    return folder


def curve_without_seconds(folder):
    curve = json.loads((folder / CURVE).read_text())
    return curve | {"epochs": [{k: v for k, v in point.items() if k != "seconds"} for point in curve["epochs"]]}


class TestLoss:
    def test_the_ring_is_two_pixels_outside_the_label(self):
        mask = ndimage.binary_dilation(np.random.default_rng(2).random((40, 40)) < 0.01, iterations=3)
        expected = 1.2 ** (ndimage.binary_dilation(mask, iterations=2) ^ mask)
        weights = ring_weights(torch.from_numpy(mask).float()[None, None])[0, 0].numpy()
        assert np.allclose(weights, expected), "scipy's 4-connected dilation is the official one"

    def test_the_loss_is_the_written_formula(self):
        rng = np.random.default_rng(3)
        logits, mask = rng.normal(size=(2, 2, 16, 16)), rng.random((2, 16, 16)) < 0.3
        loss = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(mask.astype(np.uint8)))
        assert float(loss) == pytest.approx(float(written_loss(torch.from_numpy(logits), mask)), rel=1e-6)


def written_loss(logits, masks):
    """Dice + BCE with the ring as omniseg §3.5 writes them, patch by patch and channel by channel."""
    dice, entropy = [], []
    for n, mask in enumerate(np.asarray(masks) > 0):
        weight = torch.from_numpy(1.2 ** (ndimage.binary_dilation(mask, iterations=2) ^ mask))
        for channel, target in ((0, ~mask), (1, mask)):
            t, p = torch.from_numpy(target).double(), 1 / (1 + torch.exp(-logits[n, channel]))
            dice.append(1 - 2 * (p * t * weight).sum() / (p.sum() + t.sum() + 1))
            entropy.append((-(t * torch.log(p) + (1 - t) * torch.log(1 - p)) * weight).mean())
    return sum(dice) / len(dice) + sum(entropy) / len(entropy)


class Decay:
    """An extra loss whose gradient is known."""

    def begin_epoch(self, method, epoch, rng):
        pass

    def loss(self, method, epoch, rng):
        return 0.01 * sum(p.square().sum() for p in method.parameters())


@pytest.mark.parametrize("extras", [(), (Decay(),)], ids=["labels alone", "with an extra loss"])
def test_two_steps_are_those_of_the_written_loss_by_hand(tmp_path, monkeypatch, extras):
    """Nesterov's momentum, the poly schedule and the loss, against autograd in double precision without the trainer."""
    table = split_discs(write_discs(tmp_path / "p", rois=4, words=["proximal"], side=32))
    table = table.drop(table.index[table["split"] == "training"][4:])
    seen = []

    def record(*arguments):
        seen.append(loading.load_batch(*arguments))
        return seen[-1]

    monkeypatch.setattr(train, "load_batch", record)
    monkeypatch.setattr(Checkpoint, "remove", lambda self: None)
    recipe = Recipe(learning_rate=0.05, momentum=0.9, epochs=2)
    train_method("omni-seg", {"width": 4}, table, recipe, tmp_path / WEIGHTS, tmp_path / CURVE, 3, "", 1, extras)
    after = torch.load(tmp_path / ".w.checkpoint.pt", weights_only=True)["method"]

    torch.manual_seed(3)
    method = build("omni-seg", width=4).double().train()
    parameters = dict(method.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    moments = {name: torch.zeros_like(p) for name, p in parameters.items()}
    assert len(seen) == 2, "four patches of one tissue are one batch an epoch"
    for epoch, (images, masks) in enumerate(seen):
        loss = written_loss(method(images.double(), torch.ones(4).long(), torch.ones(4).long()), masks)
        if extras:
            loss = loss + 0.01 * sum((p**2).sum() for p in parameters.values())
        gradients = torch.autograd.grad(loss, parameters.values(), allow_unused=True)
        rate = 0.05 * (1 - epoch / 2) ** 0.9
        with torch.no_grad():
            for (name, p), gradient in zip(parameters.items(), gradients, strict=True):
                if gradient is not None:
                    moments[name] = 0.9 * moments[name] + gradient
                    p -= rate * (gradient + 0.9 * moments[name])
    for name, p in parameters.items():
        moved, expected = after[name].double() - before[name], p.detach() - before[name]
        assert torch.allclose(moved, expected, rtol=1e-3, atol=2e-6), f"{name} moved otherwise"
    assert any((p - before[name]).abs().max() > 1e-3 for name, p in parameters.items())


class TestGoingOn:
    def test_after_an_error(self, patches, uninterrupted, tmp_path):
        with pytest.raises(RuntimeError, match="stopped"):
            train_discs(patches, tmp_path, Stopper(2))
        assert not (tmp_path / WEIGHTS).exists() and (tmp_path / ".w.checkpoint.pt").exists()
        again = Stopper()
        train_discs(patches, tmp_path, again)
        assert (tmp_path / WEIGHTS).read_bytes() == (uninterrupted / WEIGHTS).read_bytes()
        assert curve_without_seconds(tmp_path) == curve_without_seconds(uninterrupted)
        assert sorted(path.name for path in tmp_path.iterdir()) == [CURVE, WEIGHTS], "no checkpoint stays"

    def test_after_a_kill(self, patches, uninterrupted, tmp_path):
        here = Path(__file__).parent
        code = (
            f"import sys; sys.path.insert(0, {str(here)!r}); from pathlib import Path; from discs import *; "
            f"train_discs(Path({str(patches)!r}), Path({str(tmp_path)!r}), Stopper(3, 'kill'))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == -9, run.stderr
        checkpoint = torch.load(tmp_path / ".w.checkpoint.pt", weights_only=True)
        assert len(checkpoint["standing"]["history"]) == 3, "three epochs were whole"
        train_discs(patches, tmp_path, Stopper())
        assert (tmp_path / WEIGHTS).read_bytes() == (uninterrupted / WEIGHTS).read_bytes()

    def test_another_seed_begins_anew(self, patches, uninterrupted, tmp_path):
        (tmp_path / "other").mkdir()
        with pytest.raises(RuntimeError, match="stopped"):
            train_discs(patches, tmp_path, Stopper(2))
        for folder in (tmp_path, tmp_path / "other"):
            train_discs(patches, folder, Stopper(), seed=7)
        assert (tmp_path / WEIGHTS).read_bytes() == (tmp_path / "other" / WEIGHTS).read_bytes()
        assert (tmp_path / WEIGHTS).read_bytes() != (uninterrupted / WEIGHTS).read_bytes()

    def test_a_damaged_checkpoint_is_told_and_not_used(self, patches, uninterrupted, tmp_path, caplog):
        (tmp_path / ".w.checkpoint.pt").write_bytes(b"PK\x03\x04 cut")
        train_discs(patches, tmp_path, Stopper())
        assert "can't be read" in caplog.text
        assert (tmp_path / WEIGHTS).read_bytes() == (uninterrupted / WEIGHTS).read_bytes(), "one seed, one result"


class TestLearning:
    @pytest.mark.parametrize("network", ["omni-seg", "multi-unet"])
    def test_a_method_learns_from_partial_labels(self, patches, tmp_path, network):
        recipe = Recipe("adam", 5e-3, epochs=5, patches_per_epoch=64, clip=5.0)
        card = train_discs(patches, tmp_path, seed=5, network=network, options={"width": 8}, recipe=recipe)
        losses = [point["loss"] for point in json.loads((tmp_path / CURVE).read_text())["epochs"]]
        assert losses[-1] < 0.8 * losses[0], f"the loss hardly fell: {losses}"
        assert min(card["validation_foreground_dice"].values()) > 0.6, "a disc of its own colour is easy"
        method, saved = load_weights(network, tmp_path / WEIGHTS)
        assert saved == json.loads(json.dumps(card)) and saved["data"] == "discs"
        table = split_discs(patches)
        again = validate(method, table[table["split"] == "validation"])
        assert again.keys() == card["validation_foreground_dice"].keys() == {"PT", "CAP"}
        assert all(abs(again[t] - card["validation_foreground_dice"][t]) < 0.02 for t in again), "half precision"

    def test_bf16_learns_too(self, patches, tmp_path):
        recipe = Recipe("adam", 3e-3, epochs=4, precision="bf16")
        train_discs(patches, tmp_path, recipe=recipe)
        losses = [point["loss"] for point in json.loads((tmp_path / CURVE).read_text())["epochs"]]
        assert losses[-1] < losses[0]

    def test_the_best_epoch_is_saved_and_not_the_last(self, patches, tmp_path):
        class Wrecker:
            def begin_epoch(self, method, epoch, rng):
                if epoch == 5:
                    with torch.no_grad():
                        for parameter in method.parameters():
                            parameter.zero_()

            def loss(self, method, epoch, rng):
                return None

        recipe = Recipe("adam", 3e-3, epochs=6, patches_per_epoch=48)
        card = train_discs(patches, tmp_path, Wrecker(), recipe=recipe)
        points = json.loads((tmp_path / CURVE).read_text())["epochs"]
        means = [point["mean_dice"] for point in points]
        assert means[-1] < max(means) and card["epoch"] == 1 + means.index(max(means))
        assert card["validation_foreground_dice"] == points[card["epoch"] - 1]["validation_foreground_dice"]
        method, _ = load_weights("omni-seg", tmp_path / WEIGHTS)
        assert all(p.any() for p in method.parameters() if p.ndim == 4), "the wrecked weights aren't the saved ones"

    def test_weights_to_start_from_are_used(self, patches, uninterrupted, tmp_path):
        recipe = Recipe(learning_rate=1e-12, epochs=1)
        train_discs(patches, tmp_path, seed=99, recipe=recipe, initial=uninterrupted / WEIGHTS)
        start, end = (
            load_weights("omni-seg", folder / WEIGHTS)[0].state_dict() for folder in (uninterrupted, tmp_path)
        )
        assert all(torch.equal(start[name], end[name]) for name in start)

    def test_rates_are_compared_by_validation_loss(self, patches):
        table = check_learning_rates(
            "omni-seg", {"width": 4}, split_discs(patches), Recipe("adam", patches_per_epoch=48), [1e-9, 5e-3, 1e30],
            epochs=3, seed=1, threads=1,
        )  # fmt: skip
        assert list(table["learning_rate"]) == [1e-9, 5e-3, 1e30] and list(table["best"]) == [False, True, False]
        assert table["reason"].str.contains("isn't a number").tolist() == [False, False, True]
        assert np.isnan(table["validation_loss"][2]) and table["validation_loss"].idxmin() == 1


def test_predictions_come_with_their_rows_and_masks(patches):
    table = split_discs(patches)
    method = build("omni-seg", width=4)
    answers = list(predict_patches(method, table))
    assert [row.image for row, _, _ in answers] == list(table["image"])
    assert all(predicted.shape == mask.shape == (SIDE, SIDE) and mask.any() for _, predicted, mask in answers)
    scores = {"PT": [], "CAP": []}
    for row, predicted, mask in answers:
        scores[row.tissue].append(2 * (predicted & mask).sum() / (predicted.sum() + mask.sum()))
    assert validate(method, table) == pytest.approx({tissue: np.mean(values) for tissue, values in scores.items()})


def test_the_loss_of_patches_weighs_tissues_alike(patches):
    table = split_discs(patches).groupby("tissue").head(3).iloc[1:].reset_index(drop=True)
    method, losses = build("omni-seg", width=4).eval(), {"PT": [], "CAP": []}
    for row in table.itertuples():
        image, mask = read_patch(row.image, row.mask)
        ids = torch.tensor([row.tissue_id]), torch.tensor([row.scale_id])
        with torch.no_grad():
            logits = method(torch.from_numpy(image)[None].permute(0, 3, 1, 2) / 255, *ids)
        losses[row.tissue].append(float(segmentation_loss(logits, torch.from_numpy(mask)[None].float())))
    assert sorted(map(len, losses.values())) == [2, 3]
    assert measure_loss(method, table) == pytest.approx(np.mean([np.mean(own) for own in losses.values()]))


def test_the_first_of_equal_epochs_is_the_best():
    standing, method = Standing(), torch.nn.Linear(1, 1)
    for dice in (0.2, 0.5, 0.5, 0.4):
        standing.note({"mean_dice": dice}, method)
    assert standing.best_epoch == 2


REFUSED = {
    "no split": (lambda t: t.drop(columns="split"), {}, "split_patches"),
    "no validation": (lambda t: t[t["split"] == "training"], {}, "no patch is for validation"),
    "too few": (
        lambda t: t.drop(t[(t.split == "training") & (t.tissue == "PT")].index[3:]),
        {},
        "never be learnt: PT 3",
    ),
    "no batch": (lambda t: t, {"patches_per_epoch": 2}, "raise patches_per_epoch"),
    "odd size": (lambda t: t.assign(side_px=56), {}, "multiples of 16"),
    "two sizes": (lambda t: t.assign(side_px=[32, 64] * 12), {}, "several sizes"),
    "diverged": (lambda t: t, {"learning_rate": 1e30, "epochs": 3}, "lower learning_rate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_a_sentence(patches, tmp_path, case):
    change, recipe, told = REFUSED[case]
    with pytest.raises(InputError, match=told):
        train_method("omni-seg", {"width": 4}, change(split_discs(patches)), Recipe(**recipe), tmp_path / WEIGHTS,
                     tmp_path / CURVE, seed=1, data="discs", threads=1)  # fmt: skip
    assert not (tmp_path / WEIGHTS).exists()


def test_weights_of_another_width_are_no_start(patches, uninterrupted, tmp_path):
    with pytest.raises(InputError, match=r"made with options {'width': 4}"):
        train_discs(patches, tmp_path, options={"width": 8}, initial=uninterrupted / WEIGHTS)
