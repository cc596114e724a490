"""A synthetic slide of any size: pyramidal TIFF of 256 px JPEG tiles at 20×, a disc of tissue on 40 % glass.

    python tests/benchmarks/slide.py slide.tiff --side 5000

``--side`` is in pixels at 10×; beside the slide comes slide.truth.png, the tissue of each of those pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import tifffile

MPP = 0.5
TISSUE_SHARE = 0.6
# RGB of glass, stroma and three kinds of tissue.
COLOURS = np.array([(243, 242, 244), (226, 178, 205), (150, 90, 160), (205, 120, 160), (120, 60, 90)], np.uint8)
STROMA = 1


def draw_labels(side_px: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (side, side) at 10×: 0 glass, 1 stroma, 2 to 4 the three kinds, which are discs of three sizes."""
    labels = np.zeros((side_px, side_px), np.uint8)
    radius = int(side_px * np.sqrt(TISSUE_SHARE / np.pi))
    cv2.circle(labels, (side_px // 2, side_px // 2), radius, STROMA, -1)
    on_tissue = labels > 0
    for kind, (low, high, share) in enumerate([(14, 26, 0.15), (20, 40, 0.2), (30, 60, 0.05)], start=2):
        count = int(share * side_px**2 / (np.pi * ((low + high) / 2) ** 2))
        for x, y, r in zip(*rng.integers(0, side_px, (2, count)), rng.integers(low, high, count), strict=True):
            cv2.circle(labels, (int(x), int(y)), int(r), kind, -1)
    return labels * on_tissue


def paint(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 RGB (2 side, 2 side, 3) at 20×: colours with a texture that costs JPEG as much as real tissue does."""
    side = 2 * len(labels)
    image = np.empty((side, side, 3), np.uint8)
    texture = sum(
        amplitude * cv2.resize(rng.standard_normal((1024 // grain, 1024 // grain, 3)).astype(np.float32), (1024, 1024))
        for grain, amplitude in ((1, 6.0), (4, 9.0), (16, 8.0))
    ).astype(np.int16)
    glass = (texture // 8).astype(np.int16)
    for top in range(0, side, 1024):
        for left in range(0, side, 1024):
            block = labels[top // 2 : top // 2 + 512, left // 2 : left // 2 + 512]
            block = cv2.resize(block, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
            h, w = block.shape
            grain = np.where((block > 0)[..., None], texture[:h, :w], glass[:h, :w])
            image[top : top + h, left : left + w] = np.clip(COLOURS[block].astype(np.int16) + grain, 0, 255)
    return image


def write_slide(path: str | Path, side_px: int, seed: int = 0, mpp: float = MPP) -> None:
    """Write the slide and its truth.

    Parameters
    ----------
    side_px : side in pixels of half the slide's resolution (10× for the usual 0.5 µm per pixel)
    """
    path, rng = Path(path), np.random.default_rng(seed)
    labels = draw_labels(side_px, rng)
    cv2.imwrite(str(path.with_suffix(".truth.png")), labels)
    image = paint(labels, rng)
    levels = max(1, int(np.log2(max(image.shape) / 256)))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(levels):
            tiff.write(
                image, tile=(256, 256), photometric="rgb", compression="jpeg", compressionargs={"level": 80},
                subsampling=(2, 2), resolution=(1e4 / mpp / 2**level,) * 2, resolutionunit="CENTIMETER",
                metadata=None, subfiletype=1 if level else 0,
            )  # fmt: skip
            image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--side", type=int, default=5000, help="pixels at 10×")
    parser.add_argument("--mpp", type=float, default=MPP)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_slide(arguments.path, arguments.side, arguments.seed, arguments.mpp)
