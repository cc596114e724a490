"""What bfloat16 changes of the masks: `python tests/benchmarks/precision.py SLIDE@MPP[@TRUTH] …`, as for seams.py.

Every slide is segmented in float32 and in bfloat16, by torch's own operations and by the inference form. Told are the
share of the tissue tiles' pixels whose label is the same in both, those that differ as a share of the tissue's own
(called so by either), and the Dice with the truth, with the shipped weights. The same figures for the network alone
moved by a quarter of a window stand in docs/performance.md under "Seams".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from seams import dice, segment

from nephrospot import engine
from nephrospot.scheme import make_scheme

FORMS = [("fp32", "inference form"), ("bf16", "torch's operations"), ("bf16", "inference form")]


def run(given: str, network: str, precision: str, form: str) -> tuple[dict, float, dict]:
    """Masks by tissue, CPU seconds and, where there is a truth, Dice by tissue."""
    image, mpp, *truth = given.split("@")
    weights = f"workflow/weights/simulated/{network}.safetensors"
    scheme, choose = make_scheme("nephrospot", 256, 32, 1, "flat"), engine.choose_precision
    plain = mock.patch.object(engine, "quicken", lambda method, dtype: method.eval().to(dtype))
    forced = mock.patch.object(engine, "choose_precision", lambda _, device: choose(precision, device))
    with tempfile.TemporaryDirectory() as folder, forced:
        if form == "inference form":
            masks, facts = segment(Path(image), float(mpp), weights, network, scheme, Path(folder, "a.zarr"))
        else:
            with plain:
                masks, facts = segment(Path(image), float(mpp), weights, network, scheme, Path(folder, "a.zarr"))
    scores = {}
    for tissue, mask in masks.items():
        path = Path(truth[0].replace("{tissue}", tissue)) if truth else None
        if path is not None and path.exists():
            expert = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            expert = cv2.resize(expert, mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
            scores[tissue] = dice(mask.astype(bool), expert)
    return masks, facts["cpu_seconds"], scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--networks", nargs="+", default=["omni-seg", "multi-unet"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("network\tprecision\tform\tCPU s\ttissue\tsame label, %\tdiffer, % of the tissue\tDice")
    for network in arguments.networks:
        reference: list[dict] = []
        for precision, form in FORMS:
            found = [run(given, network, precision, form) for given in arguments.slides]
            masks, seconds, scores = zip(*found, strict=True)
            reference = reference or list(masks)
            for tissue in masks[0]:
                pairs = [(own[tissue], before[tissue]) for own, before in zip(masks, reference, strict=True)]
                differ = sum(int((a != b).sum()) for a, b in pairs)
                either = sum(int((a | b).sum()) for a, b in pairs)
                same = 100 * (1 - differ / sum(a.size for a, _ in pairs))
                told = [100 * own[tissue] for own in scores if tissue in own]
                print(
                    f"{network}\t{precision}\t{form}\t{sum(seconds):.1f}\t{tissue}\t{same:.3f}\t"
                    f"{100 * differ / max(1, either):.2f}\t{np.mean(told) if told else float('nan'):.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
