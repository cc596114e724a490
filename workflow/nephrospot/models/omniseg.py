"""Omni-Seg: one residual U-Net whose last three 1×1 layers are written anew for each tissue and scale.

Two controllers: class-aware (Deng et al., MIDL 2022) and scale-aware (Deng et al., IEEE TBME 2023,
equations 1–4). Tensor names are the official ones, so official checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nephrospot.models.method import SCALE_CODES, TISSUES, Method

HEAD_CHANNELS = 8
# Three 1×1 layers 8→8→8→2, weights first, then their biases: the order in the controller's output.
HEAD_SIZES = (64, 64, 16, 8, 8, 2)


def _norm_relu(channels: int, groups: int) -> list[nn.Module]:
    return [nn.GroupNorm(groups, channels), nn.ReLU(inplace=True)]


class Block(nn.Module):
    """Pre-activation residual block; the shortcut has a norm of its own and takes the raw input."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int = 1, project: bool | None = None) -> None:
        super().__init__()
        self.gn1 = nn.GroupNorm(groups, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.gn2 = nn.GroupNorm(groups, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        project = (stride != 1 or inputs != outputs) if project is None else project
        self.downsample = (
            nn.Sequential(*_norm_relu(inputs, groups), nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            if project
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.gn1(x), inplace=True))
        y = self.conv2(F.relu(self.gn2(y), inplace=True))
        return y.add_(x if self.downsample is None else self.downsample(x))


class WidenAdd(nn.Module):
    """A deeper level's features at twice their resolution, and those of the level itself."""

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return F.interpolate(deep, scale_factor=2, mode="nearest").add_(skip)


class OmniSeg(Method):
    """Residual U-Net with a dynamic head.

    Parameters
    ----------
    scale_aware
        True for the journal's controller (tissue × scale), False for the conference's (tissue alone).
    width
        Channels of the first stage: 32 is the published network (6,986,122 and 6,033,238 parameters),
        less makes a small one with as many channels in a norm's group.
    """

    # Layers whose output is other layers' weights.
    WRITERS = ("controller", "controller_trilinear")

    def __init__(self, scale_aware: bool = True, width: int = 32) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width is {width}; it must be a multiple of 4.")
        self.scale_aware, self.width = scale_aware, width
        w, g = width, min(16, width // 2)

        def stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
            first = Block(inputs, outputs, g, stride)
            return nn.Sequential(first, *(Block(outputs, outputs, g) for _ in range(blocks - 1)))

        self.conv1 = nn.Conv2d(3, w, 3, padding=1, bias=False)
        # The official class carries four layers that its forward never calls; without them an
        # official checkpoint would have keys too many.
        self.add_0 = nn.Sequential(Block(w, w, g, project=True))
        self.add_1 = nn.Sequential(Block(w, w, g, project=True))
        self.layer0 = stage(w, w, 1, 1)
        self.layer1 = stage(w, 2 * w, 2, 2)
        self.layer2 = stage(2 * w, 4 * w, 2, 2)
        self.layer3 = stage(4 * w, 8 * w, 2, 2)
        self.layer4 = stage(8 * w, 8 * w, 2, 2)
        self.fusionConv = nn.Sequential(*_norm_relu(8 * w, g), nn.Conv2d(8 * w, 8 * w, 1, bias=False))
        self.widen_add = WidenAdd()
        self.x8_resb = stage(8 * w, 4 * w, 1, 1)
        self.x4_resb = stage(4 * w, 2 * w, 1, 1)
        self.x2_resb = stage(2 * w, w, 1, 1)
        self.x1_resb = stage(w, w, 1, 1)
        self.x1_resb_add0 = stage(w, w, 1, 1)
        self.x1_resb_add1 = stage(w, w, 1, 1)
        self.precls_conv = nn.Sequential(*_norm_relu(w, g), nn.Conv2d(w, HEAD_CHANNELS, 1))
        self.GAP = nn.Sequential(*_norm_relu(8 * w, g), nn.AdaptiveAvgPool2d(1))
        if scale_aware:
            inputs = 8 * w * len(TISSUES) * len(SCALE_CODES)
            self.controller_trilinear = nn.Conv2d(inputs, sum(HEAD_SIZES), 1)
        else:
            self.controller = nn.Conv2d(8 * w + len(TISSUES), sum(HEAD_SIZES), 1)

    def encode(self, images: Tensor, core: slice | None = None) -> tuple[Tensor, Tensor]:
        """The pass that no tissue and no scale enters.

        Returns
        -------
        features : (N, 8, H, W), or their core
        pooled : (N, 8·width), the encoder's global average
        """
        self.check_size(images)
        skips = [self.layer0(self.conv1(images))]  # (N, w, H, W)
        skips.append(self.layer1(skips[-1]))  # (N, 2w, H/2, W/2)
        skips.append(self.layer2(skips[-1]))  # (N, 4w, H/4, W/4)
        skips.append(self.layer3(skips[-1]))  # (N, 8w, H/8, W/8)
        x = self.fusionConv(self.layer4(skips[-1]))  # (N, 8w, H/16, W/16)
        pooled = self.GAP(x).flatten(1)
        for block in (self.x8_resb, self.x4_resb, self.x2_resb, self.x1_resb):
            x = block(self.widen_add(x, skips.pop()))  # the last is the largest, and not held any longer
        if core is None:
            return self.precls_conv(x), pooled
        x = self.precls_conv[0](x)[:, :, core, core]  # the norm needs the whole window, what follows doesn't
        return self.precls_conv[1:](x), pooled

    def write_head(self, pooled: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """The 162 parameters of the head for each sample; float32 (N, 162).

        One-hot vectors only select columns of the controller, so the outer product of the papers
        (feature outermost, scale innermost) is never formed.
        """
        pooled = pooled.float()
        if self.scale_aware:
            layer = self.controller_trilinear
            table = layer.weight.float().view(sum(HEAD_SIZES), -1, len(TISSUES), len(SCALE_CODES))
            columns = table[:, :, tissue_ids, scale_ids]  # (162, 8w, N)
            return torch.einsum("ocn,nc->no", columns, pooled) + layer.bias.float()
        layer = self.controller
        table = layer.weight.float().flatten(1)  # (162, 8w + 6)
        split = pooled.shape[1]
        return pooled @ table[:, :split].T + table[:, split:].T[tissue_ids] + layer.bias.float()

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """See `Method.forward`."""
        features, pooled = self.encode(images)
        n, _, height, width = features.shape
        ids = [torch.as_tensor(values, device=images.device).long() for values in (tissue_ids, scale_ids)]
        w1, w2, w3, b1, b2, b3 = self._split_head(self.write_head(pooled, *ids))
        x = features.float().flatten(2)  # (N, 8, H·W)
        x = F.relu(torch.baddbmm(b1, w1, x))
        x = F.relu(torch.baddbmm(b2, w2, x))
        return torch.baddbmm(b3, w3, x).view(n, 2, height, width)

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`; one backbone pass and one product a layer, whatever the number of readings."""
        features, pooled = self.encode(images, core)
        n, _, height, width = features.shape
        r = len(readings)
        ids = torch.tensor(readings, device=images.device).repeat(n, 1).unbind(1)
        head = self._split_head(self.write_head(pooled.repeat_interleave(r, dim=0), *ids))
        w1, w2, w3, b1, b2, b3 = (part.unflatten(0, (n, r)) for part in head)
        # One reading's channels never enter another's: block-diagonal weights after the first layer.
        apart = torch.eye(r, device=images.device)
        w2 = torch.einsum("nroi,rs->nsiro", w2, apart).reshape(n, 8 * r, 8 * r)
        w3 = torch.einsum("nri,rs->nsir", w3[:, :, 1] - w3[:, :, 0], apart).reshape(n, 8 * r, r)
        x = features.float().permute(0, 2, 3, 1).flatten(1, 2)  # (N, pixels, 8)
        x = torch.baddbmm(b1.reshape(n, 1, -1), x, w1.flatten(1, 2).mT).relu_()
        x = torch.baddbmm(b2.reshape(n, 1, -1), x, w2).relu_()
        x = torch.baddbmm((b3[:, :, 1] - b3[:, :, 0]).reshape(n, 1, r), x, w3)
        return x.float().mT.unflatten(2, (height, width))  # autocast answers bfloat16

    @staticmethod
    def _split_head(parameters: Tensor) -> list[Tensor]:
        shapes = [(8, 8), (8, 8), (2, 8), (8, 1), (8, 1), (2, 1)]
        parts = parameters.split(HEAD_SIZES, dim=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
