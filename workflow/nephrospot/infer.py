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
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zarr
from torch import Tensor
from tqdm import tqdm

from nephrospot.beside import HandOver, read_ahead
from nephrospot.chunks import COSTS, Chunk, list_chunks, sum_up, take_part
from nephrospot.engine import ChunkAnswer, Engine, WindowMemory
from nephrospot.errors import InputError
from nephrospot.models import Method
from nephrospot.models.bits import count_bits
from nephrospot.readings import Reading
from nephrospot.sampling import RawWindows, join_raw
from nephrospot.scheme import Scheme, chunk_cells, make_scheme
from nephrospot.slide import Slide
from nephrospot.tiles import Grid
from nephrospot.tissue import TISSUE_MPP
from nephrospot.unfinished import Unfinished, resumable

WRITING = {
    # Whether a chunk is empty is seen here; Zarr's own look at it takes three times what writing it does.
    "array.write_empty_chunks": True,
    # A chunk is written at a time, and every thread would keep the memory that its largest one took.
    "threading.max_workers": 1,
}


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
    with resumable(output, state) as work, zarr.config.set(WRITING):
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
        compressors=zarr.codecs.ZstdCodec(level=1),
        attributes={"mpp": grid.mpp, "tissues": [reading.tissue for reading in readings]},
    )


def _predict_chunks(
    engine: Engine, slide: Slide, chunks: list[Chunk], readings: list[Reading], writer: _Writer
) -> None:
    """Compute and write chunk by chunk; batches go on across their borders.

    Answers become masks and files in a thread of its own, while the network goes on.
    """
    bar = tqdm(
        total=sum(len(chunk.windows) for chunk in chunks), desc=f"{slide.path.name} {readings[0].magnification:g}×",
        unit="window", file=sys.stderr, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with ThreadPoolExecutor(1) as behind:
        hand_over = HandOver(behind, max(engine.together, engine.batch_size))
        current, answer = None, None
        for batch, windows in _read_batches(slide, chunks, engine):
            scheme = batch[0][0].scheme
            packed = engine.packs and scheme.covers_once
            if packed:
                bits, finite = engine.foreground(windows, readings, scheme.halo_px)
                answers = list(zip(bits.numpy(), finite, strict=True))
            else:
                answers = [(margin,) for margin in engine.answer(windows, readings, scheme.halo_px)]
            for (chunk, x, y), parts in zip(batch, answers, strict=True):
                if chunk is not current:
                    if current is not None:
                        hand_over(writer.write, current, answer, writer.spend())
                        hand_over.submit()
                    current, answer = chunk, ChunkAnswer(chunk.side_px, len(readings), chunk.scheme, engine.device)
                place = (x, y), x - chunk.left_px, y - chunk.top_px
                if packed:  # in hand as they are; another thread would have to wake up and fetch them
                    answer.put_bits(*place, *parts)
                else:
                    hand_over(answer.put, *place, *parts)
            bar.update(len(batch))
        if current is not None:
            hand_over(writer.write, current, answer, writer.spend())
        hand_over.finish()
    bar.close()


def _read_batches(
    slide: Slide, chunks: list[Chunk], engine: Engine
) -> Iterator[tuple[Sequence[tuple[Chunk, int, int]], Tensor | RawWindows]]:
    """Batches of windows in order, read ahead by other threads.

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
        window = done.popleft() if done else engine.allocate(scheme.window_px)
        window.fill(parts)
        return window

    items = [(chunk, x, y) for chunk in chunks for x, y in chunk.windows]
    windows = read_ahead(read, items, engine.readers, engine.together, max(engine.together, 2 * engine.batch_size))
    while batch := list(islice(windows, engine.batch_size)):
        places, filled = zip(*batch, strict=True)
        if engine.resamples:
            yield places, join_raw(filled)
        else:
            images = [window.images for window in filled]
            yield places, images[0] if len(images) == 1 else torch.cat(images)
            done.extend(filled)


class _Writer:
    """Writes a chunk once and whole, and notes what it holds and what it cost."""

    def __init__(self, engine: Engine, array: zarr.Array, tissue: np.ndarray, work: Unfinished) -> None:
        self.engine, self.array, self.tissue, self.work = engine, array, tissue, work
        self.tissues = array.attrs["tissues"]
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
        _clear_glass(bits, chunk, self.tissue)
        bottom, right = (
            min(at + chunk.side_px, size)
            for at, size in zip((chunk.top_px, chunk.left_px), self.array.shape, strict=True)
        )
        bits = bits[: bottom - chunk.top_px, : right - chunk.left_px]
        foreground = dict(zip(self.tissues, count_foreground(bits, len(self.tissues)), strict=True))
        if any(foreground.values()):
            self.array[chunk.top_px : bottom, chunk.left_px : right] = bits
        facts = {"windows": len(chunk.windows), "foreground_px": foreground} | costs
        file = self.work.folder / self.array.basename / f"c/{chunk.row}/{chunk.column}"
        self.work.add(chunk.name, facts, file)

    def _clock(self) -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time(), self.engine.forward_seconds])


def count_foreground(bits: np.ndarray, n: int) -> list[int]:
    """Pixels with each of the lowest ``n`` bits set.

    Parameters
    ----------
    bits : uint8 (rows, columns)
    """
    flat = np.ascontiguousarray(bits).reshape(-1)
    if flat.size % 8:
        flat = np.pad(flat, (0, -flat.size % 8))
    counts = np.empty(n, np.int64)
    count_bits(flat.view(np.uint64), counts)
    return counts.tolist()


def _clear_glass(bits: np.ndarray, chunk: Chunk, tissue: np.ndarray) -> None:
    """Set to background, in place, what isn't asked for and what isn't on tissue."""
    core, ratio = chunk.grid.core_px, chunk.grid.mpp / TISSUE_MPP
    rows, columns = (
        np.minimum(((at + np.arange(chunk.side_px) + 0.5) * ratio).astype(int), size - 1)
        for at, size in zip((chunk.top_px, chunk.left_px), tissue.shape, strict=True)
    )
    for row, column in np.ndindex(*chunk.cells.shape):
        cell = np.s_[row * core : (row + 1) * core, column * core : (column + 1) * core]
        if not chunk.cells[row, column]:
            bits[cell] = 0
            continue
        r, c = rows[cell[0]], columns[cell[1]]
        under = tissue[r[0] : r[-1] + 1, c[0] : c[-1] + 1]
        if not under.all():
            bits[cell] *= under[:, c - c[0]][r - r[0]]  # both at once would take several times as long
