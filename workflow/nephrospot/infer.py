"""Tiles → masks: one backbone pass for each tile and magnification, and only labels are kept.

What comes out is a Zarr group with one array a magnification, in pixels of that magnification: bit b of a
pixel is set where the b-th tissue read at it is foreground. Memory holds a few tiles and one shard.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zarr
from tqdm import tqdm

from nephrospot.errors import InputError
from nephrospot.files import sha256, whole, write_json
from nephrospot.models import Method, scale_id, tissue_id
from nephrospot.models.weights import load_weights
from nephrospot.readings import Reading, split_readable
from nephrospot.slide import Slide, open_slide
from nephrospot.tiles import Grid, make_grid
from nephrospot.tissue import TISSUE_MPP, read_tissue

log = logging.getLogger(__name__)

SHARD_TILES = 8  # a shard is 8 × 8 cores: few files, and one buffer of some 10 MB


def run_method(
    image: str | Path,
    manifest: dict,
    tiles_path: str | Path,
    tissue_path: str | Path,
    network: str,
    weights: str | Path,
    readings: list[tuple[str, float, int]],
    segmentation: dict,
    output: str | Path,
    summary: str | Path,
    threads: int | None = None,
) -> None:
    """Segment one slide with one method of the configuration, and say in ``summary`` how it was done.

    Parameters
    ----------
    manifest : slide.json of the slide
    tiles_path, tissue_path : its tiles.parquet and tissue.png
    network, weights : of the method
    readings : tissue, magnification and scale code, one tuple a tissue
    segmentation : ``window_px``, ``halo_px``, ``precision`` and ``max_upsampling`` of the configuration
    """
    started = time.monotonic()
    method, card = load_weights(network, weights)
    groups, refused = split_readable(
        [Reading(*reading) for reading in readings], manifest["mpp"], segmentation["max_upsampling"]
    )
    for tissue, reason in refused.items():
        log.warning("%s: %s is left out: %s.", manifest["slide"], tissue, reason)
    grids = {magnification: make_grid(manifest, magnification, segmentation) for magnification in groups}
    tiles, tissue = pd.read_parquet(tiles_path), read_tissue(tissue_path)
    precision = segmentation["precision"]
    with open_slide(image) as slide:
        facts = predict_slide(slide, grids, tiles, tissue, groups, method, output, precision, threads=threads)
    facts |= {
        "refused": refused,
        "readings": {r.tissue: f"{r.magnification:g}x, code {r.scale_code}x" for rs in groups.values() for r in rs},
        "window_px": segmentation["window_px"],
        "halo_px": segmentation["halo_px"],
        "weights": str(weights),
        "weights_sha256": sha256(weights),
        "card": card,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(summary, facts)


def choose_device() -> torch.device:
    """CUDA where there is some, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 where the hardware multiplies it in tiles (CUDA, AMX) and float32 elsewhere."""
    if precision == "auto":
        fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
        precision = "bf16" if fast else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


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
    precision
        "auto", "bf16" or "fp32".
    batch_size
        Tiles a pass; by default 1 on a CPU, where it is fastest, and 16 on a GPU.
    threads
        Threads that torch may use; by default as many as the process may run on.

    Returns
    -------
    dict with device, precision, tiles and foreground_percent by tissue.

    Raises
    ------
    InputError
        When the network answers NaN (with the tile's place), or the slide can't be decoded.
    """
    device = choose_device()
    dtype = choose_precision(precision, device)
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    method = method.to(device, dtype, memory_format=torch.channels_last).eval()
    batch_size = batch_size or (1 if device.type == "cpu" else 16)
    foreground: dict[str, float] = {}
    with whole(output) as temporary:
        store = zarr.open_group(str(temporary), mode="w")
        for magnification, readings in sorted(groups.items()):
            grid = grids[magnification]
            chosen = _order_by_shard(tiles[tiles["magnification"] == magnification])
            array = _create_bitmask(store, grid, readings)
            counts = np.zeros(len(readings), np.int64)
            writer = _ShardWriter(array, grid, tissue)
            bar = tqdm(
                total=len(chosen), desc=f"{slide.path.name} {magnification:g}×", unit="tile",
                file=sys.stderr, disable=not sys.stderr.isatty(),
            )  # fmt: skip
            for places, windows in _read_batches(slide, grid, chosen, batch_size):
                for place, bits in zip(
                    places, _predict_bits(method, windows, readings, grid, device, dtype, places), strict=True
                ):
                    counts += writer.put(place, bits, len(readings))
                bar.update(len(places))
            writer.flush()
            bar.close()
            area = max(1, len(chosen)) * grid.core_px**2
            foreground |= {r.tissue: 100 * float(c) / area for r, c in zip(readings, counts, strict=True)}
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": str(dtype).removeprefix("torch."),
        "tiles": {f"{m:g}x": int((tiles["magnification"] == m).sum()) for m in groups},
        "foreground_percent_of_tiles": foreground,
    }


def _create_bitmask(store: zarr.Group, grid: Grid, readings: list[Reading]) -> zarr.Array:
    array = store.create_array(
        f"{grid.magnification:g}x",
        shape=(grid.height_px, grid.width_px),
        dtype="uint8",
        chunks=(grid.core_px, grid.core_px),
        shards=(grid.core_px * SHARD_TILES, grid.core_px * SHARD_TILES),
        fill_value=0,
        compressors=zarr.codecs.ZstdCodec(level=3),
    )
    array.attrs.update({"mpp": grid.mpp, "tissues": [reading.tissue for reading in readings]})
    return array


def _order_by_shard(tiles: pd.DataFrame) -> list[tuple[int, int]]:
    """(column, row) of each tile, shard by shard, so that one shard's buffer is enough."""
    places = list(zip(tiles["column"].astype(int), tiles["row"].astype(int), strict=True))
    return sorted(places, key=lambda place: (place[1] // SHARD_TILES, place[0] // SHARD_TILES, place[1], place[0]))


def _read_batches(
    slide: Slide, grid: Grid, places: list[tuple[int, int]], batch_size: int
) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
    """Windows in order, decoded ahead by one thread (OpenSlide lets go of the interpreter)."""

    def read(place: tuple[int, int]) -> np.ndarray:
        return slide.read_window(*grid.window_corner(*place), grid.scale, grid.window_px, grid.window_px)

    with ThreadPoolExecutor(1) as reader:
        waiting = iter(places)
        ahead = [(place, reader.submit(read, place)) for place in islice(waiting, 2 * batch_size)]
        while ahead:
            batch, ahead = ahead[:batch_size], ahead[batch_size:]
            windows = np.stack([future.result() for _, future in batch])
            ahead += [(place, reader.submit(read, place)) for place in islice(waiting, len(batch))]
            yield [place for place, _ in batch], windows


@torch.inference_mode()
def _predict_bits(
    method: Method,
    windows: np.ndarray,
    readings: list[Reading],
    grid: Grid,
    device: torch.device,
    dtype: torch.dtype,
    places: list[tuple[int, int]],
) -> np.ndarray:
    """uint8 (N, core, core): one bit a reading, from uint8 windows (N, H, W, 3)."""
    images = torch.from_numpy(windows).to(device).permute(0, 3, 1, 2).to(dtype).div_(255)
    images = images.contiguous(memory_format=torch.channels_last)
    ids = [(tissue_id(reading.tissue), scale_id(reading.scale_code)) for reading in readings]
    margins = method.margins(images, ids)
    core = slice(grid.halo_px, grid.window_px - grid.halo_px)
    margins = margins[:, :, core, core]
    finite = torch.isfinite(margins).flatten(1).all(dim=1)
    if not bool(finite.all()):
        column, row = places[int((~finite).nonzero()[0])]
        x_px, y_px = grid.core_corner(column, row)
        raise InputError(
            f"the network answered NaN on the tile at x {x_px:.0f}, y {y_px:.0f} ({grid.magnification:g}×); "
            "the weights are broken or bfloat16 overflowed: check the weights, or set segmentation → precision to fp32."
        )
    weights = torch.tensor([1 << bit for bit in range(len(readings))], device=device, dtype=torch.uint8)
    return ((margins > 0).to(torch.uint8) * weights.view(1, -1, 1, 1)).sum(dim=1, dtype=torch.uint8).cpu().numpy()


class _ShardWriter:
    """Collects cores and writes each shard once and whole: partial writes to a shard can lose data."""

    def __init__(self, array: zarr.Array, grid: Grid, tissue: np.ndarray) -> None:
        self.array, self.core_px, self.tissue = array, grid.core_px, tissue
        self.tissue_px = grid.mpp / TISSUE_MPP  # pixels of the tissue mask per pixel of the grid
        self.side = grid.core_px * SHARD_TILES
        self.shard: tuple[int, int] | None = None
        self.buffer = np.zeros((self.side, self.side), np.uint8)

    def put(self, place: tuple[int, int], bits: np.ndarray, n_bits: int) -> np.ndarray:
        """Keep one core; returns the foreground pixels of each bit inside the slide."""
        column, row = place
        bits = bits * self._on_tissue(column, row)
        shard = (column // SHARD_TILES, row // SHARD_TILES)
        if shard != self.shard:
            self.flush()
            self.shard = shard
        top, left = (row % SHARD_TILES) * self.core_px, (column % SHARD_TILES) * self.core_px
        self.buffer[top : top + self.core_px, left : left + self.core_px] = bits
        inside = bits[: self.array.shape[0] - row * self.core_px, : self.array.shape[1] - column * self.core_px]
        return np.array([np.count_nonzero(inside & (1 << bit)) for bit in range(n_bits)])

    def _on_tissue(self, column: int, row: int) -> np.ndarray:
        indices = [
            np.minimum(((at * self.core_px + np.arange(self.core_px) + 0.5) * self.tissue_px).astype(int), size - 1)
            for at, size in zip((row, column), self.tissue.shape, strict=True)
        ]
        return self.tissue[np.ix_(*indices)].astype(np.uint8)

    def flush(self) -> None:
        """Write the shard at hand, if any."""
        if self.shard is None:
            return
        column, row = self.shard
        top, left = row * self.side, column * self.side
        bottom, right = min(top + self.side, self.array.shape[0]), min(left + self.side, self.array.shape[1])
        self.array[top:bottom, left:right] = self.buffer[: bottom - top, : right - left]
        self.buffer[:] = 0
        self.shard = None
