"""Is one method better than another: on these slides, and in new animals. Two questions, two answers.

On these slides: the wider of Zou's interval with effective numbers and the paired blocks', Holm-adjusted over the
comparisons with the best method. In new animals: a paired t over the slides' Fisher z, for which four slides are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nephrospot.blocks import FEWEST_BLOCKS, REPLICATES
from nephrospot.certainty import FEWEST_SPOTS, Stack, stack_common
from nephrospot.fisher import zou_interval, zou_p
from nephrospot.pairs import Pairs
from nephrospot.studentised import interval_of_difference

LEVEL = 0.05
FIGURES = [
    "r_a", "r_b", "diff", "lo", "hi", "zou_lo", "zou_hi", "boot_lo", "boot_hi", "block_um", "n_blocks", "p", "p_holm",
    "t_diff", "t_lo", "t_hi", "t_p",
]  # fmt: skip
COLUMNS = [
    "method_a", "method_b", "tissue", "reference", "n", "n_slides", *FIGURES, "t_slides", "with_best", "separable",
    "reason",
]  # fmt: skip


def compare_methods(
    cohort: Iterable[Pairs],
    methods: Sequence[str],
    seed: int,
    ceilings: Sequence[str] = (),
    replicates: int = REPLICATES,
) -> pd.DataFrame:
    """Every two methods against the same reference, on the spots that all methods have.

    Parameters
    ----------
    cohort
        Of `nephrospot.pairs.gather_pairs`, a comparison each, with places in µm.
    ceilings
        Methods that are a truth: they are compared with nothing.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``diff`` is r of a less r of b, pooled over slides, with its 95 % interval ``lo`` to ``hi``, the
        wider of ``zou_*`` and ``boot_*``; ``p`` the larger of theirs. ``with_best``: a is the method with the highest
        r. Among those rows ``p_holm`` is adjusted, and ``separable`` says whether it is below 0.05 (a is better);
        elsewhere they are NaN and False. ``t_*``: difference of the slides' Fisher z, its interval and p by a paired t
        over ``t_slides`` slides; the difference is of z, not of r. A method without a correlation has a row with the
        best and a reason; it counts in the family with p 1.
    """
    rows = []
    contenders = [method for method in methods if method not in ceilings]
    for pairs in cohort:
        stack = stack_common(pairs, contenders)
        if stack is None or len(stack) < FEWEST_SPOTS:
            continue
        rows += [pairs.key | row for row in _compare(stack, contenders, seed, replicates)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"with_best": bool, "separable": bool})


def _compare(stack: Stack, methods: Sequence[str], seed: int, replicates: int) -> list[dict]:
    matrix = _pool_correlations(stack.values)
    r = dict(zip(stack.methods, matrix[:-1, -1], strict=True))
    known = [method for method in stack.methods if np.isfinite(r[method])]
    lost = [method for method in methods if method not in known]
    if not known:
        return []
    covariances = sum(stack.covariances[1:], stack.covariances[0])
    n_eff = {method: covariances.effective_size(place, -1) for place, method in enumerate(stack.methods)}
    found = stack.resample(seed, replicates)
    n_blocks = int(found.n_blocks.min())
    best = max(known, key=r.get)
    z = _slide_z(stack)
    size = {"n": len(stack), "n_slides": len(stack.slides)}
    rows = []
    for pair in combinations(known, 2):
        # The better one first where it is the best, so that a positive difference is in its favour.
        a, b = reversed(pair) if pair[1] == best else pair
        i, j = stack.methods.index(a), stack.methods.index(b)
        given = (r[a], r[b], matrix[i, j], n_eff[a], n_eff[b])
        zou, (lo, hi, p, reason) = zou_interval(*given), interval_of_difference(found, i, j)
        row = {"method_a": a, "method_b": b, "r_a": r[a], "r_b": r[b], "diff": r[a] - r[b], "with_best": a == best}
        row |= size | {"block_um": stack.block_um, "n_blocks": n_blocks, "reason": _tell(reason, n_blocks)}
        row |= {"zou_lo": zou[0], "zou_hi": zou[1], "boot_lo": lo, "boot_hi": hi}
        ends = max((ends for ends in (zou, (lo, hi)) if np.isfinite(ends).all()), key=np.ptp, default=(np.nan, np.nan))
        ps = [p for p in (zou_p(*given), p) if np.isfinite(p)]
        row |= {"lo": ends[0], "hi": ends[1], "p": max(ps, default=np.nan), "p_holm": np.nan, "separable": False}
        rows.append(row | _between_animals(z[:, i] - z[:, j]))
    rows += [_unknown(best, method, r, size) for method in lost]
    family = [row for row in rows if row["with_best"]]
    if family:
        ps = [row["p"] if np.isfinite(row["p"]) else 1.0 for row in family]
        for row, p in zip(family, multipletests(ps, method="holm")[1], strict=True):
            if np.isfinite(row["p"]):
                row |= {"p_holm": float(p), "separable": bool(p < LEVEL)}
    return rows


def _unknown(best: str, method: str, r: Mapping[str, float], size: Mapping[str, int]) -> dict:
    row = dict.fromkeys(FIGURES, np.nan) | {"method_a": best, "method_b": method, "r_a": r[best], "t_slides": 0}
    return row | size | {"with_best": True, "separable": False, "reason": f"{method} has no correlation here"}


def _correlations(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(values, rowvar=False)


def _pool_correlations(values: Sequence[np.ndarray]) -> np.ndarray:
    """`_correlations` over all slides, slide by slide."""
    mean = sum(own.sum(axis=0) for own in values) / sum(map(len, values))
    products = sum((own - mean).T @ (own - mean) for own in values)
    spread = np.sqrt(np.diag(products))
    constant = [np.ptp([[own[:, at].min(), own[:, at].max()] for own in values]) == 0 for at in range(len(mean))]
    spread[constant] = np.nan
    return (products / spread / spread[:, None]).clip(-1, 1)


def _slide_z(stack: Stack) -> np.ndarray:
    """Fisher's z of each slide and method, NaN where a side is constant; float (slides, methods)."""
    found = [_correlations(own)[:-1, -1] for own in stack.values]
    return np.arctanh(np.clip(found, -1 + 1e-12, 1 - 1e-12))


def _between_animals(differences: np.ndarray) -> dict:
    """Paired t over slides; with fewer than two there is none."""
    known = differences[np.isfinite(differences)]
    row = {"t_slides": len(known), "t_diff": known.mean() if len(known) else np.nan}
    if len(known) < 2 or np.ptp(known) == 0:
        return row | {"t_lo": np.nan, "t_hi": np.nan, "t_p": np.nan}
    found = stats.ttest_1samp(known, 0)
    ends = found.confidence_interval(1 - LEVEL)
    return row | {"t_lo": float(ends.low), "t_hi": float(ends.high), "t_p": float(found.pvalue)}


def _tell(reason: str, n_blocks: int) -> str:
    if reason:
        return f"no interval from blocks: {reason}"
    return f"too few blocks: {n_blocks} on a slide, {FEWEST_BLOCKS} needed" if n_blocks < FEWEST_BLOCKS else ""
