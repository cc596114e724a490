"""What a method costs: parameters, multiply–accumulates and seconds a patch (Fig. 4 of Omni-Seg's MIDL paper)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from nephrospot.files import whole
from nephrospot.models import TISSUES, Method, build, build_shapes, scale_id, tissue_id
from nephrospot.models.weights import load_weights

# Each tissue's scale code in the published data: what the counts assume, and no network's cost depends on.
PUBLISHED_CODES = {"DT": 10, "PT": 10, "CAP": 5, "TUFT": 5, "VES": 10, "PTC": 40}
PATCH_PX = 256
GRADIENT_PX = 64
ALL = "all"
COLUMNS = [
    "method", "network", "tissue", "parameters", "parameters_used", "patch_px", "macs", "seconds", "device", "threads",
]  # fmt: skip


def list_readings(tissues: Sequence[str]) -> list[tuple[int, int]]:
    """(tissue id, scale id) of tissues at their published scale codes, as `Method.margins` takes them."""
    return [(tissue_id(tissue), scale_id(PUBLISHED_CODES[tissue])) for tissue in tissues]


def count_parameters(method: Method, tissues: Sequence[str] = (), side_px: int = GRADIENT_PX) -> int:
    """Numbers that training can change.

    Parameters
    ----------
    tissues
        Count the tensors that these tissues' margins depend on (those with a gradient); by default all there are. A
        tensor that is used in part, such as the columns of Omni-Seg's controller, counts as a whole.
    side_px
        Of the image that the gradient is taken with; no count depends on it.
    """
    parameters = list(method.parameters())
    if not tissues:
        return sum(tensor.numel() for tensor in parameters)
    with torch.enable_grad():
        total = method.margins(_blank(method, side_px), list_readings(tissues)).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return sum(tensor.numel() for tensor, gradient in pairs if gradient is not None)


def count_macs(method: Method, tissues: Sequence[str], side_px: int = PATCH_PX) -> int:
    """Multiply–accumulates of one pass over one image for some tissues.

    Convolutions and matrix products are counted, as torch carries them out; norms, activations, pooling and resizing
    aren't. Half of what `torch.utils.flop_counter` counts.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        method.margins(_blank(method, side_px), list_readings(tissues))
    return counter.get_total_flops() // 2


@torch.inference_mode()
def measure_seconds(method: Method, tissues: Sequence[str], side_px: int = PATCH_PX, repeats: int = 5) -> float:
    """Median seconds of one pass over one image for some tissues, on the method's device, after a first one.

    Numbers of a machine that does other work meanwhile are too high.
    """
    image, readings = _blank(method, side_px), list_readings(tissues)
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        method.margins(image, readings)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def list_costs(
    methods_config: Mapping[str, Mapping],
    repeats: int = 0,
    device: str = "cpu",
    side_px: int = PATCH_PX,
) -> pd.DataFrame:
    """Parameters, multiply–accumulates and seconds of each method, for every tissue alone and for all at once.

    Parameters
    ----------
    methods_config
        {method: {"network": name of `nephrospot.models.NETWORKS`, "options": keyword arguments, if any, "weights": a
        file whose card has them instead, if any}}. Methods without a network, such as masks made elsewhere, are left
        out.
    repeats
        Passes to take the time of; 0 measures no seconds, and no tensor has content then.
    device
        Where they are measured, such as "cpu" or "cuda".
    side_px
        Width and height of the patch.

    Returns
    -------
    DataFrame
        `COLUMNS`: a row a method and tissue, and one with tissue "all"; ``parameters`` of the whole method,
        ``parameters_used`` of those that this tissue needs, ``macs`` a patch, ``seconds`` (NaN where not measured).

    Raises
    ------
    InputError
        For an unknown network.
    """
    rows = []
    for name, settings in methods_config.items():
        network, options = settings.get("network"), settings.get("options") or {}
        if settings.get("weights"):
            options = load_weights(network, settings["weights"])[1].get("options", {})
        if not network:
            continue
        method = build(network, **options).eval().to(device) if repeats else build_shapes(network, **options)
        parameters = count_parameters(method)
        for tissue, tissues in [*((tissue, [tissue]) for tissue in TISSUES), (ALL, list(TISSUES))]:
            rows.append(
                {
                    "method": name,
                    "network": network,
                    "tissue": tissue,
                    "parameters": parameters,
                    "parameters_used": count_parameters(method, tissues),
                    "patch_px": side_px,
                    "macs": count_macs(method, tissues, side_px),
                    "seconds": measure_seconds(method, tissues, side_px, repeats) if repeats else np.nan,
                    "device": device if repeats else "",
                    "threads": torch.get_num_threads() if repeats and device == "cpu" else 0,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def write_costs(costs: pd.DataFrame, path: str | Path) -> None:
    """Write the table of `list_costs` as tab-separated text."""
    with whole(path) as temporary:
        costs.to_csv(temporary, sep="\t", index=False, na_rep="nan", float_format="%.4g", lineterminator="\n")


def _blank(method: Method, side_px: int) -> torch.Tensor:
    return torch.zeros(1, 3, side_px, side_px, device=next(method.parameters()).device)
