"""Moran's I of what a straight line leaves over: how far neighbouring spots repeat each other."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

FEWEST = 10  # spots on a slide; a hexagonal neighbourhood needs seven
NOTHING = 1e-12  # of the values' mean square: a straight line that leaves no more than rounding


@dataclass(frozen=True)
class Links:
    """Sums over the spots of one or more slides, and over their neighbours; slides are added with +.

    Attributes
    ----------
    products : float (3, 3)
        Of observed, predicted and 1 with one another.
    neighbours : float (3, 3)
        Of the same with the mean over each spot's neighbours.
    spots, linked : float
        All spots, and those that have a neighbour.
    """

    products: np.ndarray
    neighbours: np.ndarray
    spots: float
    linked: float

    def __add__(self, other: Links) -> Links:
        return Links(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def moran_i(self, slope: float) -> float:
        """Moran's I of the residuals of observed on predicted with this slope; NaN where nothing is left over."""
        _, predicted, ones = range(3)
        shift = (self.products[0, ones] - slope * self.products[predicted, ones]) / max(self.spots, 1)
        residual = np.array([1.0, -slope, -shift])
        left = residual @ self.products @ residual
        if not self.linked or left <= NOTHING * np.diag(self.products).max():
            return float("nan")
        return float(self.spots / self.linked * (residual @ self.neighbours @ residual) / left)


NONE = Links(np.zeros((3, 3)), np.zeros((3, 3)), 0.0, 0.0)


def link_spots(predicted: np.ndarray, observed: np.ndarray, place: np.ndarray) -> Links:
    """The sums of one slide; a slide of fewer than ten spots adds nothing.

    Parameters
    ----------
    predicted, observed : (spots,)
    place : (spots, 2), in any unit

    Notes
    -----
    Neighbours are squidpy's of a hexagonal grid, six at most, each spot's weighing 1 together. A residual is linear
    in the three values, so that its sums follow from theirs once the slope over all slides is known.
    """
    if len(place) < FEWEST:
        return NONE
    weights = _find_neighbours(np.ascontiguousarray(place).tobytes())
    values = np.column_stack([observed, predicted, np.ones(len(place))])
    return Links(values.T @ values, values.T @ (weights @ values), float(len(place)), float(weights.sum()))


@functools.lru_cache(maxsize=8)  # a slide's methods and comparisons mostly share their spots
def _find_neighbours(place: bytes) -> sparse.csr_matrix:
    # Seconds to import, and wanted here alone.
    import anndata as ad
    from sklearn.preprocessing import normalize

    from nephrospot.neighbours import quiet_squidpy

    spots = np.frombuffer(place).reshape(-1, 2)
    held = ad.AnnData(np.zeros((len(spots), 1), np.float32), obsm={"spatial": spots})
    with quiet_squidpy() as sq:
        sq.gr.spatial_neighbors_grid(held, n_neighs=6)
    return normalize(held.obsp["spatial_connectivities"].astype(float), norm="l1", axis=1)
