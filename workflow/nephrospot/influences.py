"""How far apart the influences of a slide's blocks on r are.

An influence is what a block adds to r to first order: what its spots do to the two variances and the covariance.
Compiled, since there are some of every replicate, block and method, and each is a handful of products.
"""

from __future__ import annotations

import numpy as np

from nephrospot.compiled import compile_loops

ROUNDING = 1e-9  # of sums of squares, of values with a standard deviation of 1


@compile_loops
def covary_influences(moments: np.ndarray, weights: np.ndarray, sums: np.ndarray, about: np.ndarray) -> np.ndarray:
    """Covariances of the sums of a slide's influences, of every two methods; NaN where a side is constant.

    Parameters
    ----------
    moments : float (blocks, 6, methods)
        Of each block: number, Σx, Σy, Σx², Σy², Σxy.
    weights : (replicates, blocks)
        How often each block was drawn.
    sums : float (replicates, 6, methods)
        Moments whose means are taken off.
    about : float (3, replicates, methods)
        Sums of squares and products, xx, yy, xy, that r is made of.

    Returns
    -------
    float (replicates, methods, methods)
    """
    blocks, _, methods = moments.shape
    found, factors = np.zeros((len(weights), methods, methods)), np.empty((6, methods))
    influence, total = np.empty(methods), np.empty(methods)
    for replicate in range(len(weights)):
        for a in range(methods):
            x, y = sums[replicate, 1, a] / sums[replicate, 0, a], sums[replicate, 2, a] / sums[replicate, 0, a]
            xx, yy, xy = about[0, replicate, a], about[1, replicate, a], about[2, replicate, a]
            # A side that is constant, and what rounding leaves of it, has no influence that could be told.
            both = np.sqrt(xx * yy) if xx > ROUNDING and yy > ROUNDING else np.nan
            half_r = xy / both / 2
            factors[0, a] = x * y / both - half_r * (x * x / xx + y * y / yy)
            factors[1, a] = 2 * half_r * x / xx - y / both
            factors[2, a] = 2 * half_r * y / yy - x / both
            factors[3, a], factors[4, a], factors[5, a] = -half_r / xx, -half_r / yy, 1 / both
        total[:] = 0.0
        products = found[replicate]
        for block in range(blocks):
            weight = weights[replicate, block]
            if weight == 0:
                continue
            for a in range(methods):
                influence[a] = 0.0
                for moment in range(6):
                    influence[a] += factors[moment, a] * moments[block, moment, a]
                total[a] += weight * influence[a]
                for b in range(a + 1):
                    products[a, b] += weight * influence[a] * influence[b]
        for a in range(methods):
            for b in range(a + 1):
                products[a, b] = (products[a, b] - total[a] * total[b] / blocks) * blocks / max(blocks - 1, 1)
                products[b, a] = products[a, b]
    return found
