"""RCTD's likelihood tables, computed from their definition instead of downloaded.

In: nothing but the largest count. Out: one .npz that `rctd` reads through ``RCTD_Q_MATRICES``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import gammaln, ndtr

from nephrospot.files import whole

# Sigma × 100, as RCTD searches it: each hundredth to 0.70, then every second to 2.
SIGMAS_PERCENT = np.r_[np.arange(10, 71), np.arange(72, 201, 2)]
STEP = 4e-3  # of the quadrature over y, the log of a gene's random effect
REACH = 20.0  # the quadrature runs from −20 to 20
# Poisson terms below e^-50 of the largest are left out: the density varies by less than e^17 over
# the quadrature, so that what is left out stays below 1e-11 of the sum.
NEGLIGIBLE = 50.0


def rate_grid() -> np.ndarray:
    """Expected counts at which the tables are tabulated, float64 (439,), from 1e-4 to 1600.

    The grid is dense near zero: rates are squares of thousandths, first each one, then with
    steps that grow like a square root (`choose_sigma` and IRWLS of RCTD interpolate on it).
    """
    roots = np.arange(10, 40001)
    place = np.minimum(roots - 9, 40) + np.maximum(np.ceil(np.sqrt(np.maximum(roots - 48.7499, 0) * 4)) - 2, 0)
    _, first = np.unique(place, return_index=True)
    return np.r_[(roots[first[:438]] ** 2) * 1e-6, 1600.0]


def heavy_tailed_density(z: np.ndarray) -> np.ndarray:
    """Normal density whose tails beyond ±3 fall as an inverse square; integrates to one.

    Both value and slope are continuous at ±3 (Cable et al. 2022, Nat Biotechnol 40:517, Methods).

    Parameters
    ----------
    z : array of float
        Standardised value.

    Returns
    -------
    array of float, shape of ``z``
    """
    z = np.abs(z)
    centre, scale = 7 / 3, 4 / 9 * np.exp(-4.5) / np.sqrt(2 * np.pi)
    tail_mass, core_mass = 2 * scale / (3 - centre), ndtr(3) - ndtr(-3)
    core = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    tail = scale / (np.maximum(z, 3) - centre) ** 2
    return np.where(z < 3, core, tail) / (core_mass + tail_mass)


def likelihood_tables(
    counts: np.ndarray,
    rates: np.ndarray,
    sigmas_percent: np.ndarray = SIGMAS_PERCENT,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Log-likelihood of counts under a Poisson whose log rate has a heavy-tailed normal error.

    log ∫ Poisson(k; x·e^y) p_σ(y) dy by the rectangle rule that RCTD uses (10,001 points).
    The Poisson factor knows nothing of σ, so one matrix product serves all σ; and it is negligible
    outside a window in log rate that narrows with the count, so only the window is computed.

    Parameters
    ----------
    counts : array of int, shape (C,)
        Ascending counts k.
    rates : array of float, shape (X,)
        Expected counts x, as from `rate_grid`.
    sigmas_percent : array of int, shape (S,)
        σ × 100.
    progress : callable, optional
        Called with the share done, 0 to 1.

    Returns
    -------
    float64 array, shape (S, C, X)
    """
    counts = np.asarray(counts)
    sigma = np.asarray(sigmas_percent) / 100
    half = round(REACH / STEP)
    y = np.arange(-half, half + 1) * STEP
    weight = heavy_tailed_density(y[:, None] / sigma) / sigma * STEP  # (10001, S)
    table = np.empty((len(sigma), len(counts), len(rates)))
    edges = _block_edges(counts)
    for block, (start, stop) in enumerate(itertools.pairwise(edges)):
        k = counts[start:stop]
        low, high = _window(k[0])[0], _window(k[-1])[1]
        for column, rate in enumerate(rates):
            first = np.searchsorted(y, low - np.log(rate))
            last = np.searchsorted(y, high - np.log(rate), side="right")
            log_mean = np.log(rate) + y[first:last]
            log_poisson = k[:, None] * log_mean - np.exp(log_mean) - gammaln(k + 1.0)[:, None]
            table[:, start:stop, column] = (np.exp(log_poisson) @ weight[first:last]).T
        if progress:
            progress((block + 1) / (len(edges) - 1))
    return np.log(np.maximum(table, 1e-300), out=table)


def _block_edges(counts: np.ndarray) -> list[int]:
    """Places that cut ``counts`` into blocks in which the Poisson windows nearly coincide."""
    edges = [0]
    for place, count in enumerate(counts):
        if count > 1.15 * counts[edges[-1]] + 1:
            edges.append(place)
    return [*edges, len(counts)]


def _window(count: float) -> tuple[float, float]:
    """Log rates (low, high) outside which the Poisson probability of ``count`` is negligible."""
    log_mean = np.arange(-40.0, 40.0, 0.01)
    peak = count * np.log(count) - count if count else 0.0
    kept = log_mean[count * log_mean - np.exp(log_mean) > peak - NEGLIGIBLE]
    return kept[0] - 0.01, kept[-1] + 0.01


def write_likelihood_tables(
    path: str | Path, max_count: int = 1000, progress: Callable[[float], None] | None = None
) -> None:
    """Write the tables as ``rctd`` 0.4.0 reads them: ``X_vals`` and one ``Q_<100σ>`` per σ.

    The file holds 126 arrays of (max_count + 3) × 439 float64 (444 MB for 1,000).

    Parameters
    ----------
    path : path of the .npz
        Written whole or not at all.
    max_count : int
        Counts above it are treated as this count by RCTD.
    progress : callable, optional
        Called with the share done, 0 to 1.

    Raises
    ------
    InputError
        When the disk is full.
    """
    rates = rate_grid()
    tables = likelihood_tables(np.arange(max_count + 3), rates, progress=progress)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, X_vals=rates, **{f"Q_{s}": q for s, q in zip(SIGMAS_PERCENT, tables, strict=True)})
