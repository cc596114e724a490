"""The parts of a mask's components in single blocks, and how they join over the blocks' borders."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def label_block(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Labels 1…n of a 0/1 block (int32), in no certain order, and n."""
    n, labels = cv2.connectedComponents(mask, connectivity=connectivity, ltype=cv2.CV_32S)
    return labels, n - 1


class Pieces:
    """The parts of components in single blocks, and which of them touch."""

    def __init__(self, shape: tuple[int, int], connectivity: int) -> None:
        self.shape, self.connectivity = shape, connectivity
        self.count = 0
        self.seeds: dict[tuple[int, int], np.ndarray] = {}
        self.first, self.area, self.sums, self.box = ([] for _ in range(4))
        self.crossings: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # id, along axes, along diagonals
        self.joined: list[np.ndarray] = []  # pairs of ids that are one component
        self.corners: list[tuple[np.ndarray, np.ndarray]] = []  # pairs that share corners only, and how many

    def add(self, mask: np.ndarray, rows: slice, columns: slice) -> tuple[np.ndarray, ...]:
        """Measure one block's pieces; returns the ids along its top, bottom, left and right line."""
        height, width = mask.shape
        if not cv2.countNonZero(mask):
            return tuple(np.zeros(size, np.int64) for size in (width, width, height, height))
        labels, n = label_block(mask, self.connectivity)
        padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inner = cv2.erode(padded, np.ones((3, 3), np.uint8))
        outline = np.flatnonzero(mask > inner[1:-1, 1:-1])
        line, place = labels.ravel()[outline], _in_padded(outline, width + 2)
        first = _last_of(line[::-1], outline[::-1], n)
        # Outlines hold both ends of every run of pixels in a row, and runs all that's to be known of a piece.
        starts, ends = padded.ravel()[place - 1] == 0, padded.ravel()[place + 1] == 0
        run, (row, left) = line[starts], np.divmod(outline[starts], width)
        right = outline[ends] % width + 1
        left, row, right = left + columns.start, row + rows.start, right + columns.start
        length = right - left
        middle = (left + right - 1) / 2
        self.area.append(_sum_of(run, length, n))
        self.sums.append(np.column_stack([_sum_of(run, length * row, n), _sum_of(run, length * middle, n)]))
        box = np.tile([0, self.shape[1], 0, 0], (n + 1, 1))
        np.minimum.at(box[:, 1], run, left)
        np.maximum.at(box[:, 3], run, right)
        box[1:, 0], box[1:, 2] = first // width + rows.start, _last_of(run, row, n) + 1
        self.box.append(box[1:])
        self.first.append((first // width + rows.start) * self.shape[1] + first % width + columns.start)
        if self.connectivity == 4:
            self._note_corners(padded, labels, outline, place, line)
        self._count_crossings(padded, place, line, n, rows, columns)
        self.seeds[rows.start, columns.start] = first
        lines = [labels[at].astype(np.int64) for at in (0, -1, (slice(None), 0), (slice(None), -1))]
        lines = tuple(np.where(ids > 0, ids + self.count, 0) for ids in lines)
        self.count += n
        return lines

    def _count_crossings(self, padded, place, line, n, rows: slice, columns: slice) -> None:
        """How often grid lines leave each piece inside the block or at the mask's border."""
        # Beyond a block's border is another block's business (1: no crossing), beyond the mask's there is nothing.
        padded[0], padded[-1] = rows.start > 0, rows.stop < self.shape[0]
        for at, inner in ((0, columns.start > 0), (-1, columns.stop < self.shape[1])):
            if inner:
                padded[1:-1, at] = 1
            else:
                padded[:, at] = 0
        step, flat = padded.shape[1], padded.ravel()
        axes, diagonals = (
            _sum_of(line, 4 - sum(flat[place + offset] for offset in offsets), n)
            for offsets in ((-1, 1, -step, step), (-step - 1, -step + 1, step - 1, step + 1))
        )
        self.crossings.append((np.arange(1, n + 1) + self.count, axes, diagonals))

    def _note_corners(self, padded, labels, outline, place, line) -> None:
        """Pieces of one block that share corners only: whether they're one component shows at the end."""
        step, flat = padded.shape[1], padded.ravel()
        for sideways in (-1, 1):
            corner = (flat[place + step + sideways] > 0) & (flat[place + step] == 0) & (flat[place + sideways] == 0)
            other = labels.ravel()[outline[corner] + labels.shape[1] + sideways]
            pairs, counts = _count_pairs(line[corner], other)
            different = pairs[0] != pairs[1]
            self.corners.append((pairs[:, different] + self.count, counts[different]))

    def join_rows(self, top: np.ndarray, above: np.ndarray, left: int) -> None:
        """Join a block's first row with the mask's row above it."""
        right = left + len(top)
        self._join(top, above[left:right], diagonal=False)
        before = above[max(0, left - 1) : right - 1]
        self._join(top[len(top) - len(before) :], before, diagonal=True)
        after = above[left + 1 : right + 1]
        self._join(top[: len(after)], after, diagonal=True)

    def join_columns(self, left: np.ndarray, beside: np.ndarray) -> None:
        """Join a block's first column with its left neighbour's last."""
        self._join(left, beside, diagonal=False)
        self._join(left[1:], beside[:-1], diagonal=True)
        self._join(left[:-1], beside[1:], diagonal=True)

    def _join(self, ids: np.ndarray, others: np.ndarray, diagonal: bool) -> None:
        both = (ids > 0) & (others > 0)
        pairs, counts = _count_pairs(ids[both], others[both])
        if diagonal and self.connectivity == 4:
            self.corners.append((pairs, counts))
        else:
            self.joined.append(pairs)
        leaving, times = np.unique((ids + others)[(ids > 0) != (others > 0)], return_counts=True)
        none = np.zeros(len(times))
        self.crossings.append((leaving, none, times) if diagonal else (leaving, times, none))

    def merge(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Put the pieces together.

        Returns
        -------
        ids : int64 (pieces,)
            The component of each piece: 1…n in raster order of the components' first pixels.
        facts : area_px, box, centroid_px, perimeter_px, on_edge as in `nephrospot.components.Components`
        """
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self.joined], axis=1) - 1
        graph = coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(self.count, self.count))
        n, member = connected_components(graph, directed=False) if self.count else (0, np.zeros(0, np.int64))
        start = np.full(n, np.iinfo(np.int64).max)
        np.minimum.at(start, member, _concatenate(self.first))
        rank = np.empty(n, np.int64)
        rank[np.argsort(start)] = np.arange(1, n + 1)
        ids = rank[member]

        box, bounds = _concatenate(self.box, 4), np.zeros((n + 1, 4), np.int64)
        bounds[1:, :2] = np.iinfo(np.int64).max
        for side, extreme in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
            extreme.at(bounds[:, side], ids, box[:, side])
        area = _sum_of(ids, _concatenate(self.area), n)
        centre = [_sum_of(ids, sums, n) / area for sums in _concatenate(self.sums, 2).T]
        axes, diagonals = self._sum_crossings(ids, n)
        on_edge = (bounds[:, :2] == 0).any(axis=1) | (bounds[:, 2:] == self.shape).any(axis=1)
        on_edge[0] = False
        return ids, {
            "area_px": np.concatenate([[0], area]).astype(np.int64),
            "box": bounds,
            "centroid_px": np.concatenate([[[np.nan, np.nan]], np.column_stack(centre)]),
            "perimeter_px": np.concatenate([[0], np.pi / 8 * (axes + diagonals / np.sqrt(2))]),
            "on_edge": on_edge,
        }

    def _sum_crossings(self, ids: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        axes, diagonals = np.zeros(n), np.zeros(n)
        for pieces, along_axes, along_diagonals in self.crossings:
            np.add.at(axes, ids[pieces - 1] - 1, along_axes)
            np.add.at(diagonals, ids[pieces - 1] - 1, along_diagonals)
        for pairs, counts in self.corners:
            one, other = ids[pairs - 1] - 1
            for end in (one, other):
                np.add.at(diagonals, end[one != other], counts[one != other])
        return axes, diagonals


def _sum_of(ids: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Sum of the values of each id from 1 to n."""
    return np.bincount(ids, values, minlength=n + 1)[1:]


def _last_of(ids: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The last value of each id from 1 to n: of several assignments to one place the last one stays."""
    last = np.empty(n + 1, values.dtype)
    last[ids] = values
    return last[1:]


def _in_padded(flat: np.ndarray, step: int) -> np.ndarray:
    """Flat indices of a block as flat indices of the block with a pixel around it, whose rows have ``step`` pixels."""
    return flat + 2 * (flat // (step - 2)) + step + 1


def _count_pairs(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different pairs (2, k) and how often each comes."""
    one, other = one.astype(np.int64), other.astype(np.int64)
    span = int(other.max(initial=0)) + 1
    keys, counts = np.unique(one * span + other, return_counts=True)
    return np.stack(np.divmod(keys, span)), counts


def _concatenate(parts: list[np.ndarray], columns: int | None = None) -> np.ndarray:
    empty = np.zeros((0,) if columns is None else (0, columns), np.int64)
    return np.concatenate([empty, *parts])
