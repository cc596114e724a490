"""Augmentation of one patch: geometry, colour, noise, each with a chance of one half.

Ranges follow the official training code (Omni-Seg, `omniseg` §3.4); what enters from outside is mirrored, not black.
"""

from __future__ import annotations

import cv2
import numpy as np

CHANCE = 0.5


def augment(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Augment a patch.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    mask : uint8 (H, W), 0/1

    Returns
    -------
    float32 image in 0..1 and uint8 mask
    """
    if rng.random() < CHANCE:
        image, mask = _warp(image, mask, rng)
    picture = image.astype(np.float32) / 255
    if rng.random() < CHANCE:
        picture = picture ** rng.uniform(0.5, 2.0)
        picture = picture + rng.uniform(-0.1, 0.1, size=3 if rng.random() < CHANCE else 1).astype(np.float32)
    if rng.random() < CHANCE:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.1, 1.0))
        picture = picture + rng.normal(0, rng.uniform(0, 0.1), picture.shape).astype(np.float32)
    return np.clip(picture, 0, 1).astype(np.float32), mask


def _warp(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    height, width = mask.shape
    angle, shear = np.deg2rad(rng.uniform(-180, 180)), np.deg2rad(rng.uniform(-16, 16))
    zoom = rng.uniform(0.75, 1.5, 2) * rng.choice([-1, 1], 2)
    rotate = np.array([[np.cos(angle), -np.sin(angle + shear)], [np.sin(angle), np.cos(angle + shear)]])
    linear = rotate @ np.diag(zoom)
    centre = np.array([width, height]) / 2
    shift = centre - linear @ centre + rng.uniform(-0.2, 0.2, 2) * (width, height)
    matrix = np.column_stack([linear, shift])
    options = {"dsize": (width, height), "borderMode": cv2.BORDER_REFLECT}
    return (
        cv2.warpAffine(image, matrix, flags=cv2.INTER_LINEAR, **options),
        cv2.warpAffine(mask, matrix, flags=cv2.INTER_NEAREST, **options),
    )
