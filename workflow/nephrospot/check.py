"""One slide's inputs against one another, before any work: its facts, and every problem at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nephrospot.barcodes import read_count_barcodes
from nephrospot.check_registration import check_registration
from nephrospot.errors import InputError, Problems
from nephrospot.files import read_json
from nephrospot.mpp import resolve_mpp
from nephrospot.registration import slide_transform
from nephrospot.slide import Slide, open_slide
from nephrospot.tissue import measure_tissue
from nephrospot.visium import VisiumGrid, read_positions

MIN_COUNTED_SHARE = 0.1  # of the spots on tissue; fewer with counts means another slide's matrix
LARGEST_MM2 = 40_000.0  # 200 × 200 mm, more than the largest glass slide
PLAIN = ("slide", "image", "visium", "species")


def check_slide(row: Mapping, registration: dict) -> dict:
    """Check the slide and the Visium folder of one row against one another.

    The scores are left to `nephrospot.judge`, so that editing them doesn't start the slide's masks again.

    Parameters
    ----------
    row
        A row of `nephrospot.sheet.read_sheet`.
    registration
        That part of `nephrospot.settings.read_settings`.

    Returns
    -------
    dict
        The content of ``slide.json`` (docs/outputs.md). Mistakes of the input are sentences in
        ``problems``, oddities in ``notes``; `InputError` is never raised.
    """
    where = f"slide {row['slide']}"
    problems, notes = Problems(), Problems()
    transform = slide_transform(row)
    manifest = {name: row[name] for name in PLAIN} | {
        "mpp": None, "mpp_witnesses": {}, "width_px": None, "height_px": None, "levels": [], "format": None,
        "transform": {"scale": transform.scale, "x_px": transform.x_px, "y_px": transform.y_px},
        "spots_in_tissue": 0, "spots_total": 0, "visium_layout": None, "registration": None, "tissue_mm2": None,
    }  # fmt: skip
    grid = problems.catch(_read_grid, row["visium"]) if row["visium"] else None
    if grid:
        manifest |= {
            "spots_in_tissue": len(grid.in_tissue),
            "spots_total": len(grid.table),
            "visium_layout": grid.layout,
        }
        for sentence in grid.notes():
            notes.add(sentence)
        problems.catch(_check_counts, row["visium"], grid, where, notes)
    slide = problems.catch(open_slide, row["image"])
    if slide:
        with slide:
            manifest |= {
                "width_px": slide.width_px,
                "height_px": slide.height_px,
                "format": slide.format,
                "levels": [
                    {"width_px": lv.width_px, "height_px": lv.height_px, "downsample": lv.downsample}
                    for lv in slide.levels
                ],
            }
            whole_file = problems.catch(_read_ends, slide)
            settled = problems.catch(_settle_mpp, slide, row["mpp"], grid, transform.scale, where)
            if settled:
                manifest["mpp"], manifest["mpp_witnesses"] = settled
                whole_file = whole_file and problems.catch(_check_area, slide, settled[0], where)
            if grid:
                problems.catch(_check_places, slide, grid, transform, where, notes)
            if settled and whole_file:
                manifest["tissue_mm2"] = measure_tissue(slide, settled[0])
            if grid and settled and whole_file:
                manifest["registration"] = problems.catch(
                    check_registration, slide, grid, transform, settled[0], registration, where, problems, notes
                )
    return manifest | {
        "problems": [begin(where, sentence) for sentence in problems.sentences],
        "notes": [begin(where, sentence) for sentence in notes.sentences],
    }


def read_slide_manifest(path: str | Path) -> dict:
    """Read ``slide.json``; every step after the check begins with it.

    Raises
    ------
    InputError
        With the problems that the check found, where it found any.
    """
    manifest = read_json(path)
    if manifest["problems"]:
        raise InputError("\n".join(manifest["problems"]))
    return manifest


def begin(where: str, sentence: str) -> str:
    """The sentence with the slide in front, where it isn't there yet."""
    return sentence if sentence.startswith(where) else f"{where}: {sentence}"


def _read_grid(folder: str) -> VisiumGrid:
    grid = read_positions(folder)
    _ = grid.lattice  # refuses positions that form none
    return grid


def _check_counts(folder: str, grid: VisiumGrid, where: str, notes: Problems) -> None:
    counted = read_count_barcodes(folder)
    if counted is None:
        notes.add(f"{where}: there is no filtered_feature_bc_matrix in {folder}, so nothing can be deconvolved.")
        return
    counted = set(counted)
    on_tissue = grid.in_tissue["barcode"]
    lacking = int((~on_tissue.isin(counted)).sum())
    strange = len(counted - set(grid.table["barcode"]))
    if lacking > (1 - MIN_COUNTED_SHARE) * len(on_tissue):
        raise InputError(
            f"{where}: {lacking} of {len(on_tissue)} spots on tissue have no counts in {folder}, so matrix and "
            "positions are of different slides; copy both from one Space Ranger run."
        )
    if lacking:
        notes.add(f"{where}: {lacking} of {len(on_tissue)} spots on tissue have no counts; they aren't deconvolved.")
    if strange:
        notes.add(f"{where}: {strange} barcodes with counts have no position; they are left out.")


def _read_ends(slide: Slide) -> bool:
    """Decode the last pixels of every level, which a file that was cut short lacks."""
    for level in slide.levels:
        side_px = 16 * level.downsample
        slide.read_window(slide.width_px - side_px, slide.height_px - side_px, level.downsample, 16, 16)
    return True


def _settle_mpp(slide: Slide, override: float, grid: VisiumGrid | None, scale: float, where: str) -> tuple[float, dict]:
    # A full-resolution pixel of Space Ranger's is `scale` slide pixels wide.
    pitch, fiducial = (grid.mpp_from_pitch, grid.mpp_from_fiducial) if grid else (None, None)
    return resolve_mpp(
        tag=slide.tag_mpp,
        override=None if override is None or math.isnan(override) else override,
        pitch=pitch and pitch / scale,
        where=where,
        fiducial=fiducial and fiducial / scale,
    )


def _check_area(slide: Slide, mpp: float, where: str) -> bool:
    """Refuse a slide that no glass could carry, before pictures of all of it are made."""
    width_mm, height_mm = (size * mpp / 1000 for size in (slide.width_px, slide.height_px))
    if width_mm * height_mm > LARGEST_MM2:
        raise InputError(
            f"{where}: at {mpp:.4g} µm per pixel the image would be {width_mm:.4g} × {height_mm:.4g} mm large; give "
            "the right mpp, or export the slide again."
        )
    return True


def _check_places(slide: Slide, grid: VisiumGrid, transform, where: str, notes: Problems) -> None:
    spots = grid.in_tissue
    x, y = transform.to_slide(spots["x_px"], spots["y_px"])
    outside = int(((x < 0) | (y < 0) | (x >= slide.width_px) | (y >= slide.height_px)).sum())
    sentence = f"{where}: {outside} of {len(spots)} spots on tissue lie outside the image"
    if outside > len(spots) / 2:
        raise InputError(
            f"{sentence} ({slide.width_px} × {slide.height_px} px); check columns image and visium, and give "
            "visium_scale, visium_x_px and visium_y_px if Space Ranger saw a crop or a resized image."
        )
    if outside:
        notes.add(f"{sentence}; they have no percentages.")
