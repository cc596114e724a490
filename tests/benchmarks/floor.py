"""The floor: what reading a square millimetre must cost on this machine, whatever program does it.

    python tests/benchmarks/floor.py --table floor.tsv

Counted: multiply-adds of each network at each magnification with no overlap between windows. Measured, with one
thread: how fast this machine multiplies matrices, and how fast it decodes JPEG tiles. The floor is one over the other.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from slide import draw_labels, paint

from nephrospot.cost import build_shapes, count_macs
from nephrospot.mpp import magnification_to_mpp
from nephrospot.stored_tiles import empty_tile

MAGNIFICATIONS = (5.0, 10.0, 20.0, 40.0)
# The passes that differ: heads for up to three tissues add 0.4 % to Omni-Seg's backbone, and of the U-Nets those of
# CAP and TUFT are alike and so are the other four.
PASSES = {
    "omni-seg": [("DT", "PT", "VES")],
    "omni-seg-class": [("DT", "PT", "VES")],
    "multi-unet": [("PT",), ("CAP",)],
}


def count_pixel_macs(network: str, tissues: tuple[str, ...], window_px: int = 512) -> float:
    """Multiply–accumulates of one pass for some tissues, a pixel of the window."""
    return count_macs(build_shapes(network), tissues, window_px) / window_px**2


def pixels_per_mm2(magnification: float) -> float:
    """Pixels of a magnification in a square millimetre."""
    return (1000 / magnification_to_mpp(magnification)) ** 2


def best_rate(work, amount: float, seconds: float = 1.0) -> float:
    """Amount a second of processor time of the fastest of many calls."""
    work()
    best, until = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.thread_time()
        work()
        best = min(best, time.thread_time() - started)
    return amount / best


def measure_gemm(dtype: torch.dtype, side: int = 2048) -> float:
    """Multiply-adds a second of one core."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return best_rate(lambda: a @ b, side**3)


def measure_decode(side_px: int = 512) -> float:
    """Pixels of 256 px JPEG tiles (quality 80, chroma halved) decoded a second of one core."""
    rng = np.random.default_rng(0)
    labels = np.maximum(draw_labels(2 * side_px, rng), 1)[:side_px, :side_px]
    image = paint(labels, rng)
    tiles = [
        imagecodecs.jpeg8_encode(image[y : y + 256, x : x + 256], level=80, subsampling="420")
        for y in range(0, len(image), 256)
        for x in range(0, len(image), 256)
    ]
    out = empty_tile(256, 256)
    return best_rate(lambda: [imagecodecs.jpeg8_decode(tile, out=out) for tile in tiles], len(tiles) * 256**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=Path("results/floor.tsv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fp32, bf16, decode = measure_gemm(torch.float32), measure_gemm(torch.bfloat16), measure_decode()
    lines = [
        "what\tmagnification\tKMAC a pixel\tGMAC a mm²\tseconds a mm², fp32\tseconds a mm², bf16\tdecoding, seconds"
    ]
    for network, groups in PASSES.items():
        for tissues in groups:
            macs = count_pixel_macs(network, list(tissues))
            for magnification in MAGNIFICATIONS:
                pixels = pixels_per_mm2(magnification)
                lines.append(
                    f"{network} {' '.join(tissues)}\t{magnification:g}×\t{macs / 1e3:.1f}\t{macs * pixels / 1e9:.1f}\t"
                    f"{macs * pixels / fp32:.3f}\t{macs * pixels / bf16:.3f}\t{pixels / decode:.4f}"
                )
    print(
        f"One core: {fp32 / 1e9:.0f} GMAC/s in fp32, {bf16 / 1e9:.0f} in bf16 "
        f"(AMX: {'yes' if torch.cpu._is_amx_tile_supported() else 'no'}), "
        f"{decode / 1e6:.0f} megapixels of JPEG a second."
    )
    print("\n".join(lines))
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
