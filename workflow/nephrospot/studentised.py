"""Intervals of correlations from blocks drawn again, in units of each replicate's own standard error.

Plain percentiles of the replicates' r are too short where few blocks hold all that varies (glomeruli). Dividing by
standard errors mends most of it (the symmetric bootstrap-t: Hall 1988, Ann Stat 16:927; Davison & Hinkley 1997,
§5.2.1), on Fisher's scale for one r. A standard error is how far apart the blocks' influences are
(`nephrospot.influences`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nephrospot.blocks import Draw, about_means, correlate_sums
from nephrospot.influences import covary_influences
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
        n_slides = len(draw.sums)
        whole, about_within, covariance, within = 0.0, 0.0, 0.0, 0.0
        for sums in draw.sums:
            whole, about_within = whole + sums, about_within + about_means(sums)
        about_whole = about_means(whole)
        for moments, weights, sums in zip(draw.moments, draw.weights, draw.sums, strict=True):
            own = about_means(sums)
            covariance = covariance + covary_influences(moments, weights, whole, about_whole)
            within = within + _vary(moments, weights, sums, about_within)
            spool.append(np.stack([correlate_sums(*own), _vary(moments, weights, sums, own)]).tobytes())
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
    drawn, variance = errors.drawn[:, method], _without_rounding(errors.drawn_variance[:, method])
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
    variance, drawn_variance = (
        own[..., a, a] + own[..., b, b] - 2 * own[..., a, b] for own in (found.covariance, found.drawn_covariance)
    )
    error, drawn_error = np.sqrt(np.maximum(variance, 0)), np.sqrt(_without_rounding(drawn_variance))
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


def _without_rounding(variance: np.ndarray) -> np.ndarray:
    """Variances, NaN where rounding is all there is: of few blocks, a replicate may hold one alone, again and again."""
    return np.where(variance > NO_ERROR, variance, np.nan)


def _find_quantile(away: np.ndarray, level: float) -> tuple[float, str]:
    known = np.abs(away[np.isfinite(away)])
    undefined = 1 - len(known) / len(away)
    if undefined > MOST_UNDEFINED:
        return np.nan, f"{undefined:.0%} of the replicates had no variation"
    return float(np.quantile(known, level)), ""


def _vary(*given: np.ndarray) -> np.ndarray:
    """Variances of `covary_influences`: (replicates, methods)."""
    return np.diagonal(covary_influences(*given), axis1=1, axis2=2)


def _join(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The origins' first rows, the spots as they are, averaged; and all replicates."""
    return [np.mean([part[0] for part in parts], axis=0), np.concatenate([part[1:] for part in parts])]
