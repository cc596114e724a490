"""Spot geometry: read as written, whatever the version, the turn or the mirror."""

import json

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.visium import find_outs, read_positions
from visium_folder import make_positions, write_outs


@pytest.mark.parametrize("layout", ["v1 list", "csv with header", "parquet"])
def test_every_layout_keeps_every_spot(tmp_path, layout):
    positions = make_positions()
    grid = read_positions(write_outs(tmp_path / "outs", positions, layout=layout))
    assert grid.layout == layout
    assert grid.table["barcode"].tolist() == positions["barcode"].tolist(), "the first spot is easily lost as a header"
    assert np.allclose(grid.table["x_px"], positions["pxl_col_in_fullres"], atol=0.5), "x is the pixel column"
    assert np.allclose(grid.table["y_px"], positions["pxl_row_in_fullres"], atol=0.5), "y is the pixel row"
    assert grid.table["in_tissue"].dtype == bool


def test_header_is_sniffed_not_guessed_from_the_name(tmp_path):
    outs = write_outs(tmp_path / "outs", make_positions())
    spatial = outs / "spatial"
    (spatial / "tissue_positions.csv").rename(spatial / "tissue_positions_list.csv")
    assert read_positions(outs).layout == "csv with header"


@pytest.mark.parametrize("angle", [0, 0.3, np.pi / 2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_pitch_survives_turn_mirror_and_negative_positions(tmp_path, angle, mirror):
    positions = make_positions(pitch_px=173.5, angle=angle, mirror=mirror, origin=(-5000, -100))
    grid = read_positions(write_outs(tmp_path / "outs", positions, pitch_px=173.5))
    assert grid.pitch_px == pytest.approx(173.5, rel=1e-9)
    assert grid.mpp_from_pitch == pytest.approx(100 / 173.5)
    assert grid.mpp_from_fiducial == pytest.approx(100 / 173.5)
    assert grid.notes() == []


def test_one_stray_spot_is_told_and_does_not_move_the_pitch(tmp_path):
    positions = make_positions()
    positions.loc[7, "pxl_col_in_fullres"] += 50_000
    grid = read_positions(write_outs(tmp_path / "outs", positions))
    assert grid.pitch_px == pytest.approx(200, rel=1e-6)
    assert positions.loc[7, "barcode"] in grid.notes()[0]


@pytest.mark.parametrize("um", [55, 60, 65, 70])
def test_spot_diameters_of_all_slide_types_pass(tmp_path, um):
    outs = _with_factor(write_outs(tmp_path / "outs", make_positions()), "spot_diameter_fullres", 2.0 * um)
    assert read_positions(outs).notes() == []


def test_an_impossible_spot_diameter_is_noted(tmp_path):
    outs = _with_factor(write_outs(tmp_path / "outs", make_positions()), "spot_diameter_fullres", 100)
    assert "50.0 µm" in read_positions(outs).notes()[0]


def test_a_printed_fiducial_of_90_um_agrees_with_the_pitch(tmp_path):
    outs = _with_factor(write_outs(tmp_path / "outs", make_positions()), "fiducial_diameter_fullres", 180)
    grid = read_positions(outs)
    assert grid.mpp_from_fiducial == pytest.approx(0.5)
    assert "90 µm" in grid.notes()[0]


def test_a_fiducial_that_fits_nothing_stays_a_contradicting_witness(tmp_path):
    outs = _with_factor(write_outs(tmp_path / "outs", make_positions()), "fiducial_diameter_fullres", 420)
    assert read_positions(outs).mpp_from_fiducial == pytest.approx(0.25)


def test_outs_is_found_from_its_neighbours(tmp_path):
    outs = write_outs(tmp_path / "run" / "outs", make_positions())
    assert find_outs(tmp_path / "run") == find_outs(outs) == find_outs(outs / "spatial") == outs


def _with_factor(outs, name, value):
    path = outs / "spatial" / "scalefactors_json.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    return outs


def _swap(outs, change):
    positions = make_positions()
    change(positions)
    positions.to_csv(outs / "spatial" / "tissue_positions.csv", index=False)


def _truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _make_parquet_cut_short(outs):
    (outs / "spatial" / "tissue_positions.csv").unlink()
    path = outs / "spatial" / "tissue_positions.parquet"
    make_positions().to_parquet(path)
    _truncate(path)


def _set(column, value):
    return lambda table: table.__setitem__(column, value)


BROKEN = {
    "no positions": (lambda o: (o / "spatial/tissue_positions.csv").unlink(), "positions are missing"),
    "no factors": (lambda o: (o / "spatial/scalefactors_json.json").unlink(), "scalefactors_json.json"),
    "factors cut": (lambda o: _truncate(o / "spatial/scalefactors_json.json"), "cut short"),
    "csv cut": (lambda o: _truncate(o / "spatial/tissue_positions.csv", 0.493), "line"),
    "csv empty": (lambda o: (o / "spatial/tissue_positions.csv").write_text(""), "empty"),
    "parquet cut": (_make_parquet_cut_short, "cut short"),
    "negative factor": (lambda o: _with_factor(o, "tissue_hires_scalef", -1), "positive"),
    "HD by factor": (lambda o: _with_factor(o, "bin_size_um", 8), "Visium HD"),
    "HD by folder": (lambda o: (o / "binned_outputs").mkdir(), "Visium HD"),
    "few on tissue": (lambda o: _swap(o, lambda t: t.loc.__setitem__((slice(2, None), "in_tissue"), 0)), "2 spots lie"),
    "doubles": (lambda o: _swap(o, lambda t: t.loc.__setitem__((3, "barcode"), t["barcode"][2])), "twice"),
    "text": (lambda o: _swap(o, _set("pxl_row_in_fullres", "far")), "not a number"),
    "column lost": (lambda o: _swap(o, lambda t: t.drop(columns="array_col", inplace=True)), "array_col"),
    "in_tissue odd": (lambda o: _swap(o, _set("in_tissue", 2)), "in_tissue"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_refused_in_a_sentence(tmp_path, case):
    outs = write_outs(tmp_path / "outs", make_positions())
    breaks, words = BROKEN[case]
    breaks(outs)
    with pytest.raises(InputError, match=words) as caught:
        read_positions(outs)
    assert str(outs) in str(caught.value), "the sentence names the folder"
    assert ";" in str(caught.value) or "give" in str(caught.value), "the sentence has a remedy"


def test_a_square_grid_is_no_visium(tmp_path):
    positions = make_positions()
    positions["pxl_row_in_fullres"] = positions["array_row"] * 100.0
    grid = read_positions(write_outs(tmp_path / "outs", positions))
    with pytest.raises(InputError, match="hexagonal"):
        _ = grid.pitch_px


def test_swapped_pixel_columns_are_a_mirror_but_swapped_lattice_columns_are_refused(tmp_path):
    positions = make_positions().rename(
        columns={"pxl_row_in_fullres": "pxl_col_in_fullres", "pxl_col_in_fullres": "pxl_row_in_fullres"}
    )
    assert read_positions(write_outs(tmp_path / "a", positions)).pitch_px == pytest.approx(200)
    positions = make_positions(rows=40).rename(columns={"array_row": "array_col", "array_col": "array_row"})
    with pytest.raises(InputError, match="hexagonal"):
        _ = read_positions(write_outs(tmp_path / "b", positions)).pitch_px


def test_spots_of_one_row_have_no_pitch(tmp_path):
    positions = make_positions(rows=1)
    with pytest.raises(InputError, match="one line"):
        _ = read_positions(write_outs(tmp_path / "outs", positions)).pitch_px


@pytest.mark.parametrize(
    ("folder", "spots", "pitch_px"),
    [
        ("visium_v1_spatial", 4992, 137.713),
        ("mouse_pas_mosaic", 4992, 296.552),
        ("tiny_visium", 100, 137.584),
        ("lymph_visium", 4992, 137.677),
    ],
)
def test_real_folders(shared_data, folder, spots, pitch_px):
    grid = read_positions(shared_data / folder)
    assert len(grid.table) == spots
    assert grid.pitch_px == pytest.approx(pitch_px, abs=0.001)
    assert grid.mpp_from_fiducial == pytest.approx(grid.mpp_from_pitch, rel=0.001), "two witnesses of one scale"
    # An oracle that doesn't fit: the median distance between neighbours of a row.
    merged = pd.merge(
        grid.table, grid.table.assign(array_col=grid.table["array_col"] - 2), on=["array_row", "array_col"]
    )
    step = np.hypot(merged["x_px_x"] - merged["x_px_y"], merged["y_px_x"] - merged["y_px_y"])
    assert step.mean() == pytest.approx(pitch_px, rel=0.002), "neighbours are one pitch apart"
