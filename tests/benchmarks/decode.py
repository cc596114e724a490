"""How far decoding is from the JPEG floor: python tests/benchmarks/decode.py [--side 20480].

Windows of 512 px with a halo of 64 px (what the networks read) over level 1 of a synthetic JPEG slide, with
OpenSlide, directly, and beside them every tile of the level decoded once from memory. CPU seconds of this
process, best of ``--repeats``, all in one run: trust the ratios, the absolute figures are this machine's today.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile

from nephrospot.slide import open_slide
from nephrospot.stored_tiles import empty_tile

WINDOW_PX, HALO_PX, SHARD = 512, 64, 8
CORE_PX = WINDOW_PX - 2 * HALO_PX
PATTERN_PX = 2048


def paint_pattern():
    """Blots, grain and 40 % glass; some 1.7 bits a pixel at quality 80, as tissue has at 20×."""
    rng = np.random.default_rng(0)
    blots = cv2.resize(
        rng.integers(0, 256, (700, 700, 3), np.uint8), (PATTERN_PX, PATTERN_PX), interpolation=cv2.INTER_CUBIC
    )
    tissue = 0.45 * blots + 0.55 * np.array([190, 120, 170]) + rng.normal(0, 2, blots.shape)
    tissue = np.clip(tissue, 0, 255).astype(np.uint8)
    tissue[:, 5 * PATTERN_PX // 8 :] = 235
    return tissue


def write_slide(path, side):
    """Four levels of 256 px tiles, JPEG 4:2:0, the pattern repeated."""
    pattern = paint_pattern()
    with tifffile.TiffWriter(path) as tiff:
        for level in range(4):
            repeat, size = pattern.shape[0], side >> level
            tiles = (
                pattern[y % repeat : y % repeat + 256, x % repeat : x % repeat + 256]
                for y in range(0, size, 256)
                for x in range(0, size, 256)
            )
            tiff.write(
                tiles, shape=(size, size, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb", compression="jpeg",
                compressionargs={"level": 80}, subsampling=(2, 2), subfiletype=int(level > 0), metadata=None,
            )  # fmt: skip
            pattern = cv2.resize(pattern, (repeat // 2, repeat // 2), interpolation=cv2.INTER_AREA)


def list_windows(side):
    """Corners of the windows of a level, shard by shard, as the networks read them."""
    cores = range(0, side, CORE_PX)
    places = [(x, y) for y in cores for x in cores]
    shard = CORE_PX * SHARD
    places.sort(key=lambda at: (at[1] // shard, at[0] // shard, at[1], at[0]))
    return [(x - HALO_PX, y - HALO_PX) for x, y in places]


def read_all(path, scale, side, direct):
    """CPU seconds to open the slide and read every window; a slide opened anew has nothing decoded yet."""
    started = time.process_time()
    with open_slide(path, direct=direct) as slide:
        if direct and slide.decoder != "direct":
            raise SystemExit("the probe refused the slide")
        opened = time.process_time()
        for x, y in list_windows(side):
            slide.read_window(x * scale, y * scale, scale, WINDOW_PX, WINDOW_PX)
    return time.process_time() - opened, opened - started


def decode_once(tiles):
    """CPU seconds for every tile of 256 px once, from memory, into memory that libjpeg-turbo is quick with."""
    out = empty_tile(256, 256)
    started = time.process_time()
    for tile in tiles:
        imagecodecs.jpeg8_decode(tile, out=out)
    return time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20480, help="pixels of the slide's side, a multiple of 2048")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    side = options.side // 2
    megapixels = side * side / 1e6
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        write_slide(path, options.side)
        with tifffile.TiffFile(path) as tiff:
            page, data = tiff.pages[1], path.read_bytes()
            tiles = [data[at : at + n] for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        seconds, opening = {}, {}
        for _ in range(options.repeats):  # by turns, so that a busy moment meets all of them
            taken = {"imagecodecs.jpeg8_decode, in memory": (decode_once(tiles), 0.0)}
            for name, scale, direct in (
                ("direct", 2.0, True), ("direct, 0.2 % off the level", 2.004, True),
                ("OpenSlide", 2.0, False), ("OpenSlide, 0.2 % off the level", 2.004, False),
            ):  # fmt: skip
                taken[name] = read_all(path, scale, side, direct)
            for name, (reading, probe) in taken.items():
                seconds[name] = min(reading, seconds.get(name, np.inf))
                opening[name] = min(probe, opening.get(name, np.inf))
    floor = seconds["imagecodecs.jpeg8_decode, in memory"]
    print(f"{megapixels:.0f} MP of level 1, windows {WINDOW_PX} px with halo {HALO_PX} px, CPU seconds")
    print(f"{'reader':38}{'MP/cpu-s':>10}{'s/100 MP':>10}{'of floor':>10}{'open, s':>9}")
    for name, taken in seconds.items():
        rate = megapixels / taken
        print(f"{name:38}{rate:10.0f}{100 / rate:10.2f}{floor / taken:10.0%}{opening[name]:9.3f}")
    print(f"direct / OpenSlide: {seconds['OpenSlide'] / seconds['direct']:.1f}×")


if __name__ == "__main__":
    main()
