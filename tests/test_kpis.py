"""`kpis-task2` as the organisers' script does it, and what is odd about it."""

import cv2
import numpy as np
import pytest

from label_files import discs, source_of
from nephrospot import kpis
from nephrospot.errors import InputError
from nephrospot.kpis import MIN_OBJECT_PX, KpisScore, read_contours, score_contours, trace_contours


def contours_of(mask):
    return trace_contours(np.where(mask, 0, 255).astype(np.uint8))


def plain_score(predicted, truth, moves):
    """The organisers' double loop, word for word in what it does, without any short cut."""
    predicted, truth = ([c.copy() for c in contours] for contours in (predicted, truth))

    def agree(one, other):
        a, b = (one, other) if moves else (one.copy(), other.copy())
        low, high = ([f(c[:, 0], axis=0) for c in (a, b)] for f in (np.min, np.max))
        if (high[0] < low[1]).any() or (high[1] < low[0]).any():
            return False
        corner, end = np.min(low, axis=0) - 10, np.max(high, axis=0) + 10
        a -= corner
        b -= corner
        filled = np.zeros((2, *(end - corner)[::-1]), np.uint8)
        for canvas, contour in zip(filled, (a, b), strict=True):
            cv2.drawContours(canvas, [contour], -1, 1, -1)
        return filled.all(axis=0).sum() / filled.any(axis=0).sum() >= 0.5

    tp = sum(any(agree(p, t) for t in truth) for p in predicted)
    fn = sum(not any(agree(p, t) for p in predicted) for t in truth)
    return tp, len(predicted) - tp, fn


def dense_slide(seed, shape=(700, 700), radius=18, step=50, jitter=8):
    """Truth and prediction of many glomeruli that lie close: moved a little, some missed, some made up."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(40, side - 40, step) for side in shape), indexing="ij"), -1).reshape(-1, 2)
    made_up, present = rng.random((2, len(grid))) < np.array([[0.1], [0.85]])
    truth = discs(
        shape, grid[present & ~made_up] + rng.integers(-jitter, jitter + 1, (sum(present & ~made_up), 2)), radius
    )
    kept = (present & ~made_up & (rng.random(len(grid)) > 0.05)) | made_up
    predicted = discs(shape, grid[kept] + rng.integers(-jitter, jitter + 1, (kept.sum(), 2)), radius - 2)
    return predicted, truth


@pytest.mark.parametrize("fix_aliasing", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_plain_double_loop(seed, fix_aliasing):
    predicted, truth = (contours_of(mask) for mask in dense_slide(seed))
    before = [c.copy() for c in (*predicted, *truth)]
    found = score_contours(predicted, truth, fix_aliasing=fix_aliasing)
    assert (found.tp, found.fp, found.fn) == plain_score(predicted, truth, moves=not fix_aliasing)
    unchanged = (np.array_equal(a, b) for a, b in zip(before, (*predicted, *truth), strict=True))
    assert all(unchanged), "the caller's contours stay where they are"


def test_noise_and_nets_agree_with_the_plain_double_loop():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        soft = cv2.GaussianBlur(rng.random((90, 110)), (0, 0), 2)
        truth, predicted = soft > np.quantile(soft, 0.4), soft > np.quantile(soft, 0.45)
        contours = contours_of(predicted), contours_of(truth)
        assert len(contours[1]) > 3
        for fix in (True, False):
            found = score_contours(*contours, fix_aliasing=fix)
            assert (found.tp, found.fp, found.fn) == plain_score(*contours, moves=not fix)


def test_the_aliasing_changes_the_figures():
    differences = []
    for seed in range(4):
        contours = [contours_of(mask) for mask in dense_slide(seed, jitter=6)]
        differences.append(score_contours(*contours, fix_aliasing=False).f1 - score_contours(*contours).f1)
    assert np.max(np.abs(differences)) > 0.003, "contours that were moved are compared in other places"


def test_two_contours_show_the_aliasing():
    # The first prediction has nothing to do with the truth but touches its box: the truth is moved by that, and the
    # second, perfect prediction isn't over it any more.
    truth = discs((200, 200), [(100, 100)], 20)
    corner = np.zeros_like(truth)
    corner[60:82, 60:82] = True
    contours = contours_of(corner)[:1] + contours_of(truth), contours_of(truth)
    fixed, aliased = score_contours(*contours), score_contours(*contours, fix_aliasing=False)
    assert (fixed.tp, fixed.fp, fixed.fn) == (1, 1, 0) and fixed.f1 == pytest.approx(2 / 3)
    assert aliased.tp == 0 and aliased.f1 == 0


def test_matches_needn_t_be_one_to_one():
    ring = contours_of(discs((100, 100), [(50, 50)], 30))
    score = score_contours(ring * 3, ring)
    assert (score.tp, score.fp, score.fn, score.n_truth) == (3, 0, 0, 1), "three predictions, all right by one truth"
    assert score.mean_iou == 1


def test_a_hole_is_an_object_and_the_slide_s_edge_has_none():
    whole = discs((200, 200), [(100, 100)], 40)
    holed = whole & ~discs((200, 200), [(100, 100)], 10)
    assert (len(contours_of(whole)), len(contours_of(holed))) == (1, 2)
    cut = discs((200, 200), [(100, 0)], 40)
    assert contours_of(cut) == [] and contours_of(np.zeros((9, 9), bool)) == []
    # The contour runs one pixel outside.
    square = np.zeros((20, 20), bool)
    square[5:9, 5:9] = True
    points = contours_of(square)[0][:, 0]
    assert (points.min(), points.max()) == (4, 9)


def test_scores_without_objects_are_zero():
    assert (KpisScore(0, 0, 0, 0, np.nan).precision, KpisScore(0, 0, 0, 0, np.nan).f1) == (0, 0)
    empty = score_contours([], [])
    assert (empty.tp, empty.fp, empty.fn, empty.f1) == (0, 0, 0, 0) and np.isnan(empty.mean_iou)
    found = KpisScore(3, 1, 2, 9, 0.8)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_only_small_predicted_objects_are_removed():
    small, large = discs((400, 400), [(60, 60)], 20), discs((400, 400), [(200, 240)], 85)
    assert small.sum() < MIN_OBJECT_PX < large.sum()
    predicted, truth, dice = read_contours(source_of(small | large, 0.5), source_of(small | large, 0.5))
    assert (len(predicted), len(truth)) == (1, 2), "the truth keeps its small objects"
    assert dice == pytest.approx(2 * large.sum() / (2 * large.sum() + small.sum()))


def test_masks_are_read_at_half_a_micrometre():
    large = discs((400, 400), [(200, 240)], 85)
    expected = read_contours(source_of(large, 0.5), source_of(large, 0.5))
    finer = np.kron(large, np.ones((2, 2), bool))
    found = read_contours(source_of(finer, 0.25), source_of(large, 0.5))
    assert found[2] == 1.0
    assert len(read_contours(source_of(finer, 0.25), source_of(finer, 0.25), mpp=1.0)[0]) == 0, "5 675 px at 1 µm"
    assert all(np.array_equal(a, b) for side in (0, 1) for a, b in zip(found[side], expected[side], strict=True))


def test_two_empty_masks_are_alike_here():
    empty = source_of(np.zeros((50, 50), bool), 0.5)
    assert read_contours(empty, empty) == ([], [], 1.0)


def test_a_slide_beyond_the_memory_is_refused_in_a_sentence(monkeypatch):
    huge = ((40_000, 30_000), 0.5, None)
    with pytest.raises(InputError, match=r"30000 × 40000 px are more than 1000 megapixels; .*convention ours"):
        read_contours(huge, huge)
    monkeypatch.setattr(kpis, "MAX_PX", 2500)
    empty = source_of(np.zeros((50, 50), bool), 0.5)
    assert read_contours(empty, empty)[2] == 1.0, "the limit itself is still read"
