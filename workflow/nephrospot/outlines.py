"""Masks → polygons on the outer edges of their pixels, and back.

An outline runs through the middles of the pixel edges between inside and outside, is thinned by Douglas and
Peucker's rule, and moved in or out as a whole until each ring encloses just the area that its pixels had: the
rule alone cuts every bend, which shrinks round objects by some percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

from nephrospot.rings import Rings, link_edges, trace_mask

if TYPE_CHECKING:
    from nephrospot.components import Components
    from nephrospot.sources import MaskSource

# Thinning moves an outline by this much at most. 1 px everywhere costs objects of 500 px up to 3 % Dice, so that
# narrow ones get less.
TOLERANCE_PX = (0.4, 1.0)
TOLERANCE_SHARE = 1 / 40  # of an object's radius
AREA_TOLERANCE = 0.005  # where an outline needs repair; others have their pixels' area to 0.1 %
WINDOW_PX = 4096  # objects are traced in windows that are at most twice as wide; larger objects one by one


def list_outlines(source: MaskSource, components: Components) -> Iterator[tuple[int, shapely.Polygon]]:
    """Outline of every component of a mask; see `list_batches`.

    Yields
    ------
    id, valid polygon with holes in pixels of the mask; pixel (row i, column j) covers x j…j + 1 and y i…i + 1
    """
    for ids, polygons in list_batches(source, components):
        yield from zip(ids.tolist(), polygons, strict=True)


def list_batches(source: MaskSource, components: Components) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outlines of every component of a mask, window by window.

    Parameters
    ----------
    source : ((rows, columns), µm per pixel, reader of 0/1 blocks)
    components : the mask's 8-connected components, by `nephrospot.components.find_components`

    Yields
    ------
    ids : int64 (n,), increasing; a component belongs to the window that holds its box's corner
    polygons : object (n,)
        One valid polygon a component, with its area and its holes. The pixels' edge is followed to 0.4…1 px, the wider
        the object the less closely (single pixels more so), before the move that restores the area.

    Raises
    ------
    ValueError
        When the components aren't the mask's, or are 4-connected.

    Notes
    -----
    Memory: one window of at most 8192² pixels; for a component that is wider than 4096 px all its outlines too.
    """
    box = components.box[1:]
    large = (box[:, 2:] - box[:, :2]).max(axis=1, initial=0) > WINDOW_PX
    small = np.flatnonzero(~large)
    window = box[small, :2] // WINDOW_PX
    order = np.lexsort((small, window[:, 1], window[:, 0]))
    changes = np.flatnonzero(np.diff(window[order], axis=0).any(axis=1)) + 1
    for chosen in np.split(small[order], changes):
        if len(chosen):
            yield chosen + 1, _outline_window(source, box[chosen])
    for index in np.flatnonzero(large):
        rings = link_edges(source, components, index + 1)
        yield np.array([index + 1]), _make_polygons(rings, np.zeros(len(rings), int), source[0])


def _outline_window(source: MaskSource, box: np.ndarray) -> np.ndarray:
    """Polygons of the components with these boxes; others that reach into the window are left out."""
    (top, left), (bottom, right) = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    block = np.ascontiguousarray(source[2](slice(top, bottom), slice(left, right)) != 0).view(np.uint8)
    rings, parent = trace_mask(block, int(top), int(left))
    # No two 8-connected components have the same box: both would cross it from side to side, and so each other.
    places = {tuple(place): index for index, place in enumerate(box.tolist())}
    found = np.array([places.get(tuple(place), -1) for place in rings.boxes().tolist()])
    owner = np.where(parent < 0, found, found[parent])
    if len(np.unique(owner[owner >= 0])) < len(box):
        raise ValueError("these components aren't the mask's, or not 8-connected ones")
    kept = np.flatnonzero(owner >= 0)
    kept = kept[np.lexsort((kept, parent[kept] >= 0, owner[kept]))]  # each outer ring before its holes
    return _make_polygons(rings.take(kept), owner[kept], source[0])


def _make_polygons(rings: Rings, owner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One polygon an owner (0…n − 1, in order), from its outer ring and its holes."""
    polygons = _assemble(_restore_area(_thin(rings), shape), owner)
    for index in np.flatnonzero(~shapely.is_valid(polygons)):
        polygons[index] = _repair(rings.take(np.flatnonzero(owner == index)), shape)
    return polygons


def _thin(rings: Rings) -> Rings:
    area_px = np.abs(rings.area_px)
    radius_px = 2 * area_px / (np.pi / 4 * np.diff(rings.starts))  # a curve is π/4 as long as its pixels' edges
    tolerance = np.minimum(np.clip(radius_px * TOLERANCE_SHARE, *TOLERANCE_PX), np.sqrt(area_px) / 10)
    parts = []
    for points, epsilon in zip(rings.split(), 2 * tolerance, strict=True):
        thinned = cv2.approxPolyDP(points, epsilon, True)[:, 0]
        parts.append(thinned if len(thinned) > 2 else points)
    return Rings.join(parts, rings.area_px)


def _restore_area(rings: Rings, shape: tuple[int, int]) -> Rings:
    """Move all sides of a ring outwards by one distance, so that it encloses its pixels' area; not off the mask."""
    points, ring = rings.points.astype(float), rings.ring()
    ahead, behind = rings.neighbours()
    for _ in range(8):  # two would do but for the mask's border, where part of the move is lost
        step = points[ahead] - points
        length = np.maximum(np.hypot(*step.T), 1e-9)
        cross = points[:, 0] * points[ahead, 1] - points[ahead, 0] * points[:, 1]
        area = -rings.sums(cross) / 2  # doubled coordinates: four times the area
        move = (4 * rings.area_px - area) / rings.sums(length)
        normal = np.column_stack([-step[:, 1], step[:, 0]]) / length[:, None]  # points away from the object
        cosine = (normal * normal[behind]).sum(axis=1)
        # At a sharp corner the moved sides meet far away: the vertex stays within twice the distance.
        points += (normal + normal[behind]) * (move[ring] / np.maximum(1 + cosine, 0.5))[:, None]
        points = points.clip(0, (2 * shape[1], 2 * shape[0]))
    return Rings(points, rings.starts, rings.area_px)


def _repair(rings: Rings, shape: tuple[int, int]) -> shapely.Polygon:
    """Where thinned rings cross: a slower rule that keeps them apart, as far as it can keep the area, too."""
    one = np.zeros(len(rings), int)
    area_px = rings.area_px.sum()
    exact = next(p for p in (_assemble(r, one)[0] for r in (_restore_area(rings, shape), rings)) if p.is_valid)
    safe = shapely.simplify(exact, TOLERANCE_PX[0], preserve_topology=True)
    moved = safe.buffer((area_px - safe.area) / safe.length, join_style="mitre", mitre_limit=2)
    moved = moved.intersection(shapely.box(0, 0, shape[1], shape[0]))
    if moved.geom_type == "Polygon" and moved.is_valid and abs(moved.area / area_px - 1) < AREA_TOLERANCE:
        return moved
    return exact


def _assemble(rings: Rings, owner: np.ndarray) -> np.ndarray:
    if not len(owner):
        return np.array([], dtype=object)
    return shapely.polygons(shapely.linearrings(rings.points / 2, indices=rings.ring()), indices=owner)


def fill_polygons(polygons: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Paint polygons into a window: a pixel is inside if its centre is inside one of them.

    Parameters
    ----------
    polygons : object array of valid shapely polygons, in pixels (edges at whole numbers)
    rows, columns : slices of the mask, with start and stop

    Returns
    -------
    uint8 (rows, columns), 0 or 1

    Notes
    -----
    Unlike `cv2.fillPoly`, which also paints the outline and so grows everything by half a pixel.
    """
    height, width = rows.stop - rows.start, columns.stop - columns.start
    rings = shapely.get_rings(shapely.normalize(np.asarray(polygons, dtype=object)))  # outer one way, holes the other
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = np.flatnonzero(ring[1:] == ring[:-1])
    (x0, y0), (x1, y1) = points[same].T, points[same + 1].T
    ends = np.clip(np.ceil(np.stack([y0, y1]) - 0.5 - rows.start), 0, height).astype(int)
    first, count = ends.min(axis=0), np.abs(ends[1] - ends[0])
    side = np.repeat(np.arange(len(same)), count)
    row = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count) + first[side]
    x = x0[side] + (row + rows.start + 0.5 - y0[side]) / (y1 - y0)[side] * (x1 - x0)[side]
    column = np.clip(np.ceil(x - 0.5 - columns.start), 0, width).astype(int)
    crossings = np.zeros((height, width + 1), np.int16)
    np.add.at(crossings, (row, column), np.where(y1 > y0, 1, -1).astype(np.int16)[side])
    np.cumsum(crossings, axis=1, out=crossings)
    return (crossings[:, :width] != 0).view(np.uint8)
