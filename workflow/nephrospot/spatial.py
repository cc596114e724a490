"""How alike neighbouring spots are: covariance by distance, and how many independent spots a section is worth.

Spots of different slides are never neighbours. Distances are in µm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

CLASSES = 13  # of equal width over the largest distance, as SpatialPack's modified.ttest
STEP_UM = 100.0  # of the correlogram: the pitch of Visium spots
ALIKE = 0.2  # neighbours are called alike down to this correlation
PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Covariances:
    """Sums over the pairs of spots of one or more slides, by class of distance; slides are added with +.

    Attributes
    ----------
    products : float (classes + 1, variables)
        Of each variable with itself, after its slide's mean is taken off. The first class is the distance 0.
    pairs : float (classes + 1,)
        Ordered pairs of spots.
    overlaps : float (classes + 1, classes + 1)
        tr(H A H B) of the classes' indicator matrices A and B, where H centres a slide.
    traces : float (classes + 1,)
        tr(H A H).
    """

    products: np.ndarray
    pairs: np.ndarray
    overlaps: np.ndarray
    traces: np.ndarray

    def __add__(self, other: Covariances) -> Covariances:
        return Covariances(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def values(self) -> np.ndarray:
        """Covariance of each class, float (classes + 1, variables)."""
        return self.products / np.maximum(self.pairs, 1)[:, None]

    def effective_size(self, first: int, second: int) -> float:
        """Spots' worth of information in the correlation of two variables.

        1 + tr(Sx) tr(Sy) / tr(Sx Sy) with S the centred covariance matrix (Clifford, Richardson & Hémon 1989,
        Biometrics 45:123; Dutilleul 1993, Biometrics 49:305). NaN where a variable doesn't vary.
        """
        x, y = self.values[:, first], self.values[:, second]
        shared = x @ self.overlaps @ y
        return float(1 + (self.traces @ x) * (self.traces @ y) / shared) if shared > 0 else float("nan")


def measure_covariances(place: np.ndarray, values: np.ndarray, edges_um: np.ndarray) -> Covariances:
    """Covariances by distance from the spots of a slide.

    Parameters
    ----------
    place
        (spots, 2) in µm.
    values
        (spots, variables).
    edges_um
        Upper edges of the classes, rising, such as `equal_edges` gives; pairs beyond the last count as unrelated.

    Notes
    -----
    The matrices of a section are never held: time grows with the square of its spots, memory with their number.
    """
    n, size = len(edges_um) + 1, len(place)
    products, counts = _add_up_pairs(place, values - values.mean(axis=0), edges_um)
    pairs = counts.sum(axis=0)
    # Classes don't overlap, so tr(AB) is the pairs of a class with itself; the rest is what centring takes off.
    overlaps = np.diag(pairs) - 2 / size * counts.T @ counts + np.outer(pairs, pairs) / size**2
    return Covariances(products, pairs, overlaps, np.eye(n)[0] * size - pairs / size)


def equal_edges(places: Sequence[np.ndarray]) -> np.ndarray:
    """Upper edges of `CLASSES` classes of equal width up to the largest distance on a slide."""
    return max(_diameter(place) for place in places) * np.arange(1, CLASSES + 1) / CLASSES


def correlogram(places: Sequence[np.ndarray], values: Sequence[np.ndarray], reach_um: float) -> np.ndarray:
    """Correlation of spots up to each multiple of 100 µm apart; float (steps, variables), NaN for a constant."""
    edges = np.arange(STEP_UM, reach_um + STEP_UM, STEP_UM) + STEP_UM / 2
    parts = [measure_covariances(place, own, edges) for place, own in zip(places, values, strict=True)]
    found = sum(parts[1:], parts[0]).values
    with np.errstate(invalid="ignore", divide="ignore"):
        return found[1:] / found[0]


def alike_within_um(places: Sequence[np.ndarray], values: Sequence[np.ndarray], reach_um: float = 3000.0) -> float:
    """Distance at which the correlogram of the smoothest variable first falls below 0.2; at most ``reach_um``.

    Between two steps by the straight line; 0 where already the nearest spots are less alike, or nothing varies.
    """
    table = correlogram(places, values, reach_um)
    distances = STEP_UM * np.arange(len(table) + 1)
    farthest = 0.0
    for variable in table.T:
        if not np.isfinite(variable[0]):
            continue
        below = np.flatnonzero(~(variable >= ALIKE))
        if not len(below):
            return reach_um
        after = below[0]
        if after == 0:
            continue
        high, low = variable[after - 1], variable[after]
        low = low if np.isfinite(low) else 0.0
        farthest = max(farthest, distances[after] + STEP_UM * (high - ALIKE) / (high - low))
    return min(farthest, reach_um)


def _diameter(place: np.ndarray) -> float:
    # The farthest two are among those farthest in some direction; a box's diagonal would make other classes.
    extreme = {
        int(which(place @ direction))
        for angle in np.linspace(0, np.pi, 180, endpoint=False)
        for direction in [np.array([np.cos(angle), np.sin(angle)])]
        for which in (np.argmin, np.argmax)
    }
    corners = place[sorted(extreme)]
    return float(cdist(corners, corners).max())


def _add_up_pairs(place: np.ndarray, values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products (classes, variables), and how many partners each spot has in each class (spots, classes)."""
    size, n = len(place), len(edges) + 1
    products, counts = np.zeros((n, values.shape[1])), np.zeros((size, n))
    step = max(1, PAIRS_AT_ONCE // size)
    for start in range(0, size, step):
        rows = slice(start, start + step)
        distance = cdist(place[rows], place)
        # A class holds its upper edge; a little above it is still it, since the largest distance is one.
        kind = np.searchsorted(edges * (1 + 1e-9), distance) + 1
        kind[np.arange(len(distance)), np.arange(start, start + len(distance))] = 0
        kind = kind.ravel()
        row = np.repeat(np.arange(len(distance)) * (n + 1), size)
        counts[rows] += np.bincount(row + kind, minlength=len(distance) * (n + 1)).reshape(-1, n + 1)[:, :n]
        for variable, column in enumerate(values.T):
            weights = np.multiply.outer(column[rows], column).ravel()
            products[:, variable] += np.bincount(kind, weights, minlength=n + 1)[:n]
    return products, counts
