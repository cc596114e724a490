"""Blocks drawn again: the same as drawing spots by hand, paired between methods, and honest where nothing varies."""

import numpy as np
import pytest
from scipy import stats

from nephrospot import blocks
from nephrospot.blocks import draw_blocks, percentile_interval, two_sided_p
from spots_by_hand import hexagons, smooth_maps


@pytest.fixture(scope="module")
def sections():
    places = [hexagons(20, 20), hexagons(15, 22)]
    maps = [smooth_maps(place, 100, 3, seed) for seed, place in enumerate(places)]
    predicted = [own[:, :2] + own[:, 2:] + [0, 5 * slide] for slide, own in enumerate(maps)]
    return places, predicted, [own[:, 2] for own in maps]


def test_moments_give_what_the_drawn_spots_would(sections, monkeypatch):
    places, predicted, observed = sections
    seen = []
    real = np.random.Generator.multinomial

    class Spy:
        def __init__(self, rng):
            self.rng = rng

        def random(self, size):
            seen.append(("origin", value := self.rng.random(size)))
            return value

        def multinomial(self, *arguments, **named):
            seen.append(("drawn", value := real(self.rng, *arguments, **named)))
            return value

    rng = np.random.default_rng(5)
    monkeypatch.setattr(blocks.np.random, "default_rng", lambda seed: Spy(rng))
    drawn = draw_blocks(places, predicted, observed, 600, 5, replicates=1)
    (_, origin), *counts = seen
    index = []
    for place, (_, count) in zip(places, counts, strict=True):
        cell = np.floor((place - origin * 600) / 600).astype(int)
        _, block = np.unique(cell[:, ::-1], axis=0, return_inverse=True)
        index.append(np.repeat(np.arange(len(place)), count[0][block.ravel()]))
    x = [own[chosen] for own, chosen in zip(predicted, index, strict=True)]
    y = [own[chosen] for own, chosen in zip(observed, index, strict=True)]
    for method in range(2):
        pooled = stats.pearsonr(np.concatenate(x)[:, method], np.concatenate(y)).statistic
        assert drawn.pooled[0, method] == pytest.approx(pooled, abs=1e-12)
        centred = [np.concatenate([own - own.mean(axis=0) for own in side]) for side in (x, y)]
        within = stats.pearsonr(centred[0][:, method], centred[1]).statistic
        assert drawn.within[0, method] == pytest.approx(within, abs=1e-12)
        for slide in range(2):
            own = stats.pearsonr(x[slide][:, method], y[slide]).statistic
            assert drawn.slides[slide, 0, method] == pytest.approx(own, abs=1e-12)


def test_a_seed_decides_and_methods_share_their_blocks(sections):
    places, predicted, observed = sections
    drawn = draw_blocks(places, predicted, observed, 600, 1, replicates=100)
    again = draw_blocks(places, predicted, observed, 600, 1, replicates=100)
    alone = draw_blocks(places, [own[:, 1:] for own in predicted], observed, 600, 1, replicates=100)
    assert np.array_equal(drawn.pooled, again.pooled)
    assert np.allclose(drawn.pooled[:, 1], alone.pooled[:, 0]), "whatever else is compared"
    assert not np.array_equal(drawn.pooled, draw_blocks(places, predicted, observed, 600, 2, replicates=100).pooled)


def test_larger_blocks_of_a_smooth_map_make_wider_intervals():
    place = hexagons(30, 30)
    widths = []
    for seed in range(6):
        own = smooth_maps(place, 300, 2, seed)
        ends = [
            percentile_interval(draw_blocks([place], [own[:, :1]], [own[:, 1]], side, 1, 500).pooled[:, 0])
            for side in (110, 900)
        ]
        widths.append([hi - lo for lo, hi, _ in ends])
    assert np.median(np.divide(*np.transpose(widths))) < 0.6


def test_what_does_not_vary_has_no_interval(sections):
    places, predicted, observed = sections
    constant = [np.column_stack([own[:, 0], np.full(len(own), 7.0)]) for own in predicted]
    drawn = draw_blocks(places, constant, observed, 600, 1, replicates=50)
    assert np.isfinite(drawn.pooled[:, 0]).all() and np.isnan(drawn.pooled[:, 1]).all()
    lo, _, reason = percentile_interval(drawn.pooled[:, 1])
    assert np.isnan(lo) and reason == "100% of the replicates had no variation"
    assert np.isfinite(percentile_interval(np.r_[np.arange(96.0), [np.nan] * 4])[0]), "a few are left out"


def test_the_p_value_fits_the_interval():
    values = np.random.default_rng(0).normal(0.1, 0.05, 1999)
    p = two_sided_p(values)
    assert 0.01 < p < 0.2
    assert percentile_interval(values, 1 - p - 0.01)[0] > 0 > percentile_interval(values, 1 - p + 0.01)[0]
    assert two_sided_p(np.ones(999)) == pytest.approx(0.002) and two_sided_p(np.zeros(9)) == 1
