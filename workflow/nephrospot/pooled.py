"""Sums and ranks over all spots of a cohort, of which no more than a slide's are held.

Values come slide by slide, as often as they are asked for (`nephrospot.spool.Parts`, or a list).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy import stats

from nephrospot.spool import Parts, Spool

MOST_VALUES = 1 << 18  # that are different and ranked at a time
SAMPLED = 1 << 16  # of all values, by which they are parted


@dataclass(frozen=True)
class Moments:
    """Of two sides over all spots.

    Attributes
    ----------
    n : int
    mean, low, high : float (2,)
    products : float (2, 2)
        Sums of squares and products about the means.
    distance : float
        Sum of the absolute differences between the sides.
    """

    n: int
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    products: np.ndarray
    distance: float

    @property
    def constant(self) -> list[bool]:
        """Whether a side doesn't vary."""
        return [bool(is_constant(*ends)) for ends in zip(self.low, self.high, strict=True)]

    @property
    def r(self) -> float:
        """Pearson's correlation; NaN where a side is constant."""
        (xx, xy), (_, yy) = self.products
        if not self.n or any(self.constant):
            return float("nan")
        return float(np.clip(xy / np.sqrt(xx) / np.sqrt(yy), -1, 1))

    @property
    def slope(self) -> float:
        """Of the straight line through the second side over the first."""
        return float(self.products[0, 1] / self.products[0, 0])

    @property
    def concordance(self) -> float:
        """Lin's coefficient with moments over n (1989, Biometrics 45:255); NaN if both are the same constant."""
        (xx, xy), (_, yy) = self.products
        spread = xx + yy + self.n * (self.mean[0] - self.mean[1]) ** 2
        return float(2 * xy / spread) if spread > 0 else float("nan")


def add_up(parts: Sequence[np.ndarray]) -> Moments:
    """Moments of parts (2, spots), in two passes: sums about the means lose no digits."""
    n, sums, low, high = 0, np.zeros(2), np.full(2, np.inf), np.full(2, -np.inf)
    for part in parts:
        n, sums = n + part.shape[1], sums + part.sum(axis=1)
        low = np.minimum(low, part.min(axis=1, initial=np.inf))
        high = np.maximum(high, part.max(axis=1, initial=-np.inf))
    mean, products, distance = sums / max(n, 1), np.zeros((2, 2)), 0.0
    for part in parts:
        about = part - mean[:, None]
        products += about @ about.T
        distance += float(np.abs(part[0] - part[1]).sum())
    return Moments(n, mean, low, high, products, distance)


def is_constant(low: float, high: float) -> bool:
    """Whether values between these ends are one value but for rounding."""
    return high - low <= 1e-12 * max(1.0, abs(low), abs(high))


class Ranks(Sequence):
    """Ranks of values over all parts, from 1, ties sharing their mean; a part's are read when they are asked for.

    Parameters
    ----------
    parts : sequence of float (spots,)
    most
        Different values that are ranked at a time.
    """

    def __init__(self, parts: Sequence[np.ndarray], most: int = MOST_VALUES) -> None:
        edges, self._n_parts, self._ranks = _choose_edges(parts, most), len(parts), Spool()
        self._n_ranges = len(edges) + 1
        if self._n_ranges == 1:
            sizes = [len(part) for part in parts]
            self._held = np.split(stats.rankdata(np.concatenate([np.empty(0), *parts])), np.cumsum(sizes)[:-1])
            return
        # Sorted into ranges of values first, so that each range can be ranked by itself.
        self._ranges, values = Spool(), Spool()
        for part in parts:
            ranges = np.searchsorted(edges, part, side="right").astype(np.uint16)
            self._ranges.append(ranges.tobytes())
            for number in range(self._n_ranges):
                values.append(part[ranges == number].tobytes())
        below = 0.0
        for number in range(self._n_ranges):
            numbers = range(number, self._n_ranges * self._n_parts, self._n_ranges)
            own = Parts(lambda at: np.frombuffer(values.read(at)), numbers)
            distinct, counts = _count(own, most)
            ranks = below + np.cumsum(counts) - (counts - 1) / 2
            below += counts.sum()
            for piece in own:
                self._ranks.append(_look_up(piece, distinct, ranks).tobytes())

    def __len__(self) -> int:
        return self._n_parts

    def __getitem__(self, index: int) -> np.ndarray:
        if index >= len(self):
            raise IndexError(index)
        if self._n_ranges == 1:
            return self._held[index]
        ranges = np.frombuffer(self._ranges.read(index), np.uint16)
        ranks = np.empty(len(ranges))
        for number in range(self._n_ranges):
            ranks[ranges == number] = np.frombuffer(self._ranks.read(number * len(self) + index))
        return ranks


def _look_up(values: np.ndarray, distinct: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Rank of each value; looked for in rising order, in which the long table is passed once and stays in the cache."""
    order, found = np.argsort(values), np.empty(len(values))
    found[order] = ranks[np.searchsorted(distinct, values[order])]
    return found


def _choose_edges(parts: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Values that part all of them into ranges of about as many as may be ranked at a time; none for few."""
    n = sum(map(len, parts))
    ranges = -(-n // most)
    if ranges <= 1:
        return np.empty(0)
    # Copied: a view would keep all of its slide.
    sample = np.sort(np.concatenate([part[:: -(-n // SAMPLED)].copy() for part in parts]))
    return np.unique(sample[np.linspace(0, len(sample), ranges, endpoint=False).astype(int)[1:]])


def _count(parts: Iterable[np.ndarray], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Different values in rising order, and how often each is there."""
    values, counts, waiting = np.empty(0), np.empty(0), []
    for part in chain(parts, [None]):
        if part is not None:
            waiting.append(part)
        if part is None or sum(map(len, waiting)) > most:
            more, times = np.unique(np.concatenate([np.empty(0), *waiting]), return_counts=True)
            waiting = []
            if not len(values):
                values, counts = more, times.astype(float)
                continue
            values, place = np.unique(np.concatenate([values, more]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, times]))
    return values, counts
