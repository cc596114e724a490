"""Is a better than b: the family, ties, a method without a correlation, and new animals apart."""

import numpy as np
import pytest
from scipy import stats

from nephrospot.differences import COLUMNS, compare_methods
from nephrospot.pairs import gather_pairs
from spots_by_hand import hexagons, make_pairs, smooth_maps

PT = [{"tissue": "PT", "reference": "rctd"}]
METHODS = ["good", "twin", "poor", "flat"]


@pytest.fixture(scope="module")
def pairs():
    maps = {}
    for slide in range(4):
        place = hexagons(18, 18)
        own = smooth_maps(place, 120, 3, seed=slide)
        observed, good = own[:, 0], own[:, 0] + 0.6 * own[:, 1]
        predicted = {"good": good, "twin": good + 0.02 * own[:, 2], "poor": own[:, 0] + 2 * own[:, 2]}
        maps[f"K{slide}"] = (place, predicted | {"flat": np.zeros(len(place)), "truth": observed}, observed)
    return make_pairs(maps)


def compare(pairs, methods, **options):
    return compare_methods(gather_pairs([pairs], PT, methods), methods, **options)


@pytest.fixture(scope="module")
def table(pairs):
    return compare(pairs, [*METHODS, "truth"], seed=1, ceilings=["truth"], replicates=400)


def test_every_two_methods_are_compared_and_no_ceiling(table):
    assert list(table.columns) == COLUMNS
    assert not table.isin(["truth"]).any(axis=None)
    assert len(table) == 3 + 1, "three pairs, and the best with the one that has no correlation"
    assert (table["n"] == 4 * 18 * 18).all() and (table["n_slides"] == 4).all()


def test_the_best_is_better_than_the_poor_one_and_a_tie_with_its_twin(table):
    best = table[table["with_best"]].set_index("method_b")
    (name,) = best["method_a"].unique()
    other = {"good": "twin", "twin": "good"}[name]
    assert best.loc["poor", "separable"] and best.loc["poor", "lo"] > 0
    assert not best.loc[other, "separable"] and best.loc[other, "lo"] < 0.01
    assert (best["diff"].dropna() >= 0).all()


def test_a_method_without_a_correlation_counts_in_the_family(table):
    row = table[table["method_b"] == "flat"].iloc[0]
    assert row["with_best"] and not row["separable"] and np.isnan(row["p_holm"])
    assert row["reason"] == "flat has no correlation here"
    poor = table[table["with_best"] & (table["method_b"] == "poor")].iloc[0]
    assert poor["p_holm"] == pytest.approx(min(1, 3 * poor["p"])), "three comparisons, this one the clearest"


def test_the_wider_interval_is_taken(table):
    known = table[table["method_b"] != "flat"]
    zou, boot = (known[f"{name}_hi"] - known[f"{name}_lo"] for name in ("zou", "boot"))
    assert np.allclose(known["hi"] - known["lo"], np.maximum(zou, boot))
    assert ((known["lo"] <= known["diff"]) & (known["diff"] <= known["hi"])).all()


def test_new_animals_are_judged_by_the_slides(pairs, table):
    row = table[(table["method_a"] == "good") & (table["method_b"] == "poor")]
    row = row if len(row) else table[(table["method_a"] == "twin") & (table["method_b"] == "poor")]
    row = row.iloc[0]
    z = {}
    for method in (row["method_a"], "poor"):
        own = pairs[pairs["method"] == method].groupby("slide")[["predicted", "observed"]]
        z[method] = np.arctanh([part.corr().iloc[0, 1] for _, part in own])
    expected = stats.ttest_rel(z[row["method_a"]], z["poor"])
    assert row["t_p"] == pytest.approx(expected.pvalue) and row["t_slides"] == 4
    assert row["t_diff"] == pytest.approx(np.mean(z[row["method_a"]] - z["poor"]))


def test_one_slide_says_nothing_of_new_animals(pairs):
    table = compare(pairs[pairs["slide"] == "K0"], METHODS, seed=1, replicates=50)
    assert table["t_p"].isna().all() and table["p"].notna().any()


def test_nothing_to_compare_gives_an_empty_table(pairs):
    assert len(compare(pairs[:0], METHODS, seed=1)) == 0
    assert len(compare(pairs, ["good"], seed=1, replicates=50)) == 0
