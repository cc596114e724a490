"""Whether the slide and Space Ranger's picture of it show the same tissue in the same place."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from nephrospot.errors import InputError, Problems
from nephrospot.estimate import estimate_transform, tell_estimate
from nephrospot.pictures import read_picture
from nephrospot.registration import Transform, compare_images, judge_registration
from nephrospot.slide import Slide
from nephrospot.visium import VisiumGrid

SIZE_TOLERANCE = 0.01
LARGEST_MM = 500.0  # a slide and a picture beside it; more would fill the memory where the two are laid on one another
THUMBNAIL_PX = 2000  # as many as Space Ranger's picture has


def check_registration(
    slide: Slide,
    grid: VisiumGrid,
    transform: Transform,
    mpp: float,
    registration: Mapping,
    where: str,
    problems: Problems,
    notes: Problems,
) -> dict | None:
    """Compare the two pictures, say what doesn't fit, and where they would fit best.

    Parameters
    ----------
    mpp
        µm per level-0 pixel.
    registration
        That part of `nephrospot.settings.read_settings`.
    where
        How sentences begin.
    problems, notes
        What refuses the slide, and what doesn't, is added here.

    Returns
    -------
    dict or None
        Of `nephrospot.registration.compare_images`, with ``estimate``, that of `nephrospot.estimate`; None without
        a picture.

    Raises
    ------
    InputError
        When the picture can't be read.
    """
    hires, scalef = None, grid.scalefactors.get("tissue_hires_scalef")
    if grid.hires_path and scalef:
        hires = read_picture(grid.hires_path, cv2.IMREAD_GRAYSCALE)
        _check_extent(slide, hires.shape, scalef, transform, mpp, where)
        seen = [size / scalef * transform.scale for size in (hires.shape[1], hires.shape[0])]
        ratios = seen[0] / slide.width_px, seen[1] / slide.height_px
        placed = transform.x_px or transform.y_px  # then the sheet says where the crop lies
        if not placed and any(abs(ratio - 1) > SIZE_TOLERANCE for ratio in ratios):
            notes.add(
                f"{where}: Space Ranger saw an image of {seen[0]:.0f} × {seen[1]:.0f} px (in slide pixels), the slide "
                f"has {slide.width_px} × {slide.height_px}; "
                "if that was a crop, visium_x_px and visium_y_px must say where."
            )
    thumbnail = slide.thumbnail(THUMBNAIL_PX)
    thumbnail_mpp = slide.width_px * mpp / thumbnail.shape[1]
    result = compare_images(thumbnail, thumbnail_mpp, hires, scalef, transform, mpp, registration["max_shift_um"])
    estimate = None
    if result and "found" in result:  # otherwise nothing could be compared anywhere
        arguments = (thumbnail, thumbnail_mpp, hires, scalef, transform, mpp, registration["max_shift_um"])
        estimate = estimate_transform(*arguments)
    refused, noted = judge_registration(
        result, where, mpp, registration["min_correlation"], registration["min_gain"], registration["note_shift_um"]
    )
    told = f" {tell_estimate(estimate)}" if estimate and estimate.sure else ""
    for sentence in refused:
        problems.add(sentence + told)
    for sentence in noted:
        notes.add(sentence + told)
    return result and result | {"estimate": estimate.describe() if estimate else None}


def _check_extent(
    slide: Slide, shape: tuple[int, int], scalef: float, transform: Transform, mpp: float, where: str
) -> None:
    """Refuse pictures that the scale factors or the sheet put too far from the slide, or make too large."""
    axes = ((transform.x_px, slide.width_px, shape[1]), (transform.y_px, slide.height_px, shape[0]))
    for begin, size_px, hires_px in axes:
        ends = (0.0, size_px, begin, begin + hires_px / scalef * transform.scale)
        span_mm = np.ptp(ends) * mpp / 1000
        if not span_mm <= LARGEST_MM:
            raise InputError(
                f"{where}: the slide and Space Ranger's picture would lie on {span_mm:.4g} mm; check visium_scale, "
                "visium_x_px, visium_y_px and mpp in the sheet, and tissue_hires_scalef in scalefactors_json.json."
            )
