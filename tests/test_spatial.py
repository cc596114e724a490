"""Effective numbers and correlograms: the matrices written out, what independence and smoothness must give."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from nephrospot.spatial import CLASSES, alike_within_um, correlogram, equal_edges, measure_covariances
from spots_by_hand import hexagons, smooth_maps


def effective_size_written_out(x, y, classes):
    """Dutilleul's formula with its n × n matrices; classes[i, j] is a pair's class, 0 on the diagonal."""

    def covariance(z):
        products = np.outer(z - z.mean(), z - z.mean())
        by_class = np.bincount(classes.ravel(), products.ravel()) / np.bincount(classes.ravel())
        s = by_class[classes]
        return s - s.mean(0) - s.mean(1)[:, None] + s.mean()

    sx, sy = covariance(x), covariance(y)
    return 1 + np.trace(sx) * np.trace(sy) / np.sum(sx * sy)


@pytest.mark.parametrize("scale_um", [1, 150, 400])
def test_the_matrices_need_not_be_written_out(scale_um):
    place = hexagons(14, 11)
    values = smooth_maps(place, scale_um, 2, seed=scale_um)
    distance = cdist(place, place)
    classes = np.ceil(distance / distance.max() * CLASSES - 1e-9).astype(int)
    expected = effective_size_written_out(*values.T, classes)
    found = measure_covariances(place, values, equal_edges([place])).effective_size(0, 1)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", json.loads((Path(__file__).parent / "golden" / "spatialpack_ess.json").read_text()))
def test_spatialpack_finds_the_same_number(case):
    # Recorded from the routine behind R SpatialPack's modified.ttest (commit 04342d05, built on its own).
    place, values = np.column_stack([case["x_um"], case["y_um"]]), np.column_stack([case["first"], case["second"]])
    found = measure_covariances(place, values, equal_edges([place])).effective_size(0, 1)
    assert found == pytest.approx(case["ess"], rel=1e-10)


def add_up_plainly(place, values, edges):
    """Products, pairs and overlaps with every distance written out; a class holds its upper edge."""
    kinds = 1 + np.searchsorted(edges * (1 + 1e-9), cdist(place, place))
    np.fill_diagonal(kinds, 0)
    about, centre = values - values.mean(axis=0), np.eye(len(place)) - 1 / len(place)
    masks = [(kinds == kind).astype(float) for kind in range(len(edges) + 1)]
    products = [np.einsum("iv,ij,jv->v", about, mask, about) for mask in masks]
    overlaps = [[np.trace(centre @ a @ centre @ b) for b in masks] for a in masks]
    return np.array(products), np.array([mask.sum() for mask in masks]), np.array(overlaps)


def turned(place):
    return place @ np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])


CLASSES_UM = {
    "equal": np.arange(1, 14) * 61.0,
    "correlogram": np.arange(150.0, 700, 100),
    "pitches, so that distances lie on edges": np.arange(1, 6) * 100.0,
    "unequal": np.array([90.0, 100.0, 180.0, 200.0, 640.0]),
    "one": np.array([200.0]),
}


@pytest.mark.parametrize("edges", CLASSES_UM.values(), ids=CLASSES_UM)
@pytest.mark.parametrize("where", ["lattice", "turned", "squares", "irregular", "twice"])
def test_runs_of_spots_give_what_the_pairs_would(where, edges):
    rng = np.random.default_rng(3)
    squares = 100.0 * np.array([(x, y) for x in range(9) for y in range(8)])
    place = {"lattice": hexagons(9, 8), "turned": turned(hexagons(9, 8)), "squares": squares,
             "irregular": rng.random((70, 2)) * 800, "twice": np.repeat(hexagons(6, 6), 2, axis=0)}[where]  # fmt: skip
    place = rng.permutation(place)
    values = np.round(rng.normal(size=(len(place), 3)) * [1, 5, 0], 1)
    found = measure_covariances(place, values, edges)
    products, pairs, overlaps = add_up_plainly(place, values, edges)
    assert np.array_equal(found.pairs, pairs)
    assert np.allclose(found.products, products, rtol=1e-12, atol=1e-9)
    assert np.allclose(found.overlaps, overlaps, rtol=1e-12, atol=1e-8)


def test_independent_spots_count_in_full_and_smooth_ones_for_few():
    place, counts = hexagons(26, 26), {}
    for scale_um in (1, 300):
        sizes = []
        for seed in range(20):
            values = smooth_maps(place, scale_um, 2, seed)
            sizes.append(measure_covariances(place, values, equal_edges([place])).effective_size(0, 1))
        counts[scale_um] = np.median(sizes)
    assert counts[1] == pytest.approx(676, rel=0.1)
    assert counts[300] < 200


def test_slides_add_up():
    """Two slides that are the same are worth about twice as much as one."""
    place = hexagons(16, 16)
    values = smooth_maps(place, 150, 2, seed=4)
    one = measure_covariances(place, values, equal_edges([place]))
    two = one + one
    assert two.effective_size(0, 1) - 1 == pytest.approx(2 * (one.effective_size(0, 1) - 1))
    assert np.allclose(two.values, one.values)


def test_a_slides_offset_counts_for_nothing():
    place = hexagons(12, 12)
    values, edges = smooth_maps(place, 150, 2, seed=5), equal_edges([place])
    moved = measure_covariances(place, values + np.array([40, -7]), edges)
    assert moved.effective_size(0, 1) == pytest.approx(measure_covariances(place, values, edges).effective_size(0, 1))


def test_a_constant_has_no_effective_number():
    place = hexagons(8, 8)
    values = np.column_stack([np.arange(64.0), np.full(64, 3.0)])
    assert np.isnan(measure_covariances(place, values, equal_edges([place])).effective_size(0, 1))


def test_the_correlogram_of_an_exponential_map_is_exponential():
    """Averaged over maps, since one map's correlogram wanders."""
    place = hexagons(24, 24)
    table = np.mean([correlogram([place], [smooth_maps(place, 300, 1, seed)], 600)[:, 0] for seed in range(40)], axis=0)
    distances = 100 * np.arange(1, len(table) + 1)
    # A section is finite, so its own mean takes some of the correlation away.
    assert np.abs(table - np.exp(-distances / 300)).max() < 0.2 and (np.diff(table) < 0).all()


def test_smoother_maps_are_alike_farther_off():
    place = hexagons(24, 24)
    reach = [
        np.median([alike_within_um([place], [smooth_maps(place, scale, 1, seed)]) for seed in range(9)])
        for scale in (1, 100, 300)
    ]
    assert reach[0] == 0 and 100 < reach[1] < reach[2]
    both = [np.column_stack([smooth_maps(place, scale, 1, 1) for scale in (1, 300)])]
    alone = alike_within_um([place], [both[0][:, 1:]])
    assert alike_within_um([place], both) == pytest.approx(alone), "the smoothest map decides"
    assert alike_within_um([place], [np.ones((len(place), 1))]) == 0
