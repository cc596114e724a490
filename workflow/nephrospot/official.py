"""A slide read in the way of the official Omni-Seg pipeline, so that its masks and its cost can be set beside ours.

Written from a description of what that pipeline does (https://github.com/ddrrnn123/Omni-Seg, commit fcf72cc, folder
Omni_seg_pipeline_gpu); none of its code is used. Where the description leaves a choice, the docstrings say what was
chosen. Three things differ on purpose: the shifts of the windows are drawn from a seed, the slide is brought to 40×
whatever its own µm per pixel instead of being taken for 40×, and the tissue is our mask.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import zarr
from tqdm import tqdm

from nephrospot.engine import Engine
from nephrospot.errors import InputError
from nephrospot.files import whole
from nephrospot.models import Method, tissue_id
from nephrospot.mpp import magnification_to_mpp
from nephrospot.official_votes import (
    MAGNIFICATION,
    OFFICIAL,
    OfficialScheme,
    add_votes,
    draw_windows,
    enlarge_mask,
    merge_counts,
    passes_per_region,
)
from nephrospot.readings import Reading
from nephrospot.slide import Slide
from nephrospot.tiles import Grid
from nephrospot.tissue import TISSUE_MPP


def list_regions(
    width_px: int, height_px: int, tissue: np.ndarray, scheme: OfficialScheme = OFFICIAL
) -> list[tuple[int, int]]:
    """(row, column) of the regions with tissue in them, row by row.

    Parameters
    ----------
    width_px, height_px : of the slide at 40×
    tissue : bool at 16 µm per pixel

    Notes
    -----
    Region (row, column) begins at ((column − 1), (row − 1)) · stride of the slide. There are
    floor(padded side / stride) − 1 along a side, so that after trimming up to 255 px at the right and
    bottom border can be in no region at all.
    """
    pad, stride = scheme.region_px // 2, scheme.stride_px
    rows, columns = ((size + 2 * pad) // stride - 1 for size in (height_px, width_px))
    found = []
    for row in range(rows):
        for column in range(columns):
            inside = (
                slice(max((at - 1) * stride, 0), min((at - 1) * stride + scheme.region_px, size))
                for at, size in ((row, height_px), (column, width_px))
            )
            i, j = _tissue_indices(tissue, *inside)
            if tissue[i[0] : i[-1] + 1, j[0] : j[-1] + 1].any():
                found.append((row, column))
    return found


def predict_official(
    slide: Slide,
    slide_mpp: float,
    tissue: np.ndarray,
    readings: list[Reading],
    method: Method,
    output: str | Path,
    seed: int = 0,
    threads: int | None = None,
    precision: str = "fp32",
    scheme: OfficialScheme = OFFICIAL,
) -> dict:
    """Read a slide as the official pipeline does: regions at 40×, and in each the votes of many shifted windows.

    Parameters
    ----------
    slide_mpp : µm per pixel at level 0
    tissue : bool at 16 µm per pixel; regions without any are left out, and nothing outside it is foreground
    readings : tissue, magnification (at most 40×) and scale code; officially human ones. 20× goes like 10× and 5×.
    output : Zarr group to write, in the form of `nephrospot.infer.predict_slide`: one bitmask named "40x"
    seed : of the shifts; every region and tissue draws its own, whatever else is read

    Returns
    -------
    dict with device, precision, seed, tiles (regions), windows (that the network sees, by magnification),
    foreground_percent_of_tiles (of the cells that some region covers), seconds (wall), cpu_seconds and peak_mb.

    Raises
    ------
    InputError
        When the network's answer isn't finite (with the window's place), or the slide can't be decoded.

    Notes
    -----
    Every tissue runs its own passes over its own windows, as officially, although one could serve all tissues of
    a magnification. Memory: the pixels of a region (200 MB) with a few copies, the network's activations for four
    windows, and the lower halves of one row of regions (4 KB for each pixel of the slide's width at 40×).
    """
    engine = Engine(method, precision, threads=threads)
    readings = sorted(readings, key=lambda reading: tissue_id(reading.tissue))
    tissues = [reading.tissue for reading in readings]
    # Its cores are the cells between which regions begin and end.
    grid = Grid(MAGNIFICATION, slide_mpp, slide.width_px, slide.height_px, scheme.stride_px, 0)
    regions = list_regions(grid.width_px, grid.height_px, tissue, scheme)
    started, cpu_started = time.perf_counter(), time.process_time()
    foreground, covered_px = np.zeros(len(readings), np.int64), 0
    with whole(output) as temporary:
        array = _create_bitmask(zarr.open_group(str(temporary), mode="w"), grid, tissues)
        bar = tqdm(
            total=len(regions), desc=f"{slide.path.name} official", unit="region",
            file=sys.stderr, disable=not sys.stderr.isatty(),
        )  # fmt: skip

        def predict(place: tuple[int, int]) -> np.ndarray:
            bits = _predict_region(engine, slide, grid, place, readings, seed, scheme)
            bar.update()
            return bits

        for rows, columns, counts in _sum_regions(regions, predict, grid, len(readings), scheme):
            counts = counts * tissue[np.ix_(*_tissue_indices(tissue, rows, columns))]
            bits = merge_counts(counts, tissues, scheme.tuft_votes)
            array[rows, columns] = bits  # a cell is a chunk, so every chunk is written once and whole
            foreground += [np.count_nonzero(bits & (1 << bit)) for bit in range(len(readings))]
            covered_px += bits.size
        bar.close()
    return engine.describe | {
        "seed": seed,
        "tiles": {f"{MAGNIFICATION:g}x": len(regions)},
        "windows": {
            f"{m:g}x": len(regions) * passes_per_region([r for r in readings if r.magnification == m], scheme)
            for m in sorted({reading.magnification for reading in readings})
        },
        "foreground_percent_of_tiles": {
            t: 100 * float(n) / max(1, covered_px) for t, n in zip(tissues, foreground, strict=True)
        },
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu_started, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),  # Linux tells kilobytes
    }


def _create_bitmask(store: zarr.Group, grid: Grid, tissues: list[str]) -> zarr.Array:
    return store.create_array(
        f"{grid.magnification:g}x",
        shape=(grid.height_px, grid.width_px),
        dtype="uint8",
        chunks=(grid.core_px, grid.core_px),
        fill_value=0,
        compressors=zarr.codecs.ZstdCodec(level=3),
        attributes={"mpp": grid.mpp, "tissues": tissues},
    )


def _tissue_indices(tissue: np.ndarray, rows: slice, columns: slice) -> list[np.ndarray]:
    """Rows and columns of the tissue mask at the pixels of a window at 40×."""
    ratio = magnification_to_mpp(MAGNIFICATION) / TISSUE_MPP
    return [
        np.minimum(((np.arange(axis.start, axis.stop) + 0.5) * ratio).astype(int), size - 1)
        for axis, size in zip((rows, columns), tissue.shape, strict=True)
    ]


def _read_region(slide: Slide, grid: Grid, place: tuple[int, int], scheme: OfficialScheme) -> np.ndarray:
    """float32 (region, region, 3) in 0..1; beyond the slide the mean of its four top left pixels, by channel."""
    top, left = ((at - 1) * scheme.stride_px for at in place)
    y, x = max(top, 0), max(left, 0)
    height, width = min(top + scheme.region_px, grid.height_px) - y, min(left + scheme.region_px, grid.width_px) - x
    region = np.empty((scheme.region_px, scheme.region_px, 3), np.float32)
    region[:] = slide.read_window(0, 0, grid.scale, 2, 2).mean(axis=(0, 1)) / 255
    pixels = slide.read_window(x * grid.scale, y * grid.scale, grid.scale, width, height)
    np.divide(pixels, 255, out=region[y - top : y - top + height, x - left : x - left + width], dtype=np.float32)
    return region


@torch.inference_mode()
def _predict_region(
    engine: Engine,
    slide: Slide,
    grid: Grid,
    place: tuple[int, int],
    readings: list[Reading],
    seed: int,
    scheme: OfficialScheme,
) -> np.ndarray:
    """uint8 (region, region): a bit for each reading, nothing on the rim that is trimmed."""
    whole_region = torch.from_numpy(_read_region(slide, grid, place, scheme)).to(engine.device).permute(2, 0, 1)
    bits = torch.zeros((scheme.region_px, scheme.region_px), dtype=torch.uint8, device=engine.device)
    for bit, reading in enumerate(readings):
        voting, side = scheme.voting(reading.magnification), scheme.image_px(reading.magnification)
        image = whole_region
        if side != scheme.region_px:
            image = F.interpolate(
                image[None], size=(side, side), mode="bilinear", align_corners=False, antialias=False
            )[0]
        windows = draw_windows(
            reading.magnification, np.random.default_rng((seed, *place, tissue_id(reading.tissue))), scheme
        )
        votes, broken = add_votes(engine, image, reading, windows, scheme)
        if broken:
            inside = (windows[broken[0]] - voting.padding_px) * (scheme.region_px / side)
            y_px, x_px = (((at - 1) * scheme.stride_px + i) * grid.scale for at, i in zip(place, inside, strict=True))
            raise InputError(
                f"the network answered NaN on the window at x {x_px:.0f}, y {y_px:.0f} ({reading.tissue}, "
                f"{reading.magnification:g}×); the weights are broken or bfloat16 overflowed: check the weights, or "
                "set segmentation → precision to fp32."
            )
        found = votes >= voting.votes
        if reading.magnification == scheme.guard_magnification and found.sum() > scheme.guard_share * found.numel():
            continue
        core = slice(voting.padding_px, voting.padding_px + side)
        bits |= enlarge_mask(found[core, core], scheme.region_px).to(torch.uint8) << bit
    trimmed = np.zeros(bits.shape, np.uint8)
    kept = slice(scheme.trim_px, scheme.region_px - scheme.trim_px)
    trimmed[kept, kept] = bits[kept, kept].cpu().numpy()
    return trimmed


def _sum_regions(
    regions: list[tuple[int, int]],
    predict: Callable[[tuple[int, int]], np.ndarray],
    grid: Grid,
    n: int,
    scheme: OfficialScheme,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Cell by cell (rows, columns, uint8 (n, rows, columns)): how many of the up to four regions found each tissue.

    Regions lie half a side apart, so a cell gets one quarter of each of its four, and only the lower halves of the
    row above have to wait.
    """
    stride = scheme.stride_px
    wanted = set(regions)
    above: dict[int, np.ndarray] = {}
    for row in range(-(-grid.height_px // stride) + 1):
        below: dict[int, np.ndarray] = {}
        left = None  # the upper half of the region before
        for column in range(-(-grid.width_px // stride) + 1):
            bits = predict((row, column)) if (row, column) in wanted else None
            quarters = [half[:, stride:] for half in (above.pop(column - 1, None), left) if half is not None]
            quarters += [half[:, :stride] for half in (above.get(column), bits) if half is not None]
            if row and column and quarters:
                rows = slice((row - 1) * stride, min(row * stride, grid.height_px))
                columns = slice((column - 1) * stride, min(column * stride, grid.width_px))
                inside = [q[: rows.stop - rows.start, : columns.stop - columns.start] for q in quarters]
                yield rows, columns, np.stack([sum((q >> bit) & 1 for q in inside) for bit in range(n)])
            left = None
            if bits is not None:
                left, below[column] = bits[:stride].copy(), bits[stride:].copy()
        above = below
