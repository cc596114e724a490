"""Windows resampled where the network is: the same as the slide's own, for any scale, place and slide edge."""

import cv2
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from nephrospot import infer
from nephrospot.resample import resample
from nephrospot.sampling import join_raw
from nephrospot.slide import open_slide
from pictures import write_tiff
from segmenting import Threshold, open_waves, predict


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """Noise as fine as tissue is: OpenCV's 32nds of a pixel would show in sharper ones."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(600, 800, 3)), (0, 0), 2)
    pixels = np.uint8(np.clip(128 + 60 * noise / noise.std(), 0, 255))
    with open_slide(
        write_tiff(tmp_path_factory.mktemp("raw") / "slide.tiff", pixels, tile=(256, 256), pyramid=False)
    ) as opened:
        yield opened


@settings(max_examples=40, deadline=None)
@given(
    scale=st.one_of(st.sampled_from([0.5, 1, 2, 3, 4.0001]), st.floats(0.6, 6)),
    corners=st.lists(st.tuples(st.floats(-20, 700), st.floats(-20, 500)), min_size=1, max_size=4),
)
def test_windows_are_those_of_the_slide(smooth, scale, corners):
    side = 48
    raw = join_raw([smooth.read_raw(*corner, scale, side) for corner in corners])
    windows = resample(raw, torch.from_numpy(raw.pixels)).permute(0, 2, 3, 1).numpy()
    expected = np.stack([smooth.read_window(*corner, scale, side, side) for corner in corners]).astype(float)
    assert windows.shape == expected.shape and np.abs(windows - expected).max() <= 2
    assert np.abs(windows - expected).mean() < 0.3


def test_pixels_that_need_no_resampling_are_left_alone(smooth):
    raw = join_raw([smooth.read_raw(x, 64, 2, 64) for x in (0, 128)])
    assert raw.block == 2 and raw.ratio == 1 and not raw.shifts.any()
    whole = smooth.read_window(0, 64, 2, 128, 64).astype(float)
    windows = resample(raw, torch.from_numpy(raw.pixels)).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.concatenate(list(windows), axis=1) - whole).max() <= 1, "halves are rounded up or to even"


def test_a_slide_s_masks_are_the_same(tmp_path, monkeypatch):
    class Resampling(infer.Engine):
        packs = False

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.resamples = True

    with open_waves(tmp_path) as slide:
        predict(slide, tmp_path / "read.zarr", Threshold())
        monkeypatch.setattr(infer, "Engine", Resampling)
        predict(slide, tmp_path / "raw.zarr", Threshold(), batch_size=3)
    for name in ("10x", "20x"):
        expected, found = (zarr.open_group(str(tmp_path / f"{run}.zarr"))[name][:] for run in ("read", "raw"))
        assert expected.any() and (found != expected).mean() < 2e-3, "only where the colour is at the threshold"
