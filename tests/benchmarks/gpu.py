"""What limits a GPU: decoding, copying or computing; windows a second of each, then of `predict_slide` as a whole.

    python tests/benchmarks/gpu.py --side 20000

Without CUDA it says so and stops; ``--device cpu --side 1000`` runs the same steps on the CPU, to test them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from engine import HUMAN, run, seeded_omniseg
from slide import write_slide

from nephrospot.models import TISSUES, scale_id, tissue_id
from nephrospot.readings import Reading
from nephrospot.slide import open_slide

READINGS = [Reading(tissue, *HUMAN[tissue]) for tissue in TISSUES if HUMAN[tissue][0] == 10]
IDS = [(tissue_id(reading.tissue), scale_id(reading.scale_code)) for reading in READINGS]


def wait(device: torch.device) -> None:
    """Until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(work: Callable[[], object], windows: int, device: torch.device, seconds: float) -> float:
    """Windows a second of calls that each do ``windows``; the first calls, which set things up, don't count."""
    for _ in range(3):
        work()
    wait(device)
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        work()
        calls += 1
        if calls % 4 == 0:
            wait(device)
    wait(device)
    return windows * calls / (time.perf_counter() - started)


def capture(method, images: torch.Tensor) -> Callable[[], object]:
    """A pass as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            method.margins(images, IDS)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        method.margins(images, IDS)
    return graph.replay


@torch.inference_mode()
def measure_forward(device: torch.device, batch: int, window_px: int, seconds: float) -> dict[str, float]:
    """Windows a second of the network alone, from memory, in several forms."""
    method = seeded_omniseg().to(device)
    images = torch.rand(batch, 3, window_px, window_px, device=device)
    rates = {"fp32": rate(lambda: method.margins(images, IDS), batch, device, seconds)}
    method = method.to(torch.bfloat16, memory_format=torch.channels_last)
    images = images.to(torch.bfloat16, memory_format=torch.channels_last)
    rates["bf16 channels_last"] = rate(lambda: method.margins(images, IDS), batch, device, seconds)
    if device.type == "cuda":
        rates["bf16, CUDA graph"] = rate(capture(method, images), batch, device, seconds)
    compiled = torch.compile(method.margins)
    try:
        rates["bf16, torch.compile"] = rate(lambda: compiled(images, IDS), batch, device, seconds)
    except Exception as error:  # whatever a compiler fails with is a result of this benchmark
        print(f"torch.compile failed: {str(error).splitlines()[0]}")
    return rates


def measure_copy(device: torch.device, batch: int, window_px: int, seconds: float) -> float:
    """Windows a second from pinned memory to the device, as uint8."""
    pixels = torch.zeros(batch, window_px, window_px, 3, dtype=torch.uint8)
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    return rate(lambda: pixels.to(device, non_blocking=True, copy=True), batch, device, seconds)


def measure_decode(path: Path, readers: int, window_px: int, seconds: float, raw: bool) -> float:
    """Windows a second that ``readers`` threads read at 10×, resampled there or left as they are stored."""
    rng = np.random.default_rng(0)
    with open_slide(path) as slide, ThreadPoolExecutor(readers) as pool:
        scale = 1.0 / slide.tag_mpp
        ends = [max(1, int(size - window_px * scale)) for size in (slide.width_px, slide.height_px)]

        def read(_) -> None:
            corner = (int(rng.integers(end)) for end in ends)
            if raw:
                slide.read_raw(*corner, scale, window_px)
            else:
                slide.read_window(*corner, scale, window_px, window_px)

        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            done += len(list(pool.map(read, range(4 * readers))))
        return done / (time.perf_counter() - started)


class Utilisation:
    """Mean of what nvidia-smi calls utilisation, polled twice a second."""

    def __enter__(self) -> Utilisation:
        self.seen: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._poll, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop.set()
        self.thread.join()

    def _poll(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while shutil.which(query[0]) and not self.stop.wait(0.5):
            answer = subprocess.run(query, capture_output=True, text=True).stdout.strip()
            if answer.isdigit():
                self.seen.append(float(answer))

    def describe(self) -> str:
        return f"{np.mean(self.seen):.0f} % on average" if self.seen else "not measured (no nvidia-smi)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--side", type=int, default=20_000, help="of the synthetic slide, in pixels at 10×")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured (--device cpu tries the steps on the CPU).")
        return
    device, window = torch.device(arguments.device), arguments.window
    print(torch.cuda.get_device_name() if device.type == "cuda" else "cpu")
    forward = measure_forward(device, arguments.batch, window, arguments.seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        write_slide(path, arguments.side)
        parts = {
            "decoding": measure_decode(path, arguments.readers, window, arguments.seconds, device.type == "cuda"),
            "copying": measure_copy(device, arguments.batch, window, arguments.seconds),
            "computing": forward["bf16 channels_last" if device.type == "cuda" else "fp32"],
        }
        for name, value in [(f"forward, {form}", value) for form, value in forward.items()] + list(parts.items()):
            print(f"{name:28} {value:10.1f} windows/s {value * window**2 / 1e6:10.1f} MP/s")
        started = time.perf_counter()
        with Utilisation() as utilisation:
            facts = run(
                path, Path(folder) / "bits.zarr", seeded_omniseg(), READINGS, window_px=window, halo_px=window // 8,
                batch_size=arguments.batch,
            )  # fmt: skip
        spent = time.perf_counter() - started
    windows = sum(facts["windows"].values())
    print(f"{'predict_slide, all of it':28} {windows / spent:10.1f} windows/s over {windows} windows, {spent:.1f} s")
    print(f"GPU busy: {utilisation.describe()}; inside the network {facts['forward_seconds'] / spent:.0%} of the time.")
    slowest = min(parts, key=parts.get)
    print(f"{slowest.capitalize()} limits: whatever else is mended, no more than {parts[slowest]:.0f} windows/s.")


if __name__ == "__main__":
    main()
