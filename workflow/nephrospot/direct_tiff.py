"""Tiles of a TIFF decoded without OpenSlide, which spends most of its time on compositing, not on JPEG.

Used for a slide only after a probe at open: the same pixels as the slide's own reader gives, at places spread
over every level. What isn't plain (JPEG 2000, missing tiles, transparency …) stays with that reader.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import openslide
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from nephrospot.pixels import TIFF_ERRORS, list_pages
from nephrospot.stored_tiles import DoubtfulTileError, TileError, TileLevel
from nephrospot.tile_cache import Key, TileCache

# A row of windows shares tiles with the next one through its halo, and a chunk with its neighbour: 4 % more are decoded
# than with 64 MB, 12 % with 32.
CACHE_BYTES = 40 << 20  # of decoded tiles
READ_BYTES = 1 << 20  # at most that many at a time, of tiles that lie one behind the other in the file
PROBE_PLACES = 16
PROBE_PX = 48

_JPEG = COMPRESSION.JPEG
_LOSSLESS = {COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE}
_PLAIN_FORMATS = {"generic-tiff", "aperio", "tiff"}  # elsewhere levels are put together from several pages


def open_direct(path: str | Path, oracle) -> DirectTiff | None:
    """Open a slide's tiles for direct decoding, if they are plain and a probe finds no difference.

    Parameters
    ----------
    path
        The slide's file.
    oracle
        The slide's own reader: ``format``, ``levels`` and ``read(index, left, top, width, height)``,
        as in `nephrospot.pixels`.

    Returns
    -------
    DirectTiff or None
        None where the format isn't supported or one pixel of the probe differs.

    Notes
    -----
    OpenSlide takes level-0 coordinates, so at a level whose downsample isn't whole (4.0001) it resamples by
    up to an eighth of a pixel. There the probe asks for equality where a pixel falls on a pixel (at
    the origin always), and elsewhere for values between those of the neighbours; the stored pixels are what is read.
    """
    if oracle.format not in _PLAIN_FORMATS:
        return None
    shapes = [(level.height_px, level.width_px) for level in oracle.levels]
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = _match_pages(tiff, shapes)
            direct = DirectTiff(path, pages) if pages else None
    except TIFF_ERRORS:
        return None  # not a TIFF, or an odd one
    try:
        if direct and _agree(direct, oracle):
            return direct
    except (openslide.OpenSlideError, ValueError, RuntimeError, OSError):
        pass  # damaged where the probe looked: the slide's own reader tells when it comes to it
    if direct:
        direct.close()
    return None


class Part(NamedTuple):
    """``height`` × ``width`` pixels of an image, and where they belong in a window.

    Attributes
    ----------
    pixels : uint8 (rows, columns, 3)
        The whole image, each line without gaps.
    top, left : int
        Where the part begins in it.
    row, column : int
        And where in the window.
    """

    pixels: np.ndarray
    top: int
    left: int
    row: int
    column: int
    height: int
    width: int

    def paste(self, window: np.ndarray) -> None:
        """Write the part to its place in a window, uint8 (rows, columns, 3)."""
        window[self.row : self.row + self.height, self.column : self.column + self.width] = self.pixels[
            self.top : self.top + self.height, self.left : self.left + self.width
        ]


class DirectTiff:
    """Levels of a tiled TIFF, decoded tile by tile; several threads may read at once.

    Parameters
    ----------
    path
        The file, opened a second time so that reading needs no lock.
    pages
        One page a level, as `open_direct` finds them; the file they come from may be closed later.
    """

    def __init__(self, path: str | Path, pages: list[tifffile.TiffPage]) -> None:
        self.levels = [TileLevel(page) for page in pages]
        self._cache = TileCache(CACHE_BYTES)
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 (until close)
        self._size = os.fstat(self._file.fileno()).st_size

    def read(self, index: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        """Pixels of a level, wholly inside it; uint8 (height, width, 3).

        Raises
        ------
        TileError
            When a tile is cut short or damaged.
        DoubtfulTileError
            When it may be: read the window with the slide's own reader.
        """
        region = np.empty((height, width, 3), np.uint8)
        for part in self.list_parts(index, left, top, width, height):
            part.paste(region)
        return region

    def list_parts(self, index: int, left: int, top: int, width: int, height: int) -> list[Part]:
        """What `read` puts together: the tiles and where they lie. Raises as `read` does."""
        level = self.levels[index]
        rows = _split(top, height, level.tile_height)
        columns = _split(left, width, level.tile_width)
        tiles = iter(self._cache.get([(index, row[0], column[0]) for row in rows for column in columns], self._decode))
        return [
            Part(next(tiles), inside_y, inside_x, y, x, part_height, part_width)
            for _, inside_y, y, part_height in rows
            for _, inside_x, x, part_width in columns
        ]

    def _decode(self, keys: list[Key]) -> Iterator[np.ndarray]:
        """Tiles of one level."""
        level = self.levels[keys[0][0]]
        numbers = [row * level.columns + column for _, row, column in keys]
        try:
            for number, data in zip(numbers, self._read(level, numbers), strict=True):
                yield level.decode(data, number)
        except TileError:
            raise
        except (ValueError, RuntimeError, OSError) as error:  # codecs raise RuntimeErrors of their own
            raise TileError(str(error)) from error

    def _read(self, level: TileLevel, numbers: list[int]) -> Iterator[bytes]:
        """What the file holds of each tile; those that lie one behind the other are read at once."""
        spans = [(level.offsets[number], level.offsets[number] + level.byte_counts[number]) for number in numbers]
        while spans:
            begin, end = spans[0]
            count = 1
            while count < len(spans) and spans[count][0] == end and spans[count][1] - begin <= READ_BYTES:
                end = spans[count][1]
                count += 1
            # Looked at before it is read, since memory would be taken for all of it.
            data = os.pread(self._file.fileno(), end - begin, begin) if end <= self._size else b""
            if len(data) != end - begin:
                raise TileError("the file ends inside a tile")
            for first, last in spans[:count]:
                yield data[first - begin : last - begin]
            del spans[:count]

    def close(self) -> None:
        """Close the file and let go of the tiles."""
        self._file.close()
        self._cache = TileCache(0)


def _split(first: int, size: int, tile_size: int) -> list[tuple[int, int, int, int]]:
    """Along one side of a region, ``size`` pixels from ``first`` on: each tile's number, where the region begins in it,
    where it begins in the region, and how many pixels they share."""
    parts = []
    for number in range(first // tile_size, (first + size - 1) // tile_size + 1):
        start = number * tile_size
        begin, end = max(first, start), min(first + size, start + tile_size)
        parts.append((number, begin - start, begin - first, end - begin))
    return parts


def _match_pages(tiff: tifffile.TiffFile, shapes: list[tuple[int, int]]) -> list[tifffile.TiffPage] | None:
    """The one plain page of each level's size; None where there is none, or a choice."""
    candidates: dict[tuple[int, int], list] = {shape: [] for shape in shapes}
    for page in list_pages(tiff):
        if page.shape[:2] in candidates and page.is_tiled:
            candidates[page.shape[:2]].append(page)
    pages = [candidates[shape] for shape in shapes]
    return [page[0] for page in pages] if all(len(page) == 1 and _is_plain(page[0]) for page in pages) else None


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether every tile is there and is 8-bit RGB in a coding that is decoded the same way everywhere."""
    colour = page.photometric == PHOTOMETRIC.RGB or (
        page.photometric == PHOTOMETRIC.YCBCR and page.compression == _JPEG
    )
    coding = page.compression == _JPEG or page.compression in _LOSSLESS
    rgb = page.dtype == np.uint8 and page.samplesperpixel == 3 and page.planarconfig == 1 and page.tiledepth == 1
    tables = page.jpegtables is None or isinstance(page.jpegtables, bytes)  # numbers where the tag is damaged
    whole = page.ndim == 3 and all(page.databytecounts) and all(page.dataoffsets)
    return colour and coding and rgb and tables and whole


def _agree(direct: DirectTiff, oracle) -> bool:
    """Whether the direct decoder and the slide's own reader give the same pixels at the probe's places."""
    share = max(3, PROBE_PLACES // len(oracle.levels))
    for index, level in enumerate(oracle.levels):
        compared = 0
        for left, top in _probe_places(direct.levels[index], level.width_px, level.height_px, share):
            window = (left, top, min(PROBE_PX, level.width_px - left), min(PROBE_PX, level.height_px - top))
            try:
                ours = direct.read(index, *window)
            except DoubtfulTileError:
                continue  # read by the slide's own reader in any case
            theirs = oracle.read(index, *window)
            aligned = all(abs(round(at * level.downsample) / level.downsample - at) < 1e-9 for at in (left, top))
            if not (np.array_equal(ours, theirs) if aligned else _lies_between(theirs, ours)):
                return False
            compared += 1
        if not compared:
            return False
    return True


def _probe_places(tiles: TileLevel, width: int, height: int, count: int) -> list[tuple[int, int]]:
    """Corners of ``count`` windows: the origin, the last corner, and by turns across the borders of the tiles
    with most bytes (there is most to differ) and inside them."""
    places = [(0, 0), (width - PROBE_PX + 5, height - PROBE_PX + 5)]
    for k, number in enumerate(np.argsort(tiles.byte_counts, kind="stable")[::-1][: count - 2]):
        row, column = divmod(int(number), tiles.columns)
        sides = (tiles.tile_width, tiles.tile_height)
        shifts = [side // 3 if k % 2 else 3 - PROBE_PX // 2 for side in sides]
        places.append((column * sides[0] + shifts[0], row * sides[1] + shifts[1]))
    return [(min(max(0, left), width - 1), min(max(0, top), height - 1)) for left, top in places]


def _lies_between(resampled: np.ndarray, stored: np.ndarray, tolerance: int = 2) -> bool:
    """Whether each pixel lies between its 3 × 3 neighbours, as any shift by less than a pixel must leave it."""
    kernel = np.ones((3, 3), np.uint8)
    low = cv2.erode(stored, kernel).astype(int) - tolerance
    high = cv2.dilate(stored, kernel).astype(int) + tolerance
    inner = (slice(1, -1), slice(1, -1))  # neighbours beyond the window aren't known
    return bool(((resampled >= low) & (resampled <= high))[inner].all())
