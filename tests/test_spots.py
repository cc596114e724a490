"""The share of a mask under a 55 µm disc, exact to the rim."""

import cv2
import numpy as np
import pandas as pd
import pytest
import zarr

from nephrospot.errors import InputError
from nephrospot.registration import Transform
from nephrospot.spots import cover_cells, measure_discs, measure_spots
from nephrospot.visium import read_positions
from visium_folder import make_positions, write_outs

DIAMETER_UM = 55.0


def supersample(mask, mpp, x_um, y_um, diameter_um, times=20):
    """Percent under one disc by brute force: each pixel cut into times × times points."""
    rows, columns = mask.shape
    y = (np.arange(rows * times) + 0.5) / times * mpp
    x = (np.arange(columns * times) + 0.5) / times * mpp
    disc = (y[:, None] - y_um) ** 2 + (x[None, :] - x_um) ** 2 <= (diameter_um / 2) ** 2
    return 100 * (np.kron(mask, np.ones((times, times), bool)) & disc).sum() / disc.sum()


def random_mask(shape, seed, size=3):
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return (cv2.GaussianBlur(noise, (0, 0), size) > 0).astype(np.uint8)


@pytest.mark.parametrize("mpp", [0.5, 1.0, 2.0, 0.7261])
def test_agrees_with_brute_force(mpp):
    rng = np.random.default_rng(1)
    side = int(120 / mpp)
    mask = random_mask((side, side), seed=2)
    x, y = rng.uniform(30, 85, (2, 4))
    percent, inside = measure_discs(mask, mpp, x, y, DIAMETER_UM)
    expected = [supersample(mask.astype(bool), mpp, a, b, DIAMETER_UM) for a, b in zip(x, y, strict=True)]
    assert np.abs(percent - expected).max() < 0.05, "rim pixels count by the share that the disc covers"
    assert (inside == 1).all()


def test_cells_of_the_unit_disc_add_up_and_quarter():
    rng = np.random.default_rng(3)
    for _ in range(20):
        edges_x, edges_y = (np.sort(np.r_[-1.2, rng.uniform(-1, 1, 9), 1.2]) for _ in range(2))
        cells = cover_cells(edges_x, edges_y)
        assert cells.sum() == pytest.approx(1, abs=1e-12)
        assert cells.min() >= 0
    assert cover_cells(np.array([-1, 0, 1.0]), np.array([-1, 0, 1.0])) == pytest.approx(0.25)


@pytest.mark.parametrize("value", [0, 1])
def test_constants_stay_constants(value):
    rng = np.random.default_rng(4)
    x, y = rng.uniform(28, 170, (2, 50))
    percent, _ = measure_discs(np.full((400, 400), value), 0.5, x, y, DIAMETER_UM)
    assert (percent == 100 * value).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_half_plane_gives_half(axis):
    mask = np.zeros((200, 200), np.uint8)
    (mask if axis == 0 else mask.T)[:100] = 1
    x = np.array([50.0, 61.3]) if axis == 0 else np.full(2, 50.0)
    y = np.full(2, 50.0) if axis == 0 else np.array([50.0, 61.3])
    percent, _ = measure_discs(mask, 0.5, x, y, DIAMETER_UM)
    assert percent == pytest.approx(50, abs=1e-9), "a disc centred on the border of a half plane is half covered"


def test_moving_mask_and_spots_together_changes_nothing():
    mask = random_mask((200, 200), seed=5)
    x, y = np.random.default_rng(6).uniform(28, 72, (2, 30))
    percent, _ = measure_discs(mask, 0.5, x, y, DIAMETER_UM)
    moved, _ = measure_discs(np.pad(mask, ((37, 0), (11, 0))), 0.5, x + 5.5, y + 18.5, DIAMETER_UM)
    assert moved == pytest.approx(percent, abs=1e-9)


def test_finer_pixels_of_the_same_mask_change_nothing():
    mask = random_mask((60, 60), seed=7)
    x, y = np.random.default_rng(8).uniform(28, 90, (2, 30))
    coarse, _ = measure_discs(mask, 2.0, x, y, DIAMETER_UM)
    fine, _ = measure_discs(np.kron(mask, np.ones((4, 4), np.uint8)), 0.5, x, y, DIAMETER_UM)
    assert fine == pytest.approx(coarse, abs=1e-9), "the mask's resolution is no part of the answer"


def test_pixels_that_are_not_square():
    mask = random_mask((60, 60), seed=7)
    x, y = np.random.default_rng(8).uniform(28, 90, (2, 30))
    square, _ = measure_discs(mask, 2.0, x, y, DIAMETER_UM)
    flat, _ = measure_discs(np.repeat(mask, 3, axis=1), (2.0, 2.0 / 3), x, y, DIAMETER_UM)
    assert flat == pytest.approx(square, abs=1e-9)


def test_blocks_bound_the_window_and_change_nothing():
    class Watched:
        shape = (600, 600)

        def __init__(self, mask):
            self.mask, self.largest = mask, 0

        def __getitem__(self, key):
            window = self.mask[key]
            self.largest = max(self.largest, window.size)
            return window

    mask = random_mask((600, 600), seed=9)
    x, y = np.random.default_rng(10).uniform(28, 272, (2, 200))
    watched = Watched(mask)
    blocks, _ = measure_discs(watched, 0.5, x, y, DIAMETER_UM, block_px=64)
    once, _ = measure_discs(mask, 0.5, x, y, DIAMETER_UM)
    assert (blocks == once).all()
    assert watched.largest <= (64 + 112) ** 2, "never more than a block and a disc is read"


def test_the_edge_leaves_no_percentage_but_a_share():
    mask = np.ones((200, 200), np.uint8)
    x = np.array([0.0, 0.0, 50.0, -100.0, 27.5, 27.4])
    y = np.array([0.0, 50.0, 50.0, 50.0, 50.0, 50.0])
    percent, inside = measure_discs(mask, 0.5, x, y, DIAMETER_UM)
    assert inside[:4] == pytest.approx([0.25, 0.5, 1, 0], abs=1e-12)
    assert np.isnan(percent).tolist() == [True, True, False, True, False, True]
    assert inside[4] == 1 and 0.999 < inside[5] < 1


def write_masks(path, labels, centres=True):
    """An OME-Zarr of {name: (mask, mpp)}."""
    root = zarr.open_group(str(path), mode="w")
    group = root.create_group("labels")
    group.attrs["ome"] = {"version": "0.5", "labels": list(labels)}
    for name, (mask, mpp) in labels.items():
        label = group.create_group(name)
        label.create_array("0", data=mask.astype(np.uint8), chunks=(64, 64))
        steps = [{"type": "scale", "scale": [mpp, mpp]}]
        if centres:
            steps.append({"type": "translation", "translation": [mpp / 2, mpp / 2]})
        dataset = {"path": "0", "coordinateTransformations": steps}
        label.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": [dataset]}]}
    return path


@pytest.fixture
def grid(tmp_path):
    positions = make_positions(rows=6, columns=8, pitch_px=200, origin=(150, 150))
    positions.loc[3, "in_tissue"] = 0
    return read_positions(write_outs(tmp_path / "outs", positions))


def test_columns_of_the_table_and_tissues_at_their_own_resolution(tmp_path, grid):
    shape = (1100, 1100)
    truth = random_mask((275, 275), seed=11)
    path = write_masks(
        tmp_path / "m.zarr",
        {
            "PT": (np.kron(truth, np.ones((4, 4))), 0.5),
            "CAP": (truth, 2.0),
            "TUBULE": (1 - truth, 2.0),
            "merged": (np.ones(shape), 0.5),
        },
    )
    table = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["CAP", "PT", "VES"])
    assert table.columns.tolist() == [
        "barcode", "array_row", "array_col", "x_px", "y_px", "inside_share",
        "CAP_percent", "PT_percent", "TUBULE_percent", "reason",
    ]  # fmt: skip
    assert len(table) == 23, "spots off the tissue aren't measured"
    assert (table["reason"] == "").all() and (table["inside_share"] == 1).all()
    assert table["CAP_percent"].to_numpy() == pytest.approx(table["PT_percent"].to_numpy(), abs=1e-9)
    whole = table["CAP_percent"] + table["TUBULE_percent"]
    assert whole.to_numpy() == pytest.approx(100), "a mask and its complement share the disc"


def test_disjoint_tissues_never_exceed_the_disc(tmp_path, grid):
    owner = np.random.default_rng(12).integers(0, 4, (1100, 1100))
    path = write_masks(tmp_path / "m.zarr", {name: (owner == k, 0.5) for k, name in enumerate(["A", "B", "C"])})
    table = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["A", "B", "C"])
    total = table[["A_percent", "B_percent", "C_percent"]].sum(axis=1)
    assert (total <= 100 + 1e-9).all() and (total > 50).all()


def test_a_position_is_the_middle_of_its_pixel(tmp_path, grid):
    first = grid.in_tissue.iloc[0]
    mask = np.zeros((1100, 1100))
    mask[:, int(first["x_px"]) :] = 1
    path = write_masks(tmp_path / "m.zarr", {"A": (mask, 0.5)})
    right = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["A"])["A_percent"].iloc[0]
    path = write_masks(tmp_path / "n.zarr", {"A": (mask[:, ::-1], 0.5)})
    grid.table.loc[grid.table["barcode"] == first["barcode"], "x_px"] = 1099 - first["x_px"]
    left = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["A"])["A_percent"].iloc[0]
    assert left == pytest.approx(right), "mirroring pixels and indices gives the same percentage"
    assert right > 50, "half of the spot's own pixel lies right of its centre"


def test_transform_and_translation_move_the_spots(tmp_path, grid):
    mask = random_mask((1100, 1100), seed=13)
    path = write_masks(tmp_path / "a.zarr", {"A": (mask, 0.5)})
    plain = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["A"])
    shifted = write_masks(tmp_path / "b.zarr", {"A": (np.pad(mask, ((30, 0), (20, 0))), 0.5)}, centres=False)
    moved = measure_spots(shifted, grid, Transform(1, 20, 30), 0.5, DIAMETER_UM, ["A"])
    assert moved["A_percent"].to_numpy() == pytest.approx(plain["A_percent"].to_numpy(), abs=1e-9)
    assert moved["x_px"].to_numpy() == pytest.approx(plain["x_px"].to_numpy() + 20)


def test_a_disc_that_any_label_cuts_counts_for_none(tmp_path, grid):
    # B ends at 440 µm, the last column of spots at 452 µm.
    path = write_masks(tmp_path / "m.zarr", {"A": (np.ones((1100, 1100)), 0.5), "B": (np.ones((275, 220)), 2.0)})
    table = measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["A", "B"])
    cut = table["inside_share"] < 1
    assert cut.tolist() == (table["array_col"] == 7).tolist()
    assert table.loc[cut, ["A_percent", "B_percent"]].isna().all(axis=None)
    assert table.loc[~cut, ["A_percent", "B_percent"]].notna().all(axis=None)
    assert (table.loc[cut, "reason"].str.contains("edge")).all() and (table.loc[~cut, "reason"] == "").all()
    away = measure_spots(path, grid, Transform(1, 5000, 0), 0.5, DIAMETER_UM, ["A", "B"])
    assert (away["inside_share"] == 0).all() and away["reason"].str.contains("outside").all()


def test_masks_without_any_configured_tissue_are_refused(tmp_path, grid):
    path = write_masks(tmp_path / "m.zarr", {"tuft": (np.ones((1100, 1100)), 0.5)})
    with pytest.raises(InputError, match="did you mean 'TUFT'"):
        measure_spots(path, grid, Transform(), 0.5, DIAMETER_UM, ["TUFT"])
    with pytest.raises(InputError, match="OME-Zarr"):
        measure_spots(tmp_path / "none.zarr", grid, Transform(), 0.5, DIAMETER_UM, ["TUFT"])


def test_real_mosaic_against_its_truth(tmp_path, shared_data):
    folder = shared_data / "mouse_pas_mosaic"
    truth = pd.read_csv(folder / "truth_spot_percent.csv").set_index("barcode")
    grid = read_positions(folder)
    masks = {t: cv2.imread(str(folder / f"mask_{t}.png"), cv2.IMREAD_GRAYSCALE) > 0 for t in truth.columns}
    path = write_masks(tmp_path / "m.zarr", {t: (mask, grid.mpp_from_pitch) for t, mask in masks.items()})
    table = measure_spots(path, grid, Transform(), grid.mpp_from_pitch, DIAMETER_UM, list(truth.columns))
    measured = table.set_index("barcode")[[f"{t}_percent" for t in truth.columns]]
    assert len(measured) == len(truth) == 17
    error = np.abs(measured.loc[truth.index].to_numpy() - truth.to_numpy())
    assert error.max() < 0.1, "percentage points from the exact truth"
