"""Objects are matched as an explicit comparison of every two of them would."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from label_files import discs, source_of
from nephrospot.components import find_components
from nephrospot.instances import Overlaps, find_overlaps, match_objects, regrid


def overlaps_of(truth, predicted, block_px=4096):
    components = (find_components(source_of(mask), block_px=block_px) for mask in (truth, predicted))
    return find_overlaps(*components, block_px)


def explicit_table(truth, predicted, min_px=0):
    """IoU of every two objects, by loops over SciPy's labels."""
    sides = []
    for mask in (truth, predicted):
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        objects = (labels == i for i in range(1, n + 1))
        sides.append([one for one in objects if one.sum() >= min_px])
    return np.array([[(a & b).sum() / (a | b).sum() for b in sides[1]] for a in sides[0]]).reshape(
        len(sides[0]), len(sides[1])
    )


def best_matching(table, threshold):
    """(matches, sum of IoU) of the best one-to-one matching, by trying every one."""
    if table.shape[0] > table.shape[1]:
        table = table.T
    best = (0, 0.0)
    for chosen in permutations(range(table.shape[1]), table.shape[0]):
        values = [table[i, j] for i, j in enumerate(chosen) if table[i, j] > threshold]
        best = max(best, (len(values), sum(values)))
    return best


@st.composite
def two_masks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cell, share = draw(st.sampled_from([1, 3, 6])), draw(st.sampled_from([0.1, 0.4]))
    coarse = rng.random((-(-30 // cell), -(-40 // cell))) < share
    truth = np.kron(coarse, np.ones((cell, cell), bool))[:30, :40]
    moved = np.roll(truth, draw(st.tuples(st.integers(-2, 2), st.integers(-2, 2))), (0, 1))
    return truth, moved ^ (rng.random(truth.shape) < draw(st.sampled_from([0, 0.02])))


@settings(max_examples=60, deadline=None)
@given(masks=two_masks(), block_px=st.integers(5, 50), threshold=st.sampled_from([0.5, 0.7]), min_px=st.integers(0, 9))
def test_agrees_with_explicit_loops_whatever_the_blocks(masks, block_px, threshold, min_px):
    table = explicit_table(*masks, min_px)
    found = match_objects(overlaps_of(*masks, block_px), threshold, min_px, min_px)
    expected = table[table > threshold]
    assert (found.n_truth, found.n_predicted) == table.shape
    assert np.sort(found.iou) == pytest.approx(np.sort(expected)), "from 0.5 on every pair above it is a match"
    assert found.tp + found.fp == found.n_predicted and found.tp + found.fn == found.n_truth


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), threshold=st.sampled_from([0.0, 0.1, 0.3]))
def test_below_half_an_assignment_finds_most_matches(seed, threshold):
    rng = np.random.default_rng(seed)
    truth, predicted = (ndimage.zoom(rng.random((4, 5)), 4, order=0) < 0.35 for _ in range(2))
    table = explicit_table(truth, predicted)
    if min(table.shape) == 0 or max(table.shape) > 7:
        return
    found = match_objects(overlaps_of(truth, predicted), threshold)
    n, total = best_matching(table, threshold)
    assert (found.tp, found.iou.sum()) == (n, pytest.approx(total))


def test_an_assignment_prefers_two_matches_to_one_better_one():
    # Truth 1 overlaps both predictions, truth 2 only the first: the largest IoU alone would leave truth 2 unmatched.
    area = np.array([0, 100, 100])
    overlaps = Overlaps(np.array([1, 1, 2]), np.array([1, 2, 1]), np.array([66, 40, 40]), area, area)
    assert overlaps.iou == pytest.approx([66 / 134, 0.25, 0.25])
    assert match_objects(overlaps, 0.2).iou == pytest.approx([0.25, 0.25])
    assert match_objects(overlaps, 0.3).iou == pytest.approx([66 / 134])


def test_exactly_the_threshold_is_no_match():
    truth, predicted = np.zeros((2, 20, 20), bool)
    truth[2:12, 2:12] = True
    predicted[2:12, 2:7] = True
    overlaps = overlaps_of(truth, predicted)
    assert overlaps.iou.tolist() == [0.5]
    assert match_objects(overlaps, 0.5).tp == 0, "at exactly 0.5 two halves could both match"
    assert match_objects(overlaps, 0.499).tp == 1


def test_touching_by_a_corner_is_one_object():
    truth = np.zeros((10, 10), bool)
    truth[1:4, 1:4] = truth[4:7, 4:7] = True
    assert match_objects(overlaps_of(truth, truth)).n_truth == 1


def test_small_objects_are_left_out_on_both_sides():
    truth = discs((60, 60), [(15, 15)], 8) | discs((60, 60), [(45, 45)], 2)
    found = match_objects(overlaps_of(truth, truth), 0.5, 20, 20)
    assert (found.n_truth, found.n_predicted, found.tp) == (1, 1, 1)
    one_sided = match_objects(overlaps_of(truth, truth), 0.5, 0, 20)
    assert (one_sided.tp, one_sided.fn, one_sided.fp) == (1, 1, 0)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_empty_masks_have_no_matches(threshold):
    empty, full = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    for truth, predicted in ((empty, empty), (empty, full), (full, empty)):
        found = match_objects(overlaps_of(truth, predicted), threshold)
        assert (found.n_truth, found.n_predicted, found.tp) == (int(truth.any()), int(predicted.any()), 0)


def test_other_grids_are_refused_and_made_alike():
    fine = discs((80, 80), [(40, 40)], 20)
    coarse = fine[::2, ::2]
    with pytest.raises(ValueError, match="different grids"):
        overlaps_of(fine, coarse)
    shape, mpp, read = regrid(source_of(coarse, 1.0), fine.shape, 0.5)
    assert (shape, mpp) == (fine.shape, 0.5)
    assert np.array_equal(read(slice(0, 80), slice(0, 80)), np.kron(coarse, np.ones((2, 2)))), "each pixel as four"
