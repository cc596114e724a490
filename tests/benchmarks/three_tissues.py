"""The benchmark's network as a method of nephrospot, as a user's own network would be brought in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nephrospot.compiled import compile_loops
from nephrospot.models.method import Method
from nephrospot.models.unets import UNet


class ThreeTissues(Method):
    """A tissue is foreground where its output is the largest of the four."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def foreground(self, images, readings, core=None) -> tuple[Tensor, list[bool]]:
        """See `Method.foreground`; the readings must be `network.TISSUES` in their order."""
        logits = self.network(images, core)
        bits = torch.empty(len(logits), *logits.shape[2:], dtype=torch.uint8)
        finite = [pack_largest(own, out) for own, out in zip(logits.numpy(), bits.numpy(), strict=True)]
        return bits, finite


@compile_loops
def pack_largest(logits: np.ndarray, bits: np.ndarray) -> bool:
    """Bit r is set where the logit behind r is above all others; whether all are finite. In plain torch nine passes.

    Parameters
    ----------
    logits : float32 (4, rows, columns)
    bits : uint8 (rows, columns), written
    """
    broken = 0
    for row in range(bits.shape[0]):
        line0, line1, line2, line3, out = logits[0, row], logits[1, row], logits[2, row], logits[3, row], bits[row]
        for column in range(out.size):
            z, a, b, c = line0[column], line1[column], line2[column], line3[column]
            sum_of_all = z + a + b + c
            broken += sum_of_all - sum_of_all != 0
            out[column] = (
                np.uint8(a > max(z, max(b, c)))
                | np.uint8(b > max(z, max(a, c))) << 1
                | np.uint8(c > max(z, max(a, b))) << 2
            )
    return broken == 0
