"""masks.ome.zarr → GeoJSON as QuPath 0.6 reads it, object by object."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
import zarr

from nephrospot.components import find_components
from nephrospot.files import whole
from nephrospot.omezarr import list_labels, open_masks, open_plane, read_place
from nephrospot.outlines import list_batches

MAX_ANNOTATIONS = 200_000  # beyond it QuPath becomes slow with annotations; detections are lighter
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "nephrospot")


def write_geojson(
    path: str | Path,
    masks_path: str | Path,
    slide_mpp: float,
    colours: dict[str, str],
    names: dict[str, str],
    key: str,
) -> dict[str, int]:
    """Write the outlines of every object of every tissue as a gzipped FeatureCollection.

    Parameters
    ----------
    path
        Such as ``masks.geojson.gz``. Same masks, same bytes.
    masks_path
        ``masks.ome.zarr``; the merged label is left out.
    slide_mpp
        µm per level-0 pixel; the coordinates are level-0 pixels, from the outer corner of the first one.
    colours, names
        "#rrggbb" and plain name of each tissue.
    key
        What tells the objects from other slides' and methods', such as "K1/omni-seg"; their ids follow from it.

    Returns
    -------
    {tissue: number of objects}

    Raises
    ------
    InputError
        When the masks aren't an OME-Zarr with labels, or the disk is full.

    Notes
    -----
    Keys as QuPath's own export has them since version 0.4: a UUID as ``id``, ``objectType``, ``name``,
    ``classification`` with name and colour, and ``measurements`` as name and number.
    """
    labels = open_masks(masks_path)
    counts: dict[str, int] = {}
    # No time and no file name in gzip's header, so that the bytes depend on the masks alone.
    with (
        whole(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file,
    ):
        file.write(b'{"type":"FeatureCollection","features":[')
        between = b"\n"
        for tissue in list_labels(labels):
            counts[tissue] = 0
            colour, name = colours.get(tissue, "#ffff00"), names.get(tissue, tissue)
            for feature in _list_features(labels[tissue], slide_mpp, tissue, colour, name, key):
                file.write(between + feature.encode())
                between = b",\n"
                counts[tissue] += 1
        file.write(b"\n]}\n")
    return counts


def _list_features(label: zarr.Group, slide_mpp: float, tissue: str, colour: str, name: str, key: str) -> Iterator[str]:
    array = open_plane(label)
    mpp, corner = read_place(label)
    source = (array.shape, mpp[0], lambda rows, columns: array[rows, columns])
    components = find_components(source)
    scale, shift = (np.array(pair[::-1]) / slide_mpp for pair in (mpp, corner))  # x, y
    what = {
        "objectType": "annotation" if len(components) <= MAX_ANNOTATIONS else "detection",
        "classification": {"name": tissue, "color": [int(colour[i : i + 2], 16) for i in (1, 3, 5)]},
    }
    for ids, polygons in list_batches(source, components):
        areas_um2 = (components.area_px[ids] * (mpp[0] * mpp[1])).round(2)
        for index, area_um2, geometry in zip(
            ids.tolist(), areas_um2.tolist(), _place(polygons, scale, shift), strict=True
        ):
            own = {"name": f"{name} {index}", "measurements": {"area_um2": area_um2}}
            properties = json.dumps({**what, **own}, ensure_ascii=False, separators=(",", ":"))
            identity = uuid.uuid5(NAMESPACE, f"{key}/{tissue}/{index}")
            yield f'{{"type":"Feature","id":"{identity}","geometry":{geometry},"properties":{properties}}}'


def _place(polygons: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """GeoJSON of polygons in mask pixels, in level-0 pixels."""
    exact = shapely.transform(polygons, lambda points: points * scale + shift)
    decimals = 2 if min(scale) < 4 else 1  # some hundredths of the mask's pixels
    rounded = shapely.transform(exact, lambda points: points.round(decimals))
    # A rounded corner can cross another side of a narrow place: such an outline keeps its digits.
    return shapely.to_geojson(np.where(shapely.is_valid(rounded), rounded, exact))
