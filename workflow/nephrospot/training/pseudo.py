"""Pseudo-labels: what the present method says about whole regions, for tissues that nobody labelled there.

Omni-Seg (Deng et al., IEEE TBME 2023, section III C, Fig. 5): each region is cut into windows at each tissue's own
magnification, predicted, and put together again in the pixels of the region.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from nephrospot.models import Method, scale_id, tissue_id

WINDOW_PX = 256
MAX_UPSAMPLING = 1.25
BATCH = 8


def predict_roi(
    method: Method, image: np.ndarray, mpp: float, readings: Mapping[str, tuple[int, float]], window_px: int = WINDOW_PX
) -> dict[str, np.ndarray]:
    """Predict a region at each tissue's own magnification.

    The region is reduced to the magnification, covered by windows that start every ``window_px`` and end with one at
    the border, and the logits are summed where windows overlap, brought back to the region's size (bilinear) and
    compared. Regions smaller than a window are mirrored to its size.

    Parameters
    ----------
    method
        Is left in the mode it came in.
    image : uint8 RGB (H, W, 3)
    mpp
        µm per pixel of ``image``.
    readings
        By tissue: the scale code, and the µm per pixel at which the tissue is read (10 / code, unless the labelled
        patches are shown at another size).

    Returns
    -------
    By tissue, uint8 (H, W), 0/1. Tissues whose magnification the region's pixels can't serve are absent.
    """
    passes: dict[tuple[int, float], list[str]] = {}
    for tissue, reading in readings.items():
        if mpp <= reading[1] * MAX_UPSAMPLING:
            passes.setdefault(reading, []).append(tissue)
    was_training = method.training
    method.eval()
    try:
        return {
            tissue: mask
            for (code, read_mpp), tissues in passes.items()
            for tissue, mask in zip(
                tissues, _predict_at(method, image, mpp / read_mpp, code, tissues, window_px), strict=True
            )
        }
    finally:
        method.train(was_training)


@torch.inference_mode()
def _predict_at(
    method: Method, image: np.ndarray, reduction: float, code: int, tissues: list[str], window_px: int
) -> list[np.ndarray]:
    """Masks of the tissues that share a magnification, from one pass."""
    height, width = image.shape[:2]
    rows, columns = (max(1, round(side * reduction)) for side in (height, width))
    seen = resize(image, columns, rows)
    below, right = max(0, window_px - rows), max(0, window_px - columns)
    seen = cv2.copyMakeBorder(seen, 0, below, 0, right, cv2.BORDER_REFLECT)
    corners = [
        (top, left) for top in list_starts(seen.shape[0], window_px) for left in list_starts(seen.shape[1], window_px)
    ]
    ids = [(tissue_id(tissue), scale_id(code)) for tissue in tissues]
    device = next(method.parameters()).device
    total = torch.zeros((len(tissues), *seen.shape[:2]), device=device)
    for start in range(0, len(corners), BATCH):
        some = corners[start : start + BATCH]
        windows = np.stack([seen[top : top + window_px, left : left + window_px] for top, left in some])
        tensor = torch.from_numpy(windows).to(device).permute(0, 3, 1, 2).contiguous().float() / 255
        # Sums and bilinear blends of foreground − background are those of the logits, subtracted.
        for (top, left), margins in zip(some, method.margins(tensor, ids), strict=True):
            total[:, top : top + window_px, left : left + window_px] += margins
    total = total[None, :, :rows, :columns]
    if total.shape[-2:] != (height, width):
        total = F.interpolate(total, size=(height, width), mode="bilinear", align_corners=False)
    return list((total[0] > 0).to(torch.uint8).cpu().numpy())


def list_starts(side_px: int, window_px: int) -> list[int]:
    """Where windows start along a side: one after the other, the last at the border."""
    last = max(0, side_px - window_px)
    return [*range(0, last, window_px), last]


def resize(picture: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Averaged over the pixels that merge; bilinear where it grows."""
    if picture.shape[:2] == (rows, columns):
        return picture
    how = cv2.INTER_AREA if rows < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, (columns, rows), interpolation=how)
