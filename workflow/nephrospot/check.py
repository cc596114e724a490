"""One slide's inputs against one another, before any work: its facts, and every problem at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from nephrospot.barcodes import read_count_barcodes
from nephrospot.check_registration import check_registration
from nephrospot.errors import InputError, Problems
from nephrospot.files import read_json, whole
from nephrospot.mpp import resolve_mpp
from nephrospot.registration import slide_transform
from nephrospot.scores import read_scores
from nephrospot.slide import Slide, open_slide
from nephrospot.visium import VisiumGrid, read_positions

MIN_COUNTED_SHARE = 0.1  # of the spots on tissue; fewer with counts means another slide's matrix
PLAIN = ("slide", "image", "visium", "species")


def check_slide(row: Mapping, registration: dict) -> dict:
    """Check the slide and the Visium folder of one row against one another.

    The scores are left to `check_cohort`, so that editing them doesn't start the slide's masks again.

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
        "spots_in_tissue": 0, "spots_total": 0, "visium_layout": None, "registration": None,
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
            if grid:
                problems.catch(_check_places, slide, grid, transform, where, notes)
            if grid and settled and whole_file:
                manifest["registration"] = problems.catch(
                    check_registration, slide, grid, transform, settled[0], registration, where, problems, notes
                )
    return manifest | {
        "problems": [_begin(where, sentence) for sentence in problems.sentences],
        "notes": [_begin(where, sentence) for sentence in notes.sentences],
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


def check_cohort(
    manifests: list[dict],
    rows: list[dict],
    tissues: Iterable[str],
    output: str | Path,
    shared: tuple[list[str], list[str]] = ((), ()),
) -> None:
    """Bring every slide's problems together, check the scores, and write a text for people.

    Parameters
    ----------
    manifests
        Content of each slide's ``slide.json``.
    rows
        All rows of `nephrospot.sheet.read_sheet`, excluded ones included.
    tissues
        The tissues of the configuration.
    output
        Text file; written only where every slide can be used.
    shared
        Lines and problems from `nephrospot.prerequisites.check_prerequisites`.

    Raises
    ------
    InputError
        With every problem of the cohort.
    """
    problems = Problems()
    known = {row["slide"]: row for row in rows}
    checked = []
    for manifest in manifests:
        row, where = known[manifest["slide"]], f"slide {manifest['slide']}"
        told, notes = Problems(), Problems()
        n_scores = told.catch(check_scores, row, tissues, where, notes) if row["scores"] else None
        mistakes = manifest["problems"] + [_begin(where, sentence) for sentence in told.sentences]
        mistakes = list(dict.fromkeys(mistakes))
        checked.append(
            manifest | {"n_scores": n_scores, "problems": mistakes, "notes": manifest["notes"] + notes.sentences}
        )
        for sentence in mistakes:
            problems.add(sentence)
    lines, mistakes = shared
    for sentence in mistakes:
        problems.add(sentence)
    problems.raise_if_any()
    text = report_check(checked) + "".join(f"{line}\n" for line in lines)
    text += "".join(f"{row['slide']}: left out – {row['exclude']}\n" for row in rows if row["exclude"])
    with whole(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_check(manifests: list[dict]) -> str:
    """Lines for people: one a slide (ok or refused, pixels, spots, scores), then its problems and notes."""
    lines = []
    for manifest in manifests:
        facts = [f"{manifest['width_px']} × {manifest['height_px']} px"] if manifest["width_px"] else []
        facts += [
            f"{manifest['mpp']:.4g} µm per pixel" if manifest["mpp"] else "µm per pixel unknown",
            f"{manifest['spots_in_tissue']} spots on tissue" if manifest["visium"] else "no Visium",
            "no scores" if manifest.get("n_scores") is None else f"{manifest['n_scores']} scored",
        ]
        verdict = "refused" if manifest["problems"] else "ok"
        lines.append(f"{manifest['slide']}: {verdict} – {', '.join(facts)}")
        lines += [f"  problem: {sentence}" for sentence in manifest["problems"]]
        lines += [f"  note: {sentence}" for sentence in manifest["notes"]]
    refused = sum(bool(manifest["problems"]) for manifest in manifests)
    lines.append(f"{len(manifests) - refused} of {len(manifests)} slides can be used.")
    return "\n".join(lines) + "\n"


def check_scores(row: Mapping, tissues: Iterable[str], where: str, notes: Problems) -> int:
    """Check a row's scores against its spots; oddities go to ``notes``.

    Returns
    -------
    int
        Number of spots with a score.

    Raises
    ------
    InputError
        When the scores can't be read, or belong to another slide.
    """
    grid = read_positions(row["visium"])
    scores = read_scores(row["scores"], tissues, set(grid.table["barcode"]), where)
    scored = scores.loc[scores.drop(columns="barcode").notna().any(axis=1), "barcode"]
    off = scored[~scored.isin(set(grid.in_tissue["barcode"]))].tolist()
    if off and len(off) == len(scored):
        raise InputError(
            f"{where}: all {len(off)} scored spots lie off the tissue, so the scores are another slide's; "
            "check columns visium and scores."
        )
    if off:
        notes.add(f"{where}: {len(off)} scored spots such as {off[0]} lie off the tissue; their scores aren't used.")
    return len(scored)


def _begin(where: str, sentence: str) -> str:
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
