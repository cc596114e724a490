"""How alike neighbouring spots are: covariance by distance, and how many independent spots a section is worth.

Spots of different slides are never neighbours. Distances are in µm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from nephrospot.compiled import compile_loops

CLASSES = 13  # of equal width over the largest distance, as SpatialPack's modified.ttest
STEP_UM = 100.0  # of the correlogram: the pitch of Visium spots
ALIKE = 0.2  # neighbours are called alike down to this correlation
REACHES_UM = (600.0, 1200.0, 2400.0)  # tried before the whole, since most maps are unlike by then


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
    order = np.argsort(place[:, 1], kind="stable")
    products, counts = _add_up_pairs(place[order], (values - values.mean(axis=0))[order], edges_um * (1 + 1e-9))
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
    for reach in [*(reach for reach in REACHES_UM if reach < reach_um), reach_um]:
        table = correlogram(places, values, reach)
        if (~(table >= ALIKE)).any(axis=0).all():
            break
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
    angles = np.linspace(0, np.pi, 180, endpoint=False)
    along = np.column_stack([np.cos(angles), np.sin(angles)]) @ place.T
    corners = place[np.unique([along.argmin(axis=1), along.argmax(axis=1)])]
    return float(cdist(corners, corners).max())


@compile_loops
def _add_up_pairs(place: np.ndarray, values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products (classes, variables), and how many partners each spot has in each class (spots, classes).

    Spots come in the order of their second coordinate, so that those beyond the last edge needn't be looked at.
    Compiled, since a section has millions of pairs; distances first, which a processor does several at a time.
    """
    size, last, variables = len(place), len(edges), values.shape[1]
    products, counts = np.zeros((last + 1, variables)), np.zeros((size, last + 1))
    partners, sums = np.zeros(last + 1), np.zeros((last + 1, variables))
    x, y, squares, scale = place[:, 0].copy(), place[:, 1].copy(), edges * edges, last / edges[-1]
    squared, kinds, first = np.empty(size), np.empty(size, np.int64), 0
    for i in range(size):
        while y[i] - y[first] > edges[-1]:
            first += 1
        for j in range(first, i):
            squared[j] = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
            kinds[j] = int(np.sqrt(squared[j]) * scale)  # about: classes are about equally wide
        partners[:], sums[:] = 0.0, 0.0
        for j in range(first, i):
            if squared[j] > squares[-1]:
                continue
            kind = min(kinds[j], last - 1)
            while kind > 0 and squared[j] <= squares[kind - 1]:  # a class holds its upper edge
                kind -= 1
            while squared[j] > squares[kind]:
                kind += 1
            partners[kind + 1] += 1.0
            counts[j, kind + 1] += 1.0
            for variable in range(variables):
                sums[kind + 1, variable] += values[j, variable]
        counts[i, 0] = 1.0
        for kind in range(1, last + 1):
            counts[i, kind] += partners[kind]
        for variable in range(variables):
            products[0, variable] += values[i, variable] ** 2
            for kind in range(1, last + 1):
                products[kind, variable] += 2.0 * values[i, variable] * sums[kind, variable]
    return products, counts
