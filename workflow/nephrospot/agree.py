"""How well a predicted mask agrees with the labelled one in a patch, by named convention.

`ours`: foreground Dice and boundary distances in µm, with empty masks told apart.
`omniseg`: what the evaluation script of Omni-Seg computes, mistakes included, to be compared with print only. Its Dice
averages background and foreground (a mask of nothing scores nearly 50 %), so the two never share a column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from nephrospot.errors import InputError, did_you_mean

METRICS = {"ours": ("dice", "hd_um", "hd95_um", "msd_um"), "omniseg": ("dice", "hd_um", "msd_um")}
DEFINED, BOTH_EMPTY, NO_PREDICTION, NO_TRUTH = "defined", "both empty", "prediction empty", "truth empty"
STATUSES = (DEFINED, BOTH_EMPTY, NO_PREDICTION, NO_TRUTH)
ONE_SIDED = (NO_PREDICTION, NO_TRUTH)


@dataclass(frozen=True)
class Agreement:
    """Figures of one patch.

    Attributes
    ----------
    values
        By name in `METRICS`: Dice from 0 to 1, distances in µm; NaN where undefined.
    worst
        The same, with the worst that can be said in place of a distance that one empty mask leaves undefined.
    status
        Which masks are empty: one of `STATUSES`.
    """

    values: dict[str, float]
    worst: dict[str, float]
    status: str


def agree(
    convention: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    mpp: float | tuple[float, float],
    image: np.ndarray | None = None,
) -> Agreement:
    """Compare two masks of a patch in a convention by name.

    Parameters
    ----------
    convention
        "ours" or "omniseg".
    prediction, truth : (H, W)
        Foreground where not 0.
    mpp
        µm per pixel, or those along rows and along columns.
    image : (H, W) or (H, W, channels), optional
        The patch itself: `omniseg` looks at the box of its pixels that aren't black. All of it where not given.

    Raises
    ------
    InputError
        For an unknown convention, masks of different shapes or µm per pixel that aren't positive.
    """
    if convention not in METRICS:
        raise InputError(f"convention {convention!r} is unknown; {did_you_mean(convention, METRICS)}")
    if convention == "ours":
        return agree_ours(prediction, truth, mpp)
    return agree_omniseg(prediction, truth, mpp, None if image is None else find_box(image))


def agree_ours(prediction: np.ndarray, truth: np.ndarray, mpp: float | tuple[float, float]) -> Agreement:
    """Foreground Dice, Hausdorff distance, its 95th percentile, and mean surface distance (pooled ASSD).

    A boundary is the mask minus its erosion with a 4-neighbour cross; beyond the patch there is background, so that
    a mask's pixels on the patch's edge belong to its boundary. The distances from each boundary pixel to the other
    mask's boundary, of both directions together, give maximum, percentile (linear between ranks) and mean.

    Both masks empty: everything is undefined. One empty: Dice is 0, the distances are undefined, and at worst the
    patch's diagonal.

    Parameters and errors as in `agree`.
    """
    found, expected, spacing = _check(prediction, truth, mpp)
    status = _tell_status(found, expected)
    if status == BOTH_EMPTY:
        nothing = dict.fromkeys(METRICS["ours"], np.nan)
        return Agreement(nothing, dict(nothing), status)
    dice = {"dice": float(2 * (found & expected).sum() / (found.sum() + expected.sum()))}
    if status in ONE_SIDED:
        diagonal = float(np.hypot(*(size * step for size, step in zip(found.shape, spacing, strict=True))))
        names = METRICS["ours"][1:]
        return Agreement(dice | dict.fromkeys(names, np.nan), dice | dict.fromkeys(names, diagonal), status)
    distances = surface_distances(found, expected, spacing)
    values = dice | {
        "hd_um": float(distances.max()),
        "hd95_um": float(np.percentile(distances, 95)),
        "msd_um": float(distances.mean()),
    }
    return Agreement(values, dict(values), status)


def agree_omniseg(
    prediction: np.ndarray,
    truth: np.ndarray,
    mpp: float | tuple[float, float],
    box: tuple[slice, slice] | None = None,
) -> Agreement:
    """What Omni-Seg's evaluation prints for a patch, bug for bug (its Testing_2D_patch_scale_aug_fourmetrics_final.py).

    - Dice is the mean of the background's and the foreground's, each 2·overlap / (sum of both + 1).
    - It and the distances look at a box that ends before the last row and column that aren't black (`find_box`).
    - With one mask empty the distances run to the pixel (row −1, column 0) outside the box, where SciPy's
      transform of an image without background points.
    - With both empty an exception is caught: 1 is added to the Dice that was counted already, distances are 0.

    Parameters
    ----------
    mpp
        One number: the script measures in pixels, and the paper's µm are these times the µm per pixel.
    box
        Rows and columns to look at; by default all but the last of each, as for a patch without black edges. (The
        script takes the box of the first of four patches for all of them; here each has its own.)

    Other parameters and errors as in `agree`.
    """
    found, expected, (step, other) = _check(prediction, truth, mpp)
    if step != other:
        raise InputError("The convention omniseg knows one µm per pixel; give a single number, or use 'ours'.")
    rows, columns = box or (slice(0, -1), slice(0, -1))
    found, expected = found[rows, columns], expected[rows, columns]
    dices = [2 * (a & b).sum() / (a.sum() + b.sum() + 1) for a, b in ((~found, ~expected), (found, expected))]
    status, dice = _tell_status(found, expected), float(np.mean(dices))
    if status == BOTH_EMPTY:
        values = {"dice": dice + 1, "hd_um": 0.0, "msd_um": 0.0}
    else:
        distances = surface_distances(found, expected, (1, 1)) * step
        values = {"dice": dice, "hd_um": float(distances.max()), "msd_um": float(distances.mean())}
    return Agreement(values, dict(values), status)


def find_box(image: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns between the first and the last that aren't wholly black, the last left out.

    Parameters
    ----------
    image : (H, W) or (H, W, channels)

    Raises
    ------
    InputError
        When all of the image is black.
    """
    lit = np.asarray(image) != 0
    if not lit.any():
        raise InputError("The patch's image is wholly black; leave the patch out of the convention omniseg.")
    lit = lit.any(axis=2) if lit.ndim == 3 else lit
    spans = (np.flatnonzero(lit.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(int(span[0]), int(span[-1])) for span in spans)
    return rows, columns


def find_boundary(mask: np.ndarray) -> np.ndarray:
    """Foreground pixels with at least one of their four neighbours in the background or outside; bool (H, W)."""
    return mask & ~binary_erosion(mask)


def surface_distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Distances from each mask's boundary pixels to the other's boundary, pooled; in the unit of ``spacing``.

    Where one mask is empty this is SciPy's distance to a point outside the image: `ours` never asks for it.
    """
    edges = find_boundary(a), find_boundary(b)
    to_a, to_b = (distance_transform_edt(~edge, sampling=spacing) for edge in edges)
    return np.concatenate([to_a[edges[1]], to_b[edges[0]]])


def _check(prediction, truth, mpp) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    found, expected = (np.asarray(mask) != 0 for mask in (prediction, truth))
    if found.ndim != 2 or found.shape != expected.shape:
        raise InputError(
            f"The prediction's shape is {found.shape}, the label's {expected.shape}; both must be the patch's "
            "(rows, columns)."
        )
    spacing = tuple(float(step) for step in np.broadcast_to(mpp, 2))
    if not all(np.isfinite(step) and step > 0 for step in spacing):
        raise InputError(f"µm per pixel is {mpp}; give a positive number, such as 0.5.")
    return found, expected, spacing


def _tell_status(found: np.ndarray, expected: np.ndarray) -> str:
    if not found.any():
        return NO_PREDICTION if expected.any() else BOTH_EMPTY
    return DEFINED if expected.any() else NO_TRUTH
