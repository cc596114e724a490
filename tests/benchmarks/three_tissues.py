"""The benchmark's network as a method of nephrospot, as a user's own network would be brought in."""

from __future__ import annotations

import numpy as np

from nephrospot.compiled import compile_loops
from nephrospot.models.method import Method
from nephrospot.models.unets import UNet


class ThreeTissues(Method):
    """A tissue is foreground where its output is the largest of the four."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def foreground(self, images, readings, places, core=None) -> list[bool]:
        """See `Method.foreground`; the readings must be `network.TISSUES` in their order."""
        logits = self.network(images, core).numpy()
        return [pack_largest(own, *place) for own, place in zip(logits, places, strict=True)]


@compile_loops
def pack_largest(logits: np.ndarray, bits: np.ndarray, top: int, left: int) -> bool:
    """Bit r is set where the logit behind r is above all others; whether all are finite. In plain torch nine passes.

    Parameters
    ----------
    logits : float32 (4, rows, columns)
    bits : uint8, written from row ``top`` and column ``left`` on
    """
    broken = 0
    for row in range(logits.shape[1]):
        line0, line1, line2, line3 = logits[0, row], logits[1, row], logits[2, row], logits[3, row]
        out = bits[top + row, left : left + logits.shape[2]]
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
