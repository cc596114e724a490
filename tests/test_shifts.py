"""A grid that lies elsewhere is found, one that lies well isn't suspected, and discs are as the exact ones."""

import numpy as np
import pytest

from label_files import write_labels
from nephrospot.discs import make_coverage, measure_shifted
from nephrospot.omezarr import open_masks
from nephrospot.shifts import describe_peak, find_peak, list_shifts, tell_peak
from nephrospot.spots import measure_discs
from spots_by_hand import hexagons

MPP = 1.0


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    """Glomeruli of 74 µm, eight a mm², on 2 × 2 mm; its mask and coverage."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:2000, :2000]
    mask = np.zeros((2000, 2000), bool)
    for cx, cy in rng.uniform(60, 1940, (60, 2)):
        mask |= (x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 < rng.normal(37, 4) ** 2
    labels = open_masks(write_labels(tmp_path_factory.mktemp("shifts") / "m", {"CAP": mask}, MPP))
    return mask, make_coverage(labels["CAP"])


@pytest.fixture(scope="module")
def spots():
    place = hexagons(17, 20) + 150
    return place[(place < 1850).all(axis=1)]


def test_discs_are_as_the_exact_ones(section, spots):
    mask, coverage = section
    assert coverage.shape == (400, 400) and coverage.sum() == pytest.approx(mask.sum() / 25, rel=1e-5)
    shifts = np.array([[0, 0], [7.5, -12]])
    found = measure_shifted(coverage, *spots.T, 55, shifts)
    for column, (dx, dy) in enumerate(shifts):
        exact, _ = measure_discs(mask, MPP, spots[:, 0] + dx, spots[:, 1] + dy, 55)
        assert np.abs(found[:, column] - exact).max() < 4 and np.abs(found[:, column] - exact).mean() < 0.3
        assert np.corrcoef(found[:, column], exact)[0, 1] > 0.999


def test_discs_that_leave_the_slide_have_no_value(section):
    found = measure_shifted(section[1], np.array([30.0, 1000]), np.array([1000.0, 1990]), 55, list_shifts(10))
    assert np.isnan(found[0, 0]) and np.isfinite(found[0, 4]), "ten µm to the left would leave it"
    assert np.isnan(found[1]).all()


def observe(mask, spots, shift, seed, noise=4.0):
    """What a reader sees at the spots' true places."""
    exact, _ = measure_discs(mask, MPP, spots[:, 0] + shift[0], spots[:, 1] + shift[1], 55)
    return exact + np.random.default_rng(seed).normal(0, noise, len(exact))


@pytest.mark.parametrize("shift", [(30, 0), (-18, 24), (0, -20)])
def test_a_shifted_grid_is_found(section, spots, shift):
    mask, coverage = section
    shifts = list_shifts()
    percent = measure_shifted(coverage, *spots.T, 55, shifts)
    table, peak = find_peak(spots, percent, observe(mask, spots, shift, 1), shifts, 1)
    assert peak.suspicious and (peak.x_um, peak.y_um) == pytest.approx(shift, abs=4)
    assert peak.r > 0.95 > peak.r_here and not peak.at_edge
    assert len(table) == 121 and table["r"].idxmax() == np.argmin(np.hypot(*(shifts - shift).T))
    told = tell_peak("K1", "CAP against the pathologist", "Omni-Seg", describe_peak(peak))
    assert f"moved by {peak.distance_um:.0f} µm" in told and "check the slide's registration" in told


@pytest.mark.parametrize("seed", range(4))
def test_a_grid_that_lies_well_isnt_suspected(section, spots, seed):
    mask, coverage = section
    shifts = list_shifts()
    percent = measure_shifted(coverage, *spots.T, 55, shifts)
    _, peak = find_peak(spots, percent, observe(mask, spots, (0, 0), seed, noise=15), shifts, seed)
    assert not peak.suspicious and peak.distance_um < 6
    noise = np.random.default_rng(seed).uniform(0, 100, len(spots))
    _, nothing = find_peak(spots, percent, noise, shifts, seed)
    assert not nothing.suspicious, "scores that know nothing of the slide have a peak somewhere, by chance"


def test_a_shift_beyond_what_was_tried_is_at_the_edge(section, spots):
    mask, coverage = section
    shifts = list_shifts(20)
    percent = measure_shifted(coverage, *spots.T, 55, shifts)
    _, peak = find_peak(spots, percent, observe(mask, spots, (45, 0), 1), shifts, 1)
    assert peak.at_edge and "the end of what was tried" in tell_peak("K1", "CAP", "m", describe_peak(peak))


def test_little_or_constant_has_no_peak(section, spots):
    shifts = list_shifts(10)
    percent = measure_shifted(section[1], *spots.T, 55, shifts)
    assert find_peak(spots[:40], percent[:40], percent[:40, 4], shifts, 1)[1] is None
    assert find_peak(spots, percent, np.zeros(len(spots)), shifts, 1)[1] is None
