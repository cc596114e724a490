"""TIAToolbox's row of the benchmark: `SemanticSegmentor` in WSI mode with its own tissue mask, output to Zarr.

.venv-bench/bin/python tests/benchmarks/peers/tiatoolbox_peer.py slide.tiff weights.pt out/
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

# TIAToolbox imports torchvision, whose wheels hold operators built for CUDA; two empty ones let a CPU torch go on.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import numpy as np  # noqa: E402
import zarr  # noqa: E402
from meter import Meter, disk_mb  # noqa: E402
from network import WINDOW_PX, load_network  # noqa: E402
from tiatoolbox.models.architecture.utils import argmax_last_axis  # noqa: E402
from tiatoolbox.models.engine.io_config import IOSegmentorConfig  # noqa: E402
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor  # noqa: E402
from tiatoolbox.models.models_abc import ModelABC  # noqa: E402

OUTPUT_PX = 384


class Peer(ModelABC):
    """The common network behind TIAToolbox's interface."""

    def __init__(self, network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)

    @staticmethod
    def infer_batch(model, batch_data, *, device):
        images = batch_data.to(device=device, dtype=torch.float32).permute(0, 3, 1, 2) / 255
        rim = (WINDOW_PX - OUTPUT_PX) // 2
        with torch.inference_mode():
            shares = torch.softmax(model(images), 1)[:, :, rim : rim + OUTPUT_PX, rim : rim + OUTPUT_PX]
        return shares.permute(0, 2, 3, 1).cpu().numpy()

    @staticmethod
    def postproc(image):
        return argmax_last_axis(image=image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    meter = Meter()
    torch.set_num_threads(1)
    network = load_network(arguments.weights)
    meter.watch(network)
    resolution = [{"units": "mpp", "resolution": 1.0}]
    config = IOSegmentorConfig(
        input_resolutions=resolution, output_resolutions=resolution, save_resolution=resolution[0],
        patch_input_shape=(WINDOW_PX,) * 2, patch_output_shape=(OUTPUT_PX,) * 2, stride_shape=(OUTPUT_PX,) * 2,
    )  # fmt: skip
    folder = arguments.output / "tiatoolbox"
    shutil.rmtree(folder, ignore_errors=True)
    segmentor = SemanticSegmentor(Peer(network), batch_size=arguments.batch, num_workers=0, verbose=False)
    written = segmentor.run(
        [arguments.slide], patch_mode=False, ioconfig=config, save_dir=folder, output_type="zarr", auto_get_mask=True
    )
    meter.tell(arguments.output / "facts.json", disk_mb=disk_mb(folder))
    predictions = zarr.open(str(next(iter(written.values()))), mode="r")["predictions"][:]
    np.save(arguments.output / "mask.npy", np.squeeze(predictions).astype(np.uint8))


if __name__ == "__main__":
    main()
