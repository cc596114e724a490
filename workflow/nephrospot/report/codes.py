"""What Omni-Seg answers for every tissue at every scale code, from one set of features (the journal's Fig. 8)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nephrospot.cost import PUBLISHED_CODES
from nephrospot.errors import InputError
from nephrospot.files import whole
from nephrospot.models import SCALE_CODES, TISSUES, Method
from nephrospot.models.omniseg import HEAD_CHANNELS, HEAD_SIZES, OmniSeg
from nephrospot.models.weights import load_weights
from nephrospot.report.figures import BLUE, FAINT, INK, STYLE, to_svg
from nephrospot.training.patches import read_patch
from nephrospot.training.splits import take_part


@dataclass(frozen=True)
class CodeGrid:
    """Answers of one network on one patch.

    Attributes
    ----------
    features : float32 (8, H, W)
        What all tissues and scale codes share.
    margins : float32 (6, 4, H, W)
        Foreground minus background by tissue (DT PT CAP TUFT VES PTC) and scale code (5 10 20 40).
    """

    features: np.ndarray
    margins: np.ndarray


@torch.inference_mode()
def read_every_code(method: Method, image: np.ndarray) -> CodeGrid:
    """Run the backbone once, and all 24 heads that the controller writes on what it found.

    Parameters
    ----------
    method
        Omni-Seg; of the class-aware one all scale codes of a tissue are the same.
    image : uint8 (H, W, 3), RGB
        Height and width multiples of 16.

    Raises
    ------
    InputError
        When the method is another network, or the patch's size doesn't suit it.
    """
    if not isinstance(method, OmniSeg):
        raise InputError(
            "Fig. 8 needs a network whose head is written for tissue and scale code; give a method with network "
            "omni-seg or omni-seg-class."
        )
    if image.ndim != 3 or image.shape[2] != 3 or any(side % method.stride for side in image.shape[:2]):
        raise InputError(
            f"The patch has the shape {image.shape}; Fig. 8 needs RGB with height and width multiples of "
            f"{method.stride}, such as 256."
        )
    method.eval()
    device = next(method.parameters()).device
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].contiguous().float() / 255
    features, pooled = method.encode(pixels)
    features = features.float()
    tissues, scales = torch.meshgrid(torch.arange(len(TISSUES)), torch.arange(len(SCALE_CODES)), indexing="ij")
    codes = [ids.flatten().to(device) for ids in (tissues, scales)]
    heads = method.write_head(pooled.expand(codes[0].numel(), -1), *codes)
    margins = torch.stack([_apply_head(features, head) for head in heads])
    grid = margins.view(len(TISSUES), len(SCALE_CODES), *features.shape[2:])
    return CodeGrid(features[0].cpu().numpy(), grid.cpu().numpy())


def draw_every_code(grid: CodeGrid, image: np.ndarray, title: str = "") -> str:
    """The patch, the shared features, and the mask of every tissue (rows) at every scale code (columns).

    A blue frame marks the pairs that the published data train; the other scale codes are only learnt from
    pseudo-labels, if at all.

    Returns
    -------
    str, SVG
    """
    rows, columns = len(TISSUES), len(SCALE_CODES)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.15 * (columns + 3), 1.2 * rows + 0.3), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(2.4, columns))
        shared = left.subplots(5, 2, gridspec_kw={"height_ratios": (2, 1, 1, 1, 1)})
        for axis in shared[0]:
            axis.remove()
        first = left.add_subplot(shared[0, 0].get_gridspec()[0, :])
        _show(first, image, "patch")
        for place, axis in enumerate(shared[1:].ravel()):
            _show(axis, grid.features[place], f"feature {place + 1}", cmap="gray")
        axes = right.subplots(rows, columns)
        for tissue, line in zip(TISSUES, axes, strict=True):
            for code, axis in zip(SCALE_CODES, line, strict=True):
                mask = grid.margins[TISSUES.index(tissue), SCALE_CODES.index(code)] > 0
                name = f"{tissue}, {code}×   {100 * mask.mean():.0f} %"
                _show(axis, mask, name, cmap=ListedColormap(["white", INK]), vmin=0, vmax=1)
                if PUBLISHED_CODES[tissue] == code:
                    axis.spines[:].set(color=BLUE, linewidth=2)
        if title:
            figure.suptitle(title, fontsize=8)
        return to_svg(figure, 150)


def write_every_code(grid: CodeGrid, image: np.ndarray, path: str | Path, title: str = "") -> None:
    """Write the figure of `draw_every_code` as SVG."""
    with whole(path) as temporary:
        temporary.write_text(draw_every_code(grid, image, title), encoding="utf-8")


def draw_test_patch(
    network: str, weights: str | Path | None, patches: pd.DataFrame, path: str | Path, simulated: bool
) -> None:
    """Fig. 8 of the test patch with the largest labelled share up to a half, the first of equals.

    Parameters
    ----------
    network, weights
        Of an Omni-Seg; empty where none is trained, which is refused.
    patches
        Of `nephrospot.training.patches.list_patches`, with the column ``split``.
    simulated
        Whether the title calls the patch simulated.

    Raises
    ------
    InputError
        Without an Omni-Seg, or a test patch.
    """
    if not network or not weights:
        raise InputError("Fig. 8 needs Omni-Seg's head; add a training with network omni-seg under training.methods.")
    test = take_part(patches, "test")
    read = [(row, *read_patch(row.image, row.mask, int(getattr(row, "side_px", 0)))) for row in test.itertuples()]
    shares = [float(mask.mean()) for _, _, mask in read]
    row, image, _ = read[int(np.argmax([share if share <= 0.5 else 0 for share in shares]))]
    method, _ = load_weights(network, weights)
    title = f"{'simulated patch' if simulated else 'patch'} {Path(row.image).stem} of {row.tissue}"
    write_every_code(read_every_code(method, image), image, path, title)


def _apply_head(features: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Margins (H, W) of features (1, 8, H, W) under one head's 162 parameters: three 1×1 convolutions."""
    *weights, b1, b2, b3 = head.split(HEAD_SIZES)
    w1, w2, w3 = (weight.view(-1, HEAD_CHANNELS, 1, 1) for weight in weights)
    x = F.relu(F.conv2d(features, w1, b1))
    x = F.conv2d(F.relu(F.conv2d(x, w2, b2)), w3, b3)[0]
    return x[1] - x[0]


def _show(axis, picture: np.ndarray, name: str, **how) -> None:
    axis.imshow(picture, interpolation="nearest", **how)
    axis.set_title(name, fontsize=6, pad=2)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color=FAINT, linewidth=0.6)
