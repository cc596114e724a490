"""Blocks of spots drawn again: neighbours stay together, and a map may be of any shape.

A replicate draws, slide by slide, as many blocks as the slide has, with replacement. A block enters as its moments, so
that all replicates of all methods are one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from nephrospot.compiled import compile_loops
from nephrospot.influences import ROUNDING
from nephrospot.spatial import alike_within_um
from nephrospot.spool import Parts, Spool

REPLICATES = 2000
ORIGINS = 20  # of the grid of blocks; each serves as many replicates
SMALLEST_UM = 600.0
FEWEST_BLOCKS = 8  # a slide


class Draw:
    """The replicates of one origin of the grid, after the spots as they are; a slide is held at a time.

    Attributes
    ----------
    moments : sequence of float (blocks, 6, methods)
        Of each slide's blocks: number, Σx, Σy, Σx², Σy², Σxy, of values of mean 0 and standard deviation 1.
    weights : sequence of uint16 (1 + replicates, blocks)
        How often each block was drawn; once each in the first row.
    sums : sequence of float (1 + replicates, 6, methods)
        Moments of each slide.
    """

    def __init__(self, slides: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        spools, shape = (Spool(), Spool(), Spool()), ()
        for moments, weights in slides:
            shape = len(weights), *moments.shape[1:]
            sums = weights.astype(float) @ moments.reshape(len(moments), -1)
            for spool, values in zip(spools, (moments, weights, sums), strict=True):
                spool.append(values.tobytes())
        shapes = (-1, *shape[1:]), (*shape[:1], -1), shape
        self.moments, self.weights, self.sums = (
            Parts(partial(_read_values, spool, kind, own), range(len(spool)))
            for spool, kind, own in zip(spools, (float, np.uint16, float), shapes, strict=True)
        )


def _read_values(spool: Spool, kind: type, shape: tuple[int, ...], slide: int) -> np.ndarray:
    # Copied, since compiled loops would be compiled again for what can't be written to.
    return np.frombuffer(spool.read(slide), kind).reshape(shape).copy()


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
    scales = _measure_scale(predicted), _measure_scale(observed)

    def draw_slides(origin: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for place, *own in zip(places, predicted, observed, strict=True):
            x, y = ((values - mean) / spread for values, (mean, spread) in zip(own, scales, strict=True))
            moments = _add_up_blocks(place, x, y, block_um, origin)
            blocks = len(moments)
            drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=count)
            yield moments, np.vstack([np.ones(blocks), drawn]).astype(np.uint16)

    for part in np.array_split(np.arange(replicates), min(ORIGINS, replicates) or ORIGINS):
        yield Draw(draw_slides(rng.random(2) * block_um, len(part)))


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
