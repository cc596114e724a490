"""All that is said of each comparison of a cohort, one comparison a process: nothing of one is needed for another."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pandas as pd

from nephrospot.blocks import REPLICATES
from nephrospot.certainty import add_certainty
from nephrospot.correlate import correlate
from nephrospot.differences import compare_methods
from nephrospot.pairs import gather_pairs
from nephrospot.worst import choose_worst


def measure_comparisons(
    join: Callable[[Sequence[Mapping[str, str]]], Iterable[pd.DataFrame]],
    comparisons: Sequence[Mapping[str, str]],
    methods: Sequence[str],
    seed: int,
    ceilings: Sequence[str] = (),
    looked_at: Sequence[str] = (),
    replicates: int = REPLICATES,
    processes: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Correlations, differences and worst spots of a cohort.

    Parameters
    ----------
    join : function
        Of comparisons: `nephrospot.cohort.join_cohort` with all else given.
    comparisons
        ``{"tissue", "reference"}``, in the order wanted.
    methods
        In the order wanted.
    ceilings, looked_at
        Methods that are a truth, and those whose worst spots are wanted.
    processes
        Comparisons that are worked on at a time; each holds about a slide and its own results.

    Returns
    -------
    correlations
        Of `nephrospot.certainty.add_certainty`: by method, then by comparison.
    differences
        Of `nephrospot.differences.compare_methods`.
    worst
        Of `nephrospot.worst.choose_worst`.

    Raises
    ------
    InputError
        What the tables' readers find wrong.
    """
    work = partial(_measure, join, list(methods), seed, list(ceilings), list(looked_at), replicates)
    if min(processes, len(comparisons)) > 1:
        # Forked: a script of Snakemake's can't be imported again, as the other ways would.
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            parts = list(pool.map(work, [[comparison] for comparison in comparisons]))
    else:
        parts = [work([comparison]) for comparison in comparisons] or [work([])]
    correlations, differences, worst = (_stack(tables) for tables in zip(*parts, strict=True))
    order = correlations["method"].map({method: place for place, method in enumerate(methods)})
    correlations = correlations.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    worst = worst.sort_values(["method", "tissue", "reference"], kind="stable", ignore_index=True)
    return correlations, differences, worst


def _measure(join, methods, seed, ceilings, looked_at, replicates, comparisons) -> tuple[pd.DataFrame, ...]:
    cohort = gather_pairs(join(comparisons) if comparisons else (), comparisons, methods)
    correlations = add_certainty(correlate(cohort, methods), cohort, seed, replicates)
    differences = compare_methods(cohort, methods, seed, ceilings, replicates)
    return correlations, differences, choose_worst(cohort, looked_at)


def _stack(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below one another; one without rows says nothing of the columns' types."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
