"""Blocks of spots drawn again: neighbours stay together, and a map may be of any shape.

A replicate draws, slide by slide, as many blocks as the slide has, with replacement. A block enters as its moments, so
that all replicates of all methods are one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nephrospot.compiled import compile_loops
from nephrospot.influences import ROUNDING
from nephrospot.spatial import alike_within_um

REPLICATES = 2000
ORIGINS = 20  # of the grid of blocks; each serves as many replicates
SMALLEST_UM = 600.0
FEWEST_BLOCKS = 8  # a slide


@dataclass(frozen=True)
class Draw:
    """The replicates of one origin of the grid, after the spots as they are.

    Attributes
    ----------
    moments : list of float (blocks, 6, methods)
        Of each slide's blocks: number, Σx, Σy, Σx², Σy², Σxy, of values of mean 0 and standard deviation 1.
    weights : list of uint16 (1 + replicates, blocks)
        How often each block was drawn; once each in the first row.
    """

    moments: list[np.ndarray]
    weights: list[np.ndarray]

    def add_up(self) -> np.ndarray:
        """Moments of each slide: (slides, 1 + replicates, 6, methods)."""
        flat = ((own.reshape(len(own), -1), drawn) for own, drawn in zip(self.moments, self.weights, strict=True))
        sums = [drawn.astype(float) @ own for own, drawn in flat]
        return np.stack(sums).reshape(len(self.moments), -1, *self.moments[0].shape[1:])


def choose_block_um(places: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> float:
    """Side of the blocks: three times the distance over which the smoothest map is alike, 600 µm at least."""
    return max(SMALLEST_UM, 3 * alike_within_um(places, values))


def draw_blocks(
    places: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    observed: Sequence[np.ndarray],
    block_um: float,
    seed: int,
    replicates: int = REPLICATES,
) -> Iterator[Draw]:
    """Draw blocks again, origin by origin; every method has the same blocks in the same replicate.

    Parameters
    ----------
    places
        (spots, 2) in µm, of each slide.
    predicted
        (spots, methods) of each slide.
    observed
        (spots,) of each slide.
    block_um
        Side of the squares, whose grid has a random origin.
    replicates
        Of all origins together; with 0 only the spots as they are, under every origin.
    """
    rng = np.random.default_rng(seed)
    scale_x, scale_y = _measure_scale(predicted), _measure_scale(observed)
    for part in np.array_split(np.arange(replicates), min(ORIGINS, replicates) or ORIGINS):
        origin, moments, weights = rng.random(2) * block_um, [], []
        for place, own_x, own_y in zip(places, predicted, observed, strict=True):
            x, y = ((own - mean) / spread for own, (mean, spread) in ((own_x, scale_x), (own_y, scale_y)))
            moments.append(_add_up_blocks(place, x, y, block_um, origin))
            blocks = len(moments[-1])
            drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=len(part))
            weights.append(np.vstack([np.ones(blocks), drawn]).astype(np.uint16))
        yield Draw(moments, weights)


def assign_blocks(place: np.ndarray, block_um: float, origin: np.ndarray) -> np.ndarray:
    """Number of each spot's square, 0, 1, … without gaps; int (spots,)."""
    return _number_squares(np.ascontiguousarray((place - origin) / block_um))[0]


def about_means(totals: np.ndarray) -> np.ndarray:
    """Sums of squares and products about the means, (3, …, methods): xx, yy, xy; from (…, 6, methods)."""
    n, x, y, xx, yy, xy = np.moveaxis(totals, -2, 0)
    return np.stack([xx - x * x / n, yy - y * y / n, xy - x * y / n])


def correlate_sums(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """r of the sums of `about_means`; NaN where a side is constant."""
    # What rounding leaves of a constant is no variation; values have a standard deviation of 1.
    enough = (xx > ROUNDING) & (yy > ROUNDING)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)


def _add_up_blocks(place: np.ndarray, x: np.ndarray, y: np.ndarray, block_um: float, origin: np.ndarray) -> np.ndarray:
    """Moments of each block that holds spots: (blocks, moments, methods)."""
    # Of one layout, whatever they were taken from: each layout would be compiled for itself.
    return _add_up_squares(np.ascontiguousarray((place - origin) / block_um), np.ascontiguousarray(x), y)


@compile_loops
def _number_squares(place: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of the unit square of each place (spots, 2), row by row and without gaps, and how many there are."""
    column, row = np.empty(len(place), np.int64), np.empty(len(place), np.int64)
    for spot in range(len(place)):
        column[spot], row[spot] = np.floor(place[spot, 0]), np.floor(place[spot, 1])
    first, width = column.min(), column.max() - column.min() + 1
    square = (row - row.min()) * width + column - first
    numbers, taken = np.full(square.max() + 1, -1), 0
    for own in square:
        numbers[own] = 0
    for own in range(len(numbers)):
        if numbers[own] == 0:
            numbers[own] = taken
            taken += 1
    return numbers[square], taken


@compile_loops
def _add_up_squares(place: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Moments of each unit square that holds spots: (squares, 6, methods)."""
    block, blocks = _number_squares(place)
    moments = np.zeros((blocks, 6, x.shape[1]))
    for spot in range(len(place)):
        own, y_own = moments[block[spot]], y[spot]
        for method in range(x.shape[1]):
            x_own = x[spot, method]
            own[0, method] += 1
            own[1, method] += x_own
            own[2, method] += y_own
            own[3, method] += x_own * x_own
            own[4, method] += y_own * y_own
            own[5, method] += x_own * y_own
    return moments


def _measure_scale(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all slides, of each column; NaN for the second of a constant one."""
    n = sum(map(len, parts))
    centre = sum(np.atleast_1d(part.sum(axis=0)) for part in parts) / n
    spread = np.sqrt(sum(np.atleast_1d(((part - centre) ** 2).sum(axis=0)) for part in parts) / n)
    low = np.min([np.atleast_1d(part.min(axis=0)) for part in parts], axis=0)
    high = np.max([np.atleast_1d(part.max(axis=0)) for part in parts], axis=0)
    spread[high - low <= 1e-12 * np.maximum(1, np.maximum(np.abs(low), np.abs(high)))] = np.nan
    return centre, spread
