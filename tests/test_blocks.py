"""Blocks drawn again: the same as drawing spots by hand, paired between methods, and honest where nothing varies."""

import numpy as np
import pytest
from scipy import stats

from nephrospot.blocks import about_means, assign_blocks, draw_blocks
from nephrospot.influences import covary_influences
from nephrospot.studentised import Errors, interval_of_difference, quantile_of_r, reach_of_r, resample
from spots_by_hand import hexagons, smooth_maps


@pytest.fixture(scope="module")
def sections():
    places = [hexagons(20, 20), hexagons(15, 22)]
    maps = [smooth_maps(place, 100, 3, seed) for seed, place in enumerate(places)]
    predicted = [own[:, :2] + own[:, 2:] + [0, 5 * slide] for slide, own in enumerate(maps)]
    return places, predicted, [own[:, 2] for own in maps]


def interval_of_r(errors, method):
    quantile, reason = quantile_of_r(errors, method)
    return (*reach_of_r(errors.r[method], np.sqrt(errors.variance[method]), quantile), reason)


def correlate_by_hand(x, y, kind):
    """x, y: one array a slide."""
    if kind == "within":
        x, y = ([own - own.mean() for own in side] for side in (x, y))
    return stats.pearsonr(np.concatenate(x), np.concatenate(y)).statistic


def test_moments_give_what_the_drawn_spots_would(sections):
    places, predicted, observed = sections
    (draw,) = draw_blocks(places, predicted, observed, 600, 5, replicates=1)
    found = resample([draw])
    origin = np.random.default_rng(5).random(2) * 600
    blocks = [assign_blocks(place, 600, origin) for place in places]
    index = [
        np.repeat(np.arange(len(own)), weights[1][own].astype(int))
        for own, weights in zip(blocks, draw.weights, strict=True)
    ]
    for method in range(2):
        x, y = ([own[:, method] for own in predicted], observed)
        drawn_x, drawn_y = ([own[chosen] for own, chosen in zip(side, index, strict=True)] for side in (x, y))
        for kind in ("pooled", "within"):
            errors = getattr(found, kind)
            assert errors.r[method] == pytest.approx(correlate_by_hand(x, y, kind), abs=1e-12)
            assert errors.drawn[0, method] == pytest.approx(correlate_by_hand(drawn_x, drawn_y, kind), abs=1e-12)
        for slide in range(2):
            own = correlate_by_hand([drawn_x[slide]], [drawn_y[slide]], "pooled")
            assert found.slides[slide].drawn[0, method] == pytest.approx(own, abs=1e-12)


@pytest.mark.parametrize("kind", ["pooled", "within", "slide"])
def test_the_error_is_that_of_an_infinitesimal_jackknife(sections, kind):
    """What r changes by when one block weighs a little more, squared and added up over a slide's blocks."""
    places, predicted, observed = sections
    (draw,) = list(draw_blocks(places, predicted, observed, 600, 5, replicates=1))
    found, step = resample([draw]), 1e-6
    blocks = [assign_blocks(place, 600, np.random.default_rng(5).random(2) * 600) for place in places]
    slides = range(1) if kind == "slide" else range(2)
    expected = 0.0
    for slide in slides:
        changes = []
        for block in range(blocks[slide].max() + 1):
            r = []
            for change in (step, -step):
                weights = [np.ones(len(own)) for own in blocks]
                weights[slide][blocks[slide] == block] += change
                r.append(weighted_r([p[:, 0] for p in predicted], observed, weights, kind, slides))
            changes.append((r[0] - r[1]) / (2 * step))
        n = len(changes)
        expected += np.var(changes) * n * n / (n - 1)
    errors = {"pooled": found.pooled, "within": found.within, "slide": found.slides[0]}[kind]
    assert errors.variance[0] == pytest.approx(expected, rel=1e-5)


def weighted_r(x, y, weights, kind, slides):
    if kind == "within":
        x, y = ([own - np.average(own, weights=w) for own, w in zip(side, weights, strict=True)] for side in (x, y))
    x, y, weights = (np.concatenate([side[at] for at in slides]) for side in (x, y, weights))
    covariance = np.cov(x, y, aweights=weights, ddof=0)
    return covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])


def test_a_seed_decides_and_methods_share_their_blocks(sections):
    places, predicted, observed = sections
    drawn, again = (resample(draw_blocks(places, predicted, observed, 600, 1, replicates=100)) for _ in range(2))
    alone = resample(draw_blocks(places, [own[:, 1:] for own in predicted], observed, 600, 1, replicates=100))
    other = resample(draw_blocks(places, predicted, observed, 600, 2, replicates=100))
    assert np.array_equal(drawn.pooled.drawn, again.pooled.drawn)
    assert np.allclose(drawn.pooled.drawn[:, 1], alone.pooled.drawn[:, 0]), "whatever else is compared"
    assert np.allclose(drawn.pooled.variance[1], alone.pooled.variance[0])
    assert not np.array_equal(drawn.pooled.drawn, other.pooled.drawn)


def test_larger_blocks_of_a_smooth_map_make_wider_intervals():
    place = hexagons(30, 30)
    widths = []
    for seed in range(6):
        own = smooth_maps(place, 300, 2, seed)
        ends = [
            interval_of_r(resample(draw_blocks([place], [own[:, :1]], [own[:, 1]], side, 1, 500)).pooled, 0)
            for side in (110, 900)
        ]
        widths.append([hi - lo for lo, hi, _ in ends])
    assert np.median(np.divide(*np.transpose(widths))) < 0.6


def test_what_does_not_vary_has_no_interval(sections):
    places, predicted, observed = sections
    constant = [np.column_stack([own[:, 0], np.full(len(own), 7.0)]) for own in predicted]
    found = resample(draw_blocks(places, constant, observed, 600, 1, replicates=50))
    assert np.isfinite(found.pooled.drawn[:, 0]).all() and np.isnan(found.pooled.drawn[:, 1]).all()
    lo, _, reason = interval_of_r(found.pooled, 1)
    assert np.isnan(lo) and reason == "100% of the replicates had no variation"
    assert np.isfinite(interval_of_r(found.pooled, 0)[:2]).all(), "the other one has"


def test_equal_maps_leave_no_doubt(sections):
    places, _, observed = sections
    same = [np.column_stack([2 * own, own]) for own in observed]
    found = resample(draw_blocks(places, same, observed, 600, 1, replicates=50))
    assert interval_of_r(found.pooled, 0) == (pytest.approx(1), pytest.approx(1), "")
    assert interval_of_difference(found, 0, 1)[:3] == (pytest.approx(0), pytest.approx(0), 1.0)


def test_the_p_value_fits_the_interval(sections):
    places, predicted, observed = sections
    noise = [smooth_maps(place, 60, 2, 7) for place in places]
    close = [own[:, :1] + 0.5 * error for own, error in zip(predicted, noise, strict=True)]
    found = resample(draw_blocks(places, close, observed, 600, 1, replicates=999))
    lo, hi, p, _ = interval_of_difference(found, 0, 1)
    assert lo < found.pooled.r[0] - found.pooled.r[1] < hi and 0.01 < p < 0.9
    for level, without_zero in ((1 - p - 0.005, True), (1 - p + 0.005, False)):
        lower, upper, _, _ = interval_of_difference(found, 0, 1, level)
        assert (lower > 0 or upper < 0) == without_zero
    assert interval_of_difference(found, 1, 0)[:2] == (pytest.approx(-hi), pytest.approx(-lo))


def test_squares_are_numbered_without_gaps_and_alike_wherever_they_lie():
    rng = np.random.default_rng(8)
    place = np.concatenate([rng.random((200, 2)) * 900 - 500, rng.random((50, 2)) * 300 + 4000])
    found = assign_blocks(place, 250, np.array([13.0, -70.0]))
    squares = np.floor((place - [13.0, -70.0]) / 250)[:, ::-1]
    assert np.array_equal(found, np.unique(squares, axis=0, return_inverse=True)[1].ravel())


@pytest.mark.parametrize("methods", [1, 3])
def test_the_compiled_covariance_of_influences_is_the_one_of_matrices(methods):
    """Of a replicate that draws some blocks never, and a method that doesn't vary."""
    rng = np.random.default_rng(4)
    place, x = hexagons(14, 14), smooth_maps(hexagons(14, 14), 100, methods, 2)
    x[:, -1] = 7.0 if methods > 1 else x[:, -1]
    y = x[:, 0] + rng.normal(size=len(place))
    (draw,) = draw_blocks([place], [x], [y], 400, 1, replicates=1)
    (moments,), (weights,), (sums,) = draw.moments, draw.weights, draw.sums
    about = about_means(sums)
    found = covary_influences(moments, weights, sums, about)
    for drawn, own, (xx, yy, xy), covariance in zip(weights, sums, about.swapaxes(0, 1), found, strict=True):
        n, sum_x, sum_y, *_ = own
        x_mean, y_mean = sum_x / n, sum_y / n
        number, s_x, s_y, s_xx, s_yy, s_xy = moments.swapaxes(0, 1)
        d_xx = s_xx - 2 * x_mean * s_x + number * x_mean**2
        d_yy = s_yy - 2 * y_mean * s_y + number * y_mean**2
        d_xy = s_xy - x_mean * s_y - y_mean * s_x + number * x_mean * y_mean
        r = xy / np.sqrt(xx * yy)
        influence = (d_xy / np.sqrt(xx * yy) - r / 2 * (d_xx / xx + d_yy / yy)).repeat(drawn, axis=0)
        expected = np.atleast_2d(np.cov(influence, rowvar=False)) * len(moments)
        assert np.allclose(covariance, expected, rtol=1e-10, equal_nan=True)
    assert np.isnan(found[:, -1, -1]).all() == (methods > 1)


def test_replicates_of_one_block_alone_have_no_error():
    """What rounding leaves of their variance says nothing: they are left out, whichever way the rounding went."""
    drawn, variance = np.array([[0.5], [0.52], [0.55]] * 10), np.array([[1e-2], [1e-35], [-1e-35]] * 10)
    errors = Errors(np.array([0.5]), np.array([1e-2]), drawn, variance)
    assert quantile_of_r(errors, 0) == (pytest.approx(np.nan, nan_ok=True), "67% of the replicates had no variation")
