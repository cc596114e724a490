"""Pseudo-labelled patches: pieces of a region with what the present method says about one tissue in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nephrospot.errors import InputError
from nephrospot.models import SCALE_CODES, Method, scale_id, tissue_id
from nephrospot.training.matching import Window, cut, grid_windows, lay_over, random_windows, windows_at
from nephrospot.training.patches import read_patch
from nephrospot.training.pseudo import predict_roi
from nephrospot.training.rois import read_roi
from nephrospot.training.semi_options import SemiOptions


@dataclass(frozen=True)
class PseudoPatch:
    """``image`` uint8 RGB (P, P, 3), ``mask`` uint8 0/1 (P, P), and what is asked for in them."""

    image: np.ndarray
    mask: np.ndarray
    tissue_id: int
    scale_id: int


@dataclass(frozen=True)
class _Candidate:
    """A window to cut, and the labelled patch (row of the table) that lies at ``place``, where there is one."""

    window: Window
    scale_id: int
    place: Window | None = None
    patch: tuple | None = None


def cut_patches(
    method: Method,
    roi: tuple,
    places: pd.DataFrame,
    patches: pd.DataFrame,
    readings: Mapping[str, tuple[int, float]],
    options: SemiOptions,
    window_px: int,
    rng: np.random.Generator,
) -> tuple[list[PseudoPatch], Counter]:
    """Pseudo-labelled patches of one region.

    Parameters
    ----------
    roi
        A row of `nephrospot.training.rois.list_rois`, as ``itertuples`` gives it.
    places
        Where labelled patches were found in this region (`nephrospot.training.matching.find_places`), for matching.
    patches
        The labelled patches that ``places`` names.
    readings
        See `nephrospot.training.pseudo.predict_roi`.
    rng
        Decides which of the possible windows are taken.

    Returns
    -------
    patches : list
        At most ``patches_per_roi`` a tissue.
    counts : Counter
        By "{tissue}: {what became of it}".
    """
    image, counts, made = read_roi(roi.image), Counter(), []
    masks = predict_roi(method, image, roi.mpp, readings, window_px)
    for tissue, (code, mpp) in readings.items():
        if tissue not in masks:
            counts[f"{tissue}: regions with pixels too coarse"] += 1
            continue
        wanted = options.patches_per_roi_ptc if tissue == "PTC" else options.patches_per_roi
        side, shape = window_px * mpp / roi.mpp, image.shape[:2]
        if options.strategy == "matching":
            candidates = _match(tissue, code, side, shape, roi, places, patches, options)
        elif options.strategy == "grid":
            candidates = [_Candidate(window, scale_id(code)) for window in grid_windows(shape, side)]
        else:
            candidates = [_Candidate(window, scale_id(code)) for window in random_windows(shape, side, wanted, rng)]
        if not candidates:
            counts[f"{tissue}: regions without a place to cut"] += 1
        taken = 0
        for index in rng.permutation(len(candidates)):
            candidate = candidates[index]
            mask = cut(masks[tissue], candidate.window, window_px)
            if candidate.place is not None:
                row = candidate.patch
                _, known = read_patch(row.image, row.mask, getattr(row, "side_px", 0))
                # What is labelled as its own tissue can't be another one.
                mask &= 1 - lay_over(known, candidate.place, candidate.window, window_px)
            if not mask.any() and not options.keep_empty:
                counts[f"{tissue}: empty windows"] += 1
                continue
            picture = cut(image, candidate.window, window_px)
            made.append(PseudoPatch(picture, mask, tissue_id(tissue), candidate.scale_id))
            counts[f"{tissue}: patches"] += 1
            taken += 1
            if taken == wanted:
                break
    return made, counts


def _match(tissue, code, side, shape, roi, places, patches, options) -> list[_Candidate]:
    """Windows where patches of other tissues lie; of its own tissue a labelled patch already says all."""
    candidates = []
    for found in places.itertuples():
        row = _row(patches, found.patch_index)
        if row.tissue == tissue:
            continue
        place = Window(found.left, found.top, found.side, found.score)
        if not options.own_scale:
            candidates.append(_Candidate(place, row.scale_id, place, row))
            continue
        # A patch found smaller than its nominal size shows smaller cells' worth: the window shrinks alike.
        zoom = place.side * roi.mpp / (_side_px(row) * row.mpp)
        windows = windows_at(place, side * zoom, shape)
        candidates += [_Candidate(window, scale_id(code), place, row) for window in windows]
    return candidates


def _row(patches: pd.DataFrame, index) -> tuple:
    return next(patches.loc[[index]].itertuples())


def _side_px(row: tuple) -> int:
    if getattr(row, "side_px", 0):
        return int(row.side_px)
    image, _ = read_patch(row.image, row.mask)
    return min(image.shape[:2])


def read_readings(patches: pd.DataFrame, tissues: tuple[str, ...]) -> dict[str, tuple[int, float]]:
    """Scale code and µm per pixel at which each tissue is read, as its labelled patches are shown.

    Raises
    ------
    InputError
        When no patch of a tissue is labelled, so that nothing could be predicted.
    """
    readings = {}
    for tissue in tissues:
        own = patches[patches["tissue"] == tissue]
        if not len(own):
            raise InputError(
                f"training → semi: no training patch of {tissue} is labelled, so its pseudo-labels would be noise; "
                "take it out of tissues, or label some."
            )
        readings[tissue] = (SCALE_CODES[int(own["scale_id"].iloc[0])], float(own["mpp"].median()))
    return readings
