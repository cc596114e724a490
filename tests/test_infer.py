"""Inference and stitching: masks end up where the network saw them, whatever the batch, the shard or the seam."""

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel

from nephrospot.errors import InputError
from nephrospot.infer import choose_precision, predict_slide
from nephrospot.models import Method, build
from nephrospot.omezarr import list_labels, open_masks, read_place
from nephrospot.readings import Reading
from nephrospot.slide import open_slide
from nephrospot.stitch import merge_tissues, open_predicted, write_masks
from nephrospot.tiles import Grid, list_tiles
from networks import seeded_state
from pictures import write_tiff

READINGS = {10.0: [Reading("DT", 10, 10), Reading("PT", 10, 10)], 20.0: [Reading("CAP", 20, 5)]}


class Threshold(Method):
    """A network that is local: foreground where a colour channel, chosen by the tissue, is above one half."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images, tissue_ids, scale_ids):
        channel = images[torch.arange(len(images)), tissue_ids % 3] - 0.5 + self.bias
        return torch.stack([torch.zeros_like(channel), channel], dim=1)


@pytest.fixture
def network(picture):
    """Omni-Seg with seeded weights, its last bias moved so that CAP covers about half of the picture."""
    network = build("omni-seg", width=8).eval()
    network.load_state_dict(seeded_state(network, 3))
    window = torch.from_numpy(picture[300:556, 300:556]).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        median = network.margins(window, [(2, 0)]).median()
    network.controller_trilinear.bias.data[-1] -= median
    return network


@pytest.fixture(scope="module")
def picture():
    y, x = np.mgrid[:1500, :1700]
    waves = [np.sin(x / 60) * np.cos(y / 45), np.sin(x / 90 + 1) * np.cos(y / 70), np.sin((x + y) / 50)]
    return (128 + 120 * np.stack(waves, -1)).astype(np.uint8)


@pytest.fixture(scope="module")
def slide(picture, tmp_path_factory):
    path = write_tiff(
        tmp_path_factory.mktemp("slide") / "s.tiff", picture, mpp=0.5, tile=(256, 256), compression="deflate"
    )
    with open_slide(path) as opened:
        yield opened


def predict(slide, output, method=None, window=128, halo=16, groups=READINGS, tissue=None, **options):
    grids = {m: Grid(m, 0.5, slide.width_px, slide.height_px, window, halo) for m in groups}
    tissue = np.ones((48, 54), bool) if tissue is None else tissue
    tiles = pd.concat([list_tiles(grid, tissue) for grid in grids.values()])
    return predict_slide(slide, grids, tiles, tissue, groups, method or Threshold(), output, "fp32", **options)


def test_masks_lie_where_the_colour_is(slide, picture, tmp_path):
    predict(slide, tmp_path / "p.zarr")
    (shape, mpp, read) = open_predicted(tmp_path / "p.zarr")["CAP"]
    assert shape == picture.shape[:2] and mpp == 0.5
    assert np.array_equal(read(slice(0, shape[0]), slice(0, shape[1])), picture[..., 2] > 127), "CAP goes by blue"
    (shape, mpp, read) = open_predicted(tmp_path / "p.zarr")["PT"]
    assert shape == (750, 850) and mpp == 1.0
    half = picture[..., 1].reshape(750, 2, 850, 2).mean(axis=(1, 3)) > 127.5
    assert (read(slice(0, 750), slice(0, 850)) != half).mean() < 0.01, "PT goes by green, at half the resolution"


def test_a_local_network_shows_no_seams(slide, tmp_path):
    whole_masks = {}
    for window, halo in ((128, 16), (256, 48), (1024, 0)):
        path = tmp_path / f"{window}.zarr"
        predict(slide, path, window=window, halo=halo)
        whole_masks[window] = zarr.open_group(str(path))["20x"][:]
    assert np.array_equal(whole_masks[128], whole_masks[256])
    assert np.array_equal(whole_masks[128], whole_masks[1024]), "tiles of any size give the same mask"


def test_batch_size_and_threads_change_nothing(slide, network, tmp_path):
    for batch, threads in ((1, 1), (3, 1), (4, 2)):
        predict(
            slide,
            tmp_path / f"{batch}.zarr",
            network,
            256,
            0,
            {20.0: READINGS[20.0]},
            batch_size=batch,
            threads=threads,
        )
    first, *others = (zarr.open_group(str(tmp_path / f"{batch}.zarr"))["20x"][:] for batch in (1, 3, 4))
    for other in others:
        # Sums in another order can turn a margin within rounding of zero, and no other.
        assert (first != other).mean() < 1e-5


def test_a_slide_moved_by_whole_tiles_moves_its_mask(picture, network, tmp_path):
    masks = []
    for name, left in (("a", 0), ("b", 192)):  # a core is 256 − 2·32 = 192
        path = write_tiff(
            tmp_path / f"{name}.tiff", picture[:800, left : left + 1200], tile=(256, 256), compression="deflate"
        )
        with open_slide(path) as slide:
            predict(slide, tmp_path / f"{name}.zarr", network, 256, 32, {20.0: READINGS[20.0]})
        masks.append(zarr.open_group(str(tmp_path / f"{name}.zarr"))["20x"][:])
    # The first column of cores touches the slide's edge in one of the two; the others see the same pixels.
    a, b = masks[0][192:576, 384:960], masks[1][192:576, 192:768]
    assert (a != b).mean() < 1e-4
    assert 0.02 < a.mean() < 0.98, "constant masks would show nothing"


def test_nothing_is_foreground_on_glass(slide, tmp_path):
    tissue = np.zeros((48, 54), bool)  # 16 µm, so 32 slide pixels each
    tissue[10:20, 20:40] = True
    predict(slide, tmp_path / "p.zarr", tissue=tissue)
    (shape, _, read) = open_predicted(tmp_path / "p.zarr")["CAP"]
    mask = read(slice(0, shape[0]), slice(0, shape[1]))
    inside = np.zeros(shape, bool)
    inside[320:640, 640:1280] = True
    assert not mask[~inside].any() and mask[inside].any()


def test_one_backbone_pass_serves_all_tissues_of_a_magnification(slide, tmp_path):
    network = build("omni-seg", width=8)
    passes = []
    network.conv1.register_forward_hook(lambda *_: passes.append(1))
    summary = predict(slide, tmp_path / "p.zarr", network, 512, 64)
    assert len(passes) == sum(summary["tiles"].values())


def test_nan_stops_the_slide_with_the_tiles_place(slide, tmp_path):
    network = Threshold()
    torch.nn.init.constant_(network.bias, float("nan"))
    with pytest.raises(InputError, match=r"NaN on the tile at x 0, y 0 \(10×\)"):
        predict(slide, tmp_path / "p.zarr", network)
    assert not list(tmp_path.iterdir()), "nothing half-written stays behind"


def test_float32_is_chosen_where_bf16_is_slow():
    expected = torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("bf16", torch.device("cpu")) == torch.bfloat16


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
