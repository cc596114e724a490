"""MONAI's row of the benchmark: `WSIReader`, then `sliding_window_inference` over the whole level, output to Zarr.

.venv-bench/bin/python tests/benchmarks/peers/monai_peer.py slide.tiff weights.pt out/
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
import zarr
from meter import Meter, disk_mb
from monai.data.wsi_reader import WSIReader
from monai.inferers import sliding_window_inference
from network import WINDOW_PX, load_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", default="constant", choices=["constant", "gaussian"])
    arguments = parser.parse_args()
    meter = Meter()
    torch.set_num_threads(1)
    network = load_network(arguments.weights)
    meter.watch(network)
    reader = WSIReader(backend="openslide", level=1)
    pixels, _ = reader.get_data(reader.read(str(arguments.slide)))
    images = torch.from_numpy(np.ascontiguousarray(pixels))[None].float() / 255
    with torch.inference_mode():
        logits = sliding_window_inference(
            images, roi_size=(WINDOW_PX,) * 2, sw_batch_size=arguments.batch, predictor=network, overlap=0.25,
            mode=arguments.mode,
        )  # fmt: skip
        mask = logits[0].argmax(0).to(torch.uint8).numpy()
    folder = arguments.output / "monai.zarr"
    shutil.rmtree(folder, ignore_errors=True)
    zarr.create_array(str(folder), data=mask, chunks=(WINDOW_PX,) * 2)
    meter.tell(arguments.output / "facts.json", disk_mb=disk_mb(folder))
    np.save(arguments.output / "mask.npy", mask)


if __name__ == "__main__":
    main()
