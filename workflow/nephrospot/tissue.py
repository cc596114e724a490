"""Where the tissue is: a coarse mask that keeps glass out of the tiles."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from nephrospot.errors import InputError
from nephrospot.files import whole
from nephrospot.slide import Slide

TISSUE_MPP = 16.0


def find_tissue(
    slide: Slide,
    mpp: float,
    where: str,
    min_saturation: int = 20,
    max_brightness: int = 200,
    min_area_um2: float = 50_000,
) -> np.ndarray:
    """Mask of the tissue on a slide at 16 µm per pixel.

    A pixel is tissue where its HSV saturation exceeds ``min_saturation`` (the official pipeline's rule,
    0..255) or where it is darker than ``max_brightness`` (silver stains are grey); gaps are closed, holes are
    filled (a vessel's lumen belongs to the vessel), and pieces smaller than ``min_area_um2`` are dropped as dust.

    Returns
    -------
    bool (rows, columns)

    Raises
    ------
    InputError
        When nothing is found.
    """
    overview = cv2.medianBlur(slide.read_overview(mpp, TISSUE_MPP), 3)
    saturation = cv2.cvtColor(overview, cv2.COLOR_RGB2HSV)[..., 1]
    brightness = overview.max(axis=2)
    mask = ((saturation > min_saturation) | (brightness < max_brightness)).astype(np.uint8)
    # Closing within a margin, since OpenCV's border would eat tissue that touches the slide's edge.
    margin = 4
    padded = cv2.copyMakeBorder(mask, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[margin:-margin, margin:-margin]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * TISSUE_MPP**2 >= min_area_um2
    large[0] = False
    tissue = large[labels]
    if not tissue.any():
        raise InputError(
            f"{where}: no tissue was found on the slide; look at it, and lower segmentation → tissue → "
            "min_saturation or min_area_um2 if there is some."
        )
    return ndimage.binary_fill_holes(tissue)


def measure_tissue(slide: Slide, mpp: float) -> float:
    """mm² of tissue by the default thresholds, for a forecast of the work; 0 where nothing is found."""
    try:
        return round(float(find_tissue(slide, mpp, "").sum()) * TISSUE_MPP**2 / 1e6, 3)
    except InputError:
        return 0.0  # find_tiles says what can be done


def write_tissue(path: str | Path, tissue: np.ndarray) -> None:
    """Write the mask as a PNG of 0 and 255, a pixel (16 µm) wider all round so that no border is cut."""
    wide = cv2.dilate(tissue.astype(np.uint8), np.ones((3, 3), np.uint8))
    with whole(path) as temporary:
        cv2.imwrite(str(temporary), wide * 255)


def read_tissue(path: str | Path) -> np.ndarray:
    """The mask that `write_tissue` wrote; bool (rows, columns) at 16 µm per pixel."""
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
