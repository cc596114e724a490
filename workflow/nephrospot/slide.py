"""Whole-slide images: open, know the µm per pixel, read any window at any magnification.

Coordinates are (x, y) in level-0 pixels; arrays are (row, column, channel).
"""

from __future__ import annotations

import contextlib
import math
import threading
from pathlib import Path

import cv2
import numpy as np
import openslide

from nephrospot.direct_tiff import Part, open_direct
from nephrospot.errors import InputError, tell_cause
from nephrospot.pixels import TIFF_ERRORS, Level, OpenSlidePixels, TiffPixels, check_declared
from nephrospot.sampling import LEVEL_TOLERANCE, RawWindows, Sampling
from nephrospot.stored_tiles import DoubtfulTileError


def open_slide(path: str | Path, direct: bool = True) -> Slide:
    """Open a slide: every OpenSlide format, and plain or pyramidal TIFF beside them.

    Parameters
    ----------
    direct
        Decode tiles without OpenSlide where a probe finds the same pixels (`nephrospot.direct_tiff`).

    Raises
    ------
    InputError
        When the file is missing, truncated, not a slide, or not 8-bit RGB or grey.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path in column image.")
    check_declared(path)
    try:
        return Slide(path, OpenSlidePixels(path), direct)
    except openslide.OpenSlideUnsupportedFormatError:
        pass  # striped or single-image TIFFs are left to tifffile
    except openslide.OpenSlideError as error:
        raise InputError(
            f"{path}: OpenSlide can't read it ({tell_cause(error)}); copy or export the slide again."
        ) from error
    try:
        return Slide(path, TiffPixels(path), direct)
    except InputError:
        raise  # a sentence already, and also a ValueError
    except TIFF_ERRORS as error:
        raise InputError(
            f"{path}: this isn't a slide that OpenSlide or a TIFF reader knows ({tell_cause(error)}); "
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
    decoder : str
        What decodes the pixels: "direct" (`nephrospot.direct_tiff`), "openslide" or "tiff".

    Notes
    -----
    Several threads may read windows of one slide at once.
    """

    def __init__(self, path: Path, pixels: OpenSlidePixels | TiffPixels, direct: bool = True) -> None:
        self.path, self._pixels, self._scratch = path, pixels, _Scratch()
        self._direct = open_direct(path, pixels) if direct else None
        self.decoder: str = "direct" if self._direct else pixels.decoder
        self.levels: list[Level] = pixels.levels
        self.width_px, self.height_px = self.levels[0].width_px, self.levels[0].height_px
        self._check_levels()
        self.tag_mpp: float | None = pixels.tag_mpp
        self.format: str = pixels.format

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._direct:
            self._direct.close()
        self._pixels.close()

    def _check_levels(self) -> None:
        """Refuse levels that lack part of the slide; larger ones, padded to whole tiles, are common."""
        for index, level in enumerate(self.levels):
            wanted = [size / level.downsample * 0.99 - 2 for size in (self.width_px, self.height_px)]
            if level.width_px < wanted[0] or level.height_px < wanted[1]:
                self.close()
                raise InputError(
                    f"{self.path}: level {index} has {level.width_px} × {level.height_px} px, which isn't the shape of "
                    f"the slide ({self.width_px} × {self.height_px} px); export the slide again."
                )

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
        Resampled as `nephrospot.sampling` says, so that neighbouring windows see the same pixels.
        """
        index, sampling = self._sample(x_px, y_px, scale)
        columns, rows = sampling.count_blocks(width, height)
        region = self._read_blocks(index, sampling, columns, rows)
        if sampling.block > 1:
            region = cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA)
        if sampling.ratio == 1 and sampling.shift == (0, 0):
            return np.ascontiguousarray(region[:height, :width])
        shift_x, shift_y = sampling.shift
        matrix = np.array([[sampling.ratio, 0, shift_x], [0, sampling.ratio, shift_y]])
        return self._move(region, matrix, width, height)

    def read_parts(self, x_px: float, y_px: float, scale: float, side: int) -> list[Part]:
        """The window of `read_window` in parts: tiles as they were decoded, where their pixels are the window's own.

        Who makes something else of the pixels needs no window of bytes in between then.

        Parameters
        ----------
        x_px, y_px, scale
            As for `read_window`.
        side
            Width and height of the window in output pixels.
        """
        index, sampling = self._sample(x_px, y_px, scale)
        level = self.levels[index]
        left, top = sampling.corner
        inside = 0 <= left <= level.width_px - side and 0 <= top <= level.height_px - side
        if self._direct and inside and sampling.is_stored:
            with contextlib.suppress(DoubtfulTileError, *TIFF_ERRORS):  # on which `read_window` has the last word
                return self._direct.list_parts(index, left, top, side, side)
        return [Part(self.read_window(x_px, y_px, scale, side, side), 0, 0, 0, 0, side, side)]

    def read_raw(self, x_px: float, y_px: float, scale: float, side: int) -> RawWindows:
        """One window as it is stored, to be resampled elsewhere (`nephrospot.resample`).

        Parameters
        ----------
        x_px, y_px, scale
            As for `read_window`.
        side
            Width and height of the window in output pixels.

        Returns
        -------
        RawWindows of length 1, whose shape depends on ``scale`` and ``side`` alone
        """
        index, sampling = self._sample(x_px, y_px, scale)
        blocks = math.ceil(sampling.ratio * (side - 1)) + 2
        region = self._read_blocks(index, sampling, blocks, blocks)
        return RawWindows(region[None], np.float32([sampling.shift]), sampling.block, sampling.ratio, side)

    def _sample(self, x_px: float, y_px: float, scale: float) -> tuple[int, Sampling]:
        """The level that a window is read from, and how its pixels lie on that level's."""
        index = self.choose_level(scale)
        return index, Sampling.of(x_px, y_px, scale, self.levels[index].downsample)

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

    def _move(self, region: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
        # OpenCV moves four channels more than twice as fast as three, to the same values; each thread keeps
        # its buffers, since getting and returning a megabyte at a time costs as much again.
        rgba = cv2.cvtColor(region, cv2.COLOR_RGB2RGBA, dst=self._scratch.take("from", region.shape[:2]))
        moved = cv2.warpAffine(
            rgba,
            matrix,
            (width, height),
            dst=self._scratch.take("to", (height, width)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        return cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB)

    def _read_blocks(self, index: int, sampling: Sampling, columns: int, rows: int) -> np.ndarray:
        left, top = sampling.corner
        return self._read_mirrored(index, *(sampling.block * value for value in (left, top, columns, rows)))

    def _read_mirrored(self, index: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        level = self.levels[index]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, level.width_px), min(top + height, level.height_px)
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the window ({left}, {top}, {width}, {height}) lies outside level {index} of {self.path}")
        pad = (y0 - top, top + height - y1, x0 - left, left + width - x1)
        if any(pad):
            # The mirror image may show more of the slide than the window does.
            y0, y1 = max(0, min(y0, y1 - pad[1])), min(level.height_px, max(y1, pad[0]))
            x0, x1 = max(0, min(x0, x1 - pad[3])), min(level.width_px, max(x1, pad[2]))
        try:
            region = self._decode(index, x0, y0, x1 - x0, y1 - y0)
        except (openslide.OpenSlideError, *TIFF_ERRORS) as error:
            raise InputError(
                f"{self.path}: the pixels near x {round(x0 * level.downsample)}, y {round(y0 * level.downsample)} "
                f"can't be decoded ({tell_cause(error)}); the file is damaged, copy or export it again."
            ) from error
        if not any(pad):
            return region
        y, x = top - y0 + pad[0], left - x0 + pad[2]
        return cv2.copyMakeBorder(region, *pad, cv2.BORDER_REFLECT)[y : y + height, x : x + width]

    def _decode(self, *window: int) -> np.ndarray:
        if self._direct is None:
            return self._pixels.read(*window)
        try:
            return self._direct.read(*window)
        except DoubtfulTileError:
            return self._pixels.read(*window)


class _Scratch(threading.local):
    """RGBA buffers of one thread, by name."""

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, int]) -> np.ndarray:
        size = shape[0] * shape[1] * 4
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = np.empty(size, np.uint8)
        return self._buffers[name][:size].reshape(*shape, 4)
