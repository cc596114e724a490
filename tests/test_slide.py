"""Slides: what opens, what a pixel is worth, and that windows agree wherever they are read."""

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from nephrospot.errors import InputError
from nephrospot.mpp import resolve_mpp
from nephrospot.slide import open_slide
from pictures import paint, write_tiff


@pytest.fixture(params=["tiled pyramid", "striped", "tiled flat"])
def slide(request, tmp_path):
    kinds = {
        "tiled pyramid": ({"tile": (256, 256)}, True),
        "striped": ({}, False),
        "tiled flat": ({"tile": (256, 256)}, False),
    }
    options, pyramid = kinds[request.param]
    path = write_tiff(tmp_path / "slide.tiff", paint(), pyramid=pyramid, **options)
    with open_slide(path) as opened:
        yield opened


def test_size_and_mpp_are_read_from_any_tiff(slide):
    assert (slide.width_px, slide.height_px) == (800, 600)
    assert slide.tag_mpp == pytest.approx(0.5, rel=1e-3)


def test_a_window_at_level_0_is_the_pixels_themselves(slide):
    assert np.array_equal(slide.read_window(100, 50, 1, 300, 200), paint()[50:250, 100:400])


@pytest.mark.parametrize("scale", [0.6, 1.3, 2, 3.7])
def test_a_window_at_any_scale_shows_the_right_place(slide, scale):
    window = slide.read_window(37.5, 21.25, scale, 120, 100).astype(float)
    x = 37.5 + (np.arange(120) + 0.5) * scale - 0.5
    assert np.abs(window[50, :, 0] - x * 255 / 800).max() < 2.5, "red runs with x, so it tells the column that was read"


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.6, 5), shift=st.integers(1, 40))
def test_overlapping_windows_agree_on_what_they_share(tmp_path_factory, scale, shift):
    path = tmp_path_factory.getbasetemp() / "shared.tiff"
    if not path.exists():
        write_tiff(path, paint(), tile=(256, 256))
    with open_slide(path) as slide:
        first = slide.read_window(10.2, 5.9, scale, 100, 60)
        second = slide.read_window(10.2 + shift * scale, 5.9, scale, 100 - shift, 60)
        assert np.abs(first[:, shift:].astype(int) - second).max() <= 2


@pytest.mark.parametrize("scale", [0.6, 1.004, 2.7])
def test_a_window_between_pixels_is_the_bilinear_one(slide, scale):
    step = max(1, int(scale * 1.01))  # pixels averaged into one before
    level = slide.read_window(0, 0, step, 800 // step, 600 // step)
    first = (40 + 0.5 * (scale - step)) / step
    matrix = np.array([[scale / step, 0, first], [0, scale / step, first]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    by_opencv = cv2.warpAffine(level, matrix, (90, 70), flags=flags)
    window = slide.read_window(40, 40, scale, 90, 70)
    assert np.abs(window.astype(int) - by_opencv).max() <= 1, "the detour over four channels doesn't show"


def test_the_decoder_is_named(tmp_path):
    tiled = write_tiff(tmp_path / "tiled.tiff", paint(), tile=(256, 256))
    striped = write_tiff(tmp_path / "striped.tiff", paint())
    for path, direct, decoder in [(tiled, True, "direct"), (tiled, False, "openslide"), (striped, True, "tiff")]:
        with open_slide(path, direct=direct) as opened:
            assert opened.decoder == decoder


def test_beyond_the_edge_the_slide_is_mirrored_not_black(slide):
    window = slide.read_window(-50, -50, 1, 100, 100)
    assert np.array_equal(window[:50, 50:], np.flipud(window[50:, 50:])), "the margin above mirrors the rows below"
    assert np.array_equal(window[50:, :50], np.fliplr(window[50:, 50:])), "the margin left mirrors the columns right"


def test_a_window_with_little_of_the_slide_shows_more_of_its_mirror_image(slide):
    whole = cv2.copyMakeBorder(paint(), 90, 90, 90, 90, cv2.BORDER_REFLECT)
    for x, y in ((-85, -70), (790, 20), (300, 560), (770, 590)):
        assert np.array_equal(slide.read_window(x, y, 1, 100, 100), whole[y + 90 : y + 190, x + 90 : x + 190])


def test_an_overview_holds_the_whole_slide_at_the_asked_resolution(slide):
    overview = slide.read_overview(0.5, 4.0, max_input_px=256)
    assert overview.shape == (75, 100, 3)
    blocks = paint().reshape(75, 8, 100, 8, 3).mean(axis=(1, 3))
    assert np.abs(overview - blocks).mean() < 2, "blocks read apart must form one picture"


def test_editors_default_resolution_is_no_mpp(tmp_path):
    path = write_tiff(tmp_path / "dpi.tiff", paint(), mpp=1e4 / (72 / 2.54))
    with open_slide(path) as slide:
        assert slide.tag_mpp is None, "72 dpi is a default of image editors, not a statement about tissue"


def test_grey_slides_are_read_as_rgb(tmp_path):
    path = tmp_path / "grey.tiff"
    tifffile.imwrite(path, paint()[..., 0], metadata=None)
    with open_slide(path) as slide:
        assert slide.read_window(0, 0, 1, 10, 10).shape == (10, 10, 3)


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated", "16 bit", "folder"])
def test_what_is_no_slide_is_refused_in_a_sentence(tmp_path, kind):
    path = tmp_path / "bad.tiff"
    if kind == "text":
        path.write_text("not a slide")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        whole = write_tiff(tmp_path / "whole.tiff", np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8))
        path.write_bytes(whole.read_bytes()[:300_000])
    elif kind == "16 bit":
        tifffile.imwrite(path, np.zeros((50, 50, 3), np.uint16), photometric="rgb")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError) as refusal, open_slide(path) as slide:
        slide.thumbnail(100)
    assert str(path) in str(refusal.value) and str(refusal.value).endswith("."), "a sentence that names the file"


def test_vendor_format(shared_data):
    with open_slide(shared_data / "cmu1_small_region/CMU-1-Small-Region.svs") as slide:
        assert (slide.width_px, slide.height_px, slide.format) == (2220, 2967, "aperio")
        assert slide.tag_mpp == pytest.approx(0.499)
        assert slide.read_overview(0.499, 8.0).std() > 5, "there is tissue on it"


class TestMpp:
    def test_the_override_goes_before_the_tag_before_the_pitch(self):
        assert resolve_mpp(0.5, 0.505, 0.495, "s")[0] == 0.505
        assert resolve_mpp(0.5, None, 0.495, "s")[0] == 0.5
        assert resolve_mpp(None, None, 0.495, "s") == (0.495, {"pitch": 0.495})

    def test_without_a_witness_the_slide_is_refused(self):
        with pytest.raises(InputError, match=r"s: nothing says how large a pixel is; give µm per pixel in column mpp"):
            resolve_mpp(None, None, None, "s")

    @pytest.mark.parametrize("witness", ["tag", "pitch", "fiducial"])
    def test_witnesses_3_percent_apart_are_refused_with_both_values(self, witness):
        values = {"tag": None, "override": 0.25, "pitch": None, "fiducial": None}
        assert resolve_mpp(**{**values, witness: 0.257}, where="s")[0] == 0.25
        with pytest.raises(InputError, match=r"mpp is 0.25 but .* says 0.5;.*set mpp to 0.5"):
            resolve_mpp(**{**values, witness: 0.5}, where="slides.tsv, row 3 (B1)")
