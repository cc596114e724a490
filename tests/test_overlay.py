import hashlib

import cv2
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from nephrospot.errors import InputError
from nephrospot.omezarr import open_masks
from nephrospot.report.lettering import choose_bar, paste_legend
from nephrospot.report.overlay import Region, choose_regions, draw_overlay, draw_regions, read_mask
from nephrospot.slide import open_slide
from nephrospot.stitch import write_masks

MPP = 0.5
SIDE_PX = 4096  # 2 mm
COLOURS = {"PT": "#009e73", "CAP": "#e69f00", "VES": "#cc79a7"}
# (tissue, x, y, radius) in level-0 pixels: capsules crowd top left, PT bottom right, both meet at the top right.
DISCS = [
    *[("CAP", x, y, 80) for x in (400, 700) for y in (400, 700)],
    *[("PT", x, y, 90) for x in (3100, 3300, 3500) for y in (3100, 3300, 3500)],
    ("PT", 3300, 700, 150), ("CAP", 3550, 700, 70), ("CAP", 3300, 950, 70),
]  # fmt: skip


def make_masks():
    masks = {tissue: np.zeros((SIDE_PX, SIDE_PX), np.uint8) for tissue in COLOURS}
    for tissue, x, y, radius in DISCS:
        cv2.circle(masks[tissue], (x, y), radius, 1, -1)
    return masks


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlay")
    picture = np.full((SIDE_PX, SIDE_PX, 3), 235, np.uint8)
    tifffile.imwrite(folder / "slide.tiff", picture, tile=(256, 256), compression="jpeg")
    masks = make_masks()
    sources = {tissue: (mask.shape, MPP, lambda r, c, mask=mask: mask[r, c]) for tissue, mask in masks.items()}
    with open_slide(folder / "slide.tiff") as slide:
        write_masks(folder / "masks.ome.zarr", sources, slide, MPP, COLOURS)
    return folder, masks


def near(image, colour, tolerance=60):
    """Pixels whose colour is near ``colour``."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.abs(np.asarray(image, int) - rgb).max(axis=-1) < tolerance


def test_outlines_lie_where_the_masks_end(scene, tmp_path):
    folder, _ = scene
    with open_slide(folder / "slide.tiff") as slide:
        draw_overlay(slide, MPP, folder / "masks.ome.zarr", COLOURS, tmp_path / "o.jpg", max_px=1024)
    image = Image.open(tmp_path / "o.jpg")
    assert image.width == 1024 and image.height > 1024, "the legend lies below the picture, not on it"
    green = near(np.asarray(image)[:1024], COLOURS["PT"])
    rows, columns = np.nonzero(green)
    centre_x, centre_y, radius = 3300 / 4, 700 / 4, 150 / 4
    rim = np.hypot(columns - centre_x, rows - centre_y)
    close = rim < 2 * radius
    assert close.sum() > 100, "the disc has an outline"
    assert np.abs(rim[close] - radius).max() < 4, "and it runs along the disc's rim, not inside or elsewhere"


def test_legend_names_only_what_has_a_mask(scene, tmp_path):
    folder, _ = scene
    with open_slide(folder / "slide.tiff") as slide:
        wanted = {**COLOURS, "PTC": "#1100ff"}
        draw_overlay(slide, MPP, folder / "masks.ome.zarr", wanted, tmp_path / "o.jpg", max_px=512)
    strip = np.asarray(Image.open(tmp_path / "o.jpg"))[512:]
    for tissue, colour in COLOURS.items():
        assert near(strip, colour, 30).sum() > 50, f"{tissue} is lacking in the legend"
    assert not near(strip, "#1100ff", 40).any(), "PTC has no mask and so no place in the legend"


def test_regions_are_where_most_is(scene, tmp_path):
    folder, _ = scene
    with open_slide(folder / "slide.tiff") as slide:
        regions = draw_regions(slide, MPP, folder / "masks.ome.zarr", COLOURS, tmp_path / "r.jpg", side_um=300)
    found = {region.why: (region.x_um / MPP, region.y_um / MPP) for region in regions}
    assert list(found) == ["most CAP", "most PT", "most tissues together"], found
    corners = {"most CAP": (550, 550), "most PT": (3300, 3300), "most tissues together": (3400, 800)}
    for why, (x, y) in corners.items():
        left, top = found[why]
        assert left <= x <= left + 600 and top <= y <= top + 600, f"{why}: the square at {left}, {top} misses {x}, {y}"
    image = np.asarray(Image.open(tmp_path / "r.jpg"))
    assert image.shape[1] == 2 * 600 + 8, "plain beside outlined, 300 µm at half a µm per pixel"
    plain, outlined = image[60:560, :600], image[60:560, 608:]
    assert not near(plain, COLOURS["CAP"]).any(), "the left square is plain"
    assert near(outlined, COLOURS["CAP"]).sum() > 300, "the right one has outlines"


def test_same_masks_give_the_same_pictures(scene, tmp_path):
    folder, _ = scene
    digests = {name: set() for name in ("overlay", "regions")}
    with open_slide(folder / "slide.tiff") as slide:
        for round_ in range(2):
            for name, draw in (("overlay", draw_overlay), ("regions", draw_regions)):
                path = tmp_path / f"{name}{round_}.jpg"
                draw(slide, MPP, folder / "masks.ome.zarr", COLOURS, path)
                digests[name].add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert all(len(found) == 1 for found in digests.values()), digests


@pytest.mark.parametrize("mpp", [0.5, 1.0, 3.7, 8.0])
def test_a_mask_keeps_its_area_at_any_scale(scene, mpp):
    folder, masks = scene
    label = open_masks(folder / "masks.ome.zarr")["PT"]
    size = int(SIDE_PX * MPP / mpp)
    area = read_mask(label, 0, 0, mpp, size, size).sum() * mpp**2
    truth = masks["PT"].sum() * MPP**2
    # Sampling errors of 12 discs of some dozen pixels across; a wrong level or scale would be off by far more.
    assert abs(area / truth - 1) < 0.06, f"{area:.0f} µm² instead of {truth:.0f}"


def test_a_window_is_cut_where_it_should_and_empty_beyond_the_edge(scene):
    folder, masks = scene
    label = open_masks(folder / "masks.ome.zarr")["CAP"]
    window = read_mask(label, 200, 150, MPP, 300, 200)
    assert np.array_equal(window, masks["CAP"][300:500, 400:700]), "at the mask's own scale it is the mask"
    assert not read_mask(label, SIDE_PX * MPP + 10, 0, MPP, 50, 50).any(), "beyond the edge there is nothing"


def test_coarse_pictures_read_coarse_levels(scene, monkeypatch):
    folder, _ = scene
    label = open_masks(folder / "masks.ome.zarr")["PT"]
    read = []
    original = zarr.Array.__getitem__

    def spy(array, selection):
        block = original(array, selection)
        read.append(np.size(block))
        return block

    monkeypatch.setattr(zarr.Array, "__getitem__", spy)
    read_mask(label, 0, 0, 8.0, 256, 256)
    assert sum(read) <= 256 * 256 * 2.5, f"{sum(read)} mask pixels were read for a picture of 256 × 256"


def test_bare_masks_and_small_slides(tmp_path):
    tifffile.imwrite(tmp_path / "small.tiff", np.full((300, 400, 3), 230, np.uint8))
    empty = np.zeros((300, 400), np.uint8)
    with open_slide(tmp_path / "small.tiff") as slide:
        sources = {"PT": (empty.shape, MPP, lambda r, c: empty[r, c])}
        write_masks(tmp_path / "bare.ome.zarr", sources, slide, MPP, COLOURS)
        assert draw_regions(slide, MPP, tmp_path / "bare.ome.zarr", COLOURS, tmp_path / "r.jpg") == []
        full = np.ones_like(empty)
        write_masks(tmp_path / "full.ome.zarr", {"PT": (full.shape, MPP, lambda r, c: full[r, c])}, slide, MPP, COLOURS)
        regions = draw_regions(slide, MPP, tmp_path / "full.ome.zarr", COLOURS, tmp_path / "f.jpg")
    assert regions == [Region("most PT", 0.0, 0.0)], "a slide smaller than the square gives one square"
    assert Image.open(tmp_path / "r.jpg").size[0] > 0, "bare masks give a picture that says so"


def test_without_cap_and_pt_the_commonest_take_their_place(tmp_path):
    root = zarr.open_group(str(tmp_path / "m.zarr"), mode="w").create_group("labels")
    for tissue, side in (("VES", 500), ("DT", 900)):
        group = root.create_group(tissue)
        mask = np.zeros((2000, 2000), np.uint8)
        mask[:side, :side] = 1
        group.create_array("0", data=mask)
        step = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}
        group.attrs["ome"] = {"multiscales": [{"datasets": [step]}]}
    chosen = choose_regions(root, ["DT", "VES"], (2000, 2000), 300)
    assert [region.why for region in chosen][:2] == ["most DT", "most VES"], chosen


def test_not_masks_at_all(tmp_path, scene):
    folder, _ = scene
    (tmp_path / "empty").mkdir()
    with open_slide(folder / "slide.tiff") as slide, pytest.raises(InputError, match="isn't an OME-Zarr"):
        draw_overlay(slide, MPP, tmp_path / "empty", COLOURS, tmp_path / "o.jpg")
    assert not (tmp_path / "o.jpg").exists(), "no picture is left behind"


def test_bars_and_legends():
    assert choose_bar(1600, 4.0) == 1000 and choose_bar(600, 0.5) == 50 and choose_bar(10, 1.0) == 10
    narrow = paste_legend(Image.new("RGB", (120, 50)), dict.fromkeys(["DT", "PT", "CAP", "TUFT"], "#123456"))
    wide = paste_legend(Image.new("RGB", (900, 50)), dict.fromkeys(["DT", "PT", "CAP", "TUFT"], "#123456"))
    assert narrow.height > wide.height > 50, "a narrow legend takes more lines"
