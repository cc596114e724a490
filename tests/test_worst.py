"""The spots farthest off: by percentage points or off the line, whatever the order of the rows; and their pictures."""

import numpy as np
import pytest

from label_files import write_labels
from nephrospot.omezarr import open_masks
from nephrospot.pairs import gather_pairs
from nephrospot.report.worst import draw_worst
from nephrospot.slide import open_slide
from nephrospot.worst import COLUMNS, choose_worst
from pictures import write_tiff
from spots_by_hand import hexagons, make_pairs


@pytest.fixture
def maps():
    place, rng = hexagons(10, 6), np.random.default_rng(0)
    y = rng.uniform(0, 50, 60)
    return {"K1": (place, {"m": 2 * y + rng.normal(0, 1, 60)}, y)}


def choose(pairs, **options):
    """Of the one comparison that the pairs are of."""
    comparisons = pairs[["tissue", "reference"]].drop_duplicates().to_dict("records")
    return choose_worst(gather_pairs([pairs], comparisons, ["m"], place=("x_px", "y_px")), ["m"], **options)


def test_the_worst_are_off_the_line_or_in_points(maps):
    maps["K1"][1]["m"][7] += 30
    line = choose(make_pairs(maps))
    assert list(line.columns) == COLUMNS and len(line) == 20 and line["rank"].tolist() == list(range(1, 21))
    assert line["barcode"][0] == "b0007" and line["off"][0] > 5, "twice as much everywhere isn't off the line"
    points = choose(make_pairs(maps, reference="pathologist"), most=3)
    assert points["off"].tolist() == pytest.approx((points["predicted"] - points["observed"]).tolist())
    assert points["off"].abs().is_monotonic_decreasing


def test_the_order_of_the_rows_is_no_information(maps):
    pairs = make_pairs(maps)
    assert choose(pairs.sample(frac=1, random_state=3)).equals(choose(pairs))


def test_nothing_complete_gives_nothing(maps):
    assert choose(make_pairs(maps).assign(dropped="not scored")).empty
    maps["K1"][1]["m"][:] = 5
    assert choose(make_pairs(maps)).empty, "a constant has no line"


def test_a_crop_shows_mask_and_rim_also_at_the_slides_corner(tmp_path):
    mask = np.zeros((400, 400), bool)
    mask[180:220, 180:220] = True
    label = open_masks(write_labels(tmp_path / "m", {"CAP": mask}, 0.5))["CAP"]
    with open_slide(write_tiff(tmp_path / "s.tiff", np.full((400, 400, 3), 90, np.uint8))) as slide:
        crop = draw_worst(slide, 0.5, label, 199.5, 199.5, 55, "#ff0000").astype(int)
        corner = draw_worst(slide, 0.5, label, 10, 10, 55, "#ff0000")
    assert crop.shape == corner.shape == (220, 220, 3)
    red = (crop[..., 0] > 150) & (crop[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max()) == pytest.approx((90, 129), abs=2), "20 µm of mask about the middle"
    assert (columns.min(), columns.max()) == pytest.approx((90, 129), abs=2)
    assert crop[110, 165].min() > 200, "the rim, 27.5 µm from the middle"
    assert not ((corner[..., 0] > 150) & (corner[..., 1] < 60)).any(), "no mask there, and none mirrored in"
