"""Readings: which tissue is read at which magnification under which scale code."""

from __future__ import annotations

from dataclasses import dataclass

from nephrospot.mpp import magnification_to_mpp

STANDARD_MAGNIFICATIONS = (5.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True, order=True)
class Reading:
    """One tissue, the magnification at which its pixels are read, and the code told to the network.

    They differ on purpose: a mouse glomerulus at 20× is as large as a human one at 5×, so the paper
    reads mouse CAP at 20× under the 5× code (Omni-Seg, Table II).
    """

    tissue: str
    magnification: float
    scale_code: int


def list_readings(species: dict[str, dict], sweep_magnification: float | None = None) -> list[Reading]:
    """Readings of one species' table; a sweep reads every tissue at one magnification, codes unchanged."""
    return [
        Reading(tissue, float(sweep_magnification or reading["magnification"]), int(reading["scale_code"]))
        for tissue, reading in species.items()
    ]


def can_serve(slide_mpp: float, magnification: float, max_upsampling: float) -> bool:
    """Whether a slide's pixels are fine enough for a magnification."""
    return slide_mpp <= magnification_to_mpp(magnification) * max_upsampling


def split_readable(
    readings: list[Reading], slide_mpp: float, max_upsampling: float
) -> tuple[dict[float, list[Reading]], dict[str, str]]:
    """Group the readings that a slide can serve by magnification, and say why the others can't.

    Returns
    -------
    groups : {magnification: readings}
    refused : {tissue: reason}
    """
    groups: dict[float, list[Reading]] = {}
    refused: dict[str, str] = {}
    for reading in readings:
        if can_serve(slide_mpp, reading.magnification, max_upsampling):
            groups.setdefault(reading.magnification, []).append(reading)
        else:
            wanted = magnification_to_mpp(reading.magnification)
            refused[reading.tissue] = (
                f"read at {reading.magnification:g}× ({wanted:g} µm per pixel) but the slide has {slide_mpp:.3g}"
            )
    return groups, refused


def expand_sweep(methods: dict[str, dict], magnifications: list[float]) -> dict[str, dict]:
    """Add, for each network and magnification, a method that reads every tissue there (Table II's sweep).

    Returns
    -------
    The methods with entries such as "omni-seg@5x" after each network, with ``sweep_magnification`` set.
    """
    expanded: dict[str, dict] = {}
    for name, method in methods.items():
        expanded[name] = method
        if method.get("network"):
            for magnification in magnifications:
                expanded[f"{name}@{magnification:g}x"] = method | {
                    "label": f"{method['label']}, all at {magnification:g}×",
                    "published": None,
                    "sweep_magnification": magnification,
                }
    return expanded


def method_readings(method: dict, species: dict[str, dict], name: str) -> list[tuple[str, float, int]]:
    """Tissue, magnification and scale code of each reading of one method for the species ``name``.

    Plain tuples, since the workflow keeps them as a rule's parameter: a change of anything else in the
    configuration must not start the networks again. ``Reading(*values)`` makes them readings.
    """
    table = (method.get("species_readings") or {}).get(name) or species[name]
    return [(r.tissue, r.magnification, r.scale_code) for r in list_readings(table, method.get("sweep_magnification"))]
