"""How far neighbouring windows disagree, and what each way of joining them costs: `python tests/benchmarks/seams.py`.

Every scheme segments the same slides twice, the second time with its grid moved by a quarter of a core both ways, which
no shift of the schemes themselves is. A pixel whose label depends on where the grid happens to lie is an error that no
one sees; their share of the pixels that either grid calls foreground is what is printed, beside the Dice with the
truth where there is one, the pixels that pass through the network per pixel of tissue, and the CPU seconds.

The networks are the shipped ones, trained on simulated tissue. Slides: the demonstration cohort (simulated), and the
real mosaic of ../shared/data where it is at hand.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import zarr

from nephrospot.infer import predict_slide
from nephrospot.models.weights import load_weights
from nephrospot.readings import Reading
from nephrospot.scheme import Scheme, make_scheme
from nephrospot.slide import open_slide
from nephrospot.tiles import Grid, list_tiles
from nephrospot.tissue import find_tissue

SCHEMES = [  # window, halo, shifts, blend
    (256, 0, 1, "flat"),
    (256, 16, 1, "flat"),
    (256, 32, 1, "flat"),
    (256, 48, 1, "flat"),
    (256, 64, 1, "flat"),
    (256, 32, 2, "flat"),
    (256, 0, 4, "flat"),
    (256, 0, 4, "gaussian"),
    (256, 32, 4, "flat"),
    (512, 32, 1, "flat"),
    (512, 64, 1, "flat"),
]
MOUSE = [
    Reading("DT", 10.0, 10), Reading("PT", 10.0, 10), Reading("VES", 10.0, 10),
    Reading("CAP", 20.0, 5), Reading("TUFT", 20.0, 5),
]  # fmt: skip


def move(scheme: Scheme) -> Scheme:
    """The same scheme on a grid that lies a quarter of a core further right and down."""
    quarter = scheme.stride_px // 4
    return dataclasses.replace(scheme, phases=tuple((x + quarter, y + quarter) for x, y in scheme.phases))


def segment(image: Path, mpp: float, weights: Path, network: str, scheme: Scheme, folder: Path):
    """Masks by tissue at their own resolution, and what they cost."""
    method, _ = load_weights(network, weights)
    groups: dict[float, list[Reading]] = {}
    for reading in MOUSE:
        groups.setdefault(reading.magnification, []).append(reading)
    with open_slide(image) as slide:
        # Cells don't depend on the scheme, so that each answers the same pixels.
        grids = {m: Grid(m, mpp, slide.width_px, slide.height_px, 128, 0) for m in groups}
        tissue = find_tissue(slide, mpp, image.name)
        tiles = {m: list_tiles(grid, tissue) for m, grid in grids.items()}
        facts = predict_slide(
            slide, grids, pd.concat(tiles.values()), tissue, groups, method, folder, "auto",
            threads=1, schemes=dict.fromkeys(groups, scheme),
        )  # fmt: skip
    store = zarr.open_group(str(folder), mode="r")
    masks = {}
    for m, readings in groups.items():
        bits = store[f"{m:g}x"][:]
        masks |= {reading.tissue: (bits >> bit) & 1 for bit, reading in enumerate(readings)}
    return masks, facts


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "slides",
        nargs="+",
        help="IMAGE@MPP[@TRUTH with {tissue}], such as demo/K1/slide.tiff@0.5@demo/K1/masks/{tissue}.png",
    )
    parser.add_argument("--network", default="omni-seg")
    parser.add_argument("--weights", default="workflow/weights/simulated/omni-seg.safetensors")
    parser.add_argument("--tsv", help="write the table here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for window, halo, shifts, blend in SCHEMES:
        scheme = make_scheme("nephrospot", window, halo, shifts, blend)
        moved, foreground, scores, windows, cpu, tissue_px = {}, {}, {}, 0.0, 0.0, 0
        for given in arguments.slides:
            image, mpp, *truth = given.split("@")
            with tempfile.TemporaryDirectory() as folder:
                one, facts = segment(
                    Path(image), float(mpp), arguments.weights, arguments.network, scheme, Path(folder) / "a.zarr"
                )
                two, _ = segment(
                    Path(image), float(mpp), arguments.weights, arguments.network, move(scheme), Path(folder) / "b.zarr"
                )
            windows += sum(facts["windows"].values()) * window**2
            tissue_px += sum(facts["tiles"].values()) * facts["core_px"] ** 2
            cpu += facts["cpu_seconds"]
            for tissue, mask in one.items():
                moved[tissue] = moved.get(tissue, 0) + int((mask != two[tissue]).sum())
                foreground[tissue] = foreground.get(tissue, 0) + int((mask | two[tissue]).sum())
                path = Path(truth[0].replace("{tissue}", tissue)) if truth else None
                if path is not None and path.exists():
                    expert = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                    expert = cv2.resize(expert, mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
                    scores.setdefault(tissue, []).append(dice(mask.astype(bool), expert))
        row = {"window": window, "halo": halo, "grids": shifts, "blend": blend if shifts > 1 else "–"}
        row |= {"px per px": round(windows / tissue_px, 2), "CPU s": round(cpu, 1)}
        row |= {f"{t} moved %": round(100 * moved[t] / max(1, foreground[t]), 2) for t in moved}
        row |= {f"{t} Dice": round(100 * float(np.mean(s)), 2) for t, s in scores.items()}
        rows.append(row)
        if len(rows) == 1:
            print("  ".join(row))
        print("  ".join(str(value) for value in row.values()), flush=True)
    if arguments.tsv:
        with Path(arguments.tsv).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
