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
    predicted, observed = _standardise(predicted), _standardise([y[:, None] for y in observed])
    totals, fewest = [[] for _ in places], np.full(len(places), np.iinfo(int).max)
    origins = min(ORIGINS, replicates)
    sizes = [len(part) for part in np.array_split(np.arange(replicates), origins)]
    for size in sizes:
        origin = rng.random(2) * block_um
        for slide, (place, x, y) in enumerate(zip(places, predicted, observed, strict=True)):
            moments = _add_up_blocks(place, x, y, block_um, origin)
            blocks = len(moments)
            fewest[slide] = min(fewest[slide], blocks)
            drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=size)
            totals[slide].append((drawn @ moments.reshape(blocks, -1)).reshape(size, MOMENTS, -1))
    by_slide = np.stack([np.concatenate(own) for own in totals])  # (slides, replicates, moments, methods)
    whole = by_slide.sum(axis=0)
    # With its own means taken off, a slide's sums are the moments about them.
    inner = sum(_about_means(own) for own in by_slide)
    return Replicates(
        pooled=_correlation(*_about_means(whole)),
        within=_correlation(*inner),
        slides=np.stack([_correlation(*_about_means(own)) for own in by_slide]),
        n_blocks=fewest,
    )


def assign_blocks(place: np.ndarray, block_um: float, origin: np.ndarray) -> np.ndarray:
    """Number of each spot's square, 0, 1, … without gaps; int (spots,)."""
    column, row = np.floor((place - origin) / block_um).astype(np.int64).T
    return np.unique(np.stack([row, column]), axis=1, return_inverse=True)[1].ravel()


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
    block = assign_blocks(place, block_um, origin)
    y = np.broadcast_to(y, x.shape)
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    moments = np.zeros((block.max() + 1, *terms.shape[1:]))
    np.add.at(moments, block, terms)
    return moments


def _about_means(totals: np.ndarray) -> np.ndarray:
    """Sums of squares and products about the means, (3, replicates, methods): xx, yy, xy."""
    n, x, y, xx, yy, xy = np.moveaxis(totals, 1, 0)
    return np.stack([xx - x * x / n, yy - y * y / n, xy - x * y / n])


def _standardise(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Mean 0 and standard deviation 1 over all slides, for each column; NaN for a constant one."""
    whole = np.concatenate(parts)
    centre, spread = whole.mean(axis=0), whole.std(axis=0)
    spread[np.ptp(whole, axis=0) <= 1e-12 * np.maximum(1, np.abs(whole).max(axis=0))] = np.nan
    return [(part - centre) / spread for part in parts]


def _correlation(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> np.ndarray:
    # What rounding leaves of a constant is no variation; values have a standard deviation of 1.
    enough = (xx > ROUNDING) & (yy > ROUNDING)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)
