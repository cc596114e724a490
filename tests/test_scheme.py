"""Windows: every pixel that is asked for is seen, as often as the scheme says, wherever chunks begin and end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nephrospot.chunks import list_chunks, take_part
from nephrospot.scheme import Scheme, chunk_cells, make_scheme
from nephrospot.tiles import Grid, list_tiles

SMALL_KPIS = Scheme(64, 0, 32, min_votes=2, flush=True)


def make_grid(width, height, window=64, halo=8):
    return Grid(20.0, 0.5, width, height, window, halo)


def all_tiles(grid):
    return list_tiles(grid, np.ones((grid.height_px // 32 + 1, grid.width_px // 32 + 1), bool))


def cover(scheme, grid, tiles):
    """How many windows answer each pixel, as the engine adds them up; -1 where a pixel isn't asked for."""
    count = np.full((grid.height_px, grid.width_px), -1)
    for chunk in list_chunks(grid, scheme, tiles):
        here = np.zeros((chunk.side_px, chunk.side_px), int)
        assert len(set(chunk.windows)) == len(chunk.windows), "no window is read twice for one chunk"
        for x, y in chunk.windows:
            top, left = max(y - chunk.top_px, 0), max(x - chunk.left_px, 0)
            bottom, right = y - chunk.top_px + scheme.kept_px, x - chunk.left_px + scheme.kept_px
            assert bottom > 0 and right > 0 and top < chunk.side_px and left < chunk.side_px
            here[top:bottom, left:right] += 1
        asked = np.kron(chunk.cells, np.ones((grid.core_px, grid.core_px), bool))
        block = count[chunk.top_px : chunk.top_px + chunk.side_px, chunk.left_px : chunk.left_px + chunk.side_px]
        height, width = block.shape
        block[:] = np.where(asked[:height, :width], here[:height, :width], -1)
    return count


@given(
    width=st.integers(30, 900), height=st.integers(30, 900), halo=st.sampled_from([0, 4, 8, 16]),
    shifts=st.sampled_from([1, 2, 4]), seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_answered_once_by_each_grid(width, height, halo, shifts, seed):
    grid = make_grid(width, height, 64, halo)
    scheme = make_scheme("nephrospot", 64, halo, shifts)
    tiles = all_tiles(grid)
    tiles = tiles[np.random.default_rng(seed).random(len(tiles)) < 0.7]
    count = cover(scheme, grid, tiles)
    assert set(np.unique(count)) <= {-1, shifts}
    assert (count > 0).any() == (len(tiles) > 0)


@given(width=st.integers(70, 700), height=st.integers(70, 700))
@settings(max_examples=40, deadline=None)
def test_kpis_windows_stay_inside_and_overlap_by_half(width, height):
    grid = make_grid(width, height)
    for chunk in list_chunks(grid, SMALL_KPIS, all_tiles(grid)):
        for x, y in chunk.windows:
            assert 0 <= x <= width - 64 and 0 <= y <= height - 64
    count = cover(SMALL_KPIS, grid, all_tiles(grid))
    assert count.min() >= 1
    assert count[0, 0] == 1, "one window alone sees a slide's corner, so it can't be foreground"
    assert (count[32:-32, 32:-32] >= 4).all()


def test_the_kpis_mode_is_the_organisers():
    scheme = make_scheme("kpis", 256, 32)
    assert (scheme.window_px, scheme.stride_px, scheme.halo_px, scheme.min_votes) == (2048, 1024, 0, 2)


@pytest.mark.parametrize("shifts", [2, 4])
def test_weights_are_largest_in_the_middle_and_symmetric(shifts):
    weights = make_scheme("nephrospot", 64, 8, shifts, "gaussian").weights
    assert weights.shape == (48, 48) and weights.max() == weights[24, 24] <= 1 and weights.min() > 0
    assert np.array_equal(weights, weights[::-1]) and np.allclose(weights, weights.T)
    assert (make_scheme("nephrospot", 64, 8, shifts).weights == 1).all()


def test_a_single_grid_needs_no_adding_up():
    assert make_scheme("nephrospot", 64, 8).covers_once
    assert not make_scheme("nephrospot", 64, 8, 2).covers_once and not make_scheme("kpis", 64, 8).covers_once


@given(n=st.integers(1, 7), seed=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_parts_share_the_chunks_out(n, seed):
    grid = make_grid(3000, 2500)
    tiles = all_tiles(grid)
    tiles = tiles[np.random.default_rng(seed).random(len(tiles)) < 0.4]
    chunks = list_chunks(grid, make_scheme("nephrospot", 64, 8), tiles)
    parts = [take_part(chunks, i + 1, n) for i in range(n)]
    assert [chunk.name for part in parts for chunk in part] == [chunk.name for chunk in chunks], (
        "each one once, in order"
    )
    costs = [sum(chunk.cost_px for chunk in part) for part in parts]
    assert max(costs) - min(costs) <= 2 * max(chunk.cost_px for chunk in chunks), "about as much in each"


def test_no_tiles_no_chunks():
    grid = make_grid(300, 300)
    assert list_chunks(grid, make_scheme("nephrospot", 64, 8), all_tiles(grid).iloc[:0]) == []
    assert take_part([], 1, 3) == []


@pytest.mark.parametrize("side_mm", [1.6, 8, 15, 22])
def test_a_slide_is_hundreds_of_files(side_mm):
    """At 40×, with windows of 256 px; shards of masks.ome.zarr are larger still."""
    side = round(side_mm * 1000 / 0.25)
    grid = Grid(40.0, 0.25, side, side, 256, 32)
    cells = chunk_cells(make_scheme("nephrospot", 256, 32), grid)
    assert (-(-grid.rows // cells)) ** 2 <= 900
