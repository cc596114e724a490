"""Space Ranger's picture on the slide: found where it is, missed where it isn't."""

import cv2
import numpy as np
import pytest

from nephrospot.registration import Transform, _correlate_shifts, compare_images, judge_registration, slide_transform
from visium_folder import paint_tissue

SLIDE_MPP = 0.5
THUMBNAIL_MPP = 8.0
# A slide of 6.4 × 8 mm; its thumbnail has 8 µm per pixel, level 0 has 16 times as many pixels.
SLIDE = paint_tissue(800, 1000, seed=1)


def shrink(image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def compare(hires, scalef, transform=None):
    return compare_images(SLIDE, THUMBNAIL_MPP, hires, scalef, transform or Transform(), SLIDE_MPP)


def test_transform_of_a_row():
    transform = slide_transform({"visium_scale": 2.0, "visium_x_px": 5.0, "visium_y_px": -1.0, "slide": "B1"})
    assert transform == Transform(2.0, 5.0, -1.0)
    x, y = transform.to_slide(np.array([1, 2]), np.array([3, 4]))
    assert x.tolist() == [7, 9] and y.tolist() == [5, 7]


def test_the_same_picture_fits_where_it_is():
    result = compare(shrink(SLIDE, 640, 512), 0.04)
    assert result["correlation"] > 0.99 and result["overlap"] > 0.95 and result["sure"]
    assert (result["shift_x_um"], result["shift_y_um"]) == pytest.approx((0, 0), abs=1)
    assert judge_registration(result, "slide B1", SLIDE_MPP) == ([], [])


def test_another_stain_is_no_false_alarm():
    rng = np.random.default_rng(2)
    stain = 255 - 0.4 * (255 - SLIDE[..., ::-1].astype(float)) + rng.normal(0, 10, SLIDE.shape)
    result = compare(shrink(np.clip(stain, 0, 255).astype(np.uint8), 640, 512), 0.04)
    assert judge_registration(result, "slide B1", SLIDE_MPP) == ([], [])


def test_a_crop_is_found_by_its_transform_only():
    # Space Ranger saw the slide from (3200, 1600) on at half its resolution: 800 × 600 thumbnail pixels.
    crop = SLIDE[100:700, 200:1000]
    hires, scalef = shrink(crop, 640, 480), 640 / (800 * 8)
    right = compare(hires, scalef, Transform(2.0, 3200, 1600))
    assert right["correlation"] > 0.98
    wrong = compare(hires, scalef, Transform(2.0, 3200 - 600, 1600 + 400))
    # 600 level-0 pixels are 300 µm; the spots must move back by that much.
    assert wrong["shift_x_um"] == pytest.approx(300, abs=20)
    assert wrong["shift_y_um"] == pytest.approx(-200, abs=20)
    assert wrong["shifted_correlation"] > 0.95 > wrong["correlation"]
    problems, notes = judge_registration(wrong, "slide B1", SLIDE_MPP)
    assert "visium_x_px" in " ".join(problems + notes), "a clearly better place is told"


def test_correlation_by_fft_is_the_plain_one_over_shared_pixels():
    rng = np.random.default_rng(4)
    fixed, moving = (cv2.GaussianBlur(rng.normal(size=(40, 50)), (0, 0), 2) * 30 for _ in range(2))
    known = [(rng.random((40, 50)) > 0.2).astype(float) for _ in range(2)]
    r, shared = _correlate_shifts(fixed * known[0], known[0], moving * known[1], known[1], reach=6)
    for dy, dx in [(0, 0), (3, -5), (-6, 6)]:
        moved, seen = (np.full((40, 50), np.nan) for _ in range(2))
        rows, columns = slice(max(0, dy), 40 + min(0, dy)), slice(max(0, dx), 50 + min(0, dx))
        source = slice(max(0, -dy), 40 + min(0, -dy)), slice(max(0, -dx), 50 + min(0, -dx))
        moved[rows, columns], seen[rows, columns] = moving[source], known[1][source]
        both = (known[0] == 1) & (seen == 1)
        assert shared[6 + dy, 6 + dx] == both.sum()
        assert r[6 + dy, 6 + dx] == pytest.approx(np.corrcoef(fixed[both], moved[both])[0, 1], abs=1e-9)


def test_the_same_outline_with_other_tissue_in_it_is_refused():
    other = paint_tissue(800, 1000, seed=9)
    outline = np.corrcoef(SLIDE.mean(axis=2).ravel(), other.mean(axis=2).ravel())[0, 1]
    assert outline > 0.5, "outlines alone correlate, which is why structures are compared"
    result = compare(shrink(other, 640, 512), 0.04)
    assert result["sure"] and abs(result["correlation"]) < 0.15
    problems, _ = judge_registration(result, "slide B1", SLIDE_MPP)
    assert len(problems) == 1 and "same tissue" in problems[0]


def test_very_low_correlation_is_refused_with_a_remedy():
    result = {"correlation": 0.05, "shift_x_um": 0.0, "shift_y_um": 0.0, "shifted_correlation": 0.1, "found": False,
              "sure": True}  # fmt: skip
    problems, notes = judge_registration(result, "slide B1", SLIDE_MPP, min_correlation=0.3)
    assert "same tissue" in problems[0] and "r = 0.05" in problems[0] and not notes
    assert judge_registration({**result, "correlation": 0.35}, "slide B1", SLIDE_MPP) == ([], [])
    assert judge_registration(result, "slide B1", SLIDE_MPP, min_correlation=0.0) == ([], [])


def test_a_better_place_is_a_note_where_the_correlation_is_fair():
    result = {"correlation": 0.5, "shift_x_um": 150.0, "shift_y_um": 0.0, "shifted_correlation": 0.9, "found": True,
              "sure": True}  # fmt: skip
    problems, notes = judge_registration(result, "slide B1", SLIDE_MPP)
    assert not problems and "+150 µm in x" in notes[0] and "+300 to visium_x_px" in notes[0]
    chance = {**result, "found": False}
    assert judge_registration(chance, "slide B1", SLIDE_MPP) == ([], []), "the best of many shifts is no finding"
    small = {**result, "shift_x_um": 30.0}
    assert judge_registration(small, "slide B1", SLIDE_MPP) == ([], [])


def test_nothing_to_compare_is_said_and_never_refused():
    assert compare(None, 0.04) is None
    problems, notes = judge_registration(None, "slide B1", SLIDE_MPP)
    assert not problems and "tissue_hires_image.png" in notes[0]
    blank = compare(np.full((512, 640), 255, np.uint8), 0.04)
    problems, notes = judge_registration(blank, "slide B1", SLIDE_MPP)
    assert not blank["sure"] and not problems and len(notes) == 1


def test_a_picture_beside_the_slide_has_no_correlation():
    result = compare(shrink(SLIDE, 640, 512), 0.04, Transform(1, 100_000, 0))
    assert not result["sure"] and result["overlap"] == 0
