"""What the networks' forward passes cost on one core, beside what the machine can multiply at all.

    python tests/benchmarks/forward.py [--seconds 4] [--networks omni-seg:32 ...] [--sizes 256 512]

Every figure is the least CPU time of many repetitions, the variants taken in turns, one thread. The floor is the
network's multiplications (convolutions, direct) at the rate of a 1024³ matrix product of the same type measured in the
same process; Winograd's convolutions multiply less, so a share of the floor may pass 100 %. bfloat16 is measured where
the processor multiplies it in tiles (AMX).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn

from nephrospot.environment import JOB_ENVIRONMENT
from nephrospot.models import Place, build
from nephrospot.models.fast import quicken

THREE = [(0, 1), (1, 1), (4, 1)]
READINGS = {"omni-seg": THREE, "multi-unet": [(0, 1)], "tal": THREE, "multi-class": THREE, "multi-kidney": THREE}
HALO_PX = {256: 32, 512: 64}


def count_macs(network: nn.Module, images: torch.Tensor, readings: list) -> int:
    """Multiply-accumulates of all convolutions of one pass."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        pixels = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += pixels[0, 0].numel() * module.weight.numel()

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    network.margins(images, readings)
    for hook in hooks:
        hook.remove()
    return total


def least_seconds(passes: dict, seconds: float) -> dict[str, float]:
    """Least CPU time of each pass; in turns, so that a busy moment of the machine meets all of them."""
    least = dict.fromkeys(passes, float("inf"))
    for run in passes.values():
        run()
    end, rounds = time.monotonic() + seconds * len(passes), 0
    while rounds < 5 or time.monotonic() < end:
        for name, run in passes.items():
            start = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - start)
        rounds += 1
    return least


@torch.inference_mode()
def measure(network: str, width: int, size: int, seconds: float, tuned: bool) -> list[dict]:
    """One line a variant."""
    torch.set_num_threads(1)
    method, readings = build(network, width=width).eval(), READINGS[network]
    nchw = torch.rand(4, 3, size, size)
    macs = count_macs(method, nchw[:1], readings)
    image = nchw[:1].contiguous(memory_format=torch.channels_last)
    core = slice(HALO_PX[size], size - HALO_PX[size])
    places = [Place(np.empty((core.stop - core.start,) * 2, np.uint8))]
    last, fast = build(network, width=width).eval().to(memory_format=torch.channels_last), quicken(method)
    square = torch.rand(1024, 1024)
    half = torch.bfloat16
    passes = {
        "eager NCHW, batch 4": (4, lambda: method.margins(nchw, readings)),
        "eager NCHW": (1, lambda: method.margins(nchw[:1], readings)),
        "eager channels last": (1, lambda: last.margins(image, readings)),
        "eager channels last, core": (1, lambda: last.margins(image, readings, core)),
        "quickened": (1, lambda: fast.margins(image, readings)),
        "quickened, core": (1, lambda: fast.margins(image, readings, core)),
        "quickened, core, bits": (1, lambda: fast.foreground(image, readings, places, core)),
    }
    products = {"": lambda: square @ square}
    if torch.cpu._is_amx_tile_supported():
        square_half, image_half = square.to(half), image.to(half)
        plain_half, fast_half = copy.deepcopy(last).to(half), quicken(method, half)
        products["bf16 "] = lambda: square_half @ square_half
        passes |= {
            "bf16 eager channels last": (1, lambda: plain_half.margins(image_half, readings)),
            "bf16 eager channels last, core": (1, lambda: plain_half.margins(image_half, readings, core)),
            "bf16 quickened": (1, lambda: fast_half.margins(image_half, readings)),
            "bf16 quickened, core": (1, lambda: fast_half.margins(image_half, readings, core)),
            "bf16 quickened, core, bits": (1, lambda: fast_half.foreground(image_half, readings, places, core)),
        }
    passes = passes if tuned else dict(list(passes.items())[:1])
    least = least_seconds(products | {k: run for k, (_, run) in passes.items()}, seconds)
    rates = {kind: 1024**3 / least.pop(kind) for kind in products}
    rate = {name: rates["bf16 " if name.startswith("bf16") else ""] for name in passes}
    return [
        {
            "network": f"{network} {width}",
            "window": size,
            "variant": name + ("" if tuned else ", stock malloc"),
            "ms": 1000 * spent / passes[name][0],
            "mp_per_s": passes[name][0] * size**2 / spent / 1e6,
            "floor_share": macs * passes[name][0] / rate[name] / spent,
            "gmac": macs / 1e9,
            "gflop_per_s": 2 * rate[name] / 1e9,
        }
        for name, spent in least.items()
    ]


def main() -> None:
    """Measure each network in a process of its own, with and without the allocator's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="for each variant")
    parser.add_argument("--networks", nargs="+", default=["omni-seg:32", "omni-seg:8", "multi-unet:16"])
    parser.add_argument("--sizes", nargs="+", type=int, choices=sorted(HALO_PX), default=sorted(HALO_PX))
    parser.add_argument("--one", choices=["stock", "tuned"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        network, width = given.networks[0].split(":")
        lines = measure(network, int(width), given.sizes[0], given.seconds, given.one == "tuned")
        print(json.dumps(lines))
        return
    print("network\twindow\tvariant\tms a window\tMP per CPU-s\tshare of the floor\tGMAC\tGEMM GFLOP/s")
    for network in given.networks:
        for size in given.sizes:
            for malloc in ("stock", "tuned"):
                settings = {
                    "OMP_NUM_THREADS": "1",
                    "GLIBC_TUNABLES": JOB_ENVIRONMENT["GLIBC_TUNABLES"] if malloc == "tuned" else "",
                }
                command = [sys.executable, __file__, "--networks", network, "--sizes", str(size)]
                command += ["--seconds", str(given.seconds), "--one", malloc]
                done = subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True)
                for line in json.loads(done.stdout):
                    print(
                        f"{line['network']}\t{size}\t{line['variant']}\t{line['ms']:.1f}\t{line['mp_per_s']:.3f}\t"
                        f"{line['floor_share']:.0%}\t{line['gmac']:.2f}\t{line['gflop_per_s']:.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
