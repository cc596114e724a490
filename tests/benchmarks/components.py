"""Blockwise components against scipy.ndimage.label on the same mask: CPU seconds and peak memory in one run.

    python tests/benchmarks/components.py --side 20000 --objects 50000

Each way runs in a process of its own, so that its peak memory is its own; the mask stands in a sharded Zarr on disk
for the blockwise way, and in memory for scipy, whose CPU time doesn't count reading.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import zarr

from nephrospot.components import find_components
from nephrospot.omezarr import blocks, create_plane


def make_mask(path: Path, side: int, objects: int) -> None:
    """About ``objects`` ellipses on a jittered grid, some of which touch."""
    rng = np.random.default_rng(1)
    across = round(objects**0.5)
    step = side / across
    mask = np.zeros((side, side), np.uint8)
    for centre in (np.stack(np.meshgrid(np.arange(across), np.arange(across)), -1).reshape(-1, 2) + 0.5) * step:
        x, y = (centre + rng.uniform(-0.15, 0.15, 2) * step).astype(int)
        axes = tuple(int(a) for a in rng.uniform(0.12, 0.4, 2) * step)
        cv2.ellipse(mask, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    plane = create_plane(zarr.open_group(str(path), mode="w"), "0", mask.shape)
    for rows, columns in blocks(mask.shape):
        plane[rows, columns] = mask[rows, columns]


def run_scipy(path: Path) -> tuple[int, float]:
    """Label the whole mask in memory, without measuring anything."""
    from scipy import ndimage

    mask = zarr.open_group(str(path), mode="r")["0"][:]
    start = time.process_time()
    n = ndimage.label(mask, np.ones((3, 3)))[1]
    return n, time.process_time() - start


def run_blocks(path: Path) -> tuple[int, float]:
    """Find and measure the components, reading from disk."""
    array = zarr.open_group(str(path), mode="r")["0"]
    start = time.process_time()
    found = find_components((array.shape, 1.0, lambda rows, columns: array[rows, columns]))
    return len(found), time.process_time() - start


def _measure(way, path, queue) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n, seconds = way(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((n, seconds, (peak - before) / 2**20))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000, help="side of the mask (px)")
    parser.add_argument("--objects", type=int, default=50_000)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.zarr"
        maker = context.Process(target=make_mask, args=(path, arguments.side, arguments.objects))
        maker.start()
        maker.join()
        for name, way in (("blocks", run_blocks), ("scipy", run_scipy)):
            queue = context.Queue()
            process = context.Process(target=_measure, args=(way, path, queue))
            process.start()
            results[name] = queue.get()
            process.join()
    print(f"{arguments.side**2 / 1e6:.0f} MP\nway\tcomponents\tCPU s\tmemory GB")
    for name, (n, seconds, peak) in results.items():
        print(f"{name}\t{n}\t{seconds:.2f}\t{peak:.2f}")
    ratio = [results["scipy"][i] / results["blocks"][i] for i in (1, 2)]
    print(f"scipy.ndimage.label (labels alone) takes {ratio[0]:.1f}× the CPU and {ratio[1]:.1f}× the memory")


if __name__ == "__main__":
    main()
