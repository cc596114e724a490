"""Augmentation of one patch: geometry, colour, noise, each with a chance of one half.

Ranges follow the official training code of Omni-Seg, which used imgaug; here OpenCV moves and blurs and numpy draws.
Where ours is the better choice it differs: what enters from outside is mirrored, not black; gamma stays between a
half and two (near nought it whitens the picture); the result is clipped to 0..1. ``official`` takes theirs.
"""

from __future__ import annotations

import cv2
import numpy as np

CHANCE = 0.5
MIN_GRID_PX = 3


def augment(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, official: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Augment a patch.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    mask : uint8 (H, W), 0/1
    rng
        Every draw comes from it.
    official
        Black beyond the border, gamma from 0 to 2, values not clipped.

    Returns
    -------
    float32 image (in 0..1 unless ``official``) and uint8 mask
    """
    geometry, colour, noise = rng.random(3) < CHANCE
    if geometry:
        image, mask = _move(image, mask, rng, cv2.BORDER_CONSTANT if official else cv2.BORDER_REFLECT)
    picture = image.astype(np.float32) / 255
    if colour:
        picture = picture ** np.float32(rng.uniform(0.0 if official else 0.5, 2.0))
        picture = picture + rng.uniform(-0.1, 0.1, size=3 if rng.random() < 0.5 else 1).astype(np.float32)
    if noise:
        drop_coarsely(picture, rng)
        sigma = rng.uniform(0, 1)
        if sigma > 0.1:  # below, OpenCV's kernel is a single pixel
            picture = cv2.GaussianBlur(picture, (0, 0), sigma)
        picture = picture + np.float32(rng.uniform(0, 0.1)) * rng.standard_normal(picture.shape, np.float32)
    if not official:
        picture = np.clip(picture, 0, 1)
    return np.ascontiguousarray(picture, np.float32), mask


def drop_coarsely(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Blacken cells of a coarse grid in place: up to 5 % of them, on a grid of up to a quarter of the pixels a side."""
    chance, share = rng.uniform(0, 0.05), rng.uniform(0, 0.25)
    height, width = picture.shape[:2]
    grid = rng.random([max(MIN_GRID_PX, int(share * side)) for side in (height, width)]) < chance
    dropped = cv2.resize(grid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    picture[dropped > 0] = 0


def _move(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, border: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotate, shear, stretch, mirror and shift about the centre; the mask is cut where half of a pixel is in it."""
    height, width = mask.shape
    angle, shear = np.deg2rad(rng.uniform(-180, 180)), np.deg2rad(rng.uniform(-16, 16))
    zoom = rng.uniform(0.75, 1.5, 2) * rng.choice([-1, 1], 2)
    rotate = np.array([[np.cos(angle), -np.sin(angle + shear)], [np.sin(angle), np.cos(angle + shear)]])
    linear = rotate @ np.diag(zoom)
    centre = np.array([width - 1, height - 1]) / 2
    shift = centre - linear @ centre + rng.uniform(-0.2, 0.2, 2) * (width, height)
    options = {"M": np.column_stack([linear, shift]), "dsize": (width, height), "borderMode": border}
    moved = cv2.warpAffine(mask * 255, flags=cv2.INTER_LINEAR, **options)
    return cv2.warpAffine(image, flags=cv2.INTER_LINEAR, **options), (moved > 127).astype(np.uint8)
