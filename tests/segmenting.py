"""What the tests of inference share: a picture, a local network whose answer can be foretold, and a run."""

import numpy as np
import pandas as pd
import torch

from nephrospot.infer import predict_slide
from nephrospot.models import Method
from nephrospot.readings import Reading
from nephrospot.scheme import make_scheme
from nephrospot.slide import open_slide
from nephrospot.tiles import Grid, list_tiles
from pictures import write_tiff

READINGS = {10.0: [Reading("DT", 10, 10), Reading("PT", 10, 10)], 20.0: [Reading("CAP", 20, 5)]}


class Threshold(Method):
    """A network that is local: foreground where a colour channel, chosen by the tissue, is above one half."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images, tissue_ids, scale_ids):
        channel = images[torch.arange(len(images)), tissue_ids % 3] - 0.5 + self.bias
        return torch.stack([torch.zeros_like(channel), channel], dim=1)


def draw_waves():
    """A picture of 1500 × 1700 px with coloured waves."""
    y, x = np.mgrid[:1500, :1700]
    waves = [np.sin(x / 60) * np.cos(y / 45), np.sin(x / 90 + 1) * np.cos(y / 70), np.sin((x + y) / 50)]
    return (128 + 120 * np.stack(waves, -1)).astype(np.uint8)


def open_waves(folder):
    """A slide of it at 0.5 µm per pixel."""
    return open_slide(write_tiff(folder / "s.tiff", draw_waves(), mpp=0.5, tile=(256, 256), compression="deflate"))


def predict(slide, output, method=None, window=128, halo=16, groups=READINGS, tissue=None, how=(), **options):
    grids = {m: Grid(m, 0.5, slide.width_px, slide.height_px, window, halo) for m in groups}
    tissue = np.ones((48, 54), bool) if tissue is None else tissue
    tiles = pd.concat([list_tiles(grid, tissue) for grid in grids.values()])
    how = {"mode": "nephrospot", "shifts": 1, "blend": "flat"} | dict(how)
    scheme = make_scheme(how["mode"], window, halo, how["shifts"], how["blend"])
    options["schemes"] = dict.fromkeys(groups, scheme)
    return predict_slide(slide, grids, tiles, tissue, groups, method or Threshold(), output, "fp32", **options)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
