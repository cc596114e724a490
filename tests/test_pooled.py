"""Sums and ranks slide by slide are those of all spots at once, however the spots are parted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nephrospot.pooled import Ranks, add_up

# Few different values, so that there are ties, and some that none shares.
VALUES = st.lists(st.one_of(st.sampled_from([0.0, 5.0, 50.0]), st.floats(-1e6, 1e6)), max_size=60)


def part(values, cuts):
    return np.split(np.array(values, float), sorted(cut % (len(values) + 1) for cut in cuts))


@given(VALUES, st.lists(st.integers(0, 60), max_size=4), st.integers(1, 70))
def test_ranks_are_those_of_all_values_at_once(values, cuts, most):
    parts = part(values, cuts)
    found = Ranks(parts, most)
    assert len(found) == len(parts)
    assert np.array_equal(np.concatenate(list(found)), stats.rankdata(values))


def test_values_nearly_all_alike_are_ranked_too():
    values = np.zeros(5000)
    values[::50] = np.arange(100)
    found = Ranks(np.split(values, 10), most=300)
    assert np.array_equal(np.concatenate(list(found)), stats.rankdata(values)), (
        "zeros outnumber what is ranked at a time"
    )


@pytest.mark.parametrize("slides", [1, 3])
def test_moments_are_those_of_all_spots_at_once(slides):
    x, y = np.random.default_rng(slides).normal([[80], [3]], [[9], [2]], (2, 90))
    y += 0.1 * x
    found = add_up(np.split(np.stack([x, y]), slides, axis=1))
    assert found.n == 90 and found.r == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-14)
    assert found.slope == pytest.approx(stats.linregress(x, y).slope)
    assert found.distance == pytest.approx(np.abs(x - y).sum())
    assert found.low.tolist() == [x.min(), y.min()] and found.high.tolist() == [x.max(), y.max()]


def test_a_constant_side_has_no_correlation():
    assert np.isnan(add_up([np.array([[0.1] * 3, [1, 2, 3]]), np.array([[0.3 - 0.2] * 2, [5, 6]])]).r), (
        "but for rounding"
    )
    assert np.isnan(add_up([]).r) and add_up([]).n == 0
