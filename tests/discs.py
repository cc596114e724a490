"""Small patches with coloured discs to find, and a training that can be stopped, for the tests of training."""

import os
import signal

import cv2
import numpy as np

from nephrospot.training.patches import list_patches, split_patches
from nephrospot.training.recipe import Recipe
from nephrospot.training.rois import write_roi
from nephrospot.training.train import train_method

COLOURS = {"proximal": (60, 60, 220), "capsule": (220, 60, 60)}
FOLDERS = {"proximal": "1_1_pt", "capsule": "2_0_capsule"}


def write_discs(root, rois=6, words=("proximal", "capsule"), side=64):
    """Two patches a region and tissue in the published layout, a disc of the tissue's colour on each."""
    rng = np.random.default_rng(0)
    for word in words:
        folder = root / FOLDERS[word] / "pas"
        folder.mkdir(parents=True)
        for k in range(2 * rois):
            mask = np.zeros((side, side), np.uint8)
            cv2.circle(mask, tuple(int(v) for v in rng.integers(side // 4, 3 * side // 4, 2)), side // 5, 255, -1)
            image = rng.integers(150, 200, (side, side, 3), dtype=np.uint8)
            image[mask > 0] = COLOURS[word]
            stem = folder / f"im_{k // 2}_{k % 2}"
            cv2.imwrite(f"{stem}.png", image[..., ::-1])
            cv2.imwrite(f"{stem}_mask_{word}.png", mask)
    return root


def write_fields(root, rois=6, side=96):
    """A region of noise at 10× for each of the patches' regions."""
    rng = np.random.default_rng(1)
    for roi in range(rois):
        write_roi(root, "pas", f"im_{roi}", str(roi), rng.integers(0, 255, (side, side, 3), dtype=np.uint8), 1.0)
    return root


def split_discs(root, seed=0):
    patches = list_patches(root)
    patches["split"] = split_patches(patches, {"training": 0.7, "validation": 0.3}, seed=seed)
    return patches


class Stopper:
    """An extra that ends the training in the second step of an epoch.

    It teaches something of its own all the while, more with every step, and counts the steps over all epochs.
    """

    card = "stopper"

    def __init__(self, epoch=None, how="error"):
        self.epoch, self.how = epoch, how
        self.steps = self.seen = 0

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]

    def begin_epoch(self, method, epoch, rng):
        self.steps = 0

    def loss(self, method, epoch, rng):
        self.steps, self.seen = self.steps + 1, self.seen + 1
        if epoch == self.epoch and self.steps == 2:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("stopped")
        return rng.random() * 1e-2 * self.seen * next(method.parameters()).square().sum()


def train_discs(root, folder, stopper=None, seed=6, network="omni-seg", options=None, recipe=None, **others):
    """Four short epochs; answers the card."""
    recipe = recipe or Recipe(optimiser="nadam", learning_rate=3e-3, epochs=4, warm_up_steps=3, patches_per_epoch=12)
    return train_method(
        network, options or {"width": 4}, split_discs(root), recipe, folder / "w.safetensors", folder / "c.json",
        seed, data="discs", threads=1, extras=[stopper] if stopper else (), **others,
    )  # fmt: skip
