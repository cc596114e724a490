"""Order and codes of the official task and scale vectors (Omni-Seg, folder names of the training data).

Apart from the networks, so that a step without one needn't load torch.
"""

from __future__ import annotations

TISSUES = ("DT", "PT", "CAP", "TUFT", "VES", "PTC")
SCALE_CODES = (5, 10, 20, 40)


def tissue_id(tissue: str) -> int:
    """Index of a tissue in the task vector: DT 0, PT 1, CAP 2, TUFT 3, VES 4, PTC 5."""
    return TISSUES.index(tissue)


def scale_id(scale_code: int) -> int:
    """Index of a scale code in the scale vector: 5× 0, 10× 1, 20× 2, 40× 3."""
    return SCALE_CODES.index(scale_code)
