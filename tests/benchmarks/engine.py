"""nephrospot's own row of the benchmark: tissue mask, tiles and `predict_slide` on one slide, measured.

    python tests/benchmarks/engine.py slide.tiff weights.pt out/

With ``--omni-seg DT,PT,VES,CAP,TUFT`` it runs Omni-Seg with seeded weights and the human readings instead.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import zarr
from meter import Meter, disk_mb
from network import TISSUES, load_network, make_weights
from three_tissues import ThreeTissues

from nephrospot.engine import Engine
from nephrospot.infer import predict_slide
from nephrospot.models import build
from nephrospot.readings import Reading
from nephrospot.slide import open_slide
from nephrospot.tiles import Grid, list_tiles
from nephrospot.tissue import find_tissue

# Magnification and scale code of each tissue of a human slide (config/config.yaml).
HUMAN = {"DT": (10, 10), "PT": (10, 10), "VES": (10, 10), "CAP": (5, 5), "TUFT": (5, 5), "PTC": (40, 40)}


def seeded_omniseg(width: int = 32, seed: int = 0):
    """Omni-Seg with weights from a seed."""
    torch.manual_seed(seed)
    return build("omni-seg", width=width).eval()


def run(
    path: Path,
    output: Path,
    method,
    readings: list[Reading],
    slide_mpp: float | None = None,
    window_px: int = 512,
    halo_px: int = 64,
    all_tissue: bool = False,
    **options,
) -> dict:
    """Everything from an unopened slide to bits on disk; facts of `predict_slide`.

    Parameters
    ----------
    all_tissue : take the whole slide for tissue, for the comparison with a scheme that is run on one region
    """
    shutil.rmtree(output, ignore_errors=True)
    with open_slide(path) as slide:
        mpp = slide_mpp or slide.tag_mpp
        tissue = find_tissue(slide, mpp, str(path))
        if all_tissue:
            tissue = np.ones_like(tissue)
        groups: dict[float, list[Reading]] = {}
        for reading in readings:
            groups.setdefault(reading.magnification, []).append(reading)
        grids = {m: Grid(m, mpp, slide.width_px, slide.height_px, window_px, halo_px) for m in groups}
        tiles = pd.concat([list_tiles(grid, tissue) for grid in grids.values()], ignore_index=True)
        return predict_slide(slide, grids, tiles, tissue, groups, method, output, threads=1, **options)


def watch(meter: Meter, choose) -> None:
    """Time ``choose``'s module and call in whatever form of the method the engine runs."""
    build_engine = Engine.__init__

    def build_watched(engine, *arguments, **options) -> None:
        build_engine(engine, *arguments, **options)
        meter.watch(*choose(engine.method))

    Engine.__init__ = build_watched


def fit_weights(path: Path, weights: Path, count: int = 6) -> float:
    """Write the weights that all tools get; see `network.make_weights`."""
    torch.set_num_threads(1)
    truth = cv2.imread(str(path.with_suffix(".truth.png")), cv2.IMREAD_GRAYSCALE)
    rng, windows, labels = np.random.default_rng(1), [], []
    with open_slide(path) as slide:
        while len(windows) < count:
            x, y = rng.integers(0, len(truth) - 511, 2)
            label = truth[y : y + 512, x : x + 512]
            if (label == 0).mean() < 0.5:
                windows.append(slide.read_window(2 * x, 2 * y, 2.0, 512, 512))
                labels.append(np.maximum(label.astype(np.int64) - 1, 0))
    pixels = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() / 255
    return make_weights(weights, pixels, torch.from_numpy(np.stack(labels)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--fit", action="store_true", help="write the weights and stop")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--omni-seg", default="")
    arguments = parser.parse_args()
    if arguments.fit:
        print(f"last layer fitted: {fit_weights(arguments.slide, arguments.weights):.1%} of its pixels as drawn")
        return
    meter = Meter()
    output = arguments.output / "bits.zarr"
    omniseg = arguments.omni_seg
    if omniseg:
        method = seeded_omniseg()
        watch(meter, lambda method: (method, "margins"))  # the backbone and the heads that it writes
        readings = [Reading(tissue, float(HUMAN[tissue][0]), HUMAN[tissue][1]) for tissue in omniseg.split(",")]
    else:
        method = ThreeTissues(load_network(arguments.weights))
        watch(meter, lambda method: (method.network, "forward"))
        readings = [Reading(tissue, 10.0, 10) for tissue in TISSUES]
    facts = run(arguments.slide, output, method, readings, precision=arguments.precision, all_tissue=bool(omniseg))
    facts.pop("pieces", None)
    meter.tell(arguments.output / "facts.json", disk_mb=disk_mb(output), facts=facts)
    if not omniseg:
        bits = zarr.open_group(str(output), mode="r")["10x"][:]
        # The bits of three tissues that exclude each other, as the peers' labels 0..3.
        np.save(arguments.output / "mask.npy", np.array([0, 1, 2, 0, 3], np.uint8)[np.minimum(bits, 4)])


if __name__ == "__main__":
    main()
