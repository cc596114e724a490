"""From Space Ranger's pixels to the slide's, and a check that both show the same tissue.

Space Ranger's positions refer to the image it was given, which may be a crop or a
resized export of the slide. The sheet says how they relate; here the two pictures are
laid on one another in µm to see whether that is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from nephrospot.peaks import find_highest

GRID_UM = (10.0, 30.0)  # finer for small pictures
GRID_PX = 300  # pixels that the longer side of Space Ranger's picture should have
PEAK_SPREADS = 6.0  # the best of many shifts is 3 to 4 standard deviations above the rest by chance
# Structures of this size (µm) are compared: tubules and glomeruli, which no other slide has in the same
# places. Smaller ones differ between scans and stains, larger ones (the outline) are alike in all kidneys.
DETAIL_UM = (15.0, 120.0)
MIN_OVERLAP = 0.3  # of the smaller picture's area: less says nothing about a shift


@dataclass(frozen=True)
class Transform:
    """x_slide = scale · x_visium + x_px, and the same for y; all in level-0 pixels of the slide."""

    scale: float = 1.0
    x_px: float = 0.0
    y_px: float = 0.0

    def to_slide(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Level-0 (x, y) of positions in Space Ranger's full-resolution pixels."""
        return self.scale * np.asarray(x, float) + self.x_px, self.scale * np.asarray(y, float) + self.y_px


def slide_transform(row: Mapping) -> Transform:
    """The transform of one row of the sheet (columns visium_scale, visium_x_px, visium_y_px)."""
    return Transform(*(float(row[name]) for name in ("visium_scale", "visium_x_px", "visium_y_px")))


def compare_images(
    thumbnail: np.ndarray,
    thumbnail_mpp: float,
    hires: np.ndarray | None,
    hires_scalef: float,
    transform: Transform,
    slide_mpp: float,
    max_shift_um: float = 1000.0,
) -> dict | None:
    """Lay Space Ranger's picture on the slide's and see how well they agree, here and shifted.

    Parameters
    ----------
    thumbnail : uint8 (rows, columns, 3)
        The whole slide, its first pixel at the slide's corner.
    thumbnail_mpp
        µm per pixel of the thumbnail.
    hires : uint8 (rows, columns, 3), (rows, columns) or None
        tissue_hires_image.png.
    hires_scalef
        Pixels of ``hires`` per full-resolution pixel (tissue_hires_scalef).
    transform
        From full-resolution to level-0 pixels.
    slide_mpp
        µm per level-0 pixel.
    max_shift_um
        How far a better position is looked for.

    Returns
    -------
    dict or None
        None without ``hires``. Else ``correlation`` (of the darkness of structures from 15 to 120 µm
        where both pictures overlap, -1..1, NaN where there is nothing to compare), ``shift_x_um`` and
        ``shift_y_um`` (where Space Ranger's picture would fit best: add them to the spots' positions),
        ``shifted_correlation`` (there), ``found`` (whether that place stands out of all shifts),
        ``overlap`` (share of Space Ranger's tissue on the slide's), and ``sure``: whether there was
        enough to compare.
    """
    if hires is None:
        return None
    hires_mpp = slide_mpp * transform.scale / hires_scalef
    grid_um = float(np.clip(max(hires.shape[:2]) * hires_mpp / GRID_PX, *GRID_UM))
    slide_detail, slide_tissue, slide_steps = _find_detail(thumbnail, thumbnail_mpp, grid_um)
    hires_detail, hires_tissue, hires_steps = _find_detail(hires, hires_mpp, grid_um)
    left, top = transform.x_px * slide_mpp / grid_um, transform.y_px * slide_mpp / grid_um
    # Space Ranger's picture may begin before the slide does and end behind it.
    x0, y0 = min(0, int(np.floor(left))), min(0, int(np.floor(top)))
    width = int(np.ceil(max(slide_detail.shape[1], left + hires_detail.shape[1]))) - x0 + 1
    height = int(np.ceil(max(slide_detail.shape[0], top + hires_detail.shape[0]))) - y0 + 1
    fixed, fixed_known = _place(slide_detail, slide_tissue, slide_steps, (-x0, -y0), (width, height))
    moving, moving_known = _place(hires_detail, hires_tissue, hires_steps, (left - x0, top - y0), (width, height))

    reach = max(1, int(max_shift_um / grid_um))
    scores, shared = _correlate_shifts(fixed, fixed_known, moving, moving_known, reach)
    scores[shared < MIN_OVERLAP * min(fixed_known.sum(), moving_known.sum())] = np.nan
    here = float(scores[reach, reach])
    overlap = float(shared[reach, reach] / max(1, moving_known.sum()))
    if np.isnan(scores).all():
        return {"correlation": here, "shift_x_um": 0.0, "shift_y_um": 0.0, "shifted_correlation": here,
                "overlap": overlap, "sure": False}  # fmt: skip
    shift_x_um, shift_y_um, best = find_highest(scores, grid_um)
    return {
        "correlation": here,
        "shift_x_um": shift_x_um,
        "shift_y_um": shift_y_um,
        "shifted_correlation": min(best, 1.0),
        "found": bool(best - np.nanmean(scores) >= PEAK_SPREADS * np.nanstd(scores)),
        "overlap": overlap,
        "sure": bool(np.isfinite(here)),
    }


def judge_registration(
    result: dict | None,
    where: str,
    slide_mpp: float,
    min_correlation: float = 0.2,
    min_gain: float = 0.1,
    note_shift_um: float = 60.0,
) -> tuple[list[str], list[str]]:
    """Turn a comparison into (problems, notes): sentences for the user.

    Only a very low correlation between two pictures full of structure is a reason to refuse a slide.
    """
    if result is None:
        return [], [
            f"{where}: there is no tissue_hires_image.png, so nothing proves that the spots lie on this tissue."
        ]
    if not result["sure"]:
        return [], [f"{where}: the slide and tissue_hires_image.png share too little tissue to be compared."]
    shift = np.hypot(result["shift_x_um"], result["shift_y_um"])
    gain = result["shifted_correlation"] - result["correlation"]
    better = result["found"] and shift >= note_shift_um and gain >= min_gain
    advice = (
        f"shifted by {result['shift_x_um']:+.0f} µm in x and {result['shift_y_um']:+.0f} µm in y they would "
        f"(r = {result['shifted_correlation']:.2f}); "
        f"add {result['shift_x_um'] / slide_mpp:+.0f} to visium_x_px and "
        f"{result['shift_y_um'] / slide_mpp:+.0f} to visium_y_px"
    )
    found = f"r = {result['correlation']:.2f}"
    if result["correlation"] >= min_correlation:
        return [], [
            f"{where}: the slide and tissue_hires_image.png fit only roughly ({found}); {advice}."
        ] if better else []
    if better and result["shifted_correlation"] >= min_correlation:
        return [f"{where}: the slide and tissue_hires_image.png don't fit ({found}); {advice}."], []
    return [
        f"{where}: the slide and tissue_hires_image.png don't show the same tissue ({found}, at least "
        f"{min_correlation:g} is needed); check columns image and visium, give visium_scale, visium_x_px and "
        "visium_y_px if Space Ranger saw a crop or a resized image, or lower registration.min_correlation if the "
        "stains differ that much."
    ], []


def _find_detail(image: np.ndarray, mpp: float, grid_um: float) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Darkness of the tissue against its surroundings, at about ``grid_um`` per pixel.

    Returns
    -------
    detail : float32 (rows, columns)
    tissue : float32 (rows, columns), 0 or 1
    steps : exact size (x, y) of its pixels in grid pixels, since a size is a whole number
    """
    factor = mpp / grid_um
    grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
    rows, columns = (max(1, round(size * factor)) for size in grey.shape)
    small = 255 - cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    _, tissue = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    side = 2 * round(DETAIL_UM[1] / 2 / grid_um) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    tissue = cv2.morphologyEx(tissue, cv2.MORPH_CLOSE, disc).astype(np.float32)  # lumina belong to it
    # Means over tissue alone: the step to glass is larger than anything within and alike in all kidneys.
    dark, means = small.astype(np.float32) * tissue, []
    for um in DETAIL_UM:
        weight = cv2.GaussianBlur(tissue, (0, 0), um / grid_um)
        means.append(cv2.GaussianBlur(dark, (0, 0), um / grid_um) / np.maximum(weight, 1e-3))
    detail = (means[0] - means[1]) * tissue
    return detail, tissue, (grey.shape[1] * factor / columns, grey.shape[0] * factor / rows)


def _place(
    detail: np.ndarray,
    tissue: np.ndarray,
    steps: tuple[float, float],
    corner: tuple[float, float],
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its tissue (0/1) on a canvas of ``size`` (x, y), its corner at ``corner``."""
    # Pixel centres lie half a pixel from the corner on both sides.
    offsets = [place + step / 2 - 0.5 for place, step in zip(corner, steps, strict=True)]
    move = np.array([[steps[0], 0, offsets[0]], [0, steps[1], offsets[1]]], np.float64)
    canvas = cv2.warpAffine(detail, move, size, flags=cv2.INTER_LINEAR)
    known = cv2.warpAffine(tissue, move, size, flags=cv2.INTER_LINEAR) > 0.99
    return canvas * known, known.astype(np.float32)


def _correlate_shifts(
    fixed: np.ndarray, fixed_known: np.ndarray, moving: np.ndarray, moving_known: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pearson correlation over the shared pixels at every shift up to ``reach``, by FFT.

    Masked normalised cross-correlation (Padfield, IEEE Trans. Image Process. 21, 2012).

    Returns
    -------
    correlation, shared pixels : float arrays (2·reach + 1, 2·reach + 1)
        Entry (reach + dy, reach + dx) is for ``moving`` shifted by (dx, dy).
    """
    shape = [fft.next_fast_len(size + reach, real=True) for size in fixed.shape]

    def spectrum(array: np.ndarray) -> np.ndarray:
        return fft.rfft2(array.astype(np.float64), shape)

    def correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        full = fft.irfft2(a * np.conj(b), shape)
        lags = np.arange(-reach, reach + 1)
        return full[np.ix_(lags, lags)]

    f, f2, known_f = spectrum(fixed), spectrum(fixed**2), spectrum(fixed_known)
    m, m2, known_m = spectrum(moving), spectrum(moving**2), spectrum(moving_known)
    shared = np.round(correlate(known_f, known_m))
    count = np.maximum(shared, 1)
    sum_f, sum_m = correlate(f, known_m), correlate(known_f, m)
    covariance = correlate(f, m) - sum_f * sum_m / count
    variance_f = correlate(f2, known_m) - sum_f**2 / count
    variance_m = correlate(known_f, m2) - sum_m**2 / count
    # Less than one grey level of spread is a blank picture, whatever rounding makes of it.
    informative = (variance_f > count) & (variance_m > count)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(informative, covariance / np.sqrt(variance_f * variance_m), np.nan)
    return np.clip(correlation, -1, 1), shared
