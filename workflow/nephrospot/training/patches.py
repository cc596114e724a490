"""Partially labelled patches in the layout of the published training data.

``root/{task}_{scale}_{name}/{stain}/im_{roi}_{k}.png`` beside ``im_{roi}_{k}_mask_{word}.png``: task and scale are
the indices of `nephrospot.models.TISSUES` and `SCALE_CODES`, and each patch has one tissue labelled.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from nephrospot.errors import InputError, Problems
from nephrospot.models import SCALE_CODES, TISSUES

FOLDER = re.compile(r"(\d)_(\d)_\w+$")
IMAGE = re.compile(r"im_(\w+?)_(\d+)\.png$")


def list_patches(root: str | Path) -> pd.DataFrame:
    """Every patch below ``root``.

    Returns
    -------
    Columns image, mask (paths), tissue, tissue_id, scale_id, stain, roi; sorted by path.

    Raises
    ------
    InputError
        When there is no patch, a mask is missing, or a folder's indices are out of range.
    """
    problems, rows = Problems(), []
    for folder in sorted(path for path in Path(root).glob("*") if path.is_dir()):
        match = FOLDER.match(folder.name)
        if not match:
            continue
        task, scale = int(match[1]), int(match[2])
        if task >= len(TISSUES) or scale >= len(SCALE_CODES):
            problems.add(
                f"{folder}: task {task} and scale {scale} must be below {len(TISSUES)} and {len(SCALE_CODES)}."
            )
            continue
        for image in sorted(folder.glob("*/im_*.png")):
            name = IMAGE.match(image.name)
            if not name:  # a mask
                continue
            masks = sorted(image.parent.glob(f"{image.stem}_mask_*.png"))
            if len(masks) != 1:
                problems.add(
                    f"{image}: {len(masks)} masks stand beside it; there must be one, {image.stem}_mask_….png."
                )
                continue
            rows.append((image, masks[0], TISSUES[task], task, scale, image.parent.name, name[1]))
    if not rows and not problems.sentences:
        problems.add(f"{root}: no patches were found; they belong in folders such as 1_1_pt/pas/im_12_0.png.")
    problems.raise_if_any()
    return pd.DataFrame(rows, columns=["image", "mask", "tissue", "tissue_id", "scale_id", "stain", "roi"])


def split_by_roi(patches: pd.DataFrame, held_out: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and validation patches; all patches of a region of interest stay together, tissue by tissue."""
    rng = np.random.default_rng(seed)
    validation: set[tuple[str, str]] = set()
    for tissue, group in patches.groupby("tissue", sort=True):
        rois = sorted(group["roi"].unique())
        if len(rois) < 2:
            raise InputError(f"{tissue}: all patches come from one region ({rois[0]}); validation needs a second one.")
        chosen = rng.permutation(rois)[: max(1, round(held_out * len(rois)))]
        validation |= {(tissue, roi) for roi in chosen}
    is_held = [(t, r) in validation for t, r in zip(patches["tissue"], patches["roi"], strict=True)]
    held = np.array(is_held)
    return patches[~held].reset_index(drop=True), patches[held].reset_index(drop=True)


def read_patch(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 RGB (H, W, 3) and 0/1 mask (H, W) of one patch."""
    pixels, label = cv2.imread(str(image), cv2.IMREAD_COLOR_RGB), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    for path, array in ((image, pixels), (mask, label)):
        if array is None:
            raise InputError(f"{path}: this isn't a readable image; copy it again.")
    return pixels, (label > 127).astype(np.uint8)
