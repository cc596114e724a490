"""One comparison a process: the same tables, and the same sentences when something is wrong."""

from functools import partial

import numpy as np
import pytest

from nephrospot.comparisons import measure_comparisons
from nephrospot.errors import InputError
from spots_by_hand import hexagons, make_pairs

COMPARISONS = [{"tissue": "PT", "reference": "rctd"}, {"tissue": "CAP", "reference": "pathologist"}]
METHODS = ["b", "a"]


def join(broken, comparisons):
    """Two slides of each comparison."""
    for comparison in comparisons:
        if comparison["tissue"] == broken:
            raise InputError(f"slide K1: no column {broken}; add it.")
        place, rng = hexagons(12, 10), np.random.default_rng(len(comparison["reference"]))
        maps = {}
        for slide in ("K1", "K2"):
            y = rng.uniform(0, 50, len(place))
            maps[slide] = place, {method: y + rng.normal(0, 20, len(place)) for method in METHODS}, y
        yield make_pairs(maps, tissue=comparison["tissue"], reference=comparison["reference"])


def measure(processes, broken="", comparisons=COMPARISONS):
    return measure_comparisons(
        partial(join, broken), comparisons, METHODS, seed=1, looked_at=["a"], replicates=40, processes=processes
    )


def test_processes_make_no_difference():
    alone, beside = measure(1), measure(2)
    assert all(one.equals(other) for one, other in zip(alone, beside, strict=True))
    correlations, differences, worst = alone
    order = correlations.drop_duplicates(["method", "tissue"])[["method", "tissue"]].to_numpy().tolist()
    assert order == [["b", "PT"], ["b", "CAP"], ["a", "PT"], ["a", "CAP"]], "by method, then by comparison, as given"
    assert len(differences) == 2 and set(worst["method"]) == {"a"}


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_wrong_is_told_as_it_is(processes):
    with pytest.raises(InputError, match=r"slide K1: no column CAP; add it\."):
        measure(processes, broken="CAP")


def test_no_comparisons_make_empty_tables():
    correlations, differences, worst = measure(2, comparisons=[])
    assert correlations.empty and differences.empty and worst.empty
    assert {"r", "n_eff", "interval"} <= set(correlations)
