"""The tiles of a TIFF's level: where they lie in the file, how bytes become pixels, and which of them are damaged."""

from __future__ import annotations

import re

import numpy as np
import tifffile
from imagecodecs import jpeg8_decode
from tifffile import COMPRESSION, PHOTOMETRIC

_NO_DATA = bytes(32)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends a JPEG's pixels: neither fill bytes nor restarts


class TileError(ValueError):
    """A tile is damaged."""


class DoubtfulTileError(Exception):
    """A tile may be damaged: the slide's own reader has the last word."""


class TileLevel:
    """Where a level's tiles lie and how they are decoded."""

    def __init__(self, page: tifffile.TiffPage) -> None:
        self.tile_width, self.tile_height = page.tilewidth, page.tilelength
        self.columns = -(-page.imagewidth // page.tilewidth)
        self.rows = -(-page.imagelength // page.tilelength)
        self.offsets, self.byte_counts = page.dataoffsets, page.databytecounts
        self._decode, self._is_jpeg = page.decode, page.compression == COMPRESSION.JPEG
        # Aperio stores red, green and blue as they are, without the marker that would say what the numbers mean.
        as_they_are = page.photometric == PHOTOMETRIC.RGB and not page.is_jfif
        self._jpeg = {"tables": page.jpegtables, "colorspace": "RGB" if as_they_are else None, "outcolorspace": "RGB"}
        if not len(self.offsets) == len(self.byte_counts) == self.columns * self.rows:
            raise TileError("tiles are missing")

    def decode(self, data: bytes, number: int) -> np.ndarray:
        """A tile's pixels from what the file holds of it; uint8 (tile_height, tile_width, 3), each line without gaps.

        Raises
        ------
        TileError, DoubtfulTileError
            Or what its codec raises: ValueError, RuntimeError, OSError.
        """
        if self._is_jpeg:
            _check_jpeg(data)
            return jpeg8_decode(data, **self._jpeg, out=empty_tile(self.tile_height, self.tile_width))
        tile = self._decode(data, number)[0]
        if tile is None or tile.shape != (1, self.tile_height, self.tile_width, 3):
            raise TileError("a tile holds fewer pixels than it should")
        return np.ascontiguousarray(tile[0])


def empty_tile(height: int, width: int) -> np.ndarray:
    """Memory for a tile, uint8 (height, width, 3), that doesn't begin at a multiple of 32 bytes.

    Where a line of pixels does, libjpeg-turbo writes it past the processor's caches, for pictures that nobody reads
    soon. That takes half as long again, and who reads it has to fetch it from memory.
    """
    size = height * width * 3
    buffer = np.empty(size + 32, np.uint8)
    first = (16 - buffer.__array_interface__["data"][0]) % 32
    return buffer[first : first + size].reshape(height, width, 3)


def _check_jpeg(data: bytes) -> None:
    """Refuse a JPEG whose pixels don't run up to its end.

    Where they stop early, libjpeg only warns and paints the rest grey, and imagecodecs doesn't pass the warning on.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    end = _MARKER.search(data, at + 2)
    if data[:2] != b"\xff\xd8" or end is None or end[0] != b"\xff\xd9":
        raise TileError("a JPEG tile is cut short or damaged")
    # A block of the disk that was never written reads as zeros; glass can be coded as zeros, too.
    if data.find(_NO_DATA, at) >= 0 or len(data) - end.start() > len(_NO_DATA):
        raise DoubtfulTileError
