"""Readers of whole-slide images: their levels, and the pixels of a level as they are stored.

A reader has ``format``, ``decoder``, ``levels``, ``tag_mpp`` (µm per pixel at level 0, or None), ``close()`` and
``read(index, left, top, width, height)``: uint8 (height, width, 3) of a window in pixels of level ``index``, inside it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openslide
import tifffile
import zarr

from nephrospot.errors import InputError
from nephrospot.mpp import mean_plausible_mpp


@dataclass(frozen=True)
class Level:
    """One level of the pyramid; ``downsample`` in level-0 pixels per pixel."""

    width_px: int
    height_px: int
    downsample: float


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
        if not self._tiff.series:
            raise tifffile.TiffFileError("no image in the file")
        series = max(self._tiff.series, key=lambda s: s.size)
        shape, axes = series.shape, series.axes
        if series.dtype != np.uint8 or axes not in ("YXS", "YX") or (axes == "YXS" and shape[2] not in (3, 4)):
            raise InputError(
                f"{path}: the image is {series.dtype} with axes {axes} {shape}; nephrospot reads 8-bit RGB or grey, "
                "so export the slide as an 8-bit RGB TIFF."
            )
        last_page = series.levels[0].pages[0]
        if last_page.dataoffsets and last_page.dataoffsets[-1] + last_page.databytecounts[-1] > path.stat().st_size:
            raise tifffile.TiffFileError("the file ends before its last pixels")
        self._arrays = [zarr.open_array(series.aszarr(level=i), mode="r") for i in range(len(series.levels))]
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
