"""Classes that share one soft-max, trained on patches with one labelled tissue.

What a label says of such a network: its pixels are the tissue, all others are something else, nobody says what. So
the probabilities of everything else are added up (Fang & Yan, IEEE TMI 2020: the target adaptive loss), which for
logits is their log-sum-exp.

Tissues read at different magnifications are never labelled together and still compete: that is the nature of
these methods.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nephrospot.models.loss import competing_loss
from nephrospot.models.method import TISSUES, Method, Place

# The channels of the soft-max. A glomerulus (CAP) contains its tuft, which classes that exclude each other
# can't say; so the channel CAP is the glomerulus without its tuft, and both together answer for CAP.
CLASSES = ("background", *TISSUES)
PARTS = {tissue: ("CAP", "TUFT") if tissue == "CAP" else (tissue,) for tissue in TISSUES}
OWN = torch.tensor([[name in PARTS[tissue] for name in CLASSES] for tissue in TISSUES])  # (tissues, classes)


def merge_classes(logits: Tensor, own: Tensor) -> Tensor:
    """Logits of "something else" and "the tissue", whose soft-max is that over all classes, added up.

    Parameters
    ----------
    logits : (N, classes, H, W)
    own : bool (N, classes) or (1, classes), the classes that the tissue is made of

    Returns
    -------
    at least float32 (N, 2, H, W)
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = own[:, :, None, None]
    return torch.stack([logits.masked_fill(mask, -torch.inf).logsumexp(dim=1) for mask in (own, ~own)], dim=1)


class Competing(Method):
    """A network with one soft-max over background and all tissues; the scale code is ignored.

    Subclasses define ``classify``.
    """

    def classify(self, images: Tensor, core: slice | None = None) -> Tensor:
        """Logits (N, 7, H, W) in the order of `CLASSES`, or their core, before any merging."""
        raise NotImplementedError

    def forward(self, images: Tensor, tissue_ids: Tensor, scale_ids: Tensor) -> Tensor:
        """See `Method.forward`."""
        tissue_ids = torch.as_tensor(tissue_ids, device=images.device).long()
        return merge_classes(self.classify(images), OWN.to(images.device)[tissue_ids])

    def margins(self, images: Tensor, readings: Sequence[tuple[int, int]], core: slice | None = None) -> Tensor:
        """See `Method.margins`; one pass, whatever the number of readings."""
        logits = self.classify(images, core)
        merged = [merge_classes(logits, OWN[tissue][None].to(images.device)) for tissue, _ in readings]
        return torch.stack([both[:, 1] - both[:, 0] for both in merged], dim=1)

    def foreground(
        self,
        images: Tensor,
        readings: Sequence[tuple[int, int]],
        places: Sequence[Place],
        core: slice | None = None,
    ) -> list[bool]:
        """See `Method.foreground`; in one pass over the logits, where the margins' logarithms take two a reading."""
        from nephrospot.models.bits import pack_shares  # which imports numba: who only trains needs none

        logits = self.classify(images, core).permute(0, 2, 3, 1).float().contiguous().numpy()
        own = OWN[[tissue for tissue, _ in readings]].numpy()
        return [pack_shares(some, own, *place) for some, place in zip(logits, places, strict=True)]

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """See `Method.loss`."""
        return competing_loss(logits, masks)
