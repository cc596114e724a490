"""Dice and binary cross-entropy with a heavier ring around the label (official code, `omniseg` §3.5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RING_WEIGHT = 1.2
RING_PX = 2


def ring_weights(masks: Tensor) -> Tensor:
    """1.2 on the 2-px ring outside each label (4-connected), 1 elsewhere.

    Parameters
    ----------
    masks : float (N, 1, H, W), 0/1
    """
    grown = masks
    for _ in range(RING_PX):
        across = F.max_pool2d(grown, (1, 3), stride=1, padding=(0, 1))
        along = F.max_pool2d(grown, (3, 1), stride=1, padding=(1, 0))
        grown = torch.maximum(across, along)
    return RING_WEIGHT ** (grown - masks)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice + BCE over background and foreground, each through a sigmoid of its own, weights 1:1.

    Parameters
    ----------
    logits : (N, 2, H, W)
    masks : (N, H, W), 0/1

    Returns
    -------
    scalar
    """
    foreground = masks.unsqueeze(1).to(logits.dtype)
    targets = torch.cat([1 - foreground, foreground], dim=1)
    weights = ring_weights(foreground)
    probabilities = logits.sigmoid()
    overlap = (probabilities * targets * weights).sum(dim=(2, 3))
    dice = 1 - 2 * overlap / (probabilities.sum(dim=(2, 3)) + targets.sum(dim=(2, 3)) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weights
    return dice.mean() + entropy.mean()
