"""Processor time outside the network on a slide of 100 MP at 10× (target: 1.5 s), several runs of `engine.py`.

    python tests/benchmarks/outside.py --runs 5 --table results/outside.tsv

Three witnesses of how fast the machine was stand beside it, since shared machines change by the minute: the forward's
seconds, which go by how fast memory is; how many megapixels of JPEG a processor second decodes between the runs
(tiles of tissue in memory, by imagecodecs), which goes by the processor alone; and what a megabyte of memory costs that
the process hasn't had before, in milliseconds, which goes by whether the host has to find it first.
"""

from __future__ import annotations

import argparse
import json
import mmap
import statistics
import sys
import time
from pathlib import Path

import tifffile
from bench import PROJECT, run
from decode import decode_once

TARGET_S = 1.5
NEW_MB = 128
COLUMNS = {
    "outside_s": ".2f", "forward_s": ".1f", "jpeg_mp_per_s": ".0f", "new_ms_per_mb": ".2f",
    "share_of_wall": ".3f", "peak_mb": ".0f",
}  # fmt: skip


def list_jpegs(path: Path) -> tuple[list[bytes], float]:
    """Level 1's tiles of tissue as they lie in the file (glass has few bytes), and how many megapixels they hold."""
    data = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        spans = zip(page.dataoffsets, page.databytecounts, strict=True)
        tiles = [data[at : at + size] for at, size in spans if size > max(page.databytecounts) / 2]
        return tiles, len(tiles) * page.tilewidth * page.tilelength / 1e6


def touch_new() -> float:
    """Processor milliseconds a megabyte that is written to for the first time, in huge pages as `JOB_ENVIRONMENT` has
    them."""
    with mmap.mmap(-1, NEW_MB << 20) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        started = time.thread_time()
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1
        return 1000 * (time.thread_time() - started) / NEW_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, default=PROJECT / "results/bench")
    parser.add_argument("--table", type=Path, default=Path("results/outside.tsv"))
    arguments = parser.parse_args()
    slide, weights, output = (
        arguments.work / "slide-10000.tiff",
        arguments.work / "outside.pt",
        arguments.work / "outside",
    )
    output.mkdir(parents=True, exist_ok=True)
    if not slide.exists():
        run(sys.executable, "slide.py", slide, "--side", 10_000, settings=True)
    run(sys.executable, "engine.py", "--fit", slide, weights, output, settings=True)
    tiles, megapixels = list_jpegs(slide)
    lines, rows = ["\t".join(COLUMNS)], []
    print(lines[0], flush=True)
    decode_once(tiles)
    before = decode_once(tiles)
    for _ in range(arguments.runs):
        new = touch_new()
        run(sys.executable, "engine.py", slide, weights, output, settings=True)
        after = decode_once(tiles)
        facts = json.loads((output / "facts.json").read_text())
        row = {
            "outside_s": facts["other_cpu_seconds"],
            "forward_s": facts["forward_cpu_seconds"],
            "jpeg_mp_per_s": megapixels / ((before + after) / 2),
            "new_ms_per_mb": new,
            "share_of_wall": facts["forward_wall_seconds"] / facts["wall_seconds"],
            "peak_mb": facts["peak_mb"],
        }
        before = after
        rows.append(row)
        lines.append("\t".join(format(row[name], shape) for name, shape in COLUMNS.items()))
        print(lines[-1], flush=True)
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text("\n".join(lines) + "\n")
    seconds = statistics.median(row["outside_s"] for row in rows)
    print(f"median {seconds:.2f} s outside the forward, target {TARGET_S} s; all runs in {arguments.table}")


if __name__ == "__main__":
    main()
