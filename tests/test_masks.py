"""Drop-in masks: images and GeoJSON of another tool become sources like any network's."""

import gzip
import json

import cv2
import numpy as np
import pytest
import tifffile

from nephrospot.errors import InputError
from nephrospot.masks import open_drop_in
from nephrospot.slide import open_slide
from pictures import paint, write_tiff


@pytest.fixture
def slide(tmp_path):
    with open_slide(write_tiff(tmp_path / "slide.tiff", paint(), mpp=0.5, tile=(256, 256))) as opened:
        yield opened


@pytest.fixture
def truth():
    y, x = np.mgrid[:600, :800]
    return ((x - 300) ** 2 + (y - 250) ** 2 < 120**2) & ~((x - 300) ** 2 + (y - 250) ** 2 < 40**2)


def read_all(source):
    shape, _, read = source
    return read(slice(0, shape[0]), slice(0, shape[1]))


@pytest.mark.parametrize("kind", ["png", "colour png", "tiff", "half size"])
def test_an_image_a_tissue_is_read_whatever_its_kind(tmp_path, slide, truth, kind):
    folder = tmp_path / "masks" / "S1"
    folder.mkdir(parents=True)
    image, mpp, name = truth.astype(np.uint8) * 255, 0.5, "CAP.png"
    if kind == "colour png":
        image = np.dstack([image * 0, image, image * 0, np.full_like(image, 255)])
    if kind == "half size":
        image, mpp = image[::2, ::2], 1.0
    if kind == "tiff":
        name = "CAP.tiff"
        tifffile.imwrite(folder / name, image, tile=(256, 256))
    else:
        cv2.imwrite(str(folder / name), image)
    template = str(tmp_path / "masks/{slide}/{tissue}") + name[3:]
    sources = open_drop_in(template, "S1", slide, 0.5)
    assert list(sources) == ["CAP"] and sources["CAP"][1] == pytest.approx(mpp)
    step = int(mpp / 0.5)
    assert np.array_equal(read_all(sources["CAP"]), truth[::step, ::step])


def outline(radius):
    angle = np.linspace(0, 2 * np.pi, 721)
    return np.column_stack([300.5 + radius * np.cos(angle), 250.5 + radius * np.sin(angle)]).tolist()


def features(name="CAP"):
    ring = {"type": "Polygon", "coordinates": [outline(120), outline(40)]}
    return [{"type": "Feature", "geometry": ring, "properties": {"classification": {"name": name}}}]


@pytest.mark.parametrize("kind", ["collection", "list", "gz", "multipolygon"])
def test_geojson_of_qupath_is_painted_with_its_holes(tmp_path, slide, truth, kind):
    path = tmp_path / ("S1.geojson.gz" if kind == "gz" else "S1.geojson")
    content = {"type": "FeatureCollection", "features": features()}
    if kind == "multipolygon":
        geometry = content["features"][0]["geometry"]
        geometry |= {"type": "MultiPolygon", "coordinates": [geometry["coordinates"]]}
    text = json.dumps(content["features"] if kind == "list" else content)
    path.write_bytes(gzip.compress(text.encode()) if kind == "gz" else text.encode())
    template = str(tmp_path / "{slide}") + "".join(path.suffixes)
    sources = open_drop_in(template, "S1", slide, 0.5)
    painted = read_all(sources["CAP"]).astype(bool)
    assert (painted != truth).sum() < 0.02 * truth.sum(), "only pixels on the outline may differ"
    _, _, read = sources["CAP"]
    assert np.array_equal(read(slice(100, 333), slice(201, 407)), painted[100:333, 201:407]), (
        "blocks join without seams"
    )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("gone.geojson", None, "there is no such file"),
        ("bad.geojson", "{", "isn't GeoJSON"),
        ("bare.geojson", json.dumps({"features": [{"geometry": None, "properties": {}}]}), "classification name"),
        ("none.geojson", json.dumps({"features": []}), "no annotation"),
        ("cut.geojson.gz", "not gzip", "isn't GeoJSON"),
        ("{tissue}.png", None, "no mask matches"),
    ],
)
def test_unreadable_masks_are_refused_in_a_sentence(tmp_path, slide, name, content, told):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=told):
        open_drop_in(str(tmp_path / name), "S1", slide, 0.5)


def test_a_mask_of_another_shape_and_a_broken_one_are_told_together(tmp_path, slide):
    cv2.imwrite(str(tmp_path / "CAP.png"), np.ones((600, 600), np.uint8))
    (tmp_path / "PT.png").write_bytes(b"no image")
    with pytest.raises(InputError) as refusal:
        open_drop_in(str(tmp_path / "{tissue}.png"), "S1", slide, 0.5)
    told = str(refusal.value).splitlines()
    assert len(told) == 2 and "600 × 600 px and the slide 800 × 600" in told[0] and "PT.png" in told[1]
