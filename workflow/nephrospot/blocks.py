"""Correlations with blocks of spots drawn again: neighbours stay together, and a map may be of any shape.

A replicate draws, slide by slide, as many blocks as the slide has, with replacement. A block enters as its moments, so
that all replicates of all methods are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephrospot.spatial import alike_within_um

REPLICATES = 2000
ORIGINS = 20  # of the grid of blocks; each serves as many replicates
SMALLEST_UM = 600.0
FEWEST_BLOCKS = 8  # a slide
MOST_UNDEFINED = 0.05
ROUNDING = 1e-9
MOMENTS = 6  # number, Σx, Σy, Σx², Σy², Σxy
SLIDES_AT_ONCE = 64


@dataclass(frozen=True)
class Replicates:
    """Correlations of every replicate.

    Attributes
    ----------
    pooled, within : float (replicates, methods)
        Over all spots, and with each slide's means taken off; NaN where a side is constant.
    slides : float (slides, replicates, methods)
    n_blocks : int (slides,)
        Blocks that hold spots, the fewest over the origins.
    """

    pooled: np.ndarray
    within: np.ndarray
    slides: np.ndarray
    n_blocks: np.ndarray


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
) -> Replicates:
    """Draw blocks again and correlate; every method has the same blocks in the same replicate.

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
    """
    rng = np.random.default_rng(seed)
    scale_x, scale_y = _measure_scale(predicted), _measure_scale(observed)
    n, fewest = len(scale_x[0]), np.full(len(places), np.iinfo(int).max)
    whole, inner = np.zeros((replicates, MOMENTS, n)), np.zeros((3, replicates, n))
    slides = np.empty((len(places), replicates, n))
    for part in np.array_split(np.arange(replicates), min(ORIGINS, replicates)):
        origin = rng.random(2) * block_um
        for group in np.array_split(np.arange(len(places)), -(-len(places) // SLIDES_AT_ONCE)):
            totals = np.empty((len(group), len(part), MOMENTS, n))
            for own, slide in zip(totals, group, strict=True):
                x, y = (
                    (side[slide] - mean) / spread
                    for side, (mean, spread) in ((predicted, scale_x), (observed, scale_y))
                )
                moments = _add_up_blocks(places[slide], x, y, block_um, origin)
                blocks = len(moments)
                fewest[slide] = min(fewest[slide], blocks)
                drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=len(part))
                own[:] = (drawn.astype(float) @ moments.reshape(blocks, -1)).reshape(own.shape)
            # With its own means taken off, a slide's sums are the moments about them.
            about = _about_means(totals)
            whole[part] += totals.sum(axis=0)
            inner[:, part] += about.sum(axis=1)
            slides[group[:, None], part] = _correlation(*about)
    return Replicates(_correlation(*_about_means(whole)), _correlation(*inner), slides, fewest)


def assign_blocks(place: np.ndarray, block_um: float, origin: np.ndarray) -> np.ndarray:
    """Number of each spot's square, 0, 1, … without gaps; int (spots,)."""
    column, row = np.floor((place - origin) / block_um).astype(np.int64).T
    square = (row - row.min()) * (np.ptp(column) + 1) + column - column.min()
    taken = np.bincount(square) > 0
    return (np.cumsum(taken) - 1)[square]


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, str]:
    """Ends of the interval that holds this share of the replicates, and why there is none.

    Parameters
    ----------
    values : float (replicates,)
        Correlations or differences; undefined ones are left out, unless more than 5 % are.
    """
    known = values[np.isfinite(values)]
    undefined = 1 - len(known) / len(values)
    if undefined > MOST_UNDEFINED:
        return np.nan, np.nan, f"{undefined:.0%} of the replicates had no variation"
    lo, hi = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(lo), float(hi), ""


def two_sided_p(values: np.ndarray) -> float:
    """How rarely the replicates cross 0: twice the smaller share on one side, never below 2 / (replicates + 1)."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan
    return float(min(1.0, 2 * (min((known <= 0).sum(), (known >= 0).sum()) + 1) / (len(known) + 1)))


def _add_up_blocks(place: np.ndarray, x: np.ndarray, y: np.ndarray, block_um: float, origin: np.ndarray) -> np.ndarray:
    """Moments of each block that holds spots: (blocks, moments, methods)."""
    block, x = assign_blocks(place, block_um, origin), np.ascontiguousarray(x.T)
    alike = [np.bincount(block), *(np.bincount(block, values) for values in (y, y * y))]
    own = [[np.bincount(block, values) for values in terms] for terms in (x, x * x, x * y)]
    n, sum_y, sum_yy = (np.broadcast_to(sums, (len(x), len(sums))) for sums in alike)
    sum_x, sum_xx, sum_xy = own
    return np.stack([n, sum_x, sum_y, sum_xx, sum_yy, sum_xy]).transpose(2, 0, 1)


def _about_means(totals: np.ndarray) -> np.ndarray:
    """Sums of squares and products about the means, (3, …, methods): xx, yy, xy; from (…, moments, methods)."""
    n, x, y, xx, yy, xy = np.moveaxis(totals, -2, 0)
    return np.stack([xx - x * x / n, yy - y * y / n, xy - x * y / n])


def _measure_scale(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all slides, of each column; NaN for the second of a constant one."""
    n = sum(map(len, parts))
    centre = sum(np.atleast_1d(part.sum(axis=0)) for part in parts) / n
    spread = np.sqrt(sum(np.atleast_1d(((part - centre) ** 2).sum(axis=0)) for part in parts) / n)
    low = np.min([np.atleast_1d(part.min(axis=0)) for part in parts], axis=0)
    high = np.max([np.atleast_1d(part.max(axis=0)) for part in parts], axis=0)
    spread[high - low <= 1e-12 * np.maximum(1, np.maximum(np.abs(low), np.abs(high)))] = np.nan
    return centre, spread


def _correlation(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> np.ndarray:
    # What rounding leaves of a constant is no variation; values have a standard deviation of 1.
    enough = (xx > ROUNDING) & (yy > ROUNDING)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)
