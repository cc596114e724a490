"""Intervals of a correlation and of the difference of two, where spots count for as many as they are worth."""

from __future__ import annotations

import numpy as np
from scipy import stats

FEWEST = 4.0  # effective spots; below, nothing can be said


def fisher_interval(r: float, n_eff: float, level: float = 0.95) -> tuple[float, float]:
    """Ends of the interval of a correlation by Fisher's z, tanh(atanh r ± z / √(n_eff − 3)).

    NaN where ``n_eff`` isn't above 4, or r isn't a number. For maps of one value almost everywhere (glomeruli, vessels)
    it is too short: `nephrospot.blocks` stands beside it.
    """
    if not (np.isfinite(r) and n_eff > FEWEST):
        return np.nan, np.nan
    # Exactly ±1 has no z, and no doubt either.
    z = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    reach = stats.norm.isf((1 - level) / 2) / np.sqrt(n_eff - 3)
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def zou_interval(
    r_a: float, r_b: float, r_ab: float, n_a: float, n_b: float, level: float = 0.95
) -> tuple[float, float]:
    """Ends of the interval of r(a, y) − r(b, y), whose y is the same (Zou 2007, Psychol Methods 12:399, section on
    overlapping correlations).

    Parameters
    ----------
    r_a, r_b
        Of each method with the reference.
    r_ab
        Of the two methods with each other.
    n_a, n_b
        What their spots are worth (`nephrospot.spatial`), each with the reference.
    """
    (lo_a, hi_a), (lo_b, hi_b) = fisher_interval(r_a, n_a, level), fisher_interval(r_b, n_b, level)
    shared = correlation_of_correlations(r_a, r_b, r_ab)
    down_a, up_a, down_b, up_b = r_a - lo_a, hi_a - r_a, r_b - lo_b, hi_b - r_b
    below = np.sqrt(max(0.0, down_a**2 + up_b**2 - 2 * shared * down_a * up_b))
    above = np.sqrt(max(0.0, up_a**2 + down_b**2 - 2 * shared * up_a * down_b))
    if not np.isfinite([lo_a, hi_a, lo_b, hi_b]).all():
        return np.nan, np.nan
    return float(r_a - r_b - below), float(r_a - r_b + above)


def correlation_of_correlations(r_a: float, r_b: float, r_ab: float) -> float:
    """Of two sample correlations with one variable in common (Olkin & Siotani; Zou 2007, equation 9)."""
    apart = (1 - r_a**2) * (1 - r_b**2)
    if apart < 1e-12:
        return 0.0
    shared = (r_ab - r_a * r_b / 2) * (1 - r_a**2 - r_b**2 - r_ab**2) + r_ab**3
    return float(np.clip(shared / apart, -1, 1))


def zou_p(r_a: float, r_b: float, r_ab: float, n_a: float, n_b: float) -> float:
    """The smallest 1 − level at which Zou's interval leaves 0 out, by halving."""
    if not np.isfinite(zou_interval(r_a, r_b, r_ab, n_a, n_b)).all():
        return np.nan
    low, high = 0.0, 40.0  # standard deviations

    def outside(deviations: float) -> bool:
        lo, hi = zou_interval(r_a, r_b, r_ab, n_a, n_b, 1 - 2 * stats.norm.sf(deviations))
        return lo > 0 or hi < 0

    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) else (low, middle)
    return float(2 * stats.norm.sf(low))
