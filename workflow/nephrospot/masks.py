"""Drop-in masks: another tool's, or a pathologist's, enter as a method of their own.

Two forms: one image a tissue that covers the whole slide (a path with ``{tissue}``, non-zero is tissue), or
GeoJSON in level-0 pixels with the tissue as classification name, as QuPath writes it.
"""

from __future__ import annotations

import glob
import re
import zlib
from pathlib import Path

import numpy as np
import shapely

from nephrospot.errors import InputError, Problems, tell_cause
from nephrospot.files import parse_json, unpack
from nephrospot.outlines import fill_polygons
from nephrospot.pictures import read_picture
from nephrospot.slide import Slide, open_slide
from nephrospot.sources import MaskSource

MAX_GEOJSON_BYTES = 1 << 30
ASPECT_TOLERANCE = 0.01
# Labels are folders of the store: no name may lead out of it, or stand for something else in it.
CLASS = re.compile(r"(?![. ]|__)[^/\\\\]{1,100}(?<! )")
TAKEN = {"merged", "zarr.json"}
# Of gzip, JSON, of what isn't there or isn't what it should be, and of geometries.
GEOJSON_ERRORS = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error,
    shapely.errors.ShapelyError,
)  # fmt: skip


def open_drop_in(template: str, slide_name: str, slide: Slide, slide_mpp: float) -> dict[str, MaskSource]:
    """The masks that a template such as ``expert/{slide}/{tissue}.png`` names for one slide.

    Returns
    -------
    {tissue: (shape, µm per pixel, reader of 0/1 blocks)}, as `nephrospot.stitch.write_masks` takes them

    Raises
    ------
    InputError
        When there is no such file, one can't be read, or its shape isn't the slide's.
    """
    path = template.replace("{slide}", slide_name)
    if re.search(r"\.(geo)?json(\.gz)?$", path):
        return _open_geojson(Path(path), slide, slide_mpp)
    problems = Problems()
    found = {tissue: file for tissue, file in _list_images(path)}
    if not found:
        raise InputError(
            f"{path}: no mask matches; methods → masks wants one image a tissue, such as "
            "masks/{slide}/{tissue}.png, or a GeoJSON file."
        )
    sources = {t: problems.catch(_open_image, file, slide, slide_mpp) for t, file in sorted(found.items())}
    problems.raise_if_any()
    return sources


def _list_images(path: str) -> list[tuple[str, Path]]:
    before, after = path.split("{tissue}", 1) if "{tissue}" in path else (path, "")
    pattern = glob.escape(before) + "*" + glob.escape(after)
    names = re.compile(re.escape(before) + r"([A-Za-z0-9_-]+)" + re.escape(after) + "$")
    return [(match[1], Path(file)) for file in glob.glob(pattern) if (match := names.match(file))]  # noqa: PTH207


def _open_image(path: Path, slide: Slide, slide_mpp: float) -> MaskSource:
    if path.suffix.lower() in (".tif", ".tiff"):
        image = open_slide(path)
        shape = (image.height_px, image.width_px)

        def read(rows: slice, columns: slice) -> np.ndarray:
            block = image.read_window(
                columns.start, rows.start, 1, columns.stop - columns.start, rows.stop - rows.start
            )
            return block.any(axis=2).astype(np.uint8)

    else:
        pixels = _read_png(path)
        shape = pixels.shape

        def read(rows: slice, columns: slice) -> np.ndarray:
            return pixels[rows, columns]

    ratios = slide.width_px / shape[1], slide.height_px / shape[0]
    if abs(ratios[0] / ratios[1] - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{path}: the mask is {shape[1]} × {shape[0]} px and the slide {slide.width_px} × {slide.height_px}, "
            "which isn't the same picture at another size; export the mask of the whole slide."
        )
    return shape, slide_mpp * sum(ratios) / 2, read


def _read_png(path: Path) -> np.ndarray:
    """0/1 pixels of a PNG or the like."""
    pixels = read_picture(path)
    if pixels.ndim == 3:  # colour; an alpha channel says nothing about the tissue
        pixels = pixels[..., :3].any(axis=2)
    return (pixels > 0).view(np.uint8)


def _open_geojson(path: Path, slide: Slide, slide_mpp: float) -> dict[str, MaskSource]:
    try:
        content = parse_json(unpack(path, MAX_GEOJSON_BYTES))
        features = content["features"] if isinstance(content, dict) else content
        outlines: dict[str, list[shapely.Geometry]] = {}
        for feature in features:
            tissue = feature["properties"]["classification"]["name"]
            outlines.setdefault(tissue, []).append(shapely.make_valid(shapely.geometry.shape(feature["geometry"])))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; correct methods → masks.") from error
    except GEOJSON_ERRORS as error:
        raise InputError(
            f"{path}: this isn't GeoJSON with a classification name on every feature "
            f"({type(error).__name__}: {tell_cause(error)}); export the annotations from QuPath as a FeatureCollection."
        ) from error
    for tissue in outlines:
        if not isinstance(tissue, str) or not CLASS.fullmatch(tissue) or tissue in TAKEN or not tissue.isprintable():
            raise InputError(
                f"{path}: the classification name {tissue!r} can't name a label; rename it in QuPath as the tissues "
                "are named in the configuration, such as CAP."
            )
    if not outlines:
        raise InputError(f"{path}: there is no annotation in it; leave the slide out of this method or annotate it.")
    # Finer than half a micrometre an annotation's outline means nothing.
    mpp = max(slide_mpp, 0.5)
    shape = tuple(max(1, round(size * slide_mpp / mpp)) for size in (slide.height_px, slide.width_px))
    return {
        tissue: (shape, mpp, _paint_polygons(geometries, mpp / slide_mpp)) for tissue, geometries in outlines.items()
    }


def _paint_polygons(geometries: list[shapely.Geometry], scale: float):
    parts = [p for g in geometries for p in shapely.get_parts(g) if p.geom_type in ("Polygon", "MultiPolygon")]
    polygons = shapely.get_parts(np.array(parts, dtype=object)) if parts else np.array([], dtype=object)
    polygons = shapely.transform(polygons, lambda points: points / scale)
    tree = shapely.STRtree(polygons)

    def read(rows: slice, columns: slice) -> np.ndarray:
        near = tree.query(shapely.box(columns.start, rows.start, columns.stop, rows.stop))
        return fill_polygons(polygons[np.sort(near)], rows, columns)

    return read
