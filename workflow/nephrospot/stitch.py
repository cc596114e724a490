"""Predicted bits or drop-in masks → one multi-scale OME-Zarr with a label for each tissue, and a merged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from nephrospot.files import whole
from nephrospot.omezarr import (
    add_metadata,
    blocks,
    count_levels,
    create_plane,
    create_root,
    majority,
    mean,
    nearest,
    write_multiscale,
)
from nephrospot.slide import Slide
from nephrospot.sources import MaskSource, resample_mask
from nephrospot.tissue_codes import TISSUES

OVERVIEW_MPP = 4.0


def open_predicted(path: str | Path) -> dict[str, MaskSource]:
    """The tissues in a group written by `nephrospot.infer.predict_slide`."""
    sources: dict[str, MaskSource] = {}
    for _, array in sorted(zarr.open_group(str(path), mode="r").arrays()):
        for bit, tissue in enumerate(array.attrs["tissues"]):

            def read(rows: slice, columns: slice, array=array, bit=bit) -> np.ndarray:
                return (array[rows, columns] >> bit) & 1

            sources[tissue] = (array.shape, float(array.attrs["mpp"]), read)
    return sources


def write_masks(
    output: str | Path,
    sources: dict[str, MaskSource],
    slide: Slide,
    slide_mpp: float,
    colours: dict[str, str],
    merged_mpp: float = 1.0,
    conflict_rule: str = "paper",
    ngff: str = "0.5",
    cleaned: dict[str, dict] | None = None,
) -> None:
    """Write ``masks.ome.zarr``: an overview of the slide, ``labels/{tissue}`` and ``labels/merged``.

    Parameters
    ----------
    sources
        Mask of each tissue at its own µm per pixel.
    colours
        "#rrggbb" of each tissue, for viewers.
    merged_mpp
        µm per pixel of the merged label, whose values are 0 background and 1…6 for DT, PT, CAP, TUFT, VES, PTC.
    conflict_rule
        See `merge_tissues`.
    ngff
        Version of OME-Zarr: "0.5", or "0.4" for QuPath and Bio-Formats. The pixels are the same.
    cleaned
        What `nephrospot.postprocess.clean_masks` did to each tissue: the attribute ``postprocess`` of its label.
    """
    ordered = sorted(sources, key=lambda tissue: (TISSUES.index(tissue) if tissue in TISSUES else 99, tissue))
    merged_shape = tuple(max(1, round(size * slide_mpp / merged_mpp)) for size in (slide.height_px, slide.width_px))
    levels = count_levels(max(side for shape, _, _ in sources.values() for side in (*shape, *merged_shape)))
    with whole(output) as temporary:
        root = create_root(temporary, ngff)
        _write_overview(root, slide, slide_mpp, levels)
        labels = root.create_group("labels")
        for tissue in ordered:
            shape, mpp, read = sources[tissue]
            group = labels.create_group(tissue)
            plane = create_plane(group, "0", shape)
            for rows, columns in blocks(shape):
                plane[rows, columns] = read(rows, columns)
            add_metadata(group, image_label=_describe({1: colours.get(tissue, "#ffff00")}))
            if cleaned and tissue in cleaned:
                group.attrs["postprocess"] = cleaned[tissue]
            write_multiscale(group, plane, mpp, majority, tissue, levels)
        _write_merged(labels, sources, merged_shape, colours, merged_mpp, conflict_rule, levels)
        add_metadata(labels, labels=[*ordered, "merged"])


def merge_tissues(planes: dict[str, np.ndarray], rule: str) -> np.ndarray:
    """One label a pixel from overlapping masks.

    Parameters
    ----------
    planes : {tissue: 0/1 array}, all of one shape; tissues beyond the six are left out
    rule
        "paper": tuft over capsule, and any other pixel of several tissues becomes background
        (MIDL 2022, Fig. 5). "official": the first of DT, PT, glomerulus, VES, PTC wins, and tuft
        counts inside the glomerulus only (arg-max with ties to the lowest index, official step 3).

    Returns
    -------
    uint8, 0 background, 1 + index in DT, PT, CAP, TUFT, VES, PTC
    """
    shape = next(iter(planes.values())).shape
    found = {t: planes[t].astype(bool) if t in planes else np.zeros(shape, bool) for t in TISSUES}
    tuft, glomerulus = found["TUFT"], found["CAP"] | found["TUFT"]
    competing = {"DT": found["DT"], "PT": found["PT"], "CAP": glomerulus, "VES": found["VES"], "PTC": found["PTC"]}
    merged = np.zeros(shape, np.uint8)
    for tissue in reversed(competing):  # the first is painted last and so wins
        merged[competing[tissue]] = TISSUES.index(tissue) + 1
    if rule == "paper":
        merged[np.sum(list(competing.values()), axis=0) > 1] = 0
    merged[(merged == TISSUES.index("CAP") + 1) & tuft] = TISSUES.index("TUFT") + 1
    return merged


def _write_merged(labels, sources, shape, colours, mpp, rule, levels) -> None:
    group = labels.create_group("merged")
    plane = create_plane(group, "0", shape)
    for rows, columns in blocks(shape):
        block = (rows.stop - rows.start, columns.stop - columns.start)
        planes = {"CAP": np.zeros(block, np.uint8)}
        planes |= {t: resample_mask(source, rows, columns, mpp) for t, source in sources.items() if t in TISSUES}
        plane[rows, columns] = merge_tissues(planes, rule)
    values = {TISSUES.index(t) + 1: colours.get(t, "#ffff00") for t in TISSUES}
    add_metadata(group, image_label=_describe(values))
    group.attrs["values"] = {t: TISSUES.index(t) + 1 for t in TISSUES}
    group.attrs["conflict_rule"] = rule
    write_multiscale(group, plane, mpp, nearest, "merged", levels)


def _write_overview(root: zarr.Group, slide: Slide, slide_mpp: float, levels: int) -> None:
    mpp = max(OVERVIEW_MPP, slide_mpp)
    picture = np.moveaxis(slide.read_overview(slide_mpp, mpp), -1, 0)
    plane = create_plane(root, "0", picture.shape)
    plane[:] = picture
    write_multiscale(root, plane, mpp, mean, "overview", levels)


def _describe(colours: dict[int, str]) -> dict:
    def rgba(colour: str) -> list[int]:
        return [int(colour[i : i + 2], 16) for i in (1, 3, 5)] + [255]

    return {
        "colors": [{"label-value": value, "rgba": rgba(colour)} for value, colour in colours.items()],
        "source": {"image": "../../"},
    }
