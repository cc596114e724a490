"""What the configuration asks of each deconvolution: the reference's fit, and that of a second reference."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS = {
    "label_column": "cell_type",
    "leave_out": [],
    "cell_min": 25,
    "min_umi": 500,
    "min_genes": 250,
    "max_mt_percent": 50,
    "drop_edge": False,
    "min_common_genes": 1000,
    "min_common_share": 0.5,
    "methods": ["rctd", "nnls"],
    "mode": "full",
}


def list_fits(settings: Mapping) -> dict[str, dict]:
    """What `nephrospot.deconvolve.deconvolve_slide` is asked for with each reference.

    Conversions of the shares aren't among it: they come after the fit, and changing them fits nothing again.

    Parameters
    ----------
    settings
        From `nephrospot.settings.read_settings`.

    Returns
    -------
    dict
        ``first``, and ``second`` where there is a second reference: the keys of `DEFAULTS` and ``tissues``
        ({tissue: [cell types]}, without tissues that have none).
    """
    deconvolution = settings["deconvolution"]
    cell_types = {name: tissue["cell_types"] for name, tissue in settings["tissues"].items()}
    first = {key: deconvolution[key] for key in DEFAULTS}
    fits = {"first": first | {"tissues": _without_empty(cell_types)}}
    second = deconvolution["second"]
    if second["reference"]:
        own = {"label_column": second["label_column"], "leave_out": second["leave_out"], "methods": ["rctd"]}
        fits["second"] = first | own | {"tissues": _without_empty(cell_types | second["cell_types"])}
    return fits


def _without_empty(cell_types: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {tissue: types for tissue, types in cell_types.items() if types}
