"""`make bench`: nephrospot beside TIAToolbox, MONAI and the official Omni-Seg scheme, in one run on this machine.

    python tests/benchmarks/bench.py --peers .venv-bench/bin/python --table bench.tsv

Every row is a process of its own with one torch thread; counted is what it does after its imports. The ratios are of
processor time, which other programs on the machine disturb less than the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from nephrospot.environment import JOB_ENVIRONMENT

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WITHOUT_PTC = ("DT", "PT", "VES", "CAP", "TUFT")
SIX = (*WITHOUT_PTC, "PTC")
INNER_PX = 64  # from the slide's border and from glass, where tools pad and mask in their own ways
COLUMNS = {
    "tool": "", "how": "", "cpu_s": ".1f", "forward_s": ".1f", "other_s": ".2f", "mp_per_cpu_s": ".3f", "wall_s": ".0f",
    "peak_mb": ".0f", "start_mb": ".0f", "disk_mb": ".1f", "same_percent": ".2f", "times_cpu": ".1f",
    "times_other": ".1f", "times_memory": ".1f",
}  # fmt: skip


@dataclass
class Bench:
    """Where things are, and the rows so far."""

    work: Path
    peers: Path
    side_px: int
    repeats: int
    rows: list[dict] = field(default_factory=list)

    @property
    def slide(self) -> Path:
        return self.work / f"slide-{self.side_px}.tiff"

    @property
    def weights(self) -> Path:
        return self.work / "weights.pt"

    def measure(self, name: str, python: str | Path, script: str, *arguments, settings: bool) -> dict:
        """Facts of the run that took the least processor time."""
        output = self.work / name
        output.mkdir(exist_ok=True)
        found = []
        for _ in range(self.repeats):
            print(f"… {name}", file=sys.stderr, flush=True)
            run(python, script, *arguments, output, settings=settings)
            found.append(json.loads((output / "facts.json").read_text()))
        return min(found, key=lambda facts: facts["cpu_seconds"])


def run(python: str | Path, script: str, *arguments, settings: bool) -> None:
    """Run a script beside this one in a clean environment, with our settings or stock ones."""
    clean = {k: v for k, v in os.environ.items() if k not in (*JOB_ENVIRONMENT, "OMP_NUM_THREADS")}
    clean["PYTHONPATH"] = f"{HERE}{os.pathsep}{PROJECT / 'workflow'}"
    clean |= JOB_ENVIRONMENT if settings else {}
    done = subprocess.run(
        [str(python), str(HERE / script), *map(str, arguments)], env=clean, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")


def agreement(ours: Path, theirs: Path, truth: Path) -> float:
    """Percent of inner tissue pixels with the same label in both masks."""
    a, b = (np.load(folder / "mask.npy", mmap_mode="r") for folder in (ours, theirs))
    tissue = (cv2.imread(str(truth), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)
    tissue = cv2.copyMakeBorder(tissue, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = (cv2.distanceTransform(tissue, cv2.DIST_L2, 3)[1:-1, 1:-1]) > INNER_PX
    height, width = (min(sizes) for sizes in zip(a.shape, b.shape, inner.shape, strict=True))
    return 100 * float((a[:height, :width] == b[:height, :width])[inner[:height, :width]].mean())


def compare_tools(bench: Bench) -> None:
    """The same network on the same slide through three tools."""
    megapixels = bench.side_px**2 / 1e6
    ours = bench.measure("ours", sys.executable, "engine.py", bench.slide, bench.weights, settings=True)
    runs = [("nephrospot", "window 512, halo 64, our tissue mask", "ours", ours)]
    tools = [
        ("TIAToolbox 2.1.3", "peers/tiatoolbox_peer.py", "window 512, output 384, its tissue mask"),
        ("MONAI 1.6.1", "peers/monai_peer.py", "window 512, overlap 25 %, no tissue mask"),
    ]
    for tool, script, how in tools:
        for settings in (False, True):
            name = f"{Path(script).stem}{'-settings' if settings else ''}"
            # A batch of 4 is what their examples have; 1 is faster on a CPU, as ours.
            batch = 1 if settings else 4
            facts = bench.measure(
                name, bench.peers, script, "--batch", batch, bench.slide, bench.weights, settings=settings
            )
            runs.append((tool, f"{how}, batch {batch}{', our settings' if settings else ''}", name, facts))
    for tool, how, name, facts in runs:
        same = agreement(bench.work / "ours", bench.work / name, bench.slide.with_suffix(".truth.png"))
        row = {"tool": tool, "how": f"{how}; {facts['windows']} windows", "same_percent": same}
        row |= {"cpu_s": facts["cpu_seconds"], "forward_s": facts["forward_cpu_seconds"]}
        row |= {"other_s": facts["other_cpu_seconds"], "wall_s": facts["wall_seconds"]}
        row |= {key: facts[key] for key in ("peak_mb", "start_mb", "disk_mb")}
        row["mp_per_cpu_s"] = megapixels / row["cpu_s"]
        row["times_cpu"] = row["cpu_s"] / ours["cpu_seconds"]
        row["times_other"] = row["other_s"] / ours["other_cpu_seconds"]
        row["times_memory"] = row["peak_mb"] / ours["peak_mb"]
        bench.rows.append(row)


def compare_scheme(bench: Bench, batches: int) -> None:
    """Omni-Seg by us and by the official scheme on one region of 4096² px at 40×."""
    region, megapixels = bench.work / "region.tiff", 4096**2 / 1e6
    if not region.exists():
        run(sys.executable, "slide.py", region, "--side", 2048, "--mpp", 0.25, settings=True)
    name, script = "official", "peers/official_peer.py"
    theirs = bench.measure(name, sys.executable, script, "--batches", batches, region, settings=False)
    for tissues, said in ((WITHOUT_PTC, "DT PT VES CAP TUFT"), (SIX, "all six tissues")):
        ours = bench.measure(
            f"ours-{len(tissues)}", sys.executable, "engine.py", "--omni-seg", ",".join(tissues), region, bench.weights,
            settings=True,
        )  # fmt: skip
        chosen = [theirs["tissues"][tissue] for tissue in tissues]
        ran, total = (sum(tissue[key] for tissue in chosen) for key in ("passes_run", "passes_of_scheme"))
        forward = sum(tissue["batches_cpu_seconds"] for tissue in chosen)
        other = theirs["region_cpu_seconds"] + sum(tissue["other_cpu_seconds"] for tissue in chosen)
        sampled = "all run" if ran >= total else f"{ran} of {total} passes run, the rest by their mean"
        bench.rows.append(
            {
                "tool": "nephrospot, Omni-Seg", "how": f"{said}; one region; {ours['windows']} windows",
                "cpu_s": ours["cpu_seconds"], "forward_s": ours["forward_cpu_seconds"],
                "other_s": ours["other_cpu_seconds"], "wall_s": ours["wall_seconds"],
                "mp_per_cpu_s": megapixels / ours["cpu_seconds"], "peak_mb": ours["peak_mb"],
                "start_mb": ours["start_mb"], "disk_mb": ours["disk_mb"], "times_cpu": 1.0,
            }
        )  # fmt: skip
        # Regions lie half a side apart, so every pixel of a slide is in four of them.
        for factor, place in ((1, "one region"), (4, "its four overlapping regions")):
            cpu = factor * (forward + other)
            bench.rows.append(
                {
                    "tool": "official scheme", "how": f"{said}; {place}; {sampled}", "cpu_s": cpu,
                    "forward_s": factor * forward, "other_s": factor * other, "mp_per_cpu_s": megapixels / cpu,
                    "disk_mb": factor * theirs["disk_mb"], "times_cpu": cpu / ours["cpu_seconds"],
                }
            )  # fmt: skip


def format_rows(rows: list[dict]) -> list[list[str]]:
    """Header and rows as text; an empty cell where nothing was measured."""
    return [list(COLUMNS)] + [
        [format(row[column], form) if column in row else "" for column, form in COLUMNS.items()] for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=PROJECT / ".venv-bench/bin/python", help="Python of the peers")
    parser.add_argument("--table", type=Path, default=Path("results/bench.tsv"))
    parser.add_argument("--work", type=Path, default=PROJECT / "results/bench", help="folder for slides and masks")
    parser.add_argument("--side", type=int, default=4000, help="of the slide, in pixels at 10×")
    parser.add_argument("--full", action="store_true", help="a slide of 10,000 px a side at 10×")
    parser.add_argument("--repeats", type=int, default=1, help="runs a row, of which the cheapest counts")
    parser.add_argument("--batches", type=int, default=2, help="of each tissue in the official scheme; 0 for all")
    parser.add_argument("--only", choices=["tools", "scheme"], help="half of the table")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.work, arguments.peers, 10_000 if arguments.full else arguments.side, arguments.repeats)
    if arguments.only != "scheme":
        if not bench.peers.exists():
            raise SystemExit(f"{bench.peers}: there is no such Python; make bench makes it, or give --only scheme.")
        run(sys.executable, "slide.py", bench.slide, "--side", bench.side_px, settings=True)
        run(sys.executable, "engine.py", "--fit", bench.slide, bench.weights, bench.work, settings=True)
        compare_tools(bench)
    if arguments.only != "tools":
        compare_scheme(bench, arguments.batches)
    table = format_rows(bench.rows)
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text("\n".join("\t".join(row) for row in table) + "\n")
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
