"""Readers of whole-slide images: their levels, and the pixels of a level as they are stored.

A reader has ``format``, ``decoder``, ``levels``, ``tag_mpp`` (µm per pixel at level 0, or None), ``close()`` and
``read(index, left, top, width, height)``: uint8 (height, width, 3) of a window in pixels of level ``index``, inside it.
"""

from __future__ import annotations

import contextlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openslide
import tifffile
import zarr

from nephrospot.errors import InputError
from nephrospot.mpp import mean_plausible_mpp

# What tifffile raises on damaged files, beside its own error.
TIFF_ERRORS = (
    tifffile.TiffFileError, ValueError, OSError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError,
    struct.error,
)  # fmt: skip
MAX_PIECE_BYTES = 1 << 30  # of a tile or strip, unpacked: readers take memory for what is declared
MAX_PAGES = 1000
FREE_PX = 100_000_000  # so many pixels may be declared, however small the file is
PX_PER_BYTE = 5_000  # packed glass and tiles that aren't there come to some hundreds


@dataclass(frozen=True)
class Level:
    """One level of the pyramid; ``downsample`` in level-0 pixels per pixel."""

    width_px: int
    height_px: int
    downsample: float


def check_declared(path: Path) -> None:
    """Refuse a TIFF that declares tiles larger than are unpacked at once, more pixels than its file can hold or has
    tiles for, or parts longer than itself.

    Raises
    ------
    InputError
        With what is declared.
    """
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = list_pages(tiff)
            tiled = [page for page in pages if page.is_tiled]
            tiles = [(page.tilewidth, page.tilelength) for page in tiled]
            giant = next((f"{w} × {h} px" for w, h in tiles if 4 * w * h > MAX_PIECE_BYTES), None)
            lacking = any(
                len(page.dataoffsets) < -(-page.imagewidth // w) * -(-page.imagelength // h)
                for page, (w, h) in zip(tiled, tiles, strict=True)
            )
            pictures = [(page.imagewidth, page.imagelength) for page in pages]
            beyond = next((f"{w} × {h} px" for w, h in pictures if w * h > max(FREE_PX, PX_PER_BYTE * size)), None)
            # OpenSlide takes memory for as many, and ends the process where there is none.
            longest = max((count for page in pages for count in page.databytecounts), default=0)
    except TIFF_ERRORS:
        return  # no TIFF, or a damaged one: its reader says so
    if giant:
        raise InputError(f"{path}: its tiles are declared as {giant}; export it with smaller tiles.")
    if lacking:
        raise InputError(f"{path}: it has fewer tiles than its size needs; copy or export the slide again.")
    if beyond:
        raise InputError(f"{path}: {beyond} are declared in a file of {size} bytes; copy or export the slide again.")
    if longest > max(size, MAX_PIECE_BYTES):
        raise InputError(
            f"{path}: {longest} bytes are declared for a part of a file of {size}; copy or export the slide again."
        )


def list_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Pages with the pages below them, but for those that are damaged."""
    pages = _read_pages(tiff.pages)
    below = [getattr(page, "pages", None) or () for page in pages]
    return pages + [page for one in below for page in _read_pages(one)]


def _read_pages(pages: tifffile.TiffPages) -> list[tifffile.TiffPage]:
    """They are counted first, since iterating over pages that stand in a circle, as in a damaged file, has no end."""
    read = []
    for index in range(min(MAX_PAGES, len(pages))):
        with contextlib.suppress(*TIFF_ERRORS):
            read.append(pages[index])
    return read


class OpenSlidePixels:
    """A slide that OpenSlide opens."""

    decoder = "openslide"

    def __init__(self, path: Path) -> None:
        self._slide = openslide.OpenSlide(str(path))
        properties = self._slide.properties
        self.format = properties.get(openslide.PROPERTY_NAME_VENDOR, "openslide")
        self.levels = [
            Level(width, height, float(downsample))
            for (width, height), downsample in zip(
                self._slide.level_dimensions, self._slide.level_downsamples, strict=True
            )
        ]
        tags = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
        self.tag_mpp = mean_plausible_mpp([float(tag) for tag in tags if tag])

    def read(self, index: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        downsample = self.levels[index].downsample
        origin = (round(left * downsample), round(top * downsample))
        rgba = np.asarray(self._slide.read_region(origin, index, (width, height)))
        if rgba[..., 3].min() == 255:
            return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
        # Regions that the scanner skipped are transparent: show them as glass.
        glass = np.array(
            [
                int(self._slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")[i : i + 2], 16)
                for i in (0, 2, 4)
            ]
        )
        alpha = rgba[..., 3:].astype(np.float32) / 255
        return np.rint(rgba[..., :3] * alpha + glass * (1 - alpha)).astype(np.uint8)

    def close(self) -> None:
        self._slide.close()


class TiffPixels:
    """A TIFF that OpenSlide doesn't open: striped, of one image, or with a pyramid below its pages."""

    format = decoder = "tiff"

    def __init__(self, path: Path) -> None:
        self._tiff = tifffile.TiffFile(path)
        try:
            self._open(path)
        except BaseException:
            self._tiff.close()
            raise

    def _open(self, path: Path) -> None:
        list_pages(self._tiff)  # counts them, so that tifffile comes to an end with them
        if not self._tiff.series:
            raise tifffile.TiffFileError("no image in the file")
        series = max(self._tiff.series, key=lambda s: s.size)
        shape, axes = series.shape, series.axes
        if series.dtype != np.uint8 or axes not in ("YXS", "YX") or (axes == "YXS" and shape[2] not in (3, 4)):
            raise InputError(
                f"{path}: the image is {series.dtype} with axes {axes} {shape}; nephrospot reads 8-bit RGB or grey, "
                "so export the slide as an 8-bit RGB TIFF."
            )
        last_page, size = series.levels[0].pages[0], path.stat().st_size
        for level in series.levels:
            page = level.pages[0]
            if any(at + n > size for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)):
                raise tifffile.TiffFileError("the file ends before its last pixels")
        self._arrays = [zarr.open_array(series.aszarr(level=i), mode="r") for i in range(len(series.levels))]
        if (largest := max(math.prod(array.chunks) for array in self._arrays)) > MAX_PIECE_BYTES:
            raise InputError(
                f"{path}: its pixels are stored in pieces of {largest / 2**30:.1f} GB, each of which has to be read as "
                "a whole; export the slide as a tiled TIFF."
            )
        height, width = shape[:2]
        self.levels = [
            Level(array.shape[1], array.shape[0], (width / array.shape[1] + height / array.shape[0]) / 2)
            for array in self._arrays
        ]
        self.tag_mpp = _tiff_mpp(self._tiff, last_page)

    def read(self, index: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        region = self._arrays[index][top : top + height, left : left + width]
        if region.ndim == 2:
            region = np.repeat(region[..., None], 3, axis=2)
        return np.ascontiguousarray(region[..., :3])

    def close(self) -> None:
        self._tiff.close()


def _tiff_mpp(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """µm per pixel from OME-XML or the resolution tags, None where neither says anything plausible."""
    if tiff.ome_metadata:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
            pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
            if pixels.get("PhysicalSizeXUnit", "µm") == "µm":
                return mean_plausible_mpp([float(pixels["PhysicalSizeX"]), float(pixels["PhysicalSizeY"])])
    unit_um = {2: 25400.0, 3: 10000.0}.get(int(page.tags.valueof("ResolutionUnit", default=2)))
    resolutions = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if unit_um is None or not all(resolutions) or any(numerator == 0 for numerator, _ in resolutions):
        return None
    return mean_plausible_mpp([unit_um * denominator / numerator for numerator, denominator in resolutions])
