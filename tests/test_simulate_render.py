"""The painted section: deterministic, in the right colours, and with something to learn."""

import numpy as np
import pytest

from nephrospot.simulate import structures as s
from nephrospot.simulate.anatomy import anatomy
from nephrospot.simulate.render import Donor, draw_donor, render
from nephrospot.simulate.tissue import lay_out


@pytest.fixture(scope="module")
def section():
    layout = lay_out(anatomy("mouse"), 700, 700, 0.5, 7, "edge")
    return layout, render(layout, 7, Donor())


def test_image_is_rgb_of_the_layouts_size(section):
    layout, image = section
    assert image.shape == (*layout.shape, 3) and image.dtype == np.uint8


def test_glass_is_white_and_tissue_is_pink(section):
    layout, image = section
    glass = image[layout.structure == s.GLASS].mean(axis=0)
    assert (glass > 235).all(), f"glass is {glass}"
    red, green, blue = image[layout.tissue].mean(axis=0)
    assert red > blue > green and green < 200, f"H&E is pink to purple, not {red:.0f}, {green:.0f}, {blue:.0f}"


def test_structures_differ_as_they_do_under_the_microscope(section):
    layout, image = section
    green = image[..., 1].astype(float)
    pt, dt, tuft = (green[layout.mask(t)].mean() for t in ("PT", "DT", "TUFT"))
    assert pt < dt - 10, "proximal tubules are darker (eosinophilic, small lumen) than distal ones"
    bowman = green[layout.structure == s.BOWMAN].mean()
    assert bowman > tuft + 40, "Bowman's space is empty, the tuft is not"
    red = image[..., 0].astype(float)
    assert red[layout.mask("TUFT")].mean() < red[layout.mask("PT")].mean() - 10, "the tuft is full of blue nuclei"


def test_proximal_and_distal_epithelium_overlap_in_colour(section):
    layout, image = section
    green = image[..., 1]
    low, high = np.percentile(green[layout.mask("DT")], [10, 90])
    inside = np.mean((green[layout.mask("PT")] > low) & (green[layout.mask("PT")] < high))
    assert inside > 0.2, "a threshold on colour must not tell PT from DT"


def test_nuclei_are_dark_and_blue(section):
    layout, image = section
    big = layout.nuclei[layout.nuclei["short_um"] > 5]
    row, column = (np.clip((big[c] / layout.mpp).round().astype(int), 0, 1399) for c in ("y_um", "x_um"))
    pixels = image[row, column].astype(float)
    red, _, blue = pixels.mean(axis=0)
    assert blue > red + 15 and red < 130, "haematoxylin is blue and takes most of the red light"


def test_seed_and_donor_decide_the_bytes():
    layout = lay_out(anatomy("mouse"), 200, 150, 0.5, 7, "full")
    assert render(layout, 1).tobytes() == render(layout, 1).tobytes()
    assert render(layout, 1).tobytes() != render(layout, 2).tobytes()
    assert draw_donor(1) == draw_donor(1) != draw_donor(2)
    pale, dark = (render(layout, 1, Donor(eosin_strength=k)).mean() for k in (0.7, 1.3))
    assert dark < pale - 10, "more eosin lets less light through"


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_all_resolutions_and_strips_join_without_seams(mpp):
    layout = lay_out(anatomy("human"), 300 * mpp, 600 * mpp, mpp, 3, "full")
    image = render(layout, 3).astype(float)
    rows = np.abs(np.diff(image, axis=0)).mean(axis=(1, 2))
    seams = rows[255::256]
    assert np.isfinite(image).all()
    assert (seams < 2 * np.median(rows)).all(), "strips of 256 rows must not show"
