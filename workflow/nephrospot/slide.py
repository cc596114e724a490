"""Whole-slide images: open, know the µm per pixel, read any window at any magnification.

Coordinates are (x, y) in level-0 pixels; arrays are (row, column, channel).
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

LEVEL_TOLERANCE = 1.01  # Aperio's levels are 4.0001× and 16.0005×: 1 % off is the same level


@dataclass(frozen=True)
class Level:
    """One level of the pyramid; ``downsample`` in level-0 pixels per pixel."""

    width_px: int
    height_px: int
    downsample: float


def open_slide(path: str | Path) -> Slide:
    """Open a slide: every OpenSlide format, and plain or pyramidal TIFF beside them.

    Raises
    ------
    InputError
        When the file is missing, truncated, not a slide, or not 8-bit RGB or grey.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path in column image.")
    try:
        return Slide(path, _OpenSlidePixels(path))
    except openslide.OpenSlideUnsupportedFormatError:
        pass  # striped or single-image TIFFs are left to tifffile
    except openslide.OpenSlideError as error:
        raise InputError(f"{path}: OpenSlide can't read it ({error}); copy or export the slide again.") from error
    try:
        return Slide(path, _TiffPixels(path))
    except tifffile.TiffFileError as error:
        raise InputError(
            f"{path}: this isn't a slide that OpenSlide or a TIFF reader knows ({error}); "
            "export it as a pyramidal TIFF or copy it again if it was cut short."
        ) from error


class Slide:
    """An open slide.

    Attributes
    ----------
    width_px, height_px : int
        Size at level 0.
    levels : list of Level
    tag_mpp : float or None
        µm per pixel at level 0 as the file says, None where it says nothing plausible.
    format : str
        OpenSlide's vendor or "tiff".
    """

    def __init__(self, path: Path, pixels: _OpenSlidePixels | _TiffPixels) -> None:
        self.path, self._pixels = path, pixels
        self.levels: list[Level] = pixels.levels
        self.width_px, self.height_px = self.levels[0].width_px, self.levels[0].height_px
        self.tag_mpp: float | None = pixels.tag_mpp
        self.format: str = pixels.format

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()

    def choose_level(self, scale: float) -> int:
        """Index of the coarsest level that isn't coarser than ``scale`` level-0 pixels per pixel."""
        fits = [i for i, level in enumerate(self.levels) if level.downsample <= scale * LEVEL_TOLERANCE]
        return max(fits, key=lambda i: self.levels[i].downsample) if fits else 0

    def read_window(self, x_px: float, y_px: float, scale: float, width: int, height: int) -> np.ndarray:
        """Read a window at any resolution; beyond the slide's edge it is mirrored, never black.

        Parameters
        ----------
        x_px, y_px
            Level-0 position of the window's top left corner; fractions and negatives allowed.
        scale
            Level-0 pixels per output pixel (wanted mpp / slide mpp).
        width, height
            Size of the output in output pixels.

        Returns
        -------
        uint8 array (height, width, 3), RGB.

        Notes
        -----
        Whole factors are averaged over blocks anchored at the slide's origin and what is left
        (less than two) is interpolated, so neighbouring windows see the same pixels.
        """
        index = self.choose_level(scale)
        step = scale / self.levels[index].downsample  # level pixels per output pixel
        block = max(1, int(step * LEVEL_TOLERANCE))
        ratio = step / block
        # Position, in blocks, of the centre of the first output pixel.
        first_x, first_y = (
            (position / self.levels[index].downsample + 0.5 * step - 0.5 - (block - 1) / 2) / block
            for position in (x_px, y_px)
        )
        left, top = int(np.floor(first_x)), int(np.floor(first_y))
        columns = int(np.ceil(first_x + ratio * (width - 1))) - left + 1
        rows = int(np.ceil(first_y + ratio * (height - 1))) - top + 1
        region = self._read_mirrored(index, left * block, top * block, columns * block, rows * block)
        if block > 1:
            region = cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA)
        if ratio == 1 and first_x == left and first_y == top:
            return np.ascontiguousarray(region[:height, :width])
        matrix = np.array([[ratio, 0, first_x - left], [0, ratio, first_y - top]])
        return cv2.warpAffine(
            region,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    def read_overview(self, mpp: float, target_mpp: float, max_input_px: int = 4096) -> np.ndarray:
        """Read the whole slide at ``target_mpp`` in blocks, so that memory doesn't grow with a slide
        without a pyramid; uint8 (rows, columns, 3)."""
        scale = target_mpp / mpp
        width, height = (max(1, round(size / scale)) for size in (self.width_px, self.height_px))
        overview = np.empty((height, width, 3), np.uint8)
        step = scale / self.levels[self.choose_level(scale)].downsample
        side = max(16, int(max_input_px / max(step, 1)))
        for top in range(0, height, side):
            for left in range(0, width, side):
                h, w = min(side, height - top), min(side, width - left)
                overview[top : top + h, left : left + w] = self.read_window(left * scale, top * scale, scale, w, h)
        return overview

    def thumbnail(self, max_px: int) -> np.ndarray:
        """The whole slide with at most ``max_px`` pixels on its longer side; uint8 (rows, columns, 3)."""
        return self.read_overview(1.0, max(1.0, max(self.width_px, self.height_px) / max_px))

    def _read_mirrored(self, index: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        level = self.levels[index]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, level.width_px), min(top + height, level.height_px)
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the window ({left}, {top}, {width}, {height}) lies outside level {index} of {self.path}")
        try:
            region = self._pixels.read(index, x0, y0, x1 - x0, y1 - y0)
        except (openslide.OpenSlideError, tifffile.TiffFileError, ValueError, RuntimeError, OSError) as error:
            raise InputError(
                f"{self.path}: the pixels near x {round(x0 * level.downsample)}, y {round(y0 * level.downsample)} "
                f"can't be decoded ({error}); the file is damaged, copy or export it again."
            ) from error
        pad = ((y0 - top, top + height - y1), (x0 - left, left + width - x1), (0, 0))
        return np.pad(region, pad, mode="symmetric") if any(map(any, pad)) else region


class _OpenSlidePixels:
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
            return np.ascontiguousarray(rgba[..., :3])
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


class _TiffPixels:
    format = "tiff"

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
