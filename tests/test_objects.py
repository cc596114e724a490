"""The table of single objects: places, sizes, shapes, what lies inside and which spots."""

import cv2
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import ndimage

from nephrospot.errors import InputError
from nephrospot.objects import DTYPES, measure_objects
from nephrospot.registration import Transform
from nephrospot.spots import measure_discs
from nephrospot.visium import read_positions
from visium_folder import make_positions, write_outs

SLIDE_MPP = 0.5


def write_masks(path, labels, corner=(0.0, 0.0)):
    """An OME-Zarr of {name: (mask, mpp)}, whose first pixel's corner lies at ``corner`` (y, x, in µm)."""
    group = zarr.open_group(str(path), mode="w").create_group("labels")
    group.attrs["ome"] = {"version": "0.5", "labels": list(labels)}
    for name, (mask, mpp) in labels.items():
        label = group.create_group(name)
        label.create_array("0", data=np.asarray(mask, np.uint8), chunks=(64, 64))
        steps = [{"type": "scale", "scale": [mpp, mpp]}]
        steps.append({"type": "translation", "translation": [corner[0] + mpp / 2, corner[1] + mpp / 2]})
        dataset = {"path": "0", "coordinateTransformations": steps}
        label.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": [dataset]}]}
    return path


def paint(shape, *circles):
    mask = np.zeros(shape, np.uint8)
    for x, y, radius in circles:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def blobs(shape, seed, size=12):
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size)
    return (smooth > np.quantile(smooth, 0.75)).astype(np.uint8)


@pytest.fixture
def grid(tmp_path):
    positions = make_positions(rows=6, columns=8, pitch_px=200, origin=(150, 150))
    positions.loc[3, "in_tissue"] = 0
    return read_positions(write_outs(tmp_path / "outs", positions))


def test_places_and_sizes(tmp_path):
    mask = np.zeros((100, 120), np.uint8)
    mask[10:20, 30:70] = 1  # 10 × 40 px of 2 µm
    mask[90:, 0:5] = 1
    path = write_masks(tmp_path / "m.zarr", {"CAP": (mask, 2.0)})
    table = measure_objects(path, SLIDE_MPP, ["CAP", "PT"])
    assert (
        table.dtypes.astype(str).to_dict()
        == pd.DataFrame(columns=list(DTYPES)).astype(DTYPES).dtypes.astype(str).to_dict()
    )
    first, second = (row for _, row in table.iterrows())
    assert table["tissue"].tolist() == ["CAP", "CAP"] and table["id"].tolist() == [1, 2]
    assert (first["area_um2"], second["area_um2"]) == (1600, 200)
    box = ["left_px", "top_px", "right_px", "bottom_px"]
    assert first[box].tolist() == [120, 40, 280, 80], "the box in level-0 pixels, which are a quarter"
    assert (first["x_px"], first["y_px"]) == (199.5, 59.5), "the middle of columns 120 to 279 and of rows 40 to 79"
    assert table["on_edge"].tolist() == [False, True]
    assert (
        table["tuft_fraction"].isna().all() and (table["barcode"] == "").all() and (table["spots_touched"] == 0).all()
    )


def test_the_resolution_of_a_mask_is_no_part_of_its_places(tmp_path):
    coarse = blobs((60, 70), seed=1, size=4)
    fine = np.kron(coarse, np.ones((4, 4)))
    path = write_masks(tmp_path / "m.zarr", {"CAP": (coarse, 2.0), "PT": (fine, 0.5)})
    table = measure_objects(path, SLIDE_MPP, ["CAP", "PT"])
    same = ["area_um2", "x_px", "y_px", "left_px", "top_px", "right_px", "bottom_px"]
    cap, pt = (table.loc[table["tissue"] == name, same].to_numpy() for name in ("CAP", "PT"))
    assert len(cap) > 5 and cap == pytest.approx(pt)


def test_a_translation_moves_everything(tmp_path, grid):
    cap, tuft = blobs((240, 240), seed=2), blobs((240, 240), seed=3)
    plain = measure_objects(
        write_masks(tmp_path / "a.zarr", {"CAP": (cap, 2.0), "TUFT": (tuft, 2.0)}), 0.5, ["CAP"], grid
    )
    path = write_masks(tmp_path / "b.zarr", {"CAP": (cap, 2.0), "TUFT": (tuft, 2.0)}, corner=(30.0, 10.0))
    moved = measure_objects(path, 0.5, ["CAP"], grid, Transform(1, 20, 60))
    for name, by in (("x_px", 20), ("left_px", 20), ("right_px", 20), ("y_px", 60), ("top_px", 60), ("bottom_px", 60)):
        assert moved[name].to_numpy() == pytest.approx(plain[name].to_numpy() + by)
    for name in ("area_um2", "circularity", "tuft_fraction", "barcode", "spots_touched"):
        assert (moved[name] == plain[name]).all(), name
    assert plain["spots_touched"].sum() > 10


def test_circularity(tmp_path):
    mask = paint((300, 300), (80, 80, 50))
    mask[200:204, 20:220] = mask[60, 200] = 1
    table = measure_objects(write_masks(tmp_path / "m.zarr", {"PT": (mask, 1.0)}), SLIDE_MPP, ["PT"]).sort_values(
        "area_um2"
    )
    dot, bar, disc = table["circularity"]
    assert dot == 1, "no more than a circle, however few the pixels"
    assert disc == pytest.approx(1, abs=0.03)
    assert bar == pytest.approx(4 * np.pi * 800 / 408**2, rel=0.12)


@pytest.mark.parametrize(("cap_px", "tuft_px"), [(1, 1), (2, 1), (1, 2), (4, 2)])
@pytest.mark.parametrize("block_px", [37, 4096])
def test_tuft_fraction_is_the_share_of_each_capsule(tmp_path, cap_px, tuft_px, block_px):
    cap, tuft = blobs((60, 68), seed=4, size=5), blobs((60, 68), seed=5, size=3)
    labels = {
        name: (np.kron(mask, np.ones((times, times))), 4.0 / times)
        for name, mask, times in (("CAP", cap, cap_px), ("TUFT", tuft, tuft_px))
    }
    path = write_masks(tmp_path / "m.zarr", labels)
    table = measure_objects(path, SLIDE_MPP, ["CAP", "TUFT"], block_px=block_px)
    objects, n = ndimage.label(cap, np.ones((3, 3)))
    expected = ndimage.mean(tuft, objects, np.arange(1, n + 1))
    assert table.loc[table["tissue"] == "CAP", "tuft_fraction"].to_numpy() == pytest.approx(expected)
    assert 0 < np.mean(expected) < 1
    assert table.loc[table["tissue"] == "TUFT", "tuft_fraction"].isna().all()


def test_a_spot_holds_the_objects_whose_centre_is_in_its_disc(tmp_path, grid):
    spots = grid.in_tissue
    first, second = spots.iloc[0], spots.iloc[1]
    centres = [
        (first["x_px"] + 40, first["y_px"]),
        (first["x_px"] + 60, first["y_px"]),
        (second["x_px"], second["y_px"]),
    ]
    mask = paint((1100, 1100), *((round(x), round(y), 4) for x, y in centres))  # 55 µm are 110 px, so 55 on each side
    path = write_masks(tmp_path / "m.zarr", {"CAP": (mask, 0.5)})
    table = measure_objects(path, SLIDE_MPP, ["CAP"], grid).sort_values("x_px")
    assert table["barcode"].tolist() == [first["barcode"], "", second["barcode"]]
    assert table["spots_touched"].tolist() == [1, 0, 1], "the second lies from 56 px on, a pixel off the disc"


@pytest.mark.parametrize("block_px", [211, 4096])
def test_spots_touched_is_where_the_object_alone_has_some_area(tmp_path, grid, block_px):
    mask = blobs((276, 268), seed=6, size=8)  # the last spots lie beyond the mask's right border
    path = write_masks(tmp_path / "m.zarr", {"CAP": (mask, 2.0)})
    table = measure_objects(path, SLIDE_MPP, ["CAP"], grid, Transform(1, 3, -1), block_px=block_px)
    spots = grid.in_tissue
    x_um, y_um = ((spots["x_px"] + 3.5) * SLIDE_MPP).to_numpy(), ((spots["y_px"] - 0.5) * SLIDE_MPP).to_numpy()
    objects, n = ndimage.label(mask, np.ones((3, 3)))
    padded = np.pad(objects, 40)
    expected = [(measure_discs(padded == i, 2.0, x_um + 80, y_um + 80, 55.0)[0] > 1e-6).sum() for i in range(1, n + 1)]
    order = np.argsort(np.unique(objects[objects > 0], return_index=True)[1])  # ids go by the first pixels
    assert table["spots_touched"].tolist() == np.array(expected)[order].tolist() and max(expected) > 2
    inside = [
        spots["barcode"].iloc[k] if d[k := int(np.argmin(d))] <= 27.5 else ""
        for x, y in zip(table["x_px"], table["y_px"], strict=True)
        for d in [np.hypot((x + 0.5) * SLIDE_MPP - x_um, (y + 0.5) * SLIDE_MPP - y_um)]
    ]
    assert table["barcode"].tolist() == inside and any(inside)


def test_without_objects_or_labels_the_columns_stay(tmp_path, grid):
    path = write_masks(tmp_path / "m.zarr", {"CAP": (np.zeros((64, 64)), 2.0)})
    full = measure_objects(
        write_masks(tmp_path / "n.zarr", {"CAP": (np.ones((64, 64)), 2.0)}), SLIDE_MPP, ["CAP"], grid
    )
    for tissues in (["CAP"], ["VES"], []):
        table = measure_objects(path, SLIDE_MPP, tissues, grid)
        assert len(table) == 0
        assert table.dtypes.to_dict() == full.dtypes.to_dict(), "an empty table has the columns of any other"
    with pytest.raises(InputError, match="OME-Zarr"):
        measure_objects(tmp_path / "none.zarr", SLIDE_MPP, ["CAP"])
