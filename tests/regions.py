"""Regions, patches cut from them and a method whose answer is known, for the tests of semi-supervision."""

import cv2
import numpy as np
import torch

from nephrospot.models import Method
from nephrospot.training.patches import list_patches
from nephrospot.training.rois import list_rois, write_roi
from nephrospot.training.semi import SemiOptions, SemiSupervision

SIDE = 64  # px of a patch; a patch at 10× is 64 µm wide here


class Threshold(Method):
    """Foreground where green is above a half; the answer is known without any training."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, images, tissue_ids, scale_ids):
        margin = self.gain * (images[:, 1] - 0.5)
        return torch.stack([-margin / 2, margin / 2], dim=1)


def draw_field(seed, side=512):
    """A field with detail of several sizes, so that every place is like no other; uint8 RGB."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((n, n, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        for n in (side // 48, side // 16, side // 5)
    ]
    field = np.mean(layers, axis=0)
    return (np.clip((field - 0.5) * 2.2 + 0.5, 0, 1) * 255).astype(np.uint8)


def cut_at(field, left, top, side, px=SIDE):
    square = field[top : top + side, left : left + side]
    return cv2.resize(square, (px, px), interpolation=cv2.INTER_AREA if side > px else cv2.INTER_LINEAR)


PLACES = {"a": (101, 203), "b": (240, 36)}  # left, top of the patches in the field, px at 40×; 256 px wide


def write_project(tmp_path):
    """Two regions at 40×, each with a PT and a CAP patch at 10× and their masks."""
    for roi in ("1", "2"):
        field = draw_field(int(roi))
        write_roi(tmp_path / "rois", "pas", f"im_{roi}", roi, field, 0.25)
        for folder, word, place in (("1_1_pt", "proximal", "a"), ("2_1_capsule", "capsule", "b")):
            (tmp_path / "p" / folder / "pas").mkdir(parents=True, exist_ok=True)
            stem = tmp_path / "p" / folder / "pas" / f"im_{roi}_0"
            cv2.imwrite(f"{stem}.png", cut_at(field, *PLACES[place], 256)[..., ::-1])
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[8:40, 12:50] = 255
            cv2.imwrite(f"{stem}_mask_{word}.png", mask)
    patches = list_patches(tmp_path / "p")
    patches["split"] = "training"
    return list_rois(tmp_path / "rois"), patches


def supervise(project, **options):
    defaults = {"tissues": ("PT",), "warm_up_epochs": 2, "zooms": (1.0, 1.0), "consistency": False, "keep_empty": True}
    return SemiSupervision(SemiOptions(**(defaults | options)), *project)


def made_by(extra, method=None, epoch=2, seed=0):
    extra.begin_epoch(method or Threshold(), epoch, np.random.default_rng(seed))
    return [patch for patches in extra._pseudo.values() for patch in patches]
