"""OME-Zarr in both versions: the same pixels at the same place, valid for others' readers."""

import json

import cv2
import numpy as np
import pytest
import zarr
from ome_zarr_models import v04, v05

from nephrospot.errors import InputError
from nephrospot.omezarr import list_labels, open_masks, read_metadata, read_place
from nephrospot.slide import open_slide
from nephrospot.stitch import write_masks
from pictures import paint, write_tiff

COLOURS = {"CAP": "#e69f00", "PT": "#009e73"}
MODELS = {"0.4": v04, "0.5": v05}


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.tiff"
    with open_slide(write_tiff(path, paint(1300, 1700), mpp=0.5, tile=(256, 256))) as opened:
        yield opened


@pytest.fixture(scope="module")
def sources():
    rng, found = np.random.default_rng(4), {}
    for tissue, shape, mpp in (("CAP", (325, 425), 2.0), ("PT", (1300, 1700), 0.5)):
        field = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 12)
        mask = (field > 0.5 * field.std()).astype(np.uint8)
        found[tissue] = (shape, mpp, lambda r, c, mask=mask: mask[r, c])
    return found


@pytest.fixture(scope="module")
def written(slide, sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    for ngff in MODELS:
        write_masks(folder / ngff, sources, slide, 0.5, COLOURS, ngff=ngff)
    return folder


@pytest.mark.parametrize("ngff", MODELS)
def test_another_librarys_model_accepts_it(written, ngff):
    root, model = zarr.open_group(str(written / ngff), mode="r"), MODELS[ngff]
    assert model.Image.from_zarr(root).labels.ome_zarr_version == ngff
    for name in ("CAP", "PT", "merged"):
        model.ImageLabel.from_zarr(root[f"labels/{name}"])


def test_both_versions_hold_the_same(written):
    old, new = (open_masks(written / ngff) for ngff in MODELS)
    assert list_labels(old) == list_labels(new) == ["PT", "CAP"]
    for name in ("PT", "CAP", "merged"):
        assert read_place(old[name]) == read_place(new[name])
        assert old[name].attrs.get("values") == new[name].attrs.get("values")
        arrays = [dict(each[name].arrays()) for each in (old, new)]
        assert arrays[0].keys() == arrays[1].keys() and len(arrays[0]) > 2
        assert all(np.array_equal(arrays[0][level][:], arrays[1][level][:]) for level in arrays[0])
    images = [zarr.open_group(str(written / ngff), mode="r")["0"][:] for ngff in MODELS]
    assert np.array_equal(*images), "and the same overview"
    facts = [read_metadata(each["CAP"]) for each in (old, new)]
    for content in facts:
        content["multiscales"][0].pop("version", None)
        content["image-label"].pop("version", None)
        content.pop("version", None)
    assert facts[0] == facts[1]


def test_0_4_is_laid_out_for_old_readers(written):
    root = written / "0.4"
    assert not list(root.rglob("zarr.json")), "nothing of Zarr 3"
    attributes = json.loads((root / "labels/PT/.zattrs").read_text())
    assert attributes["multiscales"][0]["version"] == attributes["image-label"]["version"] == "0.4"
    assert json.loads((root / "labels/.zattrs").read_text())["labels"] == ["PT", "CAP", "merged"]
    array = json.loads((root / "labels/PT/0/.zarray").read_text())
    assert (array["chunks"], array["dimension_separator"], array["compressor"]["id"]) == ([512, 512], "/", "zlib")
    assert (root / "labels/PT/0/1/2").is_file(), "a file a chunk, in a folder a row"
    assert json.loads((root / "0/.zarray").read_text())["chunks"] == [3, 512, 512]


def test_0_5_is_sharded(written):
    array = zarr.open_array(str(written / "0.5/labels/PT/0"), mode="r")
    assert array.shards == (2048, 2048) and array.chunks == (512, 512)
    files = [sum(path.is_file() for path in (written / ngff).rglob("*")) for ngff in ("0.5", "0.4")]
    assert files[0] < files[1]


def test_a_version_that_is_not_known_is_refused(slide, sources, tmp_path):
    with pytest.raises(InputError, match=r"stitch\.ngff: the value is '0\.6'"):
        write_masks(tmp_path / "m", sources, slide, 0.5, COLOURS, ngff="0.6")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ngff", MODELS)
def test_labels_take_little_space(written, ngff):
    size = sum(path.stat().st_size for path in (written / ngff / "labels").rglob("*") if path.is_file())
    assert size / (1300 * 1700) < 0.1, "bytes a slide pixel, with all levels"
