"""Masks cleaned by size: holes filled, tissues kept inside others, small objects dropped, all in µm².

A good patch model can find three or four specks for each glomerulus, which Dice on patches hardly sees and counts on
whole slides do (KPIs challenge). Everything is lazy: a source is read block by block to find its objects, and again
wherever the cleaned mask is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from nephrospot.components import Components, find_components
from nephrospot.omezarr import SHARD_PX
from nephrospot.postprocess_rules import order_rules
from nephrospot.sources import MaskSource, resample_mask
from nephrospot.tissue_codes import TISSUES

log = logging.getLogger(__name__)

BLOCK_PX = SHARD_PX // 2  # four sets of kept labels can be at work at once, for a tissue inside another


def clean_masks(
    sources: dict[str, MaskSource],
    rules: dict[str, dict],
    tissues: Iterable[str] | None = None,
    block_px: int = BLOCK_PX,
) -> tuple[dict[str, MaskSource], dict[str, dict]]:
    """Clean the masks of one slide as the configuration says.

    Parameters
    ----------
    sources : mask of each tissue
    rules
        ``postprocess`` of the configuration: for a tissue any of ``max_hole_um2`` (holes up to this are filled),
        ``inside`` (only where that tissue's cleaned mask is foreground, too) and ``min_area_um2`` (smaller objects
        are dropped), which are applied in this order. A rule for a tissue without a mask is left aside.
    tissues : all tissues of the configuration; by default those of the sources and the usual six
    block_px : side of the blocks that are looked at once

    Returns
    -------
    cleaned
        A source for each of ``sources``, in their order; the very same one where no rule asks for anything.
    facts
        For each tissue with a rule: objects_before, objects_after, holes_filled, area_before_um2, area_after_um2
        and notes (sentences).

    Raises
    ------
    InputError
        When a tissue isn't known, or tissues lie inside one another in a circle.

    Notes
    -----
    Objects are 8-connected, so holes are 4-connected pieces of background; one that reaches the mask's border isn't a
    hole. Dropping what is small after the cut also drops all that was small before it. Cleaning twice is cleaning once.
    """
    known = [*sources, *TISSUES] if tissues is None else tissues
    cleaned, facts = dict(sources), {}
    for tissue in order_rules(rules, known):
        rule = {key: value for key, value in rules[tissue].items() if value}
        if tissue in sources and rule:
            outer, notes = cleaned.get(rule.get("inside")), []
            if "inside" in rule and outer is None:
                notes = [f"{tissue} isn't kept inside {rule['inside']}, which has no mask here."]
                log.warning(notes[0])
            cleaned[tissue], facts[tissue] = _clean_mask(sources[tissue], rule, outer, block_px)
            facts[tissue]["notes"] = notes
    return cleaned, facts


def _clean_mask(source: MaskSource, rule: dict, outer: MaskSource | None, block_px: int) -> tuple[MaskSource, dict]:
    pixel_um2 = source[1] ** 2
    before = objects = find_components(source, 8, block_px)
    holes_filled, changed = 0, source
    if "max_hole_um2" in rule:
        background = find_components(_invert(source), 4, block_px)
        holes = (background.area_px * pixel_um2 <= rule["max_hole_um2"]) & ~background.on_edge
        holes[0] = False
        holes_filled = int(holes.sum())
        if holes_filled:
            changed = _fill(changed, background, holes)
    if outer is not None:
        changed = _cut(changed, outer)
    if changed is not source:
        objects = find_components(changed, 8, block_px)
    large = objects.area_px * pixel_um2 >= rule.get("min_area_um2", 0)
    large[0] = False
    if large.sum() < len(objects):
        changed = _choose(changed, objects, large)
    return changed, {
        "objects_before": len(before),
        "objects_after": int(large.sum()),
        "holes_filled": holes_filled,
        "area_before_um2": float(before.area_px.sum() * pixel_um2),
        "area_after_um2": float(objects.area_px[large].sum() * pixel_um2),
    }


def _invert(source: MaskSource) -> MaskSource:
    shape, mpp, read = source
    return shape, mpp, lambda rows, columns: read(rows, columns) == 0


def _choose(source: MaskSource, components: Components, chosen: np.ndarray) -> MaskSource:
    """Only the pixels of some of a mask's components."""
    shape, mpp, read = source
    table, boxes = chosen.astype(np.uint8), components.box
    kept, dropped = boxes[chosen], boxes[1:][~chosen[1:]]

    def read_chosen(rows: slice, columns: slice) -> np.ndarray:
        # Labels are only needed where a window may hold both kinds, which is rare.
        if not _meet(kept, rows, columns):
            return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        if not _meet(dropped, rows, columns):
            return (np.asarray(read(rows, columns)) != 0).astype(np.uint8)
        return table[components.labels(rows, columns)]

    return shape, mpp, read_chosen


def _meet(boxes: np.ndarray, rows: slice, columns: slice) -> bool:
    """Whether any box overlaps a window."""
    top, left, bottom, right = boxes.T
    return bool(((top < rows.stop) & (bottom > rows.start) & (left < columns.stop) & (right > columns.start)).any())


def _fill(source: MaskSource, background: Components, holes: np.ndarray) -> MaskSource:
    shape, mpp, read = source
    read_holes = _choose(_invert(source), background, holes)[2]
    return shape, mpp, lambda rows, columns: (read(rows, columns) != 0) | read_holes(rows, columns)


def _cut(source: MaskSource, outer: MaskSource) -> MaskSource:
    """Only the pixels whose centre is foreground in another mask."""
    shape, mpp, read = source

    def read_inside(rows: slice, columns: slice) -> np.ndarray:
        block = (np.asarray(read(rows, columns)) != 0).astype(np.uint8)
        return block & resample_mask(outer, rows, columns, mpp) if block.any() else block

    return shape, mpp, read_inside
