"""Objects of a prediction against objects of the truth: which overlap, which are the same.

The convention `ours`: 8-connected components, at least a minimum area in µm² on both sides, and a pair counts where
its intersection over union is *more than* the threshold. From 0.5 on such pairs are unique, since two objects can't
both cover more than half of a third; below, an assignment decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nephrospot.components import Components
from nephrospot.omezarr import blocks
from nephrospot.sources import MaskSource, resample_mask

BLOCK_PX = 2048  # two masks' labels at once: at a shard's size what is kept of them would be half a gigabyte


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a true and a predicted object that share pixels, and every object's area.

    Attributes
    ----------
    truth, predicted : int64 (pairs,)
        Ids of the two objects, from 1.
    shared_px : int64 (pairs,)
        Pixels in both.
    truth_px, predicted_px : int64 (objects + 1,)
        Area of each object by its id; [0] is the background's place.
    """

    truth: np.ndarray
    predicted: np.ndarray
    shared_px: np.ndarray
    truth_px: np.ndarray
    predicted_px: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each pair, float64."""
        return self.shared_px / (self.truth_px[self.truth] + self.predicted_px[self.predicted] - self.shared_px)


@dataclass(frozen=True)
class Matches:
    """What a matching found: objects on both sides and the IoU of the matched pairs, float64 (matches,)."""

    n_truth: int
    n_predicted: int
    iou: np.ndarray

    @property
    def tp(self) -> int:
        return len(self.iou)

    @property
    def fp(self) -> int:
        return self.n_predicted - self.tp

    @property
    def fn(self) -> int:
        return self.n_truth - self.tp


def regrid(source: MaskSource, shape: tuple[int, int], mpp: float) -> MaskSource:
    """A mask on another grid of the same slide, by the pixel under each centre; as it is where the grid is the same."""
    if source[:2] == (shape, mpp):
        return source
    return shape, mpp, lambda rows, columns: resample_mask(source, rows, columns, mpp)


def find_overlaps(truth: Components, predicted: Components, block_px: int = BLOCK_PX) -> Overlaps:
    """Count the pixels that every two objects share, block by block.

    Parameters
    ----------
    truth, predicted
        Components on the same grid.
    block_px
        Side of the blocks; it bounds the memory and changes nothing else.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the two masks lie on different grids, {truth.shape} and {predicted.shape}")
    codes, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows, columns in blocks(truth.shape, block_px) if len(truth) and len(predicted) else ():
        first, second = truth.labels(rows, columns), predicted.labels(rows, columns)
        both = (first > 0) & (second > 0)
        code, count = np.unique(first[both].astype(np.int64) * (len(predicted) + 1) + second[both], return_counts=True)
        codes.append(code)
        counts.append(count)
    # Pairs are few where a full table of all objects would be large.
    code, where = np.unique(np.concatenate(codes), return_inverse=True)
    shared = np.bincount(where, np.concatenate(counts), len(code)).astype(np.int64)
    return Overlaps(*np.divmod(code, len(predicted) + 1), shared, truth.area_px, predicted.area_px)


def match_objects(
    overlaps: Overlaps, iou: float = 0.5, min_truth_px: float = 0, min_predicted_px: float = 0
) -> Matches:
    """Match predicted objects with true ones, each at most once.

    Parameters
    ----------
    overlaps
        From `find_overlaps`.
    iou
        A pair can match where its intersection over union is more than this (not equal to it).
    min_truth_px, min_predicted_px
        Smaller objects are left out of the counts, as if they weren't in the mask.

    Returns
    -------
    Matches
        Most matches possible, and among those the largest sum of IoU (below 0.5 by the assignment whose costs are
        -(IoU > threshold) - IoU / 2n, the idea of StarDist's matching).
    """
    keep_truth, keep_predicted = overlaps.truth_px >= min_truth_px, overlaps.predicted_px >= min_predicted_px
    keep_truth[0] = keep_predicted[0] = False
    values = overlaps.iou
    good = (values > iou) & keep_truth[overlaps.truth] & keep_predicted[overlaps.predicted]
    matched = values[good]
    if iou < 0.5:
        matched = _assign(overlaps.truth[good], overlaps.predicted[good], matched)
    return Matches(int(keep_truth.sum()), int(keep_predicted.sum()), matched)


def _assign(truth: np.ndarray, predicted: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """IoU of the pairs that are kept where an object is in several; ids needn't be without gaps."""
    _, row = np.unique(truth, return_inverse=True)
    _, column = np.unique(predicted, return_inverse=True)
    rows, columns = len(np.unique(row)), len(np.unique(column))
    # Objects that are far apart don't concern each other: one small table for each group.
    links = coo_array((np.ones(len(row)), (row, column + rows)), shape=(rows + columns,) * 2)
    _, group = connected_components(links, directed=False)
    order = np.argsort(group[row], kind="stable")
    kept = []
    for pairs in np.split(order, np.flatnonzero(np.diff(group[row][order])) + 1):
        _, i = np.unique(row[pairs], return_inverse=True)
        _, j = np.unique(column[pairs], return_inverse=True)
        table = np.zeros((i.max(initial=-1) + 1, j.max(initial=-1) + 1))
        table[i, j] = iou[pairs]
        # A match more outweighs any IoU: the IoUs of a group add up to at most half of one.
        costs = -(table > 0).astype(float) - table / (2 * max(1, min(table.shape)))
        chosen = table[linear_sum_assignment(costs)]
        kept.append(chosen[chosen > 0])
    return np.concatenate(kept)
