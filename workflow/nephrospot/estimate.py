"""Which transform lays Space Ranger's picture best on the slide, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from nephrospot.registration import Transform, compare_images

SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)  # of the transform's own; the spot pitch says it within a percent
QUARTER_REACH_UM = 200.0
AGREE_UM = 30.0  # a quarter agrees where its own best place is this near to the whole's
ENOUGH_QUARTERS = 3


@dataclass(frozen=True)
class Estimate:
    """A transform as the sheet takes it, and what speaks for it.

    Attributes
    ----------
    visium_scale, visium_x_px, visium_y_px : float
        For the sheet's columns of these names.
    correlation : float
        Of the two pictures' structures under it.
    moved_um : float
        From where the transform given puts the middle of the picture.
    quarters, agreeing : int
        Quarters of the picture with tissue enough to be compared alone, and those that fit best within 30 µm.
    spread_um : float
        Median distance of the quarters' own best places; NaN without quarters.
    sure : bool
        The fit stands out of all shifts, the scale isn't the last one tried, and three quarters or more agree.
    """

    visium_scale: float
    visium_x_px: float
    visium_y_px: float
    correlation: float
    moved_um: float
    quarters: int
    agreeing: int
    spread_um: float
    sure: bool

    def describe(self) -> dict:
        """All of it, rounded, for slide.json."""
        digits = {"visium_scale": 4, "correlation": 3}
        return {
            name: round(value, digits.get(name, 1)) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def estimate_transform(
    thumbnail: np.ndarray,
    thumbnail_mpp: float,
    hires: np.ndarray,
    hires_scalef: float,
    transform: Transform,
    slide_mpp: float,
    max_shift_um: float = 1000.0,
) -> Estimate | None:
    """Translation and scale (no rotation), starting from a transform that is roughly right.

    The scale is looked for within 6 % and the place within ``max_shift_um``. Parameters as
    `nephrospot.registration.compare_images`.

    Returns
    -------
    Estimate or None
        None where the pictures share too little tissue to be compared.
    """

    def compare(trial: Transform, picture: np.ndarray = hires, reach_um: float = max_shift_um) -> dict:
        return compare_images(thumbnail, thumbnail_mpp, picture, hires_scalef, trial, slide_mpp, reach_um)

    middle = np.array([hires.shape[1], hires.shape[0]]) / 2 / hires_scalef
    fits = [compare(_rescale(transform, factor, middle))["shifted_correlation"] for factor in SCALES]
    if not np.isfinite(fits).any():
        return None
    factor, at_end = _find_scale(np.array(fits))
    rescaled = _rescale(transform, factor, middle)
    fit = compare(rescaled)
    best = _move(rescaled, fit, slide_mpp)
    parts = [compare(_crop(best, corner, hires_scalef), part, QUARTER_REACH_UM) for corner, part in _quarters(hires)]
    off = np.array([np.hypot(part["shift_x_um"], part["shift_y_um"]) for part in parts if part["sure"]])
    agreeing = int((off <= AGREE_UM).sum())
    moved = np.subtract(best.to_slide(*middle), transform.to_slide(*middle)) * slide_mpp
    return Estimate(
        best.scale, best.x_px, best.y_px,
        correlation=fit["shifted_correlation"],
        moved_um=float(np.hypot(*moved)),
        quarters=len(off),
        agreeing=agreeing,
        spread_um=float(np.median(off)) if len(off) else float("nan"),
        sure=bool(fit.get("found") and not at_end and agreeing >= ENOUGH_QUARTERS),
    )  # fmt: skip


def tell_estimate(estimate: Estimate) -> str:
    """What to write into the sheet, and how sure that is."""
    sure = "sure" if estimate.sure else "not sure, look before you use it"
    return (
        f"The best fit has visium_scale {estimate.visium_scale:.4g}, visium_x_px {estimate.visium_x_px:.0f} and "
        f"visium_y_px {estimate.visium_y_px:.0f} (r = {estimate.correlation:.2f}; {estimate.agreeing} of "
        f"{estimate.quarters} quarters of the picture agree within {AGREE_UM:.0f} µm: {sure})."
    )


def _rescale(transform: Transform, factor: float, middle: np.ndarray) -> Transform:
    """Another scale, the middle of the picture staying where it is."""
    scale = transform.scale * factor
    x_px, y_px = np.array(transform.to_slide(*middle)) - scale * middle
    return Transform(scale, float(x_px), float(y_px))


def _move(transform: Transform, fit: dict, slide_mpp: float) -> Transform:
    x_px, y_px = (fit[name] / slide_mpp for name in ("shift_x_um", "shift_y_um"))
    return replace(transform, x_px=transform.x_px + x_px, y_px=transform.y_px + y_px)


def _find_scale(fits: np.ndarray) -> tuple[float, bool]:
    """The factor with the best fit, between those tried by a parabola, and whether it is the last one tried."""
    at = int(np.nanargmax(fits))
    if at in (0, len(fits) - 1):
        return SCALES[at], True
    before, here, after = fits[at - 1 : at + 2]
    bend = before - 2 * here + after
    return SCALES[at] + (0.5 * (before - after) / bend * (SCALES[1] - SCALES[0]) if bend < 0 else 0.0), False


def _quarters(picture: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
    """((x, y) of its corner, a quarter of the picture), four times."""
    rows, columns = picture.shape[0] // 2, picture.shape[1] // 2
    return [((x, y), picture[y : y + rows, x : x + columns]) for y in (0, rows) for x in (0, columns)]


def _crop(transform: Transform, corner: tuple[int, int], scalef: float) -> Transform:
    """The transform of a part of the picture."""
    x_px, y_px = transform.to_slide(*(np.array(corner) / scalef))
    return Transform(transform.scale, float(x_px), float(y_px))
