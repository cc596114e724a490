"""Windows out of stored pixels on the device that will read them, many at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nephrospot.sampling import RawWindows


def resample(raw: RawWindows, pixels: Tensor) -> Tensor:
    """The windows that the pixels show.

    Parameters
    ----------
    pixels
        ``raw.pixels`` on the device.

    Returns
    -------
    float32 (N, 3, side, side) in channels_last, whole numbers from 0 to 255; within 2 of what `Slide.read_window`
    gives, since OpenCV counts in 32nds of a pixel
    """
    values = pixels.permute(0, 3, 1, 2).float()
    if raw.block > 1:
        values = F.avg_pool2d(values, raw.block).round_()
    rows, columns = values.shape[2:]
    if raw.ratio == 1 and not raw.shifts.any():
        return values[:, :, : raw.side_px, : raw.side_px].contiguous(memory_format=torch.channels_last)
    shifts = torch.from_numpy(raw.shifts).to(values.device)
    steps = raw.ratio * torch.arange(raw.side_px, device=values.device)
    # grid_sample counts from −1 at the first pixel's centre to 1 at the last one's.
    x, y = ((shifts[:, axis, None] + steps) * (2 / (size - 1)) - 1 for axis, size in enumerate((columns, rows)))
    grid = torch.stack([x[:, None, :].expand(-1, raw.side_px, -1), y[:, :, None].expand(-1, -1, raw.side_px)], dim=-1)
    windows = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return windows.round_().contiguous(memory_format=torch.channels_last)
