"""The benchmark's network as a method of nephrospot, as a user's own network would be brought in."""

from __future__ import annotations

import numpy as np
from network import CLASSES
from torch import Tensor

from nephrospot.compiled import compile_loops
from nephrospot.models.method import Method
from nephrospot.models.unets import UNet


class ThreeTissues(Method):
    """A tissue is foreground where its output is the largest of the four."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def margins(self, images, readings, core=None) -> Tensor:
        """See `Method.margins`; the readings must be `network.TISSUES` in their order."""
        logits = self.network(images, core).float()
        margins = logits.new_empty(len(logits), CLASSES - 1, *logits.shape[2:])
        for own, out in zip(logits.numpy(), margins.numpy(), strict=True):
            lead(own, out)
        return margins[:, : len(readings)]


@compile_loops
def lead(logits: np.ndarray, margins: np.ndarray) -> None:
    """By how much each tissue's logit is above the largest of the others: nine passes over memory in plain torch.

    Parameters
    ----------
    logits : float32 (4, rows, columns)
    margins : float32 (3, rows, columns), written
    """
    for row in range(logits.shape[1]):
        for column in range(logits.shape[2]):
            z, a, b, c = (
                logits[0, row, column],
                logits[1, row, column],
                logits[2, row, column],
                logits[3, row, column],
            )
            margins[0, row, column] = a - max(z, b, c)
            margins[1, row, column] = b - max(z, a, c)
            margins[2, row, column] = c - max(z, a, b)
