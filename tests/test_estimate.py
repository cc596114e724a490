"""The transform between slide and Space Ranger's picture: found with its scale, and called unsure where it is."""

import cv2
import numpy as np
import pytest

from nephrospot.estimate import estimate_transform, tell_estimate
from nephrospot.registration import Transform
from visium_folder import paint_tissue

SLIDE_MPP, THUMBNAIL_MPP = 0.5, 8.0  # a slide of 6.4 × 8 mm, 16 level-0 pixels to a pixel of its thumbnail
SLIDE = paint_tissue(800, 1000, seed=1)
# Space Ranger saw the slide from (3200, 1600) on at half its resolution: 800 × 600 thumbnail pixels.
TRUTH = Transform(2.0, 3200, 1600)
HIRES = cv2.resize(SLIDE[100:700, 200:1000], (640, 480), interpolation=cv2.INTER_AREA)
SCALEF = 640 / (800 * 8)


def estimate(given, hires=HIRES):
    return estimate_transform(SLIDE, THUMBNAIL_MPP, hires, SCALEF, given, SLIDE_MPP)


@pytest.mark.parametrize(
    "given",
    [TRUTH, Transform(2.0, 2600, 2000), Transform(2.06, 3100, 1700), Transform(1.93, 3500, 1600)],
    ids=["right", "moved", "too large", "too small"],
)
def test_scale_and_place_are_found(given):
    found = estimate(given)
    assert found.visium_scale == pytest.approx(2.0, rel=0.004)
    # At the picture's corners and middle the spots end within 15 µm of where they belong.
    corners = np.array([[0, 0], [6400, 0], [0, 4800], [6400, 4800], [3200, 2400]], float).T
    mine = Transform(found.visium_scale, found.visium_x_px, found.visium_y_px).to_slide(*corners)
    off_um = np.hypot(*np.subtract(mine, TRUTH.to_slide(*corners))) * SLIDE_MPP
    assert off_um.max() < 15
    assert found.sure and found.quarters == 4 and found.spread_um < 15 and found.correlation > 0.95
    moved_um = np.hypot(*np.subtract(TRUTH.to_slide(3200, 2400), given.to_slide(3200, 2400))) * SLIDE_MPP
    assert found.moved_um == pytest.approx(moved_um, abs=10)


def test_what_to_write_is_told():
    told = tell_estimate(estimate(Transform(2.0, 2600, 2000)))
    assert told.startswith("The best fit has visium_scale 2") and told.endswith("sure).") and "4 of 4 quarters" in told


def test_another_slides_picture_is_never_sure():
    other = cv2.resize(paint_tissue(800, 1000, seed=9)[100:700, 200:1000], (640, 480), interpolation=cv2.INTER_AREA)
    found = estimate(TRUTH, other)
    assert not found.sure and found.agreeing < 3 and "not sure" in tell_estimate(found)


def test_a_scale_beyond_what_was_tried_isnt_sure():
    assert not estimate(Transform(2.6, 2000, 700)).sure


def test_a_picture_that_was_stretched_in_part_isnt_sure():
    # The right half comes from elsewhere: no one transform lays both halves.
    torn = HIRES.copy()
    torn[:, 320:] = HIRES[:, 320:][::-1]
    found = estimate(TRUTH, torn)
    assert not found.sure and found.agreeing <= 2


def test_nothing_to_compare_is_no_estimate():
    assert estimate(TRUTH, np.full((480, 640), 255, np.uint8)) is None
    facts = estimate(TRUTH).describe()
    assert facts["sure"] is True and set(facts) == set(estimate(TRUTH).__dataclass_fields__)
