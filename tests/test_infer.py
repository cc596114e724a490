"""Inference: masks end up where the network saw them, whatever the batch, the grid or the seam."""

from functools import partialmethod

import numpy as np
import pytest
import torch
import zarr

from nephrospot import scheme
from nephrospot.chunk_mask import ChunkAnswer, count_foreground
from nephrospot.engine import TOGETHER, Engine, choose_precision
from nephrospot.errors import InputError
from nephrospot.models import build
from nephrospot.models.omniseg import OmniSeg
from nephrospot.slide import open_slide
from nephrospot.stitch import open_predicted
from networks import seeded_state
from pictures import write_tiff
from segmenting import READINGS, Threshold, draw_waves, files_of, open_waves, predict

HOWS = [{}, {"shifts": 2}]


@pytest.fixture(scope="module")
def picture():
    return draw_waves()


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    with open_waves(tmp_path_factory.mktemp("slide")) as opened:
        yield opened


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


def test_windows_are_read_into_the_same_memory_again_and_again(slide, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Engine, "allocate", lambda *given, own=Engine.allocate: made.append(given) or own(*given))
    facts = predict(slide, tmp_path / "p.zarr", groups={20.0: READINGS[20.0]})
    assert sum(facts["windows"].values()) > 200 and len(made) <= 4 * TOGETHER


@pytest.mark.parametrize("how", HOWS)
def test_chunks_are_answered_in_the_memory_of_two(slide, tmp_path, monkeypatch, how):
    made = []
    monkeypatch.setattr(
        ChunkAnswer, "__init__", lambda *given, own=ChunkAnswer.__init__: made.append(given) or own(*given)
    )
    facts = predict(slide, tmp_path / "p.zarr", groups={20.0: READINGS[20.0]}, how=how)
    assert len(facts["pieces"]) > 2 and len(made) == 2


@pytest.mark.parametrize("how", HOWS)
def test_what_was_in_a_chunk_s_memory_before_is_in_no_mask(slide, tmp_path, monkeypatch, how):
    holes = np.random.default_rng(4).random((48, 54)) < 0.7
    predict(slide, tmp_path / "clean.zarr", tissue=holes, how=how)

    def soil(answer, *given, own):
        if hasattr(answer, "sums"):
            answer.sums.fill_(100)  # is cleared, other than what a window that doesn't overlap is written to
        own(answer, *given)
        with torch.inference_mode():
            answer.bits.fill_(255)

    for name in ("__init__", "clear"):
        monkeypatch.setattr(ChunkAnswer, name, partialmethod(soil, own=getattr(ChunkAnswer, name)))
    predict(slide, tmp_path / "soiled.zarr", tissue=holes, how=how)
    clean, soiled = (files_of(tmp_path / f"{name}.zarr") for name in ("clean", "soiled"))
    assert len(clean) > 5 and soiled == clean


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


def test_wider_chunks_change_nothing_but_the_number_of_files(slide, tmp_path, monkeypatch):
    for many in (scheme.MANY_CHUNKS, 1):
        monkeypatch.setattr(scheme, "MANY_CHUNKS", many)
        predict(slide, tmp_path / f"{many}.zarr")
    wide, usual = (zarr.open_group(str(tmp_path / f"{many}.zarr")) for many in (1, 512))
    for name, array in usual.arrays():
        assert np.array_equal(array[:], wide[name][:]) and array.nchunks_initialized > wide[name].nchunks_initialized


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


def test_one_backbone_pass_serves_all_tissues_of_a_magnification(slide, tmp_path, monkeypatch):
    network = build("omni-seg", width=8)
    passes, encode = [], OmniSeg.encode
    monkeypatch.setattr(OmniSeg, "encode", lambda *given: passes.append(1) or encode(*given))
    summary = predict(slide, tmp_path / "p.zarr", network, 512, 64)
    assert len(passes) == sum(summary["tiles"].values())


def test_nan_stops_the_slide_with_the_tiles_place(slide, tmp_path):
    network = Threshold()
    torch.nn.init.constant_(network.bias, float("nan"))
    with pytest.raises(InputError, match=r"NaN on the tile at x 0, y 0 \(10×\)"):
        predict(slide, tmp_path / "p.zarr", network)
    assert not (tmp_path / "p.zarr").exists(), "nothing looks finished"


def test_float32_is_chosen_where_bf16_is_slow():
    expected = torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("bf16", torch.device("cpu")) == torch.bfloat16


@pytest.fixture(scope="module")
def whole_run(slide, tmp_path_factory):
    """A run in one go, with chunks of 8 × 96 px, and its files."""
    folder = tmp_path_factory.mktemp("whole") / "p.zarr"
    facts = predict(slide, folder)
    assert len(facts["pieces"]) > 5, "otherwise nothing could be shared or resumed"
    return facts, files_of(folder)


@pytest.mark.parametrize(("shifts", "blend"), [(2, "flat"), (4, "flat"), (4, "gaussian")])
def test_a_local_network_isnt_changed_by_averaging(slide, tmp_path, whole_run, shifts, blend):
    facts = predict(slide, tmp_path / "p.zarr", how={"shifts": shifts, "blend": blend})
    assert sum(facts["windows"].values()) > 0.9 * shifts * sum(whole_run[0]["windows"].values())
    assert {k: v for k, v in files_of(tmp_path / "p.zarr").items() if "/c/" in k} == {
        k: v for k, v in whole_run[1].items() if "/c/" in k
    }, "the mean of equal answers is that answer"


def test_averaging_brings_neighbouring_windows_together(slide, network, tmp_path):
    """What a pixel is called depends on where the grid lies; with four grids averaged it depends on it less."""
    tissue = np.zeros((48, 54), bool)
    tissue[12:32, 12:32] = True
    masks = {}
    for shifts in (1, 4):
        for halo in (32, 24):  # another halo makes another grid
            path = tmp_path / f"{shifts}-{halo}.zarr"
            predict(slide, path, network, 256, halo, {20.0: READINGS[20.0]}, tissue, how={"shifts": shifts})
            masks[shifts, halo] = zarr.open_group(str(path))["20x"][:]
    disagreement = {shifts: (masks[shifts, 32] != masks[shifts, 24]).mean() for shifts in (1, 4)}
    assert 0 < disagreement[4] < 0.8 * disagreement[1]


def test_kpis_votes_leave_a_slides_corners_empty(slide, picture, tmp_path):
    facts = predict(slide, tmp_path / "p.zarr", how={"mode": "kpis"}, groups={20.0: READINGS[20.0]})
    mask = zarr.open_group(str(tmp_path / "p.zarr"))["20x"][:]
    assert facts["windows"]["20x"] == 1 and not mask.any(), "a slide smaller than a window is seen once: no second vote"


@pytest.mark.parametrize("how", [{}, {"shifts": 2}])
def test_chunks_are_the_files_that_zarr_writes_and_their_counts_those_of_its_pixels(slide, tmp_path, how):
    holes = np.random.default_rng(6).random((48, 54)) < 0.8
    facts = predict(slide, tmp_path / "ours.zarr", tissue=holes, how=how)
    ours, theirs = zarr.open_group(str(tmp_path / "ours.zarr")), zarr.open_group(str(tmp_path / "theirs.zarr"))
    for name, array in ours.arrays():
        copied = theirs.create_array(name, data=array[:], chunks=array.chunks, compressors=array.compressors)
        copied.attrs.update(array.attrs)
        of_name = [piece["foreground_px"] for key, piece in facts["pieces"].items() if key.startswith(name)]
        for bit, tissue in enumerate(array.attrs["tissues"]):
            assert sum(piece[tissue] for piece in of_name) == (array[:] >> bit & 1).sum() > 0
    written = [
        {path: content for path, content in files_of(tmp_path / f"{whose}.zarr").items() if "/c/" in path}
        for whose in ("ours", "theirs")
    ]
    assert len(written[0]) > 6 and written[0] == written[1]


@pytest.mark.parametrize("shape", [(16, 24), (7, 13), (1, 1), (300, 333)])
def test_foreground_is_counted_by_tissue(shape):
    bits = np.random.default_rng(5).integers(0, 256, (shape[0], shape[1] + 3), dtype=np.uint8)[:, 3:]
    assert count_foreground(bits, 6) == [((bits >> bit) & 1).sum() for bit in range(6)]


def test_the_costs_are_told(whole_run):
    facts = whole_run[0]
    assert 0 < facts["forward_seconds"] <= facts["seconds"] and facts["cpu_seconds"] > 0 and facts["peak_mb"] > 50
