"""Agreement of masks in patches: both conventions against independent implementations."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from nephrospot.agree import METRICS, agree, agree_omniseg, agree_ours, find_boundary, find_box

DISTANCES = ("hd_um", "hd95_um", "msd_um")
MASKS = arrays(bool, st.tuples(st.integers(3, 12), st.integers(3, 12)), elements=st.booleans())
PAIRS = st.tuples(st.integers(3, 12), st.integers(3, 12)).flatmap(
    lambda shape: st.tuples(*(arrays(bool, shape, elements=st.booleans()) for _ in range(2)))
)
# seed, shift of the prediction, discs, µm per pixel, then what MONAI 1.6.1 answered (compute_dice,
# compute_hausdorff_distance and compute_average_surface_distance(symmetric=True) with spacing, and the greater of
# its two directed 95th percentiles): recorded on 2026-11-21, single precision.
MONAI = [
    (0, 0, (0, 3), 3, (1.0, 1.0), 0.6099706888, 3.0, 1.4826304913, 3.0),
    (1, 1, (5, -4), 2, (0.5, 0.5), 0.1904761940, 3.2015621662, 1.5991535187, 3.2015621662),
    (2, 2, (-2, 9), 4, (2.0, 0.25), 0.4105263054, 4.5893898010, 1.3404480219, 3.4003677368),
    (3, 3, (14, 0), 1, (1.0, 3.0), 0.0, 17.4928550720, 12.8621740341, 17.3100528717),
    (4, 5, (0, 0), 5, (0.25, 0.25), 0.3325705528, 5.2201533318, 1.6563960314, 5.0037474632),
]
# Folders of the published demonstration: µm per pixel, and distances of a prediction of nothing that were measured
# with the official script on all 110 patches (84 of them are here), in µm; Dice × 100.
FOLDERS = {
    "0_1_dt": (1.0, 308, 199, 44.2),
    "4_1_vessel": (1.0, 254, 187.5, 46.6),
    "5_3_ptc": (0.25, 72, 54, 49.0),
    "3_0_tuft": (2.0, 543, 407, 46.5),
}


def draw_discs(seed, shift, n, shape=(48, 64)):
    """Some discs, also over the edges."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    mask = np.zeros(shape, bool)
    places = (rng.integers(0, shape[0], n), rng.integers(0, shape[1], n), rng.integers(4, 12, n))
    for y, x, radius in zip(*places, strict=True):
        mask |= (rows - y - shift[0]) ** 2 + (columns - x - shift[1]) ** 2 <= radius**2
    return mask


def slow_distances(a, b, spacing):
    """Pooled distances between boundary pixels, pair by pair, with a boundary of its own making."""

    def edge(mask):
        padded = np.pad(mask, 1)
        return [
            (y * spacing[0], x * spacing[1])
            for y, x in np.argwhere(mask)
            if not all(padded[y + 1 + i, x + 1 + j] for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0)))
        ]

    pairs = cdist(edge(a), edge(b))
    return np.concatenate([pairs.min(axis=0), pairs.min(axis=1)])


@pytest.mark.parametrize(("seed", "other", "shift", "n", "mpp", "dice", "hd", "msd", "hd95"), MONAI)
def test_ours_equals_monai(seed, other, shift, n, mpp, dice, hd, msd, hd95):
    found, expected = draw_discs(seed, shift, n), draw_discs(other, (0, 0), n)
    ours = agree_ours(found, expected, mpp)
    assert ours.status == "defined" and ours.worst == ours.values
    got = [ours.values[name] for name in ("dice", "hd_um", "msd_um")]
    np.testing.assert_allclose(got, [dice, hd, msd], rtol=1e-6, err_msg="differs from MONAI's numbers")
    assert ours.values["hd95_um"] <= hd95 * (1 + 1e-6), "pooling both directions can't pass MONAI's greater direction"


@given(PAIRS, st.sampled_from([(1.0, 1.0), (0.25, 0.5), (2.0, 0.7)]))
@settings(max_examples=60, deadline=None)
def test_ours_in_every_small_picture(pair, mpp):
    a, b = pair
    ours, back = agree_ours(a, b, mpp), agree_ours(b, a, mpp)
    figures, reverse = (list(agreement.worst.values()) for agreement in (ours, back))
    np.testing.assert_allclose(figures, reverse, rtol=1e-12, err_msg="which mask is which mustn't matter")
    if ours.status != "defined":
        assert not (a.any() and b.any()) and np.isnan([ours.values[name] for name in DISTANCES]).all()
        return
    distances = slow_distances(a, b, mpp)
    expected = [2 * (a & b).sum() / (a.sum() + b.sum()), distances.max(), np.percentile(distances, 95)]
    got = [ours.values[name] for name in METRICS["ours"]]
    np.testing.assert_allclose(got, [*expected, distances.mean()], rtol=1e-12, atol=1e-12)
    assert 0 <= got[0] <= 1, "Dice is a share"
    assert got[2] <= got[1] and got[3] <= got[1], "a percentile and a mean can't pass the maximum"


@given(MASKS)
@settings(max_examples=30, deadline=None)
def test_a_mask_agrees_with_itself(mask):
    same = agree_ours(mask, mask, 0.5)
    if mask.any():
        assert same.values == {"dice": 1.0, "hd_um": 0.0, "hd95_um": 0.0, "msd_um": 0.0}
    else:
        assert same.status == "both empty"


@given(st.integers(0, 9), st.integers(-6, 6), st.integers(-6, 6))
@settings(max_examples=30, deadline=None)
def test_ours_goes_with_the_masks(seed, down, right):
    a, b = (np.pad(draw_discs(seed + i, (0, 0), 2, (24, 24)), 8) for i in (0, 20))
    moved = [np.roll(mask, (down, right), (0, 1)) for mask in (a, b)]
    here, there, coarse = agree_ours(a, b, 0.5), agree_ours(*moved, 0.5), agree_ours(a, b, 1.0)
    assert here == there, "moving both masks within the patch changes nothing"
    assert coarse.values["dice"] == here.values["dice"]
    for name in DISTANCES:
        assert coarse.values[name] == pytest.approx(2 * here.values[name]), "distances are in µm"


def test_ours_tells_empty_masks_apart():
    empty, some = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    some[3:9, 4:12] = True
    both, missed, invented = agree_ours(empty, empty, 2), agree_ours(empty, some, 2), agree_ours(some, empty, 2)
    assert (both.status, missed.status, invented.status) == ("both empty", "prediction empty", "truth empty")
    assert np.isnan(list(both.values.values())).all() and np.isnan(list(both.worst.values())).all()
    for one in (missed, invented):
        assert one.values["dice"] == one.worst["dice"] == 0, "false positives and misses are punished alike"
        assert np.isnan([one.values[name] for name in DISTANCES]).all(), "no distance to nothing"
        assert [one.worst[name] for name in DISTANCES] == [100.0] * 3, "60 × 80 µm have a diagonal of 100 µm"


def test_the_boundary_is_what_a_cross_erodes():
    square = np.ones((4, 5), bool)
    expected = np.ones((4, 5), bool)
    expected[1:3, 1:4] = False
    np.testing.assert_array_equal(find_boundary(square), expected, "a mask on the patch's edge has its boundary there")


def test_omniseg_by_hand():
    # Five rows and columns, of which the convention sees four; prediction and truth are one pixel each.
    found, expected = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    found[1, 1] = expected[1, 3] = True
    found[4, :] = expected[:, 4] = True  # in what isn't looked at
    dice = (2 * 14 / (15 + 15 + 1) + 2 * 0 / (1 + 1 + 1)) / 2
    assert agree_omniseg(found, expected, 2.0).values == pytest.approx({"dice": dice, "hd_um": 4.0, "msd_um": 4.0})
    assert agree_omniseg(found, found, 1.0).values["dice"] == pytest.approx((30 / 31 + 2 / 3) / 2), "+1 in both parts"


def test_omniseg_of_empty_masks_is_the_artefact():
    empty, some = np.zeros((33, 33), bool), np.zeros((33, 33), bool)
    some[10:14, 6:21] = True
    artefact = agree_omniseg(empty, some, 0.25)
    rows, columns = np.nonzero(find_boundary(some))
    far = 0.25 * np.hypot(rows + 1, columns)  # to the pixel (−1, 0), which is no pixel
    assert artefact.status == "prediction empty"
    distances = [artefact.values[name] for name in ("hd_um", "msd_um")]
    assert distances == pytest.approx([far.max(), far.mean()])
    assert artefact.values["dice"] == pytest.approx((32**2 - 60) / (2 * 32**2 - 60 + 1))
    nothing = agree_omniseg(empty, empty, 0.25)
    assert nothing.values == pytest.approx({"dice": 1 + 1024 / 2049, "hd_um": 0, "msd_um": 0}), (
        "some 1.5: the exception"
    )


def test_omniseg_looks_at_the_box_that_is_not_black():
    image = np.zeros((40, 50, 3), np.uint8)
    image[5:30, 7:41, 1] = 9
    assert find_box(image) == (slice(5, 29), slice(7, 40)), "the last lit row and column are left out"
    rng = np.random.default_rng(0)
    found, expected = rng.random((2, 40, 50)) < 0.3
    boxed = agree("omniseg", found, expected, 1.0, image)
    cut = agree_omniseg(found[5:30, 7:41], expected[5:30, 7:41], 1.0)
    assert boxed == cut and boxed != agree("omniseg", found, expected, 1.0)
    with pytest.raises(ValueError, match="wholly black; leave the patch out"):
        find_box(image * 0)


@pytest.mark.parametrize("folder", FOLDERS)
def test_published_rows_of_nothing_found(shared_data: Path, folder):
    """All-background predictions give the distances and the Dice that Table I prints for methods that collapsed."""
    mpp, hd, msd, dice = FOLDERS[folder]
    figures = []
    for path in sorted((shared_data / "omniseg_demo" / folder).glob("*/*_mask_*.png")):
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        image = cv2.imread(str(path.with_name(path.name.split("_mask_")[0] + ".png")))
        both = [agree(name, np.zeros_like(truth), truth, mpp, image) for name in ("omniseg", "ours")]
        assert both[1].values["dice"] == 0 and np.isnan(both[1].values["hd_um"])
        figures.append([both[0].values[name] for name in ("hd_um", "msd_um", "dice")])
    means = np.mean(figures, axis=0)
    np.testing.assert_allclose(means[:2], [hd, msd], rtol=0.07)  # 84 of the 110 patches
    assert 100 * means[2] == pytest.approx(dice, abs=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("theirs", np.ones((3, 3)), np.ones((3, 3)), 1.0), "options are ours, omniseg"),
        (("ours", np.ones((3, 4)), np.ones((3, 3)), 1.0), r"shape is \(3, 4\), the label's \(3, 3\)"),
        (("ours", np.ones((3, 3)), np.ones((3, 3)), 0.0), "µm per pixel is 0.0; give a positive number"),
        (("omniseg", np.ones((3, 3)), np.ones((3, 3)), (1.0, 2.0)), "give a single number"),
    ],
)
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        agree(*arguments)
