"""masks.geojson.gz: what QuPath reads, where the masks were, the same bytes each time."""

import gzip
import json
import shutil
import uuid

import cv2
import numpy as np
import pytest
import shapely

from nephrospot import geojson
from nephrospot.components import find_components
from nephrospot.geojson import write_geojson
from nephrospot.masks import open_drop_in
from nephrospot.omezarr import majority, open_masks
from nephrospot.slide import open_slide
from nephrospot.stitch import write_masks
from pictures import paint, write_tiff

COLOURS = {"CAP": "#e69f00", "PT": "#009e73"}
NAMES = {"CAP": "glomerulus with capsule"}
SLIDE_MPP = 0.5


def blobs(shape, seed):
    field = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 9)
    return (field > 0.8 * field.std()).astype(np.uint8)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tiff"
    with open_slide(write_tiff(path, paint(900, 1200), mpp=SLIDE_MPP, tile=(256, 256))) as opened:
        yield opened


@pytest.fixture(scope="module")
def masks():
    return {"CAP": (blobs((900, 1200), 1), 0.5), "PT": (blobs((450, 600), 2), 1.0)}


@pytest.fixture(scope="module")
def folder(slide, masks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outlines")
    sources = {t: (mask.shape, mpp, lambda r, c, mask=mask: mask[r, c]) for t, (mask, mpp) in masks.items()}
    for ngff in ("0.5", "0.4"):
        write_masks(folder / f"{ngff}.ome.zarr", sources, slide, SLIDE_MPP, COLOURS, ngff=ngff)
        write(folder / f"{ngff}.ome.zarr", folder / f"S1-{ngff}.geojson.gz")
    return folder


def write(masks_path, path, key="S1/expert"):
    return write_geojson(path, masks_path, SLIDE_MPP, COLOURS, NAMES, key)


def read(path):
    return json.loads(gzip.decompress(path.read_bytes()))["features"]


def test_the_file_read_back_as_drop_in_masks_is_the_masks(folder, slide, masks):
    sources = open_drop_in(str(folder / "{slide}-0.5.geojson.gz"), "S1", slide, SLIDE_MPP)
    assert sources.keys() == masks.keys()
    for tissue, (mask, mpp) in masks.items():
        shape, painted_mpp, reader = sources[tissue]
        step = round(mpp / painted_mpp)
        painted = reader(slice(0, shape[0]), slice(0, shape[1]))
        if step > 1:  # painted finer than the mask was
            painted = majority(painted)
        components = find_components((mask.shape, mpp, lambda r, c, mask=mask: mask[r, c]))
        large = np.flatnonzero(components.area_px > 500)
        assert len(large) > 20
        for index in large:
            t, l, b, r = components.box[index]  # noqa: E741
            own = components.labels(slice(t, b), slice(l, r)) == index
            other = mask[t:b, l:r].astype(bool) & ~own
            found = painted[t:b, l:r].astype(bool) & ~other
            assert 2 * (found & own).sum() / (found.sum() + own.sum()) > 0.99


def test_every_feature_has_what_qupath_reads(folder, masks):
    features = read(folder / "S1-0.5.geojson.gz")
    for tissue, (mask, mpp) in masks.items():
        components = find_components((mask.shape, mpp, lambda r, c, mask=mask: mask[r, c]))
        own = [f for f in features if f["properties"]["classification"]["name"] == tissue]
        assert len(own) == len(components)
        rgb = [int(COLOURS[tissue][i : i + 2], 16) for i in (1, 3, 5)]
        for feature in own:
            properties, polygon = feature["properties"], shapely.geometry.shape(feature["geometry"])
            name, index = properties["name"].rsplit(" ", 1)
            assert feature["type"] == "Feature" and properties["objectType"] == "annotation"
            assert name == NAMES.get(tissue, tissue) and properties["classification"]["color"] == rgb
            assert uuid.UUID(feature["id"]).version == 5
            assert polygon.is_valid and polygon.geom_type == "Polygon"
            area_px = components.area_px[int(index)]
            assert properties["measurements"] == {"area_um2": pytest.approx(area_px * mpp**2)}
            assert polygon.area * SLIDE_MPP**2 == pytest.approx(area_px * mpp**2, rel=0.005, abs=0.02)
            centre = (components.centroid_px[int(index)][::-1] + 0.5) * mpp / SLIDE_MPP
            offset = np.hypot(*(np.array(polygon.centroid.coords[0]) - centre))
            assert offset < 0.5 * mpp / SLIDE_MPP, "within half a pixel of the mask"
    assert len({feature["id"] for feature in features}) == len(features), "every id is used once"


def test_same_masks_same_bytes(folder, tmp_path):
    again = tmp_path / "again.geojson.gz"
    counts = write(folder / "0.5.ome.zarr", again)
    content = (folder / "S1-0.5.geojson.gz").read_bytes()
    assert again.read_bytes() == content, "neither the time nor the file's name is in it"
    assert content[3:8] == bytes(5), "gzip's header has no name and no time"
    assert (folder / "S1-0.4.geojson.gz").read_bytes() == content, "OME-Zarr 0.4 holds the same masks"
    assert sum(counts.values()) == len(read(again))


def test_another_slide_or_method_has_other_ids(folder, tmp_path):
    write(folder / "0.5.ome.zarr", tmp_path / "other.geojson.gz", key="S1/omni-seg")
    one, other = read(folder / "S1-0.5.geojson.gz"), read(tmp_path / "other.geojson.gz")
    assert not {f["id"] for f in one} & {f["id"] for f in other}
    assert [f["geometry"] for f in one] == [f["geometry"] for f in other]


def test_very_many_objects_become_detections(folder, tmp_path, masks, monkeypatch):
    counts = {t: len(find_components((m.shape, 1, lambda r, c, m=m: m[r, c]))) for t, (m, _) in masks.items()}
    assert counts["CAP"] > counts["PT"]
    monkeypatch.setattr(geojson, "MAX_ANNOTATIONS", counts["PT"])
    assert write(folder / "0.5.ome.zarr", tmp_path / "m.geojson.gz") == counts
    kinds = {(f["properties"]["classification"]["name"], f["properties"]["objectType"]) for f in
             read(tmp_path / "m.geojson.gz")}  # fmt: skip
    assert kinds == {("CAP", "detection"), ("PT", "annotation")}


def test_a_mask_that_lies_elsewhere_is_outlined_there(folder, tmp_path):
    path = tmp_path / "moved.ome.zarr"
    shutil.copytree(folder / "0.4.ome.zarr", path)
    attributes = path / "labels/PT/.zattrs"
    content = json.loads(attributes.read_text())
    steps = content["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    steps[1]["translation"] = [20.5, 10.5]  # the first pixel's centre, µm (y, x)
    attributes.write_text(json.dumps(content))
    write(path, tmp_path / "moved.geojson.gz")

    def bounds(name):
        features = [f for f in read(name) if f["properties"]["classification"]["name"] == "PT"]
        return np.array([shapely.geometry.shape(f["geometry"]).bounds for f in features])

    moved = bounds(tmp_path / "moved.geojson.gz") - bounds(folder / "S1-0.5.geojson.gz")
    assert np.allclose(moved, [20, 40, 20, 40]), "10 µm to the right and 20 µm down, in level-0 pixels"


def test_rounding_breaks_no_outline():
    neck = shapely.Polygon([(0, 0), (10, 4.996), (20, 0), (20, 10), (10, 4.998), (0, 10)])
    written = geojson._place(np.array([neck]), np.ones(2), np.zeros(2))[0]
    assert shapely.from_geojson(written).is_valid and shapely.from_geojson(written).equals_exact(neck, 0.1)


def test_no_object_is_an_empty_collection(slide, tmp_path):
    source = ((450, 600), 1.0, lambda r, c: np.zeros((r.stop - r.start, c.stop - c.start), np.uint8))
    write_masks(tmp_path / "m.ome.zarr", {"CAP": source}, slide, SLIDE_MPP, COLOURS)
    assert write(tmp_path / "m.ome.zarr", tmp_path / "m.geojson.gz") == {"CAP": 0}
    assert read(tmp_path / "m.geojson.gz") == [] and "merged" in open_masks(tmp_path / "m.ome.zarr")
