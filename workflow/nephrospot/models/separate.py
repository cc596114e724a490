"""A network of its own for each tissue: the common answer to partial labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nephrospot.models.method import TISSUES, Method


class Separate(Method):
    """A network for each tissue; the scale code is ignored, since each network has one scale of its own.

    Parameters
    ----------
    networks
        By tissue; called as ``network(images, core)`` and answering logits (N, 2, H, W), or their core.
    """

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """See `Method.forward`."""
        self.check_size(images)
        tissue_ids = torch.as_tensor(tissue_ids, device=images.device).long()
        logits = images.new_empty((images.shape[0], 2, *images.shape[-2:]))
        for index in tissue_ids.unique().tolist():
            chosen = tissue_ids == index
            logits[chosen] = self.networks[TISSUES[index]](images[chosen], None).to(logits.dtype)
        return logits

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`."""
        self.check_size(images)
        logits = [self.networks[TISSUES[tissue]](images, core).float() for tissue, _ in readings]
        return torch.stack([both[:, 1] - both[:, 0] for both in logits], dim=1)
