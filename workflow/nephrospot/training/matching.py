"""Where pseudo-labelled patches are cut from a region: on a grid, or where its labelled patches lie.

Matching selection (Omni-Seg, IEEE TBME 2023, section III C, Fig. 6): a labelled patch is looked for in its region by
normalised cross-correlation, and the pseudo-label is cut at that place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from nephrospot.training.patches import read_patch
from nephrospot.training.pseudo import list_starts, resize
from nephrospot.training.rois import read_roi

COARSE_PX = 64  # a patch's side in the search over the whole region
KEPT = 2  # sizes that the fine search looks at
MARGIN = 3  # coarse pixels around a coarse place
STEP = 1.08  # between sizes in the coarse search
FINE_STEPS = tuple(1.01**step for step in range(-4, 5))
MAX_UPSAMPLING = 1.25  # in a region whose pixels are larger yet a patch isn't looked for


@dataclass(frozen=True)
class Window:
    """A square of a region, in its pixels; ``score`` is the correlation where a patch was found there."""

    left: float
    top: float
    side: float
    score: float = float("nan")


def list_zooms(smallest: float, largest: float) -> tuple[float, ...]:
    """Sizes to look for a patch at, as factors of its nominal µm per pixel; at most 8 % apart."""
    steps = int(np.ceil(np.log(largest / smallest) / np.log(STEP) - 1e-9))
    return tuple(float(zoom) for zoom in np.geomspace(smallest, largest, steps + 1))


def locate(
    patch: np.ndarray, roi: np.ndarray, side: float, zooms: Sequence[float] = (1.0,), reduced: dict | None = None
) -> Window:
    """The likeliest place of a patch in a region, whatever its score; compare that with a threshold.

    Parameters
    ----------
    patch : uint8 (P, P), grey
    roi : uint8 (H, W), grey
    side
        Nominal width of the patch in pixels of ``roi``.
    zooms
        Factors of ``side`` to try.
    reduced
        Keeps the reduced region from one patch to the next; an empty dict for a new region.

    Returns
    -------
    Window; its score (OpenCV's TM_CCOEFF_NORMED, −1 to 1) is measured at the patch's own pixel size, to which the
    region is reduced; −1 where the patch is larger than the region or of one colour.

    Notes
    -----
    Looks over all of the region with everything reduced to 64 px a patch, then near the two best sizes at full
    resolution, where sizes 1 % apart are tried too.
    """
    full_px = patch.shape[0]
    coarse_px = min(COARSE_PX, full_px)
    small = resize(patch, coarse_px, coarse_px)
    found = [_search(small, roi, side * zoom, {} if reduced is None else reduced) for zoom in zooms]
    found = sorted((window for window in found if window.score > -1), key=lambda window: -window.score)[:KEPT]
    best = Window(0.0, 0.0, side, -1.0)
    steps = FINE_STEPS if len(zooms) > 1 else (1.0,)
    for window in found:
        for step in steps:
            wanted = window.side * step
            reach = MARGIN * window.side / coarse_px + abs(wanted - window.side)
            left, top = (max(0, int(corner - reach)) for corner in (window.left, window.top))
            right, below = (int(np.ceil(c + window.side + reach)) for c in (window.left, window.top))
            near = _search(patch, roi[top:below, left:right], wanted, {})
            if near.score > best.score:
                best = Window(left + near.left, top + near.top, near.side, near.score)
    return best


def _search(patch: np.ndarray, roi: np.ndarray, side: float, reduced: dict) -> Window:
    """Best place of a patch that is ``side`` pixels of the region wide, looked for at the patch's pixel size."""
    nothing = Window(0.0, 0.0, side, -1.0)
    reduction = patch.shape[0] / side
    rows, columns = (round(length * reduction) for length in roi.shape)
    if min(rows, columns) < patch.shape[0] or patch.min() == patch.max():
        return nothing
    if (rows, columns) not in reduced:
        reduced[rows, columns] = resize(roi, columns, rows)
    scores = cv2.matchTemplate(reduced[rows, columns], patch, cv2.TM_CCOEFF_NORMED)
    scores[~np.isfinite(scores) | (scores > 1.001)] = -1  # where the region is of one colour
    _, score, _, (x, y) = cv2.minMaxLoc(scores)
    if score <= -1:
        return nothing
    # Rounding makes the reduced region's pixels a little unlike in x and y.
    return Window(x * roi.shape[1] / columns, y * roi.shape[0] / rows, side, float(score))


def find_places(rois: pd.DataFrame, patches: pd.DataFrame, zooms: Sequence[float]) -> pd.DataFrame:
    """Look for every patch in the regions of its name (and stain, where both are known).

    Parameters
    ----------
    rois
        Of `nephrospot.training.rois.list_rois`.
    patches
        Of `nephrospot.training.patches.list_patches`.
    zooms
        Factors of the patches' µm per pixel to try, since crops often differ from their nominal magnification.

    Returns
    -------
    Columns roi_index, patch_index (labels of the two tables), left, top, side (px of the region), score. One row for
    each patch and region that share a name, found or not, but for regions with pixels too large for the patch.
    """
    rows = []
    for roi in rois.itertuples():
        same = (patches["roi"].astype(str) == str(roi.roi)) & (
            (patches["stain"] == roi.stain) | (patches["stain"] == "") | (roi.stain == "")
        )
        same &= roi.mpp <= patches["mpp"] * MAX_UPSAMPLING
        if not same.any():
            continue
        grey, reduced = cv2.cvtColor(read_roi(roi.image), cv2.COLOR_RGB2GRAY), {}
        for patch in patches[same].itertuples():
            image, _ = read_patch(patch.image, patch.mask, getattr(patch, "side_px", 0))
            shown = min(image.shape[:2])  # a patch that isn't square is looked for by its top left square
            wanted = cv2.cvtColor(image[:shown, :shown], cv2.COLOR_RGB2GRAY)
            window = locate(wanted, grey, shown * patch.mpp / roi.mpp, zooms, reduced)
            rows.append((roi.Index, patch.Index, window.left, window.top, window.side, window.score))
    return pd.DataFrame(rows, columns=["roi_index", "patch_index", "left", "top", "side", "score"])


def grid_windows(shape: tuple[int, int], side: float) -> list[Window]:
    """Windows side by side that cover a region of ``shape`` (rows, columns); none where it is smaller."""
    if side > min(shape):
        return []
    rows, columns = (list_starts(length, max(1, round(side))) for length in shape)
    return [Window(left, top, side) for top in rows for left in columns]


def random_windows(shape: tuple[int, int], side: float, count: int, rng: np.random.Generator) -> list[Window]:
    """Windows anywhere in a region."""
    if side > min(shape):
        return []
    corners = rng.uniform(0, 1, (count, 2)) * [shape[1] - side, shape[0] - side]
    return [Window(float(left), float(top), side) for left, top in corners]


def windows_at(place: Window, side: float, shape: tuple[int, int]) -> list[Window]:
    """Windows of another side where a patch lies: tiles of it if smaller, one around it if larger.

    From a patch at 10× come 16 at 40×, each a quarter as wide.
    """
    tiles = max(1, round(place.side / side))
    if side > min(shape):
        return []
    offsets = (np.arange(tiles) + 0.5) * place.side / tiles - side / 2
    limit_x, limit_y = shape[1] - side, shape[0] - side
    return [
        Window(float(np.clip(place.left + dx, 0, limit_x)), float(np.clip(place.top + dy, 0, limit_y)), side)
        for dy in offsets
        for dx in offsets
    ]


def cut(picture: np.ndarray, window: Window, size_px: int) -> np.ndarray:
    """A window of an image (uint8), or of a 0/1 mask (uint8, 2-D), as ``size_px`` by ``size_px``."""
    side = min(max(1, round(window.side)), *picture.shape[:2])
    top, left = (
        int(np.clip(round(corner), 0, length - side))
        for corner, length in zip((window.top, window.left), picture.shape[:2], strict=True)
    )
    square = picture[top : top + side, left : left + side]
    if picture.ndim == 3:
        return resize(square, size_px, size_px)
    return (resize(square * np.uint8(255), size_px, size_px) > 127).astype(np.uint8)


def lay_over(mask: np.ndarray, place: Window, window: Window, size_px: int) -> np.ndarray:
    """A patch's 0/1 mask, found at ``place``, in the pixels of a window; 0 outside the patch."""
    patch_px = mask.shape[0] / place.side  # patch pixels in one of the region's
    step = window.side / size_px * patch_px
    x, y = ((a - b) * patch_px + step / 2 - 0.5 for a, b in ((window.left, place.left), (window.top, place.top)))
    matrix = np.array([[step, 0, x], [0, step, y]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, matrix, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_CONSTANT)
