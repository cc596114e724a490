"""Intervals of one correlation and of two: statsmodels' numbers, Zou's own example, and what symmetry demands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nephrospot.fisher import correlation_of_correlations, fisher_interval, zou_interval, zou_p


def test_fisher_s_interval_is_scipy_s():
    rng = np.random.default_rng(3)
    x = rng.normal(size=80)
    y = x + rng.normal(size=80)
    expected = stats.pearsonr(x, y).confidence_interval(0.95)
    assert fisher_interval(stats.pearsonr(x, y).statistic, 80) == pytest.approx(tuple(expected), abs=1e-12)


def test_too_few_effective_spots_have_none():
    assert np.isnan(fisher_interval(0.5, 4)).all() and np.isnan(fisher_interval(np.nan, 100)).all()
    assert np.isfinite(fisher_interval(1.0, 10)).all()


def test_zou_s_example():
    """Zou 2007: r₁₂ = .396, r₁₃ = .179, r₂₃ = .088 with n = 66 have a difference of .217 from −.093 to .517."""
    assert zou_interval(0.396, 0.179, 0.088, 66, 66) == pytest.approx((-0.093, 0.517), abs=1.5e-3)


RS = st.floats(-0.95, 0.95)


@given(RS, RS, RS, st.floats(10, 2000), st.floats(10, 2000))
def test_swapping_the_methods_turns_the_interval_round(a, b, ab, n_a, n_b):
    lo, hi = zou_interval(a, b, ab, n_a, n_b)
    assert (lo, hi) == pytest.approx(tuple(-end for end in reversed(zou_interval(b, a, ab, n_b, n_a))), abs=1e-12)
    assert lo <= a - b <= hi


@given(RS, RS)
def test_methods_that_agree_differ_surely(a, b):
    """The more alike two methods are, the shorter the interval of their difference."""
    widths = [np.ptp(zou_interval(a, b, ab, 300, 300)) for ab in (a * b, min(0.999, a * b + 0.9 * (1 - abs(a * b))))]
    if correlation_of_correlations(a, b, a * b) < correlation_of_correlations(a, b, 0.999):
        assert widths[1] <= widths[0] + 1e-6


def test_the_p_value_is_where_the_interval_touches_0():
    given_ = (0.75, 0.735, 0.9, 880, 870)
    p = zou_p(*given_)
    assert 0.01 < p < 0.5
    lo, _ = zou_interval(*given_, level=1 - p)
    assert lo == pytest.approx(0, abs=1e-9)
    assert zou_p(0.5, 0.5, 0.3, 100, 100) == 1 and np.isnan(zou_p(0.5, 0.4, 0.3, 3, 100))


def test_williams_t_says_nearly_the_same():
    """The closed-form twin (Steiger 1980, equation 7), n the same for both."""
    n = 900
    for a, b, ab in ((0.7525, 0.743, 0.9), (0.7525, 0.7315, 0.9), (0.6, 0.5, 0.7)):
        determinant = 1 - a**2 - b**2 - ab**2 + 2 * a * b * ab
        mean = (a + b) / 2
        t = (a - b) * np.sqrt((n - 1) * (1 + ab) / (2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - ab) ** 3))
        assert zou_p(a, b, ab, n, n) == pytest.approx(2 * stats.t.sf(t, n - 3), rel=0.1)


def test_the_published_top_three_for_pt_are_a_tie():
    """Omni-Seg's Table II at r_AB .9 and 900 effective spots; p as the project's design has them, by Williams' t."""
    for rival, expected in ((0.7430, 0.32), (0.7404, 0.21), (0.7315, 0.03)):
        assert zou_p(0.7525, rival, 0.9, 900, 900) == pytest.approx(expected, abs=0.01)
