"""Moran's I of what a line leaves over, beside its formula written out."""

import numpy as np
import pytest

from nephrospot.moran import NONE, link_spots
from spots_by_hand import hexagons

PLACE = np.concatenate([hexagons(12, 12)] * 2)  # µm, two slides in the same frame
SLIDE = np.repeat([0, 1], len(PLACE) // 2)


def moran_of_residuals(x, y, place, slide):
    """Of the straight line y on x over all slides."""
    parts = [np.flatnonzero(slide == one) for one in np.unique(slide)]
    links = sum((link_spots(x[own], y[own], place[own]) for own in parts), NONE)
    return links.moran_i(np.polyfit(x, y, 1)[0])


def moran_by_hand(residual, place, slide):
    total, links = 0.0, 0.0
    z = residual - residual.mean()
    distance = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    near = (distance > 0) & (distance < 125) & (slide[:, None] == slide[None])  # pitch 100, next ring 173
    for i in range(len(z)):
        neighbours = np.flatnonzero(near[i])
        if len(neighbours):
            total += z[i] * z[neighbours].mean()
            links += 1
    return len(z) / links * total / np.sum(z**2)


def test_it_equals_the_formula():
    rng = np.random.default_rng(5)
    kept = np.sort(rng.permutation(len(PLACE))[25:])
    place, slide = PLACE[kept], SLIDE[kept]
    wave = 20 * np.sin(place[:, 0] / 200)
    x = rng.uniform(0, 60, len(place))
    y = 2 + 0.7 * x + wave + rng.normal(0, 5, len(place))
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    got = moran_of_residuals(x, y, place, slide)
    assert got == pytest.approx(moran_by_hand(residual, place, slide), abs=1e-6), "Neighbours never cross slides."
    assert got > 0.3, "A wave left over must show."
    noise = rng.normal(size=len(place))
    independent = moran_of_residuals(x, noise, place, slide)
    assert abs(independent) < 0.15, "Independent residuals have no neighbours like themselves."


def test_undefined():
    place, slide = PLACE[SLIDE == 0], SLIDE[SLIDE == 0]
    x = np.arange(len(place), dtype=float)
    assert np.isnan(moran_of_residuals(x, 3 * x + 1, place, slide)), "Nothing is left over by a perfect prediction."
    few = moran_of_residuals(x[:9], np.random.default_rng(0).normal(size=9), place[:9], slide[:9])
    assert np.isnan(few)
