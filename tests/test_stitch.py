"""Stitching: labels hold what was predicted, at every level, in metadata that others can read."""

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel

from nephrospot.omezarr import list_labels, open_masks, read_place
from nephrospot.stitch import merge_tissues, open_predicted, write_masks
from segmenting import open_waves, predict


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    with open_waves(tmp_path_factory.mktemp("slide")) as opened:
        yield opened


class TestStore:
    @pytest.fixture(scope="class")
    def store(self, slide, tmp_path_factory):
        folder = tmp_path_factory.mktemp("store")
        predict(slide, folder / "p.zarr")
        colours = {"DT": "#56b4e9", "PT": "#009e73", "CAP": "#e69f00"}
        write_masks(folder / "masks.ome.zarr", open_predicted(folder / "p.zarr"), slide, 0.5, colours)
        return folder

    def test_labels_are_what_was_predicted(self, store):
        labels = open_masks(store / "masks.ome.zarr")
        assert list_labels(labels) == ["DT", "PT", "CAP"]
        for tissue, (shape, mpp, read) in open_predicted(store / "p.zarr").items():
            assert np.array_equal(labels[f"{tissue}/0"][:], read(slice(0, shape[0]), slice(0, shape[1])))
            assert read_place(labels[tissue]) == ((mpp, mpp), (0, 0)), "the corner is the slide's"

    def test_every_level_keeps_the_area(self, store):
        for _, label in open_masks(store / "masks.ome.zarr").groups():
            if label.basename != "merged":
                areas = [level[:].mean() for _, level in sorted(label.arrays())]
                assert len(areas) >= 2 and np.ptp(areas) < 0.03

    def test_the_metadata_is_valid_ome_zarr(self, store):
        root = zarr.open_group(str(store / "masks.ome.zarr"), mode="r")
        Image.from_zarr(root)
        for name in ("DT", "PT", "CAP", "merged"):
            ImageLabel.from_zarr(root[f"labels/{name}"])

    def test_pixel_centres_of_all_labels_share_one_origin(self, store):
        for _, label in open_masks(store / "masks.ome.zarr").groups():
            for dataset in label.attrs["ome"]["multiscales"][0]["datasets"]:
                scale, shift = (step[step["type"]][-1] for step in dataset["coordinateTransformations"])
                assert shift == scale / 2, "the corner of the first pixel is the slide's corner at every level"

    def test_few_files(self, store):
        assert sum(1 for p in (store / "masks.ome.zarr").rglob("*") if p.is_file()) < 100


class TestMerging:
    planes = {t: np.array([[int(c)] for c in column]) for t, column in {
        #        PT  cap tuft cap+pt tuft+pt none  dt+ves
        "DT":   ["0", "0", "0", "0", "0", "0", "1"],
        "PT":   ["1", "0", "0", "1", "1", "0", "0"],
        "CAP":  ["0", "1", "1", "1", "1", "0", "0"],
        "TUFT": ["0", "0", "1", "0", "1", "0", "0"],
        "VES":  ["0", "0", "0", "0", "0", "0", "1"],
    }.items()}  # fmt: skip

    def test_the_papers_rule(self):
        assert merge_tissues(self.planes, "paper").ravel().tolist() == [2, 3, 4, 0, 0, 0, 0]

    def test_the_official_codes_rule(self):
        assert merge_tissues(self.planes, "official").ravel().tolist() == [2, 3, 4, 2, 2, 0, 1]
