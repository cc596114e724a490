"""Segmentation methods by name: ``build`` makes one, ``load`` fills it with weights, ``save`` writes them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nephrospot.errors import InputError, did_you_mean
from nephrospot.models.deeplab import MultiDeepLab
from nephrospot.models.kpis import FPNMiT, UNetPPResNeSt
from nephrospot.models.med3d import Med3D
from nephrospot.models.method import SCALE_CODES, TISSUES, Method, Place, scale_id, tissue_id
from nephrospot.models.multiclass import MultiClass
from nephrospot.models.multikidney import MultiKidney
from nephrospot.models.omniseg import OmniSeg
from nephrospot.models.resunets import MultiResUNet
from nephrospot.models.tal import TAL
from nephrospot.models.unets import MultiUNet

NETWORKS: dict[str, Callable[..., Method]] = {
    "omni-seg": lambda **options: OmniSeg(scale_aware=True, **options),
    "omni-seg-class": lambda **options: OmniSeg(scale_aware=False, **options),
    "multi-unet": MultiUNet,
    "multi-deeplab": MultiDeepLab,
    "multi-resunet": MultiResUNet,
    "tal": TAL,
    "med3d": Med3D,
    "multi-class": MultiClass,
    "multi-kidney": MultiKidney,
    # The KPIs challenge paper's two, with the optional extra "kpis".
    "kpis-fpn": FPNMiT,
    "kpis-unetpp": UNetPPResNeSt,
}

__all__ = ["NETWORKS", "SCALE_CODES", "TISSUES", "Method", "Place", "build", "build_shapes", "scale_id", "tissue_id"]


def build(network: str, **options) -> Method:
    """Make a method with fresh weights.

    Parameters
    ----------
    network
        A key of ``NETWORKS``: "omni-seg" (scale-aware), "omni-seg-class" (class-aware), "multi-unet", …
    options
        ``width`` (channels of the first stage) makes a small version.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if network not in NETWORKS:
        raise InputError(f"network {network!r} is unknown; {did_you_mean(network, NETWORKS)}")
    return NETWORKS[network](**options)


def build_shapes(network: str, **options) -> Method:
    """A method whose tensors have shapes and no content (torch's device "meta"): counting takes no memory or time."""
    with torch.device("meta"):
        return build(network, **options).eval()
