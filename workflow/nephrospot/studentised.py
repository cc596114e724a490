"""Intervals of correlations from blocks drawn again, in units of each replicate's own standard error.

Plain percentiles of the replicates' r are too short where few blocks hold all that varies (glomeruli). Dividing by
standard errors mends most of it (the symmetric bootstrap-t: Hall 1988, Ann Stat 16:927; Davison & Hinkley 1997,
§5.2.1), on Fisher's scale for one r. A standard error is how far apart the blocks' influences are, an influence
what a block adds to r to first order: what its spots do to the two variances and the covariance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nephrospot.blocks import ROUNDING, Draw, about_means, correlate_sums
from nephrospot.spool import Parts, Spool

MOST_UNDEFINED = 0.05
NO_ERROR = 1e-20  # variance of an r that no block contradicts, such as 1 of equal maps


@dataclass(frozen=True)
class Errors:
    """Correlations of one kind and their variances, of the spots as they are and of every replicate.

    Attributes
    ----------
    r : float (…, methods)
        Of the spots as they are; NaN where a side is constant.
    variance : float (…, methods)
        Of ``r``; mean over the origins.
    drawn, drawn_variance : float (…, replicates, methods)
        The same of each replicate.
    """

    r: np.ndarray
    variance: np.ndarray
    drawn: np.ndarray
    drawn_variance: np.ndarray


@dataclass(frozen=True)
class Resampled:
    """What blocks drawn again say of a cohort.

    Attributes
    ----------
    pooled, within : Errors
        Over all spots, and with each slide's means taken off.
    slides : sequence of Errors
        Of each slide; read when they are asked for.
    covariance : float (methods, methods)
        Of the methods' pooled r; its diagonal is ``pooled.variance``.
    drawn_covariance : float (replicates, methods, methods)
        The same of each replicate.
    n_blocks : int (slides,)
        Blocks that hold spots, the fewest over the origins.
    """

    pooled: Errors
    within: Errors
    slides: Sequence[Errors]
    covariance: np.ndarray
    drawn_covariance: np.ndarray
    n_blocks: np.ndarray


def resample(draws: Iterable[Draw]) -> Resampled:
    """Correlations and variances of all draws."""
    found, n_blocks, spool, n_slides = [], [], Spool(), 0
    for draw in draws:
        totals = draw.add_up()
        whole, about = totals.sum(axis=0), about_means(totals)
        about_whole, about_within = about_means(whole), about.sum(axis=1)
        covariance, within, n_slides = 0.0, 0.0, len(totals)
        for moments, drawn, sums, own in zip(draw.moments, draw.weights, totals, about.swapaxes(0, 1), strict=True):
            weights = drawn.astype(float)
            covariance = covariance + _covary(_influence(moments, whole, about_whole), weights)
            within = within + _vary(_influence(moments, sums, about_within), weights)
            spool.append(np.stack([correlate_sums(*own), _vary(_influence(moments, sums, own), weights)]).tobytes())
        found.append([correlate_sums(*about_whole), correlate_sums(*about_within), covariance, within])
        n_blocks.append([len(own) for own in draw.moments])
    pooled, within, covariance, within_variance = (_join(parts) for parts in zip(*found, strict=True))
    variance = [np.diagonal(one, axis1=-2, axis2=-1) for one in covariance]
    methods = pooled[0].shape[-1]

    def read_slide(number: int) -> Errors:
        pieces = (spool.read(at * n_slides + number) for at in range(len(found)))
        parts = zip(*(np.frombuffer(piece).reshape(2, -1, methods) for piece in pieces), strict=True)
        return _pair(*map(_join, parts))

    slides = Parts(read_slide, range(n_slides))
    return Resampled(
        _pair(pooled, variance), _pair(within, within_variance), slides, *covariance, np.min(n_blocks, axis=0)
    )


def _pair(r: Sequence[np.ndarray], variance: Sequence[np.ndarray]) -> Errors:
    """Of the spots as they are, and of the replicates."""
    return Errors(r[0], variance[0], r[1], variance[1])


def quantile_of_r(errors: Errors, method: int, level: float = 0.95) -> tuple[float, str]:
    """How many standard errors the interval reaches to either side on Fisher's scale, and why that isn't known.

    Replicates without an r or an error are left out; more than 5 % of them leave no interval.
    """
    if errors.variance[method] <= NO_ERROR:
        return 0.0, ""
    drawn, variance = errors.drawn[:, method], errors.drawn_variance[:, method]
    with np.errstate(invalid="ignore", divide="ignore"):
        away = (np.arctanh(drawn) - np.arctanh(errors.r[method])) * (1 - drawn**2) / np.sqrt(variance)
    return _find_quantile(away, level)


def reach_of_r(r: float, error: float, quantile: float) -> tuple[float, float]:
    """Ends of r that are so many standard errors away on Fisher's scale."""
    if error**2 <= NO_ERROR:
        return float(r), float(r)
    z, reach = np.arctanh(r), quantile * error / (1 - r**2)
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def interval_of_difference(found: Resampled, a: int, b: int, level: float = 0.95) -> tuple[float, float, float, str]:
    """Ends of the interval of pooled r(a) − r(b), the p at which it leaves 0 out, and why there is none.

    p is never below 1 / (replicates + 1).
    """
    difference = found.pooled.r[a] - found.pooled.r[b]
    error, drawn_error = (
        np.sqrt(np.maximum(own[..., a, a] + own[..., b, b] - 2 * own[..., a, b], 0))
        for own in (found.covariance, found.drawn_covariance)
    )
    if error**2 <= NO_ERROR:
        return float(difference), float(difference), 1.0 if difference == 0 else 1 / (len(drawn_error) + 1), ""
    with np.errstate(invalid="ignore", divide="ignore"):
        away = (found.pooled.drawn[:, a] - found.pooled.drawn[:, b] - difference) / drawn_error
    quantile, reason = _find_quantile(away, level)
    if reason:
        return np.nan, np.nan, np.nan, reason
    known = np.abs(away[np.isfinite(away)])
    p = ((known >= abs(difference) / error).sum() + 1) / (len(known) + 1)
    return float(difference - quantile * error), float(difference + quantile * error), float(p), ""


def _find_quantile(away: np.ndarray, level: float) -> tuple[float, str]:
    known = np.abs(away[np.isfinite(away)])
    undefined = 1 - len(known) / len(away)
    if undefined > MOST_UNDEFINED:
        return np.nan, f"{undefined:.0%} of the replicates had no variation"
    return float(np.quantile(known, level)), ""


def _influence(moments: np.ndarray, sums: np.ndarray, about: np.ndarray) -> np.ndarray:
    """What each block adds to r, to first order: (methods, replicates, blocks).

    Parameters
    ----------
    moments : (blocks, 6, methods)
    sums : (replicates, 6, methods)
        Whose means are taken off.
    about : (3, replicates, methods)
        Sums of squares and products that r is made of.
    """
    n, x, y = (sums[:, at] for at in range(3))
    x, y, (xx, yy, xy) = x / n, y / n, about
    # A side that is constant, and what rounding leaves of it, has no influence that could be told.
    xx, yy = (np.where(own > ROUNDING, own, np.nan) for own in (xx, yy))
    both = np.sqrt(xx * yy)
    half_r = xy / both / 2
    factors = [
        x * y / both - half_r * (x * x / xx + y * y / yy),
        2 * half_r * x / xx - y / both,
        2 * half_r * y / yy - x / both,
        -half_r / xx,
        -half_r / yy,
        1 / both,
    ]
    return np.stack(factors, axis=-1).swapaxes(0, 1) @ moments.transpose(2, 1, 0)


def _vary(influence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance of the sum of a slide's influences: (replicates, methods)."""
    blocks = weights.shape[1]
    weighted = influence * weights
    squares = (weighted * influence).sum(axis=-1) - weighted.sum(axis=-1) ** 2 / blocks
    return squares.T * blocks / max(blocks - 1, 1)


def _covary(influence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`_vary` of every two methods: (replicates, methods, methods)."""
    blocks = weights.shape[1]
    weighted, sums = influence * weights, (influence * weights).sum(axis=-1).T
    products = weighted.transpose(1, 0, 2) @ influence.transpose(1, 2, 0)
    return (products - sums[:, :, None] * sums[:, None] / blocks) * blocks / max(blocks - 1, 1)


def _join(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The origins' first rows, the spots as they are, averaged; and all replicates."""
    return [np.mean([part[0] for part in parts], axis=0), np.concatenate([part[1:] for part in parts])]
