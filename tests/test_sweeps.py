"""Other diameters and magnifications: r is highest at the true size, pooling is as over all spots, figures say it."""

import numpy as np
import pandas as pd
import pytest

from nephrospot.diameters import COLUMNS, pool_diameters, try_diameters
from nephrospot.files import write_json
from nephrospot.readings import expand_sweep
from nephrospot.report.sweeps import draw_sweep, gather_diameters, gather_resolutions, list_sweep
from nephrospot.spots import measure_discs
from nephrospot.trials import describe_trials, read_trials
from spots_by_hand import hexagons

NAMED = {"method": "m", "tissue": "CAP", "reference": "pathologist"}


@pytest.fixture(scope="module")
def coverage():
    """Smooth blobs on 2 × 2 mm at 5 µm."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:400, :400] * 5.0 + 2.5
    mask = np.zeros((400, 400), np.float32)
    for cx, cy in rng.uniform(100, 1900, (70, 2)):
        mask[(x - cx) ** 2 + (y - cy) ** 2 < rng.normal(37, 5) ** 2] = 1
    return mask


@pytest.fixture(scope="module")
def place():
    spots = hexagons(17, 20) + 150
    return spots[(spots < 1850).all(axis=1)]


@pytest.mark.parametrize("true_um", [55.0, 100.0])
def test_r_is_highest_at_the_size_that_was_observed(coverage, place, true_um):
    observed, _ = measure_discs(coverage, 5.0, *place.T, true_um)
    table = try_diameters(coverage, place, observed, 55)
    assert list(table) == COLUMNS and table["n"].nunique() == 1
    assert table.loc[table["r"].idxmax(), "diameter_um"] == true_um and table["r"].max() > 0.999
    assert try_diameters(coverage, place, observed, 65)["diameter_um"].tolist() == [25, 40, 55, 65, 70, 85, 100, 150]


def test_pooled_is_as_over_all_spots_at_once(coverage, place):
    rng, tables, predicted, observed = np.random.default_rng(0), [], [], []
    exact, _ = measure_discs(coverage, 5.0, *place.T, 55)
    # A slide with none of the tissue counts too: its zeros are part of the pooled line.
    for share in (0.0, 0.4, 1.0):
        predicted.append(share * exact)
        observed.append(rng.uniform(0, 60, len(place)) + 20 * share)
        tables.append(try_diameters(share * coverage, place, observed[-1], 55).assign(**NAMED))
    row = pool_diameters(tables).query("diameter_um == 55").iloc[0]
    expected = np.corrcoef(np.concatenate(predicted), np.concatenate(observed))[0, 1]
    assert row["r"] == pytest.approx(expected, abs=2e-3) and row["n"] == 3 * len(place)


def test_nothing_to_pool_is_no_number(coverage, place):
    assert pool_diameters([]).empty
    nothing = try_diameters(coverage, np.array([[20.0, 500]]), np.array([5.0]), 55)  # its largest disc leaves the map
    assert (nothing["n"] == 0).all() and nothing["r"].isna().all()
    constant = try_diameters(coverage, place, np.zeros(len(place)), 55).assign(**NAMED)
    assert constant["r"].isna().all() and pool_diameters([constant])["r"].isna().all()
    assert draw_sweep(gather_diameters([constant]), {"m": "M"}, "µm", 55) is None


def test_a_sweeps_methods_stand_under_their_networks_name():
    given = {"net": {"label": "Net", "network": "omni-seg"}, "truth": {"label": "T", "masks": "x"}}
    methods, same = expand_sweep(given, [5, 20]), {"tissue": "PT", "reference": "rctd", "n": 90}
    rows = [
        same | {"method": name, "level": level, "r": r, "lo": r - 0.1, "hi": r + 0.1}
        for name, r in (("net", 0.9), ("net@5x", 0.3), ("net@20x", 0.7), ("truth", 1.0))
        for level in ("pooled", "slide:K1")
    ]
    table = gather_resolutions(pd.DataFrame(rows), methods)
    assert table[["method", "x", "r"]].to_numpy().tolist() == [["net", 5, 0.3], ["net", 20, 0.7]]
    figure = draw_sweep(table, {"net": "Net <a>"}, "magnification", log=True)
    assert figure.startswith("data:image/svg") and "n = 90" in figure and "Net <a" not in figure, "escaped"
    listed = list_sweep(table, {"net": "Net"}, "{}×")
    assert listed["head"][2:] == ["5×", "20×"] and listed["rows"][0][2:] == ["0.300", "0.700"]


def test_trials_come_back_from_their_file(tmp_path, coverage, place):
    """Also where nothing has an r, which JSON can't write."""
    rng, peak = np.random.default_rng(0), NAMED | {"r": 0.5, "suspicious": True}
    known = try_diameters(coverage, place, rng.uniform(0, 60, len(place)), 55).assign(**NAMED)
    for resized in (known, known.assign(r=np.nan), known[:0]):
        write_json(tmp_path / "trials.json", describe_trials("S1", [peak], resized))
        peaks, again = read_trials(tmp_path / "trials.json")
        assert peaks == [peak]
        pd.testing.assert_frame_equal(again, resized, check_dtype=False, check_like=True, check_index_type=False)
