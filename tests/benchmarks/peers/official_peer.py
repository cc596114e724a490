"""The official Omni-Seg scheme's row: one 4096 px region at 40×, with stock PyTorch, from files to masks.

    .venv/bin/python tests/benchmarks/peers/official_peer.py slide.tiff out/ --tissues DT,PT,VES,CAP,TUFT

Nothing of the official code is used. What is run is what nephrospot.official describes: the region is written as a
float32 array and read twice, brought to each tissue's magnification, cut into batches of four windows for each
tissue, each window votes, the mask is enlarged and written. ``--batches 0`` runs every batch; by default some of
each tissue's batches are run and their processor time is multiplied by the number that the scheme has.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from engine import HUMAN, seeded_omniseg
from meter import Meter, cpu_seconds, disk_mb

from nephrospot.models import scale_id, tissue_id
from nephrospot.official_votes import OFFICIAL, draw_windows, enlarge_mask, passes_per_region
from nephrospot.readings import Reading
from nephrospot.slide import open_slide


def run_batch(method, image, reading: Reading, corners: np.ndarray, votes: torch.Tensor) -> None:
    """One batch of windows of a padded image, and their votes."""
    window, rim = OFFICIAL.window_px, OFFICIAL.rim_px
    kept = slice(rim, window - rim)
    pixels = torch.stack([image[:, y : y + window, x : x + window] for y, x in corners])
    ids = [torch.full((len(corners),), i) for i in (tissue_id(reading.tissue), scale_id(reading.scale_code))]
    logits = method(pixels, *ids)[:, :, kept, kept]
    for (y, x), foreground in zip(corners + rim, logits[:, 1] > logits[:, 0], strict=True):
        votes[y : y + window - 2 * rim, x : x + window - 2 * rim] += foreground


@torch.inference_mode()
def run_tissue(method, whole: torch.Tensor, reading: Reading, folder: Path, batches: int) -> dict:
    """All of one tissue's batches, or some of them; processor seconds of the batches and of all else."""
    started = time.process_time()
    voting, side = OFFICIAL.voting(reading.magnification), OFFICIAL.image_px(reading.magnification)
    image = whole
    if side != OFFICIAL.region_px:
        image = F.interpolate(whole[None], size=(side, side), mode="bilinear", align_corners=False)[0]
    image = F.pad(image, (voting.padding_px,) * 4)
    votes = torch.zeros(image.shape[1:], dtype=torch.uint8)
    corners = draw_windows(reading.magnification, np.random.default_rng(0))
    total = passes_per_region([reading]) // OFFICIAL.batch
    starts = [min(i * OFFICIAL.batch, len(corners) - OFFICIAL.batch) for i in range(total)]
    chosen = starts if not batches else [starts[i] for i in np.linspace(0, total - 1, batches).round().astype(int)]
    begun = time.process_time()
    for start in chosen:
        run_batch(method, image, reading, corners[start : start + OFFICIAL.batch], votes)
    spent = time.process_time() - begun
    core = slice(voting.padding_px, voting.padding_px + side)
    mask = enlarge_mask((votes >= voting.votes)[core, core], OFFICIAL.region_px)
    np.save(folder / f"{reading.tissue}.npy", mask.numpy())
    return {
        "batches_cpu_seconds": spent * total / len(chosen),
        "other_cpu_seconds": time.process_time() - started - spent,
        "passes_run": len(chosen) * OFFICIAL.batch,
        "passes_of_scheme": total * OFFICIAL.batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tissues", default=",".join(HUMAN))
    parser.add_argument("--batches", type=int, default=2, help="of each tissue; 0 for all")
    arguments = parser.parse_args()
    meter = Meter()
    torch.set_num_threads(1)
    readings = [Reading(tissue, *HUMAN[tissue]) for tissue in arguments.tissues.split(",")]
    method = seeded_omniseg()
    meter.watch(method)
    folder = arguments.output / "official"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with open_slide(arguments.slide) as slide:
        side = OFFICIAL.region_px
        region = slide.read_window(0, 0, 0.25 / slide.tag_mpp, side, side).astype(np.float32) / 255
    np.save(folder / "region.npy", region)
    for _ in range(2):  # the image, and the image once more as a label that isn't used
        region = np.load(folder / "region.npy")
    whole = torch.from_numpy(region).permute(2, 0, 1).contiguous()
    with torch.inference_mode():  # the first pass also sets things up
        method(whole[None, :, :512, :512], torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.long))
    region_cpu = cpu_seconds() - meter.start_cpu
    tissues = {r.tissue: run_tissue(method, whole, r, folder, arguments.batches) for r in readings}
    meter.tell(arguments.output / "facts.json", disk_mb=disk_mb(folder), region_cpu_seconds=region_cpu, tissues=tissues)


if __name__ == "__main__":
    main()
