"""What the rest of a cohort will cost: by tissue and spots, at the rate of the slides done, else of the network."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nephrospot.errors import InputError
from nephrospot.files import list_paths, read_json
from nephrospot.mpp import magnification_to_mpp
from nephrospot.readings import Reading, split_readable

CORE_MACS_A_SECOND = 30e9  # of one core in fp32 with a network's overheads (docs/performance.md: 20 to 63e9)
HOUR = 3600.0


@dataclass(frozen=True)
class Cost:
    """What a job took.

    Attributes
    ----------
    seconds : float
        On the clock.
    cpu_seconds : float
        Of processor time; NaN where Snakemake couldn't see any, as for jobs of a few seconds.
    gpu : bool
        Whether a GPU was held meanwhile.
    """

    seconds: float
    cpu_seconds: float
    gpu: bool


def read_cost(benchmark: str | Path, summary: str | Path | None = None) -> Cost | None:
    """The cost of a finished job from Snakemake's benchmark; None where there is none.

    Parameters
    ----------
    summary
        predict.json of the job, whose ``device`` says whether a GPU was used.
    """
    try:
        with Path(benchmark).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        seconds = sum(float(row["s"]) for row in rows)
        cpu_seconds = sum(_number(row.get("cpu_time")) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or half-written by a job that runs
    gpu = summary is not None and Path(summary).exists() and read_json(summary).get("device", "cpu") != "cpu"
    return Cost(seconds, cpu_seconds, gpu) if rows else None


def _number(text: str | None) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def work_per_mm2(
    network: str, weights: str | Sequence[str], readings: Sequence[tuple], mpp: float, options: Mapping
) -> float:
    """Multiply–accumulates of a method for each mm² of tissue on a slide of this resolution.

    Parameters
    ----------
    readings
        Tissue, magnification and scale code, one tuple a tissue.
    options
        ``window_px, halo_px, shifts, mode, max_upsampling, flips`` of the method.

    Returns
    -------
    float
        NaN where it isn't known: for the mode omniseg-official, and for weights that can't be read.
    """
    from nephrospot.scheme import make_scheme  # numpy

    if options["mode"] == "omniseg-official":
        return math.nan
    groups, _ = split_readable([Reading(*reading) for reading in readings], mpp, options["max_upsampling"])
    scheme = make_scheme(options["mode"], options["window_px"], options["halo_px"], options["shifts"])
    paths, total = list_paths(weights), 0.0
    for magnification, group in groups.items():
        step_um = scheme.stride_px * magnification_to_mpp(magnification)
        windows = len(scheme.phases) * 1e6 / step_um**2
        tissues = tuple(sorted(reading.tissue for reading in group))
        total += windows * _count_window(network, paths[0], tissues, scheme.window_px)
    return total * len(paths) * (4 if options["flips"] else 1)


@cache
def _count_window(network: str, weights: str, tissues: tuple[str, ...], window_px: int) -> float:
    # Imported here: torch takes seconds, and is needed only where no slide is done yet.
    from nephrospot.cost import build_shapes, count_macs
    from nephrospot.models.weights import read_card

    try:
        return float(count_macs(build_shapes(network, **read_card(weights).get("options", {})), tissues, window_px))
    except (InputError, TypeError, ValueError, RuntimeError):
        return math.nan


def tell_hours(seconds: float) -> str:
    """Hours with two digits that matter, "–" where they aren't known."""
    if not math.isfinite(seconds):
        return "–"
    hours = seconds / HOUR
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"
