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
NEAR = 1e-6  # of a class: where rounding may decide on which side of an edge a distance lies
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

    Spots come row by row, so that those beyond the last edge needn't be looked at, and so that neighbours in the order
    are mostly of one class with a spot. Such a run enters by its ends: its sum is a difference of the sums up to each
    spot, and its spots' partners are one more from its start and one less from its end.
    """
    size, last, variables = len(place), len(edges), values.shape[1]
    products, changes = np.zeros((last + 2, variables)), np.zeros((size + 1, last + 2), np.int64)
    up_to = np.zeros((size + 1, variables))
    for i in range(size):
        up_to[i + 1] = up_to[i] + values[i]
    x, y, squares = place[:, 0].copy(), place[:, 1].copy(), edges * edges
    kinds, partners, first = np.empty(size, np.int64), np.empty(last + 2, np.int64), 0
    for i in range(size):
        while y[i] - y[first] > edges[-1]:
            first += 1
        _sort_out(x[first:i], y[first:i], x[i], y[i], edges, squares, kinds[first:i])
        partners[:] = 0
        start = first
        for j in range(first + 1, i + 1):
            kind = kinds[start]
            if j < i and kinds[j] == kind:
                continue
            changes[start, kind] += 1
            changes[j, kind] -= 1
            partners[kind] += j - start
            for variable in range(variables):
                products[kind, variable] += 2.0 * values[i, variable] * (up_to[j, variable] - up_to[start, variable])
            start = j
        changes[i, 0] += 1
        changes[i + 1, 0] -= 1
        for kind in range(1, last + 1):
            changes[i, kind] += partners[kind]
            changes[i + 1, kind] -= partners[kind]
        for variable in range(variables):
            products[0, variable] += values[i, variable] ** 2
    counts, running = np.empty((size, last + 1)), np.zeros(last + 1, np.int64)
    for i in range(size):
        running += changes[i, : last + 1]
        counts[i] = running
    return products[: last + 1], counts


@compile_loops
def _sort_out(
    x: np.ndarray, y: np.ndarray, own_x: float, own_y: float, edges: np.ndarray, squares: np.ndarray, kinds: np.ndarray
) -> None:
    """Class of the distance of each spot from one, from 1, into ``kinds``; one more than there are beyond the last."""
    last = len(edges)
    # Edges are equally far from one another; a distance that may lie on one, or any where they aren't, is looked up.
    width = (edges[-1] - edges[0]) / (last - 1) if last > 1 else edges[0]
    doubt = NEAR
    for k in range(last):
        if abs(edges[k] - edges[0] - k * width) > NEAR / 2 * width:
            doubt = 1.0
    start, scale = 1.0 - edges[0] / width, 1.0 / width
    for j in range(len(x)):
        steps = np.sqrt((own_x - x[j]) ** 2 + (own_y - y[j]) ** 2) * scale + start
        kind = np.ceil(min(max(steps, 0.5), last + 0.5))
        kinds[j] = np.int64(kind) if abs(steps - np.rint(steps)) > doubt else np.int64(-1)
    for j in range(len(x)):
        if kinds[j] < 0:
            squared = (own_x - x[j]) ** 2 + (own_y - y[j]) ** 2
            kinds[j] = 1 + np.searchsorted(squares, squared)
