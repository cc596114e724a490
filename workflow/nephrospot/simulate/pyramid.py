"""Write an image as a tiled, pyramidal JPEG TIFF, as slide scanners export it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tifffile

from nephrospot import files


def write_pyramid(path: Path, image: np.ndarray, mpp: float, tile_px: int = 256, quality: int = 85) -> None:
    """Write RGB ``image`` (rows, columns, 3; uint8) with levels halved until one tile holds them.

    Levels are plain pages, which is where OpenSlide looks for them; the resolution stands in
    the tags of the first in pixels per centimetre.
    """
    options = {
        "tile": (tile_px, tile_px),
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": quality},
        "subsampling": (2, 2),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
        "software": "nephrospot.simulate",
    }
    level, downsample = image, 1
    with files.whole(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        while True:
            per_cm = 1e4 / (mpp * downsample)
            tiff.write(level, subfiletype=int(downsample > 1), resolution=(per_cm, per_cm), **options)
            if max(level.shape[:2]) <= tile_px:
                return
            downsample *= 2
            size = (max(1, level.shape[1] // 2), max(1, level.shape[0] // 2))
            # An odd last row or column has no partner; leaving it out keeps the scale exact.
            even = level[: 2 * size[1], : 2 * size[0]]
            level = cv2.resize(even, size, interpolation=cv2.INTER_AREA)
