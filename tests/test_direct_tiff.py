"""Direct decoding: the same pixels as OpenSlide, or not used; and a damaged tile never gives a number."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from jpeg_tiffs import JPEG, KINDS, paint_tissue, set_tags, write_slide
from nephrospot import direct_tiff
from nephrospot.direct_tiff import open_direct
from nephrospot.errors import InputError
from nephrospot.pixels import OpenSlidePixels, TiffPixels
from nephrospot.slide import open_slide
from nephrospot.stored_tiles import DoubtfulTileError, TileLevel


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    path = write_slide(tmp_path_factory.mktemp("pair") / "slide.tiff", request.param)
    with open_slide(path) as direct, open_slide(path, direct=False) as reference:
        assert (direct.decoder, reference.decoder) == ("direct", "openslide")
        yield direct, reference


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-50, 800), y=st.floats(-50, 600), width=st.integers(110, 300), height=st.integers(110, 300),
    scale=st.one_of(st.floats(0.5, 9), st.sampled_from([1.0, 2.0, 3.0, 4.0])), whole=st.booleans(),
)  # fmt: skip
def test_any_window_at_any_scale_is_openslides_bit_for_bit(pair, x, y, width, height, scale, whole):
    x, y = (round(x), round(y)) if whole else (x, y)
    direct, reference = pair
    window = (x, y, scale, width, height)
    assert np.array_equal(direct.read_window(*window), reference.read_window(*window))


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(-40, 800), y=st.integers(-40, 600), side=st.integers(90, 300),
    scale=st.sampled_from([0.7, 1.0, 1.3, 2.0, 4.0]),
)  # fmt: skip
def test_the_parts_of_a_window_are_the_window(pair, x, y, side, scale):
    for slide in pair:
        parts, whole = slide.read_parts(x, y, scale, side), slide.read_window(x, y, scale, side, side)
        pasted = np.full((side, side, 3), 77, np.uint8)
        for part in parts:
            part.paste(pasted)
        assert np.array_equal(pasted, whole)
        assert sum(part.height * part.width for part in parts) == side * side, "each pixel in one part"


def test_parts_are_tiles_where_pixels_are_stored_ones(pair):
    direct, reference = pair
    assert len(direct.read_parts(30, 30, 1.0, 200)) > 1
    assert [len(slide.read_parts(*args)) for slide, args in (
        (direct, (30.5, 30, 1.0, 200)), (direct, (30, 30, 1.3, 200)), (direct, (-1, 30, 1.0, 200)),
        (reference, (30, 30, 1.0, 200)),
    )] == [1, 1, 1, 1], "resampled, mirrored, or not ours to decode"  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("jpeg")])
def test_jpeg_tiles_lie_where_they_are_written_through_the_caches(tmp_path, kind):
    with open_slide(write_slide(tmp_path / "slide.tiff", kind)) as slide:
        starts = [part.pixels.ctypes.data % 32 for part in slide.read_parts(30, 30, 1.0, 300)]
    assert len(starts) >= 9 and set(starts) == {16}


def test_a_jpeg_of_another_size_than_its_tile_is_damage(tmp_path):
    path = write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0")
    with tifffile.TiffFile(path) as tiff:
        level = TileLevel(tiff.pages[0])
    for height, width in ((120, 128), (128, 136)):
        with pytest.raises((ValueError, RuntimeError)):
            level.decode(imagecodecs.jpeg8_encode(np.zeros((height, width, 3), np.uint8)), 0)


def test_jpeg_tables_that_are_no_bytes_are_left_to_openslide(tmp_path):
    path = write_slide(tmp_path / "slide.tiff", "jpeg tables 4:2:0")
    pixels = OpenSlidePixels(path)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["JPEGTables"]
    with path.open("r+b") as file:
        file.seek(tag.offset + 2)
        file.write((4).to_bytes(2, "little"))  # whole numbers, as `make fuzz` had it
    assert open_direct(path, pixels) is None


@pytest.mark.parametrize("name", ["cmu1_small_region/CMU-1-Small-Region.svs", "mouse_pas_mosaic/mosaic_pas_mouse.tiff"])
def test_real_slides_are_decoded_as_openslide_does(shared_data, name):
    with open_slide(shared_data / name) as direct, open_slide(shared_data / name, direct=False) as reference:
        assert direct.decoder == "direct"
        for level in direct.levels:
            window = (0, 0, level.downsample, level.width_px, level.height_px)
            assert np.array_equal(direct.read_window(*window), reference.read_window(*window))


def test_threads_read_what_one_thread_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(direct_tiff, "CACHE_BYTES", 8 * 128 * 128 * 3)  # so small that threads drop each other's tiles
    path = write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0")
    rng = np.random.default_rng(1)
    windows = [(*rng.uniform(-50, 500, 2), scale, 150, 130) for scale in rng.choice([1, 1.3, 2, 2.7], 80)]
    with open_slide(path) as slide, ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda window: slide.read_window(*window), windows))
        assert all(np.array_equal(a, slide.read_window(*w)) for a, w in zip(together, windows, strict=True))


def test_tiles_that_lie_side_by_side_in_the_file_are_read_at_once(tmp_path, monkeypatch):
    path = write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0", levels=1)
    with open_slide(path) as slide, open_slide(path) as piecemeal:
        slide._direct._cache, piecemeal._direct._cache = direct_tiff.TileCache(0), direct_tiff.TileCache(0)
        reads, pread = [], os.pread
        monkeypatch.setattr(os, "pread", lambda *given: reads.append(given[1]) or pread(*given))
        window = slide.read_window(10, 10, 1, 600, 300)
        together = reads[:]
        monkeypatch.setattr(direct_tiff, "READ_BYTES", 1)
        assert np.array_equal(window, piecemeal.read_window(10, 10, 1, 600, 300))
        assert len(together) == 3 and len(reads) - 3 == 3 * 5 and sum(together) == sum(reads[3:])


def test_one_differing_pixel_at_a_place_of_the_probe_keeps_openslide(tmp_path):
    path = write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0")
    pixels = OpenSlidePixels(path)
    honest, (width, height) = pixels.read, (pixels.levels[1].width_px, pixels.levels[1].height_px)
    assert open_direct(path, pixels) is not None

    def read(index, left, top, *size):
        region = honest(index, left, top, *size).copy()
        if index == 1 and left + size[0] == width and top + size[1] == height:
            region[-1, -1, 0] ^= 1
        return region

    pixels.read = read
    assert open_direct(path, pixels) is None


@pytest.mark.parametrize("kind", ["missing tile", "jpeg2000", "other colours", "grey", "planes", "alpha"])
def test_what_is_not_plain_is_left_to_openslide(tmp_path, kind):
    image, options = paint_tissue(), {"tile": (128, 128), "metadata": None, "photometric": "rgb"}
    if kind == "other colours":
        options |= JPEG
    elif kind == "jpeg2000":
        options |= {"compression": "APERIO_JP2000_RGB", "description": "Aperio Image Library v11\n832x640|MPP = 0.5"}
    elif kind == "grey":
        image, options["photometric"] = image[..., 0], "minisblack"
    elif kind == "planes":
        image, options["planarconfig"] = np.moveaxis(image, 2, 0).copy(), "separate"
    elif kind == "alpha":
        image, options["extrasamples"] = np.dstack([image, image[..., :1]]), ["unassalpha"]
    path = tmp_path / "slide.tiff"
    tifffile.imwrite(path, image, **options)
    if kind == "missing tile":
        with tifffile.TiffFile(path) as tiff:
            counts = tiff.pages[0].databytecounts
        set_tags(path, TileByteCounts=[*counts[:17], 0, *counts[18:]])  # where the probe doesn't look
    elif kind == "other colours":
        set_tags(path, PhotometricInterpretation=2)  # OpenSlide believes the tag, other readers the JPEG
    with open_slide(path) as slide:
        assert slide.decoder != "direct"


def test_another_vendors_tiles_are_not_taken_for_a_plain_grid(tmp_path):
    pixels = OpenSlidePixels(write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0"))
    pixels.format = "ventana"
    assert open_direct(tmp_path / "slide.tiff", pixels) is None, "its tiles may overlap between the probe's places"


def test_at_a_level_that_is_no_whole_downsample_the_stored_pixels_are_read(tmp_path):
    path = write_slide(tmp_path / "odd.tiff", "jpeg 4:2:0", paint_tissue(605, 803), levels=2)
    pixels = OpenSlidePixels(path)
    assert pixels.levels[1].downsample % 1 != 0
    direct = open_direct(path, pixels)
    stored = tifffile.TiffFile(path).pages[1].asarray()
    assert np.array_equal(direct.read(1, 151, 113, 150, 140), stored[113:253, 151:301])


def test_a_tiled_image_behind_a_striped_one_is_decoded_directly_too(tmp_path):
    path, image = tmp_path / "behind.tiff", paint_tissue()
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image[::8, ::8].copy(), photometric="rgb", metadata=None)
        tiff.write(image, photometric="rgb", tile=(128, 128), compression="lzw", metadata=None)
    with pytest.raises(openslide.OpenSlideUnsupportedFormatError):
        OpenSlidePixels(path)
    with open_slide(path) as slide:
        assert slide.decoder == "direct"
        assert np.array_equal(slide.read_window(100, 90, 1, 300, 200), image[90:290, 100:400])


DAMAGE = {
    "jpeg, end missing": ("jpeg 4:2:0", lambda d: d[: len(d) // 2] + bytes(len(d) - len(d) // 2)),
    "jpeg, a sector of zeros": ("jpeg 4:2:0", lambda d: d[:2000] + bytes(1024) + d[3024:]),
    "jpeg, a stray marker": ("jpeg 4:2:0", lambda d: d[:3000] + b"\xff\xc4" + d[3002:]),
    "jpeg, ended early": ("jpeg 4:2:0", lambda d: d[:3000] + b"\xff\xd9" + d[3002:]),
    "jpeg, another's bytes": ("jpeg 4:2:0", lambda d: d[:2000] + b"\xff\xfe nothing \xff\xda" * 100 + d[3300:]),
    "jpeg, no header": ("jpeg 4:2:0", lambda d: b"?" * 400 + d[400:]),
    "deflate, one byte": ("deflate", lambda d: d[:5000] + bytes([d[5000] ^ 255]) + d[5001:]),
    "deflate, zeros": ("deflate", lambda d: d[:5000] + bytes(len(d) - 5000)),
    "lzw, zeros": ("lzw", lambda d: d[:5000] + bytes(len(d) - 5000)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_tile_damaged_after_the_probe_stops_with_its_place(tmp_path, name):
    kind, damage = DAMAGE[name]
    path = write_slide(tmp_path / "slide.tiff", kind, levels=1)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        number = 2 * 7 + 3  # row 2, column 3: x 384, y 256
        offset, size = page.dataoffsets[number], page.databytecounts[number]
    with open_slide(path) as slide:
        assert slide.decoder == "direct"
        # The probe may have seen the tile while it was whole.
        slide._direct._cache = direct_tiff.TileCache(0)
        slide._pixels._slide.set_cache(openslide.OpenSlideCache(0))
        with path.open("r+b") as file:
            file.seek(offset)
            good = file.read(size)
            bad = damage(good)[:size].ljust(size, b"\0")
            file.seek(offset)
            file.write(bad)
        for read in (lambda: slide.read_window(390, 260, 1, 100, 100), lambda: slide.read_parts(390, 260, 1, 100)):
            with pytest.raises(
                InputError, match=r"pixels near x 390, y 260 can't be decoded \(.+\); the file is damaged"
            ):
                read()


def test_a_file_cut_short_stops_with_the_place(tmp_path):
    path = write_slide(tmp_path / "slide.tiff", "jpeg 4:2:0", levels=1)
    with open_slide(path) as slide:
        slide._direct._cache = direct_tiff.TileCache(0)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        assert slide.read_window(0, 0, 1, 100, 100).shape == (100, 100, 3)
        with pytest.raises(InputError, match=r"pixels near x 700, y 500 can't be decoded \(the file ends inside"):
            slide.read_window(700, 500, 1, 100, 100)


def test_a_tile_damaged_before_opening_never_gives_a_number(tmp_path):
    whole = write_slide(tmp_path / "whole.tiff", "jpeg 4:2:0", levels=1)
    with tifffile.TiffFile(whole) as tiff:
        spans = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    for number in (0, 8, len(spans) - 1):  # the probe meets the first and the last
        path = shutil.copy(whole, tmp_path / f"{number}.tiff")
        with Path(path).open("r+b") as file:
            file.seek(spans[number][0] + 1500)
            file.write(bytes(spans[number][1] - 1500))
        row, column = divmod(number, 7)
        with pytest.raises(InputError, match=r"damaged|can't read it"), open_slide(path) as slide:
            slide.read_window(column * 128, row * 128, 1, 64, 64)


def test_glass_coded_as_zeros_is_read_by_openslide(tmp_path):
    image = paint_tissue(256, 512)
    image[:, 256:] = 240
    path = write_slide(tmp_path / "glass.tiff", "optimal", image, levels=1, tile=256)
    with open_slide(path) as slide, open_slide(path, direct=False) as reference:
        assert slide.decoder == "direct"
        with pytest.raises(DoubtfulTileError):
            slide._direct.read(0, 300, 10, 20, 20)
        window = (200, 20, 1, 250, 200)
        assert np.array_equal(slide.read_window(*window), reference.read_window(*window))
        (part,) = slide.read_parts(200, 20, 1, 200)
        assert np.array_equal(part.pixels, reference.read_window(200, 20, 1, 200, 200))


def test_striped_tiffs_stay_with_the_tiff_reader(tmp_path):
    path = tmp_path / "striped.tiff"
    tifffile.imwrite(path, paint_tissue(), photometric="rgb", metadata=None)
    assert open_direct(path, TiffPixels(path)) is None
    with open_slide(path) as slide:
        assert slide.decoder == "tiff"
