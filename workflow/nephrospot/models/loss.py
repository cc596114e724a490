"""What is minimised on patches with one labelled tissue: Dice and cross-entropy, heavier in a ring around the label."""

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
    """Dice + BCE over background and foreground, each through a sigmoid of its own, weights 1:1 (Omni-Seg).

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


def competing_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice + cross-entropy where background and foreground share one soft-max, weights 1:1.

    For methods whose classes compete: with the other classes' logits merged into the first channel (their
    log-sum-exp), the soft-max over two channels is that over all classes with the unlabelled ones summed
    (the target adaptive loss of Fang & Yan, IEEE TMI 2020).

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
    logarithms = logits.log_softmax(dim=1)
    probabilities = logarithms.exp()
    overlap = (probabilities * targets * weights).sum(dim=(2, 3))
    dice = 1 - 2 * overlap / (probabilities.sum(dim=(2, 3)) + targets.sum(dim=(2, 3)) + 1)
    entropy = -(logarithms * targets).sum(dim=1, keepdim=True) * weights
    return dice.mean() + entropy.mean()
