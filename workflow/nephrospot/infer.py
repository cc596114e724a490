"""Tiles → masks: one backbone pass for each window and magnification, and only labels are kept.

What comes out is a Zarr group with one array a magnification, in pixels of that magnification: bit b of a
pixel is set where the b-th tissue read at it is foreground. Memory holds a few windows and one chunk; a chunk
that has been written is never computed again, even after a kill.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from numcodecs.zstd import Zstd
from torch import Tensor
from tqdm import tqdm

from nephrospot.beside import HandOver, read_ahead
from nephrospot.chunk_mask import ChunkAnswer, clear_glass, count_foreground
from nephrospot.chunks import COSTS, Chunk, list_chunks, sum_up, take_part
from nephrospot.engine import Engine, WindowMemory
from nephrospot.errors import InputError
from nephrospot.models import Method
from nephrospot.readings import Reading
from nephrospot.sampling import RawWindows
from nephrospot.scheme import Scheme, chunk_cells, make_scheme
from nephrospot.slide import Slide
from nephrospot.tiles import Grid
from nephrospot.unfinished import Unfinished, resumable

LEVEL = 1  # of Zstandard; higher ones take longer and save nothing


def predict_slide(
    slide: Slide,
    grids: dict[float, Grid],
    tiles: pd.DataFrame,
    tissue: np.ndarray,
    groups: dict[float, list[Reading]],
    method: Method,
    output: str | Path,
    precision: str = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    schemes: dict[float, Scheme] | None = None,
    part: tuple[int, int] = (1, 1),
    key: str = "",
) -> dict:
    """Predict every tissue on every tile of a slide.

    Parameters
    ----------
    grids, groups
        A grid and the readings for each magnification.
    tiles
        From `nephrospot.tiles.list_tiles`, all magnifications together.
    tissue
        Where there is tissue, bool at 16 µm per pixel: on glass nothing is foreground, whatever the network says.
    output
        Zarr group to write.
    precision, batch_size, threads
        See `nephrospot.engine.Engine`.
    schemes
        How windows lie at each magnification; by default one on each core of the grid.
    part
        (i, n) computes the i-th of n shares of the chunks.
    key
        What else decides the bytes, see `nephrospot.unfinished.resumable`.

    Returns
    -------
    dict with device, precision, core_px, tiles and windows by magnification, foreground_percent_of_tiles by tissue,
    what it cost (seconds of wall time, cpu_seconds, forward_seconds of wall time inside the network, peak_mb), and
    the same of each chunk under pieces.

    Raises
    ------
    InputError
        When the network answers NaN (with the window's place), or the slide can't be decoded.
    """
    engine = Engine(method, precision, batch_size, threads)
    schemes = schemes or {m: make_scheme("nephrospot", grids[m].window_px, grids[m].halo_px) for m in groups}
    chunks = {m: list_chunks(grids[m], schemes[m], tiles[tiles["magnification"] == m]) for m in sorted(groups)}
    mine = take_part([chunk for listed in chunks.values() for chunk in listed], *part)
    state = repr((key, engine.describe, part, *(sorted(table.items()) for table in (groups, grids, schemes))))
    with resumable(output, state) as work:
        store = zarr.open_group(str(work.folder), mode="a")
        for magnification, readings in sorted(groups.items()):
            array = create_bitmask(store, grids[magnification], schemes[magnification], readings)
            waiting = [c for c in mine if c.grid.magnification == magnification and c.name not in work.done]
            _predict_chunks(engine, slide, waiting, readings, _Writer(engine, array, tissue, work))
        pieces = {chunk.name: work.done[chunk.name] for chunk in mine}
    counts = {f"{m:g}x": int((tiles["magnification"] == m).sum()) for m in groups}
    core_px = next(iter(grids.values())).core_px
    # Linux tells the largest memory in kilobytes.
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    facts = engine.describe | {"tiles": counts, "core_px": core_px, "peak_mb": peak_mb, "pieces": pieces}
    return facts | sum_up(pieces, counts, core_px)


def create_bitmask(store: zarr.Group, grid: Grid, scheme: Scheme, readings: list[Reading]) -> zarr.Array:
    """The array of one magnification, a bit a tissue and a file a chunk; as it is where it is there already."""
    name, side = f"{grid.magnification:g}x", chunk_cells(scheme, grid) * grid.core_px
    if name in store:  # left by a process that was stopped
        return store[name]
    return store.create_array(
        name,
        shape=(grid.height_px, grid.width_px),
        dtype="uint8",
        chunks=(side, side),
        fill_value=0,
        compressors=zarr.codecs.ZstdCodec(level=LEVEL),
        attributes={"mpp": grid.mpp, "tissues": [reading.tissue for reading in readings]},
    )


def _predict_chunks(
    engine: Engine, slide: Slide, chunks: list[Chunk], readings: list[Reading], writer: _Writer
) -> None:
    """Compute and write chunk by chunk, files in a thread of its own while the network goes on.

    On a CPU, where windows don't overlap, the method itself writes bits into the chunk, while its answers are in the
    processor's caches; else answers become masks in that other thread.
    """
    if not chunks:
        return
    scheme = chunks[0].scheme
    packed = engine.packs and scheme.covers_once
    bar = tqdm(
        total=sum(len(chunk.windows) for chunk in chunks), desc=f"{slide.path.name} {readings[0].magnification:g}×",
        unit="window", file=sys.stderr, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with ThreadPoolExecutor(1) as behind:
        hand_over = HandOver(behind, max(engine.together, engine.batch_size))
        under_way = _UnderWay(engine, len(readings), writer, hand_over)
        for batch, windows in _read_batches(slide, chunks, engine, packed):
            if packed:
                chunk = batch[0][0]
                answer = under_way.open(chunk)
                places = [answer.place(x - chunk.left_px, y - chunk.top_px) for _, x, y in batch]
                finite = engine.foreground(windows, readings, scheme.halo_px, places)
                answer.broken += [(x, y) for (_, x, y), is_finite in zip(batch, finite, strict=True) if not is_finite]
            else:
                margins = engine.answer(windows, readings, scheme.halo_px)
                for (chunk, x, y), own in zip(batch, margins, strict=True):
                    hand_over(under_way.open(chunk).put, (x, y), x - chunk.left_px, y - chunk.top_px, own)
            bar.update(len(batch))
        under_way.close()
        hand_over.finish()
    bar.close()


Batch = tuple[Sequence[tuple[Chunk, int, int]], list[Tensor] | list[RawWindows]]


def _read_batches(slide: Slide, chunks: list[Chunk], engine: Engine, packed: bool) -> Iterator[Batch]:
    """Batches of windows in order, read ahead by other threads: of one chunk each where they are ``packed``, else
    going on across chunks' borders.

    A batch is good until the next one is asked for: its memory is used again then. New memory would have to be mapped
    by the system page by page, which takes as long as making the numbers that are put into it.
    """
    done: deque[WindowMemory] = deque()

    def read(item: tuple[Chunk, int, int]) -> WindowMemory | RawWindows:
        chunk, x, y = item
        grid, scheme = chunk.grid, chunk.scheme
        corner = (x - scheme.halo_px) * grid.scale, (y - scheme.halo_px) * grid.scale
        if engine.resamples:
            return slide.read_raw(*corner, grid.scale, scheme.window_px)
        parts = slide.read_parts(*corner, grid.scale, scheme.window_px)
        window = done.pop() if done else engine.allocate(scheme.window_px)
        window.fill(parts)
        return window

    items = [(chunk, x, y) for chunk in chunks for x, y in chunk.windows]
    windows = read_ahead(read, items, engine.readers, engine.together, max(engine.together, 2 * engine.batch_size))
    count = max(engine.together, engine.batch_size) if packed else engine.batch_size
    for _, some in groupby(windows, key=lambda item: packed and id(item[0][0])):
        while batch := list(islice(some, count)):
            places, filled = zip(*batch, strict=True)
            if engine.resamples:
                yield places, list(filled)
            else:
                yield places, [window.images for window in filled]
                done.extend(filled)


class _UnderWay:
    """The chunk whose windows are being answered; when the next one is opened, it goes to be written.

    Two answers take turns: one has been written when the chunk after the next is opened.
    """

    def __init__(self, engine: Engine, n: int, writer: _Writer, hand_over: HandOver) -> None:
        self.engine, self.n, self.writer, self.hand_over = engine, n, writer, hand_over
        self.chunk: Chunk | None = None
        self.answers: deque[ChunkAnswer] = deque()

    def open(self, chunk: Chunk) -> ChunkAnswer:
        """The answer that a chunk's windows belong to."""
        if chunk is not self.chunk:
            self.close()
            self.chunk = chunk
            if len(self.answers) < 2:
                self.answers.append(ChunkAnswer(chunk.side_px, self.n, chunk.scheme, self.engine.device))
            else:
                self.answers.rotate(1)
                self.answers[-1].clear()
        return self.answers[-1]

    def close(self) -> None:
        """Have the chunk written that is under way, if there is one."""
        if self.chunk is not None:
            self.hand_over(self.writer.write, self.chunk, self.answers[-1], self.writer.spend())
            self.hand_over.submit()
            self.chunk = None


class _Writer:
    """Writes a chunk once and whole, and notes what it holds and what it cost."""

    def __init__(self, engine: Engine, array: zarr.Array, tissue: np.ndarray, work: Unfinished) -> None:
        self.engine, self.array, self.tissue, self.work = engine, array, tissue, work
        self.tissues = array.attrs["tissues"]
        self.codec = Zstd(LEVEL)
        self.last = self._clock()

    def spend(self) -> dict[str, float]:
        """What it cost since this was last asked; by the thread that the network runs in."""
        now = self._clock()
        spent, self.last = now - self.last, now
        return dict(zip(COSTS, spent.round(4).tolist(), strict=True))

    def write(self, chunk: Chunk, answer: ChunkAnswer, costs: dict[str, float]) -> None:
        bits, broken = answer.finish()
        if broken:
            x, y = (position * chunk.grid.scale for position in broken[0])
            raise InputError(
                f"the network answered NaN on the tile at x {x:.0f}, y {y:.0f} ({chunk.grid.magnification:g}×); "
                "the weights are broken or bfloat16 overflowed: check the weights, or set segmentation → precision "
                "to fp32."
            )
        clear_glass(bits, chunk, self.tissue)
        foreground = dict(zip(self.tissues, count_foreground(bits, len(self.tissues)), strict=True))
        file = self.work.folder / self.array.basename / f"c/{chunk.row}/{chunk.column}"
        if any(foreground.values()):
            # As Zarr does it, but for three threads that wake one another up, which takes longer than the coding.
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.codec.encode(bits))
        facts = {"windows": len(chunk.windows), "foreground_px": foreground} | costs
        self.work.add(chunk.name, facts, file)

    def _clock(self) -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time(), self.engine.forward_seconds])
