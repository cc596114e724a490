"""Spots on trial: what r would be if they lay elsewhere (`shifts`), or were larger or smaller (`diameters`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nephrospot import diameters, shifts
from nephrospot.discs import make_coverage, measure_shifted
from nephrospot.files import read_json
from nephrospot.omezarr import open_masks

NAMES = ["method", "tissue", "reference"]


def try_spots(
    pairs: Mapping[str, pd.DataFrame],
    masks: Mapping[str, str | Path],
    mpp: float,
    diameter_um: float,
    seed: int,
) -> tuple[pd.DataFrame, list[dict], pd.DataFrame]:
    """Every comparison of every method of one slide under every trial.

    Parameters
    ----------
    pairs
        {method: `nephrospot.join.join_spots` of the slide}.
    masks
        {method: its masks.ome.zarr}.
    mpp
        µm per level-0 pixel.
    diameter_um
        Of the spots as they are.

    Returns
    -------
    shifted : DataFrame
        method, tissue, reference, dx_um, dy_um, n, r.
    peaks : list of dict
        method, tissue, reference, and `nephrospot.shifts.describe_peak`; none where there is no peak.
    resized : DataFrame
        method, tissue, reference, and the columns of `nephrospot.diameters.try_diameters`.
    """
    shifted, peaks, resized, moves = [], [], [], shifts.list_shifts()
    for method, joined in pairs.items():
        labels = open_masks(masks[method])
        complete = joined[joined["dropped"] == ""]
        for (tissue, reference), spots in complete.groupby(["tissue", "reference"], sort=False):
            named = {"method": method, "tissue": tissue, "reference": reference}
            # Positions are indices of pixels: the disc's centre is the middle of that pixel.
            place, observed = (spots[["x_px", "y_px"]].to_numpy() + 0.5) * mpp, spots["observed"].to_numpy()
            coverage = make_coverage(labels[tissue])
            percent = measure_shifted(coverage, *place.T, diameter_um, moves)
            table, peak = shifts.find_peak(place, percent, observed, moves, seed)
            shifted.append(_name(table, named))
            peaks += [named | shifts.describe_peak(peak)] if peak is not None else []
            resized.append(_name(diameters.try_diameters(coverage, place, observed, diameter_um), named))
    columns = [*NAMES, *shifts.COLUMNS], [*NAMES, *diameters.COLUMNS]
    shifted, resized = (
        pd.concat(tables) if tables else pd.DataFrame(columns=names)
        for tables, names in zip((shifted, resized), columns, strict=True)
    )
    return shifted, peaks, resized


def describe_trials(slide: str, peaks: list[dict], resized: pd.DataFrame) -> dict:
    """What `try_spots` found beside r of every shift, for trials.json."""
    return {"slide": slide, "peaks": peaks, "diameters": resized.to_dict("records")}


def read_trials(path: str | Path) -> tuple[list[dict], pd.DataFrame]:
    """``peaks`` and ``resized`` of `try_spots` from a slide's trials.json."""
    told = read_json(path)
    resized = pd.DataFrame(told["diameters"], columns=[*NAMES, *diameters.COLUMNS])
    return told["peaks"], resized.astype(dict.fromkeys(diameters.COLUMNS, float))


def _name(table: pd.DataFrame, named: Mapping[str, str]) -> pd.DataFrame:
    return table.assign(**named)[[*NAMES, *table.columns]]
