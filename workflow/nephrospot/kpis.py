"""The convention `kpis-task2`: whole slides as the organisers of the KPIs 2024 challenge score them.

At 0.5 µm per pixel by default, 20× by our rule; the organisers say "20×" without µm, and 20 000 px of 0.5 µm are
5 000 µm², more than most glomeruli of a mouse. Predicted objects (8-connected) of fewer than 20 000 px are removed,
true ones aren't. Objects are the contours that OpenCV finds in the inverted mask, all but the first: the rims of
glomeruli one pixel outside, and islands of background inside them, however small, as objects of their own. Glomeruli
that the slide's edge cuts have no contour.
A predicted contour is right where its IoU with some true one is 0.5 or more, and several may be right by the same.
Read from the organisers' published script (github.com/hrlblab/KPIs2024, Validation_slide_docker).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nephrospot.components import find_components
from nephrospot.errors import InputError
from nephrospot.instances import BLOCK_PX, regrid
from nephrospot.mpp import KPIS_MPP
from nephrospot.omezarr import blocks
from nephrospot.sources import MaskSource

KPIS_IOU = 0.5
MIN_OBJECT_PX = 20_000
MAX_PX = 1_000_000_000
MARGIN_PX = 10


@dataclass(frozen=True)
class KpisScore:
    """Counts of one slide in the convention `kpis-task2`.

    Attributes
    ----------
    tp, fp : int
        Predicted contours with and without a true one.
    fn : int
        True contours without a predicted one; tp + fn needn't be the number of true ones.
    n_truth : int
        True contours.
    mean_iou : float
        Mean IoU of the right ones with the first that made them right; NaN without any.
    """

    tp: int
    fp: int
    fn: int
    n_truth: int
    mean_iou: float

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def read_contours(
    predicted: MaskSource, truth: MaskSource, mpp: float = KPIS_MPP, min_object_px: int = MIN_OBJECT_PX
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Contours of prediction and truth, and the Dice of the two, at ``mpp`` µm per pixel (by pixel centres).

    Returns
    -------
    predicted, truth : lists of int32 (points, 1, 2)
        x and y of the contours' corners.
    dice : float
        After small predicted objects were removed; 1 where both are empty.

    Raises
    ------
    InputError
        Above 1 000 megapixels.

    Notes
    -----
    Contours need the mask: one is held at a time, a byte a pixel, and OpenCV's copy beside it.
    """
    shape = tuple(max(1, round(size * truth[1] / mpp)) for size in truth[0])
    if shape[0] * shape[1] > MAX_PX:
        raise InputError(
            f"kpis-task2 holds a whole mask at {mpp:g} µm per pixel, and {shape[1]} × {shape[0]} px are more than "
            f"{MAX_PX // 10**6} megapixels; evaluate such a slide in parts, or go by the convention ours."
        )
    found, expected = regrid(predicted, shape, mpp), regrid(truth, shape, mpp)
    objects = find_components(found, 8, BLOCK_PX)
    large = objects.area_px >= min_object_px
    large[0] = False
    inverted, sums = np.full(shape, 255, np.uint8), np.zeros(2, np.int64)
    for rows, columns in blocks(shape, BLOCK_PX):
        true, filtered = expected[2](rows, columns) > 0, large[objects.labels(rows, columns)]
        sums += np.count_nonzero(filtered & true), np.count_nonzero(filtered) + np.count_nonzero(true)
        inverted[rows, columns][filtered] = 0
    contours = trace_contours(inverted)
    inverted[:] = 255
    for rows, columns in blocks(shape, BLOCK_PX):
        inverted[rows, columns][expected[2](rows, columns) > 0] = 0
    return contours, trace_contours(inverted), float(2 * sums[0] / sums[1]) if sums[1] else 1.0


def trace_contours(inverted: np.ndarray) -> list[np.ndarray]:
    """All contours but the first of an inverted mask, uint8 (rows, columns): 0 tissue, 255 anything else."""
    contours, _ = cv2.findContours(inverted, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    return list(contours[1:])


def score_contours(
    predicted: list[np.ndarray], truth: list[np.ndarray], iou: float = KPIS_IOU, fix_aliasing: bool = True
) -> KpisScore:
    """Count right, false and missed contours.

    Parameters
    ----------
    predicted, truth
        From `read_contours`; they aren't changed.
    iou
        Two contours agree where their intersection over union is this or more.
    fix_aliasing
        The organisers' script cuts out both contours for each comparison by moving them, and leaves them there, so
        that later comparisons see them elsewhere. True leaves every contour in its place; False does as the script,
        for numbers to set beside the challenge's.
    """
    predicted, truth = _Contours(predicted), _Contours(truth)
    hits, fn = [], 0
    for index in range(len(predicted)):
        hit = _first_hit(predicted, index, truth, iou, fix_aliasing)
        if hit is not None:
            hits.append(hit)
    for index in range(len(truth)):
        fn += _first_hit(truth, index, predicted, iou, fix_aliasing) is None
    mean = float(np.mean(hits)) if hits else np.nan
    return KpisScore(len(hits), len(predicted) - len(hits), fn, len(truth), mean)


class _Contours:
    """Contours with their boxes, which can be moved."""

    def __init__(self, contours: list[np.ndarray]) -> None:
        self.points = contours
        self.shift = np.zeros((len(contours), 2), np.int64)  # of each contour from where it was found, x and y
        self.low = np.array([c.min(axis=(0, 1)) for c in contours], np.int64).reshape(-1, 2)
        self.high = np.array([c.max(axis=(0, 1)) for c in contours], np.int64).reshape(-1, 2)
        self.area = np.array([cv2.contourArea(c) for c in contours])

    def __len__(self) -> int:
        return len(self.points)

    def move(self, index: int, by: np.ndarray) -> None:
        for place in (self.shift, self.low, self.high):
            place[index] += by


def _first_hit(one: _Contours, index: int, others: _Contours, iou: float, fix_aliasing: bool) -> float | None:
    """IoU with the first of the others that agrees, or None."""
    start = 0
    while start < len(others):
        touching = (others.low[start:] <= one.high[index]).all(axis=1)
        touching &= (others.high[start:] >= one.low[index]).all(axis=1)
        if not touching.any():
            return None
        other = start + int(np.argmax(touching))
        value = _iou(one, index, others, other, iou)
        if not fix_aliasing:
            corner = np.minimum(one.low[index], others.low[other]) - MARGIN_PX
            one.move(index, -corner)
            others.move(other, -corner)
        if value >= iou:
            return value
        start = other + 1
    return None


def _iou(one: _Contours, i: int, others: _Contours, j: int, enough: float) -> float:
    """Intersection over union of two filled contours; 0 without drawing where it can't be enough."""
    low, high = np.minimum(one.low[i], others.low[j]), np.maximum(one.high[i], others.high[j])
    shared_box = np.prod(np.minimum(one.high[i], others.high[j]) - np.maximum(one.low[i], others.low[j]) + 1)
    # The filled pixels are at least the polygon's area: a network of tubules needn't be drawn for each of its holes.
    if shared_box < enough * max(one.area[i], others.area[j]):
        return 0.0
    width, height = (high - low + 1).tolist()
    filled = []
    for contours, index in ((one, i), (others, j)):
        canvas = np.zeros((height, width), np.uint8)
        offset = tuple((contours.shift[index] - low).tolist())
        cv2.drawContours(canvas, [contours.points[index]], -1, 1, -1, offset=offset)
        filled.append(canvas)
    union = np.count_nonzero(filled[0] | filled[1])
    return np.count_nonzero(filled[0] & filled[1]) / union if union else 0.0
