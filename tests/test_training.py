"""Training: what a patch teaches, that labels stay partial, that splits keep regions together, that seeds decide."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from nephrospot.errors import InputError
from nephrospot.models.loss import ring_weights, segmentation_loss
from nephrospot.models.weights import load_weights
from nephrospot.training.augment import augment
from nephrospot.training.patches import list_patches, read_patch, split_by_roi
from nephrospot.training.simulated import write_patches
from nephrospot.training.train import train_method, validate


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Blue discs to find, in the published layout; 64 px, so that training takes seconds."""
    root, rng = tmp_path_factory.mktemp("patches"), np.random.default_rng(0)
    for folder, word in (("1_1_pt", "proximal"), ("2_0_capsule", "capsule")):
        (root / folder / "pas").mkdir(parents=True)
        for k in range(12):
            mask = np.zeros((64, 64), np.uint8)
            cv2.circle(mask, tuple(int(v) for v in rng.integers(16, 48, 2)), 12, 255, -1)
            image = rng.integers(150, 200, (64, 64, 3), dtype=np.uint8)
            image[mask > 0] = (60, 60, 220) if word == "proximal" else (220, 60, 60)
            stem = root / folder / "pas" / f"im_{k // 2}_{k % 2}"
            cv2.imwrite(f"{stem}.png", image[..., ::-1])
            cv2.imwrite(f"{stem}_mask_{word}.png", mask)
    return root


def test_the_published_layout_is_read(patches):
    table = list_patches(patches)
    assert dict(table.groupby("tissue").size()) == {"CAP": 12, "PT": 12}
    assert set(table.loc[table["tissue"] == "CAP", "scale_id"]) == {0} and set(table["stain"]) == {"pas"}
    image, mask = read_patch(table["image"][0], table["mask"][0])
    assert image.shape == (64, 64, 3) and set(np.unique(mask)) == {0, 1}


def test_the_published_demo_is_read(shared_data):
    table = list_patches(shared_data / "omniseg_demo")
    assert len(table) == 84 and set(table["tissue_id"]) == set(range(6))
    assert set(table.loc[table["tissue"] == "PTC", "scale_id"]) == {3}


def test_regions_are_never_split(patches):
    training, held = split_by_roi(list_patches(patches), 0.3, seed=1)
    assert len(training) + len(held) == 24 and len(held)
    for tissue in ("PT", "CAP"):
        rois = [set(part.loc[part["tissue"] == tissue, "roi"]) for part in (training, held)]
        assert not rois[0] & rois[1], "patches of one region may not stand on both sides"


@pytest.mark.parametrize("kind", ["empty", "no mask", "bad folder", "one region"])
def test_bad_patches_are_refused_in_a_sentence(tmp_path, kind):
    folder = tmp_path / ("9_9_x" if kind == "bad folder" else "1_1_pt") / "he"
    if kind != "empty":
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "im_1_0.png"), np.zeros((8, 8, 3), np.uint8))
    if kind == "one region":
        cv2.imwrite(str(folder / "im_1_0_mask_pt.png"), np.zeros((8, 8), np.uint8))
    told = {"empty": "no patches", "no mask": "0 masks", "bad folder": "must be below", "one region": "needs a second"}
    with pytest.raises(InputError, match=told[kind]):
        split_by_roi(list_patches(tmp_path), 0.2, 0)


def test_the_ring_is_two_pixels_outside_the_label():
    rng = np.random.default_rng(2)
    mask = ndimage.binary_dilation(rng.random((40, 40)) < 0.01, iterations=3)
    expected = 1.2 ** (ndimage.binary_dilation(mask, iterations=2) ^ mask)
    weights = ring_weights(torch.from_numpy(mask).float()[None, None])[0, 0].numpy()
    assert np.allclose(weights, expected), "scipy's 4-connected dilation is the official one"


def test_the_loss_is_the_written_formula():
    rng = np.random.default_rng(3)
    logits, mask = rng.normal(size=(2, 2, 16, 16)), rng.random((2, 16, 16)) < 0.3
    total_dice, total_entropy = [], []
    for n in range(2):
        weight = 1.2 ** (ndimage.binary_dilation(mask[n], iterations=2) ^ mask[n])
        for channel, target in ((0, ~mask[n]), (1, mask[n])):
            p = 1 / (1 + np.exp(-logits[n, channel]))
            total_dice.append(1 - 2 * (p * target * weight).sum() / (p.sum() + target.sum() + 1))
            total_entropy.append((-(target * np.log(p) + ~target * np.log(1 - p)) * weight).mean())
    loss = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(mask.astype(np.uint8)))
    assert float(loss) == pytest.approx(np.mean(total_dice) + np.mean(total_entropy), rel=1e-6)


def test_augmentation_moves_image_and_mask_together():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 25:50] = 1
    image = np.dstack([mask * 200 + 20] * 3).astype(np.uint8)
    rng, agreement = np.random.default_rng(4), []
    for _ in range(40):
        picture, label = augment(image, mask, rng)
        assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
        bright = cv2.GaussianBlur(picture.mean(axis=2), (0, 0), 1)
        if label.any() and not label.all():
            agreement.append(bright[label > 0].mean() > bright[label == 0].mean())
    assert np.mean(agreement) > 0.95


@pytest.mark.parametrize("network", ["omni-seg", "multi-unet"])
def test_a_method_learns_from_partial_labels(patches, tmp_path, network):
    recipe = {"options": {"width": 8}, "steps": 160, "learning_rate": 3e-3, "seed": 5, "data": "discs", "threads": 1}
    card = train_method(
        network, patches_root=patches, output=tmp_path / "w.safetensors", curve=tmp_path / "c.json", **recipe
    )
    losses = [entry["loss"] for entry in json.loads((tmp_path / "c.json").read_text())["losses"]]
    assert losses[-1] < 0.8 * losses[0], f"the loss hardly fell: {losses}"
    assert min(card["validation_foreground_dice"].values()) > 0.6, "a disc of its own colour is easy"
    method, saved = load_weights(network, tmp_path / "w.safetensors")
    assert saved == json.loads(json.dumps(card)) and saved["data"] == "discs"
    _, held = split_by_roi(list_patches(patches), 0.15, 5)
    again = validate(method, held)
    assert all(abs(again[t] - card["validation_foreground_dice"][t]) < 0.02 for t in again), "half precision keeps it"


def test_a_seed_decides_the_weights(patches, tmp_path):
    for name in ("a", "b"):
        train_method("omni-seg", {"width": 4}, patches, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json",
                     steps=4, learning_rate=1e-3, seed=6, data="discs", threads=1)  # fmt: skip
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_simulated_patches_have_one_tissue_each_in_the_published_layout(tmp_path):
    write_patches(tmp_path / "p", donors=2, patches_per_tissue=4, seed=1)
    table = list_patches(tmp_path / "p")
    assert dict(table.groupby("tissue").size()) == dict.fromkeys(("CAP", "DT", "PT", "PTC", "TUFT", "VES"), 4)
    images = [read_patch(row.image, row.mask) for row in table.itertuples()]
    assert {image.shape for image, _ in images} == {(256, 256, 3)}
    for tissue in ("PT", "CAP", "DT"):
        assert any(mask.mean() > 0.02 for (_, mask), t in zip(images, table["tissue"], strict=True) if t == tissue)
