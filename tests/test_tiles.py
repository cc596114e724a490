"""The grid of tiles, and the readings that decide which grids there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephrospot.errors import InputError
from nephrospot.readings import Reading, expand_sweep, list_readings, method_readings, split_readable
from nephrospot.slide import open_slide
from nephrospot.tiles import Grid, list_tiles, tile_slide
from nephrospot.tissue import find_tissue, read_tissue, write_tissue
from pictures import write_tiff

SPECIES = {"mouse": {"PT": {"magnification": 10, "scale_code": 10}, "CAP": {"magnification": 20, "scale_code": 5}}}


@given(
    mpp=st.floats(0.1, 1.5),
    magnification=st.sampled_from([2.5, 5, 10, 20, 40]),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    halo=st.integers(0, 100),
)
def test_every_pixel_of_the_slide_lies_in_exactly_one_core(mpp, magnification, width, height, halo):
    grid = Grid(magnification, mpp, width, height, 256, halo)
    assert (grid.columns - 1) * grid.core_px < grid.width_px <= grid.columns * grid.core_px
    assert (grid.rows - 1) * grid.core_px < grid.height_px <= grid.rows * grid.core_px
    x0, _ = grid.core_corner(0, 0)
    x1, _ = grid.core_corner(1, 0)
    assert x0 == 0, "the grid starts at the slide's origin"
    assert x1 - x0 == pytest.approx(grid.core_px * 10 / magnification / mpp), "cores follow one another without a gap"
    assert grid.width_px * grid.scale >= width - 1e-3


def test_tiles_are_those_that_touch_tissue():
    grid = Grid(10, 0.5, 4000, 4000, 256, 32)  # 2 mm: 11 × 11 cores of 192 µm
    tissue = np.zeros((125, 125), bool)  # 16 µm per pixel
    tissue[20:40, 50:100] = True  # 320…640 µm down, 800…1600 µm across
    tiles = list_tiles(grid, tissue)
    assert set(tiles["row"]) == {1, 2, 3}
    assert set(tiles["column"]) == {4, 5, 6, 7, 8}
    assert tiles["tissue_share"].between(0, 1).all()
    assert (tiles.loc[tiles["column"] == 4, "x_px"] == 4 * 192 / 0.5).all()


def test_tissue_is_found_and_glass_is_not(tmp_path):
    image = np.full((1600, 1600, 3), 244, np.uint8)
    image[400:1200, 400:1200] = (200, 120, 170)  # stained
    image[10:14, 10:14] = (60, 40, 60)  # dust
    path = write_tiff(tmp_path / "s.tiff", image, tile=(256, 256))
    with open_slide(path) as slide:
        tissue = find_tissue(slide, 0.5, "s")
    truth = np.zeros((50, 50), bool)
    truth[12:38, 12:38] = True
    assert (tissue != truth).mean() < 0.04, "stained square yes, dust and glass no"


def test_a_slide_without_tissue_is_refused(tmp_path):
    path = write_tiff(tmp_path / "glass.tiff", np.full((800, 800, 3), 243, np.uint8), tile=(256, 256))
    with open_slide(path) as slide, pytest.raises(InputError, match="slide K9: no tissue was found"):
        find_tissue(slide, 0.5, "slide K9")


def test_tissue_that_fills_the_field_is_all_found(tmp_path):
    path = write_tiff(tmp_path / "full.tiff", np.full((800, 800, 3), (190, 110, 160), np.uint8), tile=(256, 256))
    with open_slide(path) as slide:
        assert find_tissue(slide, 0.5, "s").all()


def test_a_tissue_that_needs_finer_pixels_is_refused_with_the_reason():
    readings = [Reading("PT", 10, 10), Reading("PTC", 40, 40)]
    groups, refused = split_readable(readings, slide_mpp=0.5, max_upsampling=1.25)
    assert groups == {10: [readings[0]]}
    assert refused == {"PTC": "read at 40× (0.25 µm per pixel) but the slide has 0.5"}
    assert split_readable(readings, 0.25, 1.25)[1] == {}


def test_tissues_of_one_magnification_share_a_group():
    table = {t: {"magnification": 10, "scale_code": 10} for t in ("DT", "PT", "VES")}
    groups, _ = split_readable(list_readings(table), 0.25, 1)
    assert [r.tissue for r in groups[10.0]] == ["DT", "PT", "VES"]


def test_the_sweep_adds_a_method_for_each_magnification_with_codes_unchanged():
    methods = {
        "net": {"label": "Net", "network": "omni-seg", "published": "Omni-Seg"},
        "expert": {"label": "E", "masks": "x"},
    }
    swept = expand_sweep(methods, [5, 20])
    assert list(swept) == ["net", "net@5x", "net@20x", "expert"]
    assert swept["net@5x"]["published"] is None, "a swept row must not be mistaken for the published one"
    assert list_readings(SPECIES["mouse"], swept["net@20x"]["sweep_magnification"]) == [
        Reading("PT", 20, 10),
        Reading("CAP", 20, 5),
    ]


def test_a_slide_is_tiled_at_each_magnification_that_it_can_serve():
    manifest = {"slide": "s", "mpp": 0.5, "width_px": 900, "height_px": 900}
    segmentation = {"window_px": 256, "halo_px": 32, "max_upsampling": 1.25}
    tissue = np.ones((29, 29), bool)
    tiles = tile_slide(tissue, manifest, [20, 10, 40], segmentation)
    assert dict(tiles.groupby("magnification").size()) == {10.0: 9, 20.0: 25}, "40× would need 0.25 µm per pixel"
    with pytest.raises(InputError, match=r"no tissue can be read at 0\.5 µm per pixel"):
        tile_slide(tissue, manifest, [40], segmentation)


def test_the_tissue_mask_survives_being_saved_a_pixel_wider(tmp_path):
    tissue = np.zeros((20, 30), bool)
    tissue[5:10, 10:20] = True
    write_tissue(tmp_path / "t.png", tissue)
    wide = np.zeros((20, 30), bool)
    wide[4:11, 9:21] = True
    assert np.array_equal(read_tissue(tmp_path / "t.png"), wide)


def test_a_lumen_belongs_to_its_vessel(tmp_path):
    image = np.full((1600, 1600, 3), (200, 120, 170), np.uint8)
    image[600:1000, 600:1000] = 244  # 200 µm of glass inside
    with open_slide(write_tiff(tmp_path / "s.tiff", image, tile=(256, 256))) as slide:
        assert find_tissue(slide, 0.5, "s").all()


def test_a_methods_own_readings_go_before_everyones():
    own = {"label": "n", "species_readings": {"mouse": {"PT": {"magnification": 5, "scale_code": 5}}}}
    assert method_readings(own, SPECIES, "mouse") == [("PT", 5.0, 5)]
    assert method_readings({"label": "n"}, SPECIES, "mouse") == [("PT", 10.0, 10), ("CAP", 20.0, 5)]
