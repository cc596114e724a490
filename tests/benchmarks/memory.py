"""Largest memory and disk use of nephrospot on slides of 1, 4 and 16 times the area.

    python tests/benchmarks/memory.py --table memory.tsv

With the benchmark's network; both must not grow with the slide, but for the mask itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import PROJECT, run

COLUMNS = ["side_px_10x", "area", "windows", "cpu_s", "start_mb", "peak_mb", "disk_mb", "disk_bytes_per_px"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2500, help="of the smallest slide, in pixels at 10×")
    parser.add_argument("--work", type=Path, default=PROJECT / "results/bench")
    parser.add_argument("--table", type=Path, default=Path("results/memory.tsv"))
    arguments = parser.parse_args()
    output = arguments.work / "memory"
    output.mkdir(parents=True, exist_ok=True)
    weights = arguments.work / "memory.pt"
    lines = ["\t".join(COLUMNS)]
    for factor in (1, 2, 4):
        side = factor * arguments.side
        slide = arguments.work / f"memory-{side}.tiff"
        run(sys.executable, "slide.py", slide, "--side", side, settings=True)
        if factor == 1:
            run(sys.executable, "engine.py", "--fit", slide, weights, output, settings=True)
        run(sys.executable, "engine.py", slide, weights, output, settings=True)
        facts = json.loads((output / "facts.json").read_text())
        row = [side, f"{factor**2}×", facts["windows"], f"{facts['cpu_seconds']:.1f}", f"{facts['start_mb']:.0f}"]
        row += [f"{facts['peak_mb']:.0f}", f"{facts['disk_mb']:.2f}", f"{facts['disk_mb'] * 1e6 / side**2:.3f}"]
        lines.append("\t".join(map(str, row)))
        slide.unlink()
        print(lines[0] if factor == 1 else "", lines[-1], sep="\n" if factor == 1 else "", flush=True)
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
