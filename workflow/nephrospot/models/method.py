"""What every segmentation method has in common: tissues, scale codes, and one way to be called.

A method is a torch module. It is trained through ``forward`` (one tissue and one scale code for
each image) and ``loss``, and read through ``margins`` (all tissues of a magnification from one pass), or
``foreground``, which are their signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nephrospot.models.loss import segmentation_loss
from nephrospot.tissue_codes import SCALE_CODES, TISSUES, scale_id, tissue_id

__all__ = ["SCALE_CODES", "TISSUES", "Method", "Place", "scale_id", "tissue_id"]


class Place(NamedTuple):
    """Where an image's bits are written: into ``bits``, uint8 in C order, from row ``top`` and column ``left`` on."""

    bits: np.ndarray
    top: int = 0
    left: int = 0


class Method(nn.Module):
    """Base of all methods.

    Subclasses define ``forward``; where one pass can serve several tissues, ``margins``; where classes compete,
    ``loss``.
    ``stride`` is the number that the image's height and width must be a multiple of; ``tissues`` are those that it
    can be asked for.
    """

    stride = 16
    tissues: tuple[str, ...] = TISSUES

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """Logits of background and foreground.

        Parameters
        ----------
        images : float (N, 3, H, W), RGB in 0..1
        tissue_ids, scale_ids : integers (N,), what to look for in each image and at which scale code

        Returns
        -------
        float (N, 2, H, W)
        """
        raise NotImplementedError

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """Foreground minus background logit for several (tissue id, scale id) on the same images.

        Parameters
        ----------
        core
            The rows, and the same columns, that are asked for; by default all. Methods skip what only the others
            need, and answer exactly what they answer without it.

        Returns
        -------
        float32 (N, len(readings), H, W) or its core; above zero where arg-max says foreground.
        """
        core = core or slice(None)
        n = images.shape[0]
        margins = []
        for tissue, scale in readings:
            ids = [torch.full((n,), value, device=images.device) for value in (tissue, scale)]
            logits = self(images, *ids).float()
            margins.append((logits[:, 1] - logits[:, 0])[:, core, core])
        return torch.stack(margins, dim=1)

    def foreground(
        self,
        images: Tensor,
        readings: Sequence[tuple[int, int]],
        places: Sequence[Place],
        core: slice | None = None,
    ) -> list[bool]:
        """Write where `margins` are above zero, on a CPU; methods that know it without them say it themselves.

        Parameters
        ----------
        images, readings, core
            As for `margins`; at most eight readings.
        places
            One for each image, for H × W bytes or the core's: bit r of a byte is set where the r-th reading's margin
            is above zero.

        Returns
        -------
        list of bool
            Whether all numbers that an image's bits come from are finite.
        """
        from nephrospot.models.bits import pack_signs  # which imports numba: who only trains needs none

        margins = self.margins(images, readings, core).numpy()
        return [pack_signs(own, *place) for own, place in zip(margins, places, strict=True)]

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """What is minimised: logits (N, 2, H, W) against 0/1 masks (N, H, W) of the one labelled tissue; a scalar."""
        return segmentation_loss(logits, masks)

    def check_size(self, images: Tensor) -> None:
        """Raise ValueError where height or width isn't a multiple of ``stride``."""
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"image of {height}×{width} px: both must be multiples of {self.stride}.")
