"""Rings around the components of a mask, through the middles of the pixel edges between inside and outside.

Coordinates are doubled, so that they are whole numbers: the corner of pixel (row i, column j) is (2j, 2i), its
centre (2j + 1, 2i + 1). A ring has the object on its left as seen on the screen; holes run the other way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, depth_first_order

from nephrospot.omezarr import blocks

if TYPE_CHECKING:
    from nephrospot.components import Components
    from nephrospot.stitch import MaskSource

# Directions, counter-clockwise on the screen from east: (x, y) of each.
STEPS = np.array([(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)])
ALONE = 8  # "direction" of a ring of one pixel


@dataclass(frozen=True)
class Rings:
    """Closed rings one behind the other.

    Attributes
    ----------
    points : (n, 2) x and y, doubled
    starts : int64 (rings + 1,)
    area_px : float64 (rings,)
        Area of the pixels that the ring encloses; negative for holes.
    """

    points: np.ndarray
    starts: np.ndarray
    area_px: np.ndarray

    def __len__(self) -> int:
        return len(self.area_px)

    @classmethod
    def join(cls, parts: Sequence[np.ndarray], area_px: np.ndarray) -> Rings:
        points = np.concatenate(parts) if len(parts) else np.zeros((0, 2), np.int32)
        return cls(points, np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(int), area_px)

    def split(self) -> Iterator[np.ndarray]:
        for start, stop in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield self.points[start:stop]

    def take(self, indices: np.ndarray) -> Rings:
        parts = [self.points[self.starts[i] : self.starts[i + 1]] for i in indices]
        return Rings.join(parts, self.area_px[indices])

    def ring(self) -> np.ndarray:
        """Index of each point's ring."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the points ahead and behind of each."""
        return _around(self.starts)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over each ring of a value a point."""
        return np.add.reduceat(values, self.starts[:-1]) if len(self) else np.zeros(0)

    def boxes(self) -> np.ndarray:
        """Top, left, bottom, right in pixels, half open; int64 (rings, 4). Right for outer rings."""
        if not len(self):
            return np.zeros((0, 4), int)
        low, high = (ends.reduceat(self.points, self.starts[:-1], axis=0) // 2 for ends in (np.minimum, np.maximum))
        return np.column_stack([low[:, ::-1], high[:, ::-1]])


def _around(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ahead, behind = np.arange(1, starts[-1] + 1), np.arange(-1, starts[-1] - 1)
    ahead[starts[1:] - 1], behind[starts[:-1]] = starts[:-1], starts[1:] - 1
    return ahead, behind


def _list_exposed() -> tuple[np.ndarray, np.ndarray]:
    """For a pixel that a border enters by one direction and leaves by another: how many of its sides are on the
    border, and which, in order. They lie between the way back and the way on, on the outer side."""
    count, sides = np.zeros((9, 9), int), np.zeros((9, 9, 4), int)
    for enter in range(8):
        for leave in range(8):
            turn = (leave - enter - 5) % 8  # directions between the two
            between = [(enter + 5 + k) % 8 for k in range(turn)]
            found = [direction for direction in between if direction % 2 == 0]
            count[enter, leave], sides[enter, leave, : len(found)] = len(found), found
    count[ALONE, ALONE], sides[ALONE, ALONE] = 4, (0, 2, 4, 6)
    return count, sides


COUNT, SIDES = _list_exposed()


def trace_mask(block: np.ndarray, top: int, left: int) -> tuple[Rings, np.ndarray]:
    """Rings of all 8-connected components of a 0/1 block (uint8) whose corner lies at a row and column of the mask.

    Returns
    -------
    rings : points int32
    parent : int (rings,), index of the outer ring that a hole lies in; −1 for outer rings

    Notes
    -----
    OpenCV follows the pixels at the border (Suzuki and Abe, 1985); their exposed sides follow from the turns.
    """
    contours, hierarchy = cv2.findContours(block, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return Rings.join([], np.zeros(0)), np.zeros(0, int)
    pixels = np.concatenate(contours)[:, 0]
    starts = np.concatenate([[0], np.cumsum([len(contour) for contour in contours])])
    ahead, behind = _around(starts)
    codes = np.full((3, 3), ALONE)
    codes[STEPS[:, 1], STEPS[:, 0]] = np.arange(8)
    step = pixels[ahead] - pixels
    leave = codes[step[:, 1], step[:, 0]]
    enter = leave[behind]
    count = COUNT[enter, leave]
    pixel = np.repeat(np.arange(len(pixels)), count)
    total = np.concatenate([[0], np.cumsum(count)])
    side = SIDES[enter[pixel], leave[pixel], np.arange(len(pixel)) - total[pixel]]
    middles = 2 * (pixels[pixel] + np.array([left, top], np.int32)) + 1 + STEPS[side].astype(np.int32)
    return _measure(middles, total[starts], side), hierarchy[0, :, 3].astype(int)


def link_edges(source: MaskSource, components: Components, index: int) -> Rings:
    """Rings of one component of any size, its outer ring first; memory holds a block and the component's edges.

    Parameters
    ----------
    source, components : a mask and its 8-connected components
    index : id of the component

    Notes
    -----
    The edges are collected block by block and then linked from end to end, so blocks leave no trace.
    """
    top, left, bottom, right = (int(end) for end in components.box[index])
    found = []
    for rows, columns in blocks((bottom - top, right - left), components.block_px):
        y, x = rows.start + top, columns.start + left
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        inside = components.labels(slice(y, y + shape[0]), slice(x, x + shape[1])) == index
        # What lies beside a pixel of the component is of the component or background, so the mask says which.
        around = np.zeros((shape[0] + 2, shape[1] + 2), bool)
        t, l = max(0, y - 1), max(0, x - 1)  # noqa: E741
        b, r = min(components.shape[0], y + shape[0] + 1), min(components.shape[1], x + shape[1] + 1)
        around[t - y + 1 : b - y + 1, l - x + 1 : r - x + 1] = source[2](slice(t, b), slice(l, r)) != 0
        for side in (0, 2, 4, 6):
            dx, dy = STEPS[side]
            i, j = np.nonzero(inside & ~around[1 + dy : 1 + dy + shape[0], 1 + dx : 1 + dx + shape[1]])
            found.append(np.column_stack([j + x, i + y, np.full(len(i), side)]).astype(np.int32))
    edges = np.concatenate(found)
    middles = 2 * edges[:, :2] + 1 + STEPS[edges[:, 2]].astype(np.int32)
    along = STEPS[(edges[:, 2] + 2) % 8]  # on an eastern side the way is north
    begin, end = ((middles + sign * along) // 2 @ np.array([1, right + 1]) for sign in (-1, 1))
    order = np.lexsort((edges[:, 2], begin))
    begin, end, middles, side = begin[order], end[order], middles[order], edges[order, 2]
    onward = np.searchsorted(begin, end)
    # Two ways on where pixels touch at a corner: the right turn keeps them in one piece.
    fork = np.searchsorted(begin, end, side="right") - onward > 1
    onward += fork & (side[onward] != (side - 2) % 8)
    sequence, starts = _order_loops(onward)
    rings = _measure(middles[sequence], starts, side[sequence])
    return rings.take(np.argsort(rings.area_px <= 0, kind="stable"))


def _order_loops(onward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loops of a permutation, one behind the other, and where each starts: all joined to one path and walked once."""
    n = len(onward)
    numbers = np.arange(n)
    _, loop = connected_components(csr_matrix((np.ones(n, bool), (numbers, onward)), shape=(n, n)))
    first = np.sort(np.unique(loop, return_index=True)[1])
    behind = np.empty(n, int)
    behind[onward] = numbers
    path = onward.copy()
    path[behind[first[:-1]]] = first[1:]
    path[behind[first[-1]]] = first[0]
    graph = csr_matrix((np.ones(n, bool), (numbers, path)), shape=(n, n))
    sequence = depth_first_order(graph, first[0], return_predecessors=False).astype(int)
    place = np.empty(n, int)
    place[sequence] = numbers
    return sequence, np.append(place[first], n)


def _measure(middles: np.ndarray, starts: np.ndarray, side: np.ndarray) -> Rings:
    """Rings with their areas: each row of pixels ends at an eastern side and begins at a western one."""
    sign = np.array([1, 0, 0, 0, -1, 0, 0, 0])[side]
    area = np.add.reduceat(sign * middles[:, 0].astype(np.int64), starts[:-1]) / 2
    return Rings(middles, starts, area.astype(float))
