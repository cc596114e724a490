"""Partially labelled patches: each has one tissue labelled, a region (and where known a patient) and a pixel size."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from nephrospot.errors import InputError
from nephrospot.pictures import read_picture, read_size
from nephrospot.training.layouts import find_kpis_images, read_kpis, read_list, read_published
from nephrospot.training.splits import keep_fraction, split_patches

__all__ = ["digest_patches", "keep_fraction", "list_patches", "read_patch", "split_patches"]

LOSSLESS = {".png", ".tif", ".tiff"}


def list_patches(source: str | Path, side_px: int = 0, **kpis) -> pd.DataFrame:
    """Every patch of a source.

    Parameters
    ----------
    source
        A folder in the layout of the published data (``{task}_{scale}_{name}/{stain}/im_{roi}_{k}.png`` beside
        ``im_{roi}_{k}_mask_{word}.png``), a CSV (image_path, label_path, name, task_id, scale_id; if wanted roi,
        patient, stain, mpp), or a folder of the KPIs challenge (``{group}/{case}/img/{name}_img.jpg`` and
        ``mask/{name}_mask.jpg``).
    side_px
        Read every patch at this width and height; 0 leaves them as they are stored.
    kpis
        Options of `nephrospot.training.layouts.read_kpis`: tissue, scale_code, mpp.

    Returns
    -------
    Columns image, mask (paths), tissue, tissue_id, scale_id, stain, roi (unique within the source), patient ("" where
    unknown), mpp (µm per pixel as read: nominally 10 / scale code), side_px; sorted by path.

    Raises
    ------
    InputError
        When there is no patch, a mask is missing, or an index is out of range; all at once.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source}: there is no such folder or list of patches; correct the path.")
    if source.is_file():
        patches = read_list(source)
    elif find_kpis_images(source):
        patches = read_kpis(source, **kpis)
    else:
        patches = read_published(source)
    if side_px:
        stored = np.array([read_size(image)[0] for image in patches["image"]])
        patches["mpp"] = patches["mpp"] * stored / side_px
        patches["side_px"] = int(side_px)
    return patches


def read_patch(image: str | Path, mask: str | Path, side_px: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Read one patch.

    Parameters
    ----------
    side_px
        Its width and height afterwards; 0 leaves it as it is stored.

    Returns
    -------
    uint8 RGB (H, W, 3) and uint8 0/1 mask (H, W)

    Raises
    ------
    InputError
        When a file can't be read, or image and mask differ in size.
    """
    pixels, label = read_picture(image, cv2.IMREAD_COLOR_RGB), read_picture(mask, cv2.IMREAD_GRAYSCALE)
    if pixels.shape[:2] != label.shape:
        raise InputError(
            f"{image}: the image has {pixels.shape[1]} × {pixels.shape[0]} px and its mask {Path(mask).name} has "
            f"{label.shape[1]} × {label.shape[0]}; a patch and its mask must be of one size."
        )
    # A mask of 0 and 1 is one of 0 and 255; a lossy one of at most 1 is an empty one with noise.
    label = (label > (0 if label.max() == 1 and Path(mask).suffix.lower() in LOSSLESS else 127)).astype(np.uint8)
    if side_px and label.shape != (side_px, side_px):
        how = cv2.INTER_AREA if side_px < max(label.shape) else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (side_px, side_px), interpolation=how)
        label = (cv2.resize(label * 255, (side_px, side_px), interpolation=how) > 127).astype(np.uint8)
    return pixels, label


def digest_patches(patches: pd.DataFrame) -> str:
    """Hex SHA-256 of what a training sees: the bytes of every file, its part of the split and its indices, in order.

    Where the files lie doesn't count.
    """
    digest = hashlib.sha256()
    columns = [c for c in ("split", "tissue_id", "scale_id", "side_px") if c in patches]
    for image, mask, *rest in patches[["image", "mask", *columns]].itertuples(index=False):
        for path in (image, mask):
            digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
        digest.update(repr([str(value) for value in rest]).encode())
    return digest.hexdigest()
