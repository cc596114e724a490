"""What a method says of patches, and how well: foreground Dice by tissue."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from nephrospot.models import TISSUES, Method
from nephrospot.training.loading import PatchReader

GPU_PIXELS = 1 << 20  # a pass: 16 patches of 256 px


def predict_patches(
    method: Method, patches: pd.DataFrame, reader: PatchReader | None = None
) -> Iterator[tuple[tuple, np.ndarray, np.ndarray]]:
    """Each patch read at its own scale code for its own tissue.

    Parameters
    ----------
    reader
        One that holds these patches already, to read them once.

    Yields
    ------
    row : named tuple of ``patches``' columns, in their order
    predicted, mask : bool (H, W)
    """
    method.eval()
    reader = reader or PatchReader(patches, method.stride, limit_bytes=0)
    device = next(method.parameters()).device
    waiting: list[tuple] = []
    for position, row in enumerate(patches.itertuples()):
        image, mask = reader.read(position)
        kind = (row.tissue_id, row.scale_id, mask.shape)
        # A CPU is fastest with one at a time.
        most = max(1, GPU_PIXELS // mask.size) if device.type == "cuda" else 1
        if waiting and (kind != waiting[0][0] or len(waiting) == most):
            yield from _predict(method, waiting, device)
            waiting = []
        waiting.append((kind, row, image, mask))
    if waiting:
        yield from _predict(method, waiting, device)


def validate(method: Method, patches: pd.DataFrame, reader: PatchReader | None = None) -> dict[str, float]:
    """Mean foreground Dice of each tissue over its patches (2·TP / (2·TP + FP + FN); empty against empty left out)."""
    scores: dict[str, list[float]] = {tissue: [] for tissue in TISSUES}
    for row, predicted, mask in predict_patches(method, patches, reader):
        total = int(predicted.sum()) + int(mask.sum())
        if total:
            scores[row.tissue].append(2 * int((predicted & mask).sum()) / total)
    return {tissue: float(np.mean(values)) for tissue, values in scores.items() if values}


@torch.inference_mode()
def measure_loss(method: Method, patches: pd.DataFrame, reader: PatchReader | None = None) -> float:
    """What the method minimises in training, mean over the tissues' means over their patches."""
    method.eval()
    reader = reader or PatchReader(patches, method.stride, limit_bytes=0)
    device = next(method.parameters()).device
    losses = []
    for position, row in enumerate(patches.itertuples()):
        image, mask = (torch.from_numpy(array).to(device)[None] for array in reader.read(position))
        ids = (torch.tensor([index], device=device) for index in (row.tissue_id, row.scale_id))
        logits = method(image.permute(0, 3, 1, 2).contiguous().float() / 255, *ids)
        losses.append(float(method.loss(logits, mask.float())))
    return float(pd.Series(losses).groupby(patches["tissue"].to_numpy()).mean().mean())


@torch.inference_mode()
def _predict(method: Method, waiting: list[tuple], device: torch.device) -> list[tuple]:
    tissue, scale, _ = waiting[0][0]
    images = torch.from_numpy(np.stack([image for _, _, image, _ in waiting])).to(device)
    images = images.permute(0, 3, 1, 2).contiguous().float() / 255
    predicted = (method.margins(images, [(tissue, scale)])[:, 0] > 0).cpu().numpy()
    return [(row, one, mask > 0) for one, (_, row, _, mask) in zip(predicted, waiting, strict=True)]
