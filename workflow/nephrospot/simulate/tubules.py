"""Tubules: thick curved seeds grow into each other (a weighted Voronoi diagram) and are rounded off."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from nephrospot.simulate.anatomy import Anatomy
from nephrospot.simulate.noise import distance_to, fill, smooth_noise
from nephrospot.simulate.organs import Room
from nephrospot.simulate.zones import CORTEX, INNER_MEDULLA, OUTER_MEDULLA, Zones

KINDS = ("PT-S1", "PT-S2", "PT-S3", "DCT", "TAL", "CD", "THIN")
PROXIMAL, DISTAL = (0, 1, 2), (3, 4)
PACKING = 0.80  # centre distance at which two tubules may start, as a share of the sum of their radii
POINTS = 14  # of a seed line at most


@dataclass(frozen=True)
class Tubules:
    """Maps at 1 µm per pixel, (rows, columns), and a table of one row a cross section.

    ``cell`` (int32): number of the tubule whose territory a pixel is in, 0 where none; ``inside_um``
    (float32): depth under the outer surface of the tubule, negative outside; ``lumen_um`` (float32):
    depth within the lumen, negative in the epithelium. Row k of ``table`` has number k + 1.
    """

    cell: np.ndarray
    inside_um: np.ndarray
    lumen_um: np.ndarray
    table: pd.DataFrame


def grow_tubules(anatomy: Anatomy, zones: Zones, room: Room, outlines: list, rng: np.random.Generator) -> Tubules:
    """Fill the room that ``outlines`` (polygons of glomeruli and vessels, µm) leave with tubules."""
    lines, table = _sow(anatomy, zones, room, outlines, rng)
    cell = _divide(table, lines, outlines, zones, rng)
    inside = _round_off(anatomy, cell, table, zones, rng)
    height = np.concatenate([[0.0], table["wall_um"].to_numpy()]).astype(np.float32)[np.maximum(cell, 0)]
    proximal = np.isin(np.concatenate([[-1], table["kind"].to_numpy()]), PROXIMAL)[np.maximum(cell, 0)]
    shape = cell.shape
    ragged = np.where(proximal, np.float32(1.7), np.float32(0.45)) * smooth_noise(rng, shape, 3.2)
    lumen = (
        inside - height - ragged + np.where(proximal, np.float32(0.6), np.float32(0)) * smooth_noise(rng, shape, 1.2)
    )
    return Tubules(np.maximum(cell, 0), inside, lumen, table)


def _pick_kinds(anatomy, zone, depth, ray, patch, near_glomerulus, rng):
    """Kind of tubule for each place: the mixture depends on the zone, rays and a patchy field."""
    n = len(zone)
    draw = rng.random(n)
    kind = np.full(n, KINDS.index("PT-S2"))
    # Distal and collecting tubules lie in groups.
    distal = anatomy.distal_share * np.exp(0.5 * patch - 0.15)
    kind[draw < distal + anatomy.collecting_share] = KINDS.index("CD")
    kind[draw < distal] = KINDS.index("DCT")
    kind[(kind == KINDS.index("PT-S2")) & near_glomerulus] = KINDS.index("PT-S1")
    straight = (zone == CORTEX) & (ray > 1.25) & (depth < 0.93)
    _mix(kind, straight, draw, {"PT-S3": 0.42, "TAL": 0.36, "CD": 0.22})
    outer = zone == OUTER_MEDULLA
    middle = depth[outer].min() + 0.5 * np.ptp(depth[outer]) if outer.any() else 0.0
    _mix(kind, outer & (depth >= middle), draw, {"PT-S3": 0.50, "TAL": 0.27, "CD": 0.13, "THIN": 0.10})
    _mix(kind, outer & (depth < middle), draw, {"PT-S3": 0.03, "TAL": 0.45, "CD": 0.22, "THIN": 0.30})
    _mix(kind, zone == INNER_MEDULLA, draw, {"TAL": 0.02, "CD": 0.45, "THIN": 0.53})
    return kind, straight


def _mix(kind, where, draw, shares):
    edges = np.cumsum(list(shares.values()))
    codes = np.array([KINDS.index(name) for name in shares])
    kind[where] = codes[np.minimum(np.searchsorted(edges, draw[where]), len(codes) - 1)]


def _sow(anatomy, zones, room, outlines, rng):
    """Throw seed lines where there is room: long ones first, then shorter ones, then points."""
    rows, columns = room.taken.shape
    near = np.zeros((rows, columns), np.uint8)
    for outline in outlines:
        points = np.round(outline).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(near, [points], True, 1, int(anatomy.proximal_um * 1.6))
    patch = smooth_noise(rng, (rows, columns), 35)
    radii = {"PT": anatomy.proximal_um, "DCT": anatomy.distal_um, "TAL": anatomy.distal_um * 0.93}
    radii |= {"CD": anatomy.collecting_um, "THIN": anatomy.thin_um}
    radius_of = np.array([radii.get(k, radii["PT"]) / 2 for k in KINDS])
    mean_area = np.pi * radius_of[1] ** 2
    lines, records = [], []
    for phase, reach in enumerate((3.2, 1.6, 0.0, 0.0, 0.0)):
        n = int((1.5 if phase < 2 else 9) * rows * columns / mean_area) + 8
        for start in range(0, n, 3000):
            size = min(3000, n - start)
            x, y = rng.uniform(0, columns, size), rng.uniform(0, rows, size)
            row, column = y.astype(int), x.astype(int)
            zone, depth = zones.zone[row, column], zones.depth[row, column]
            kind, straight = _pick_kinds(
                anatomy, zone, depth, zones.ray[row, column], patch[row, column], near[row, column] > 0, rng
            )
            radius = radius_of[kind] * np.exp(0.09 * rng.normal(size=size))
            straight |= zone != CORTEX
            lx, ly, length = _draw_lines(radius, reach, x, y, straight, zones.heading[row, column], rng)
            free = room.is_free(lx, ly, PACKING * radius[:, None] * np.ones(POINTS)).all(axis=1)
            for i in np.flatnonzero(free & (zone > 0)):
                if not room.is_free(lx[i], ly[i], np.full(POINTS, PACKING * radius[i])).all():
                    continue
                line = np.stack([lx[i], ly[i]], axis=1)
                points = np.round(line * 16).astype(np.int32).reshape(-1, 1, 2)
                cv2.polylines(room.taken, [points], False, 1, max(1, int(2 * PACKING * radius[i])), shift=4)
                lines.append(line)
                records.append((kind[i], *line.mean(axis=0), radius[i], length[i]))
    table = pd.DataFrame(records, columns=["kind", "x_um", "y_um", "radius_um", "length_um"])
    table["kind"] = table["kind"].astype(int)
    table["wall_um"] = _walls(anatomy, table, rng)
    return lines, table


def _draw_lines(radius, reach, x, y, straight, heading, rng):
    n = len(x)
    curvature = rng.normal(size=n) * np.where(straight, 0.0008, 0.010)
    direction = np.where(straight, heading + 0.12 * rng.normal(size=n), rng.uniform(-np.pi, np.pi, n))
    length = reach * radius * np.where(straight, 1.6, 1.0) * rng.uniform(0.5, 1.5, n)
    along = np.linspace(-0.5, 0.5, POINTS)[None, :] * length[:, None]
    angle = direction[:, None] + curvature[:, None] * along
    step = length[:, None] / (POINTS - 1)
    dx, dy = np.cumsum(np.cos(angle) * step, axis=1), np.cumsum(np.sin(angle) * step, axis=1)
    return x[:, None] + dx - dx.mean(1, keepdims=True), y[:, None] + dy - dy.mean(1, keepdims=True), length


def _walls(anatomy, table, rng):
    walls = {"DCT": anatomy.distal_wall_um, "TAL": anatomy.distal_wall_um * 0.95}
    walls |= {"CD": anatomy.collecting_wall_um, "THIN": anatomy.thin_wall_um}
    height = np.array([walls.get(k, anatomy.proximal_wall_um) for k in KINDS])[table["kind"]]
    height = height * np.exp(0.12 * rng.normal(size=len(table)))
    # A section that grazes the wall shows epithelium without a lumen.
    grazing = (rng.random(len(table)) < 0.10) & (table["kind"].to_numpy() != KINDS.index("THIN"))
    return np.where(grazing, height * 3, height)


def _divide(table, lines, outlines, zones, rng):
    """Territory of each seed; -1 for glomeruli and vessels, 0 where no seed reaches."""
    shape = zones.zone.shape
    base = 0.8 * float(table["radius_um"].min()) if len(table) else 1.0
    seeds = np.zeros(shape, np.int32)
    for number, (line, radius) in enumerate(zip(lines, table["radius_um"], strict=True), start=1):
        points = np.round(line).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(seeds, [points], False, number, max(1, int(2 * (radius - base))))
    for outline in outlines:
        fill(seeds, outline, -1, 1.0)
    if not (seeds != 0).any():
        return seeds
    distance, label = cv2.distanceTransformWithLabels(
        (seeds == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(label.max()) + 1, np.int32)
    owner[label[seeds != 0]] = seeds[seeds != 0]
    cell = owner[label]
    cell[distance > base + 9.0] = 0
    # A gentle warp takes the straight edges from the territories.
    x = 1.6 * smooth_noise(rng, shape, 7) + np.arange(shape[1], dtype=np.float32)
    y = 1.6 * smooth_noise(rng, shape, 7) + np.arange(shape[0], dtype=np.float32)[:, None]
    cell = cv2.remap(cell.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    cell = cell.astype(np.int32)
    cell[zones.zone == 0] = 0
    for outline in outlines:
        fill(cell, outline, -1, 1.0)
    return cell


def _round_off(anatomy, cell, table, zones, rng):
    """Depth under the surface of tubules, after the gap is taken off and corners are rounded."""
    border = np.zeros(cell.shape, bool)
    border[:, :-1] |= cell[:, :-1] != cell[:, 1:]
    border[:-1, :] |= cell[:-1, :] != cell[1:, :]
    depth = distance_to(border)
    wide = np.array([1.0, 1.0, 1.6, 2.2])[zones.zone] * anatomy.gap_um / 2  # the medulla has more interstitium
    depth -= (wide * np.exp(0.35 * smooth_noise(rng, cell.shape, 30))).astype(np.float32)
    thin = np.concatenate([[False], table["kind"].to_numpy() == KINDS.index("THIN")])[np.maximum(cell, 0)]
    inside = np.minimum(depth, 0)
    for group, radius in ((cell > 0) & ~thin, 0.34 * anatomy.distal_um / 2), (thin, 0.4 * anatomy.thin_um / 2):
        core = group & (depth > radius)
        if core.any():
            away = distance_to(core)
            inside = np.where(group, np.where(core, depth, radius - away), inside)
    inside[cell <= 0] = -2.0
    inside = cv2.GaussianBlur(np.maximum(inside, -3.0).astype(np.float32), (0, 0), 0.8)
    return inside


def find_corners(cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places, (n, 2) of x and y in µm, where three or more territories meet, in random order."""
    a, b, c, d = cell[:-1, :-1], cell[:-1, 1:], cell[1:, :-1], cell[1:, 1:]
    kinds = (b != a).astype(np.uint8) + ((c != a) & (c != b)) + ((d != a) & (d != b) & (d != c))
    y, x = np.nonzero((kinds >= 2) & (a > 0) & (d > 0))
    order = rng.permutation(len(x))
    return np.stack([x[order] + 0.5, y[order] + 0.5], axis=1)


def crop(field: np.ndarray, margin: int) -> np.ndarray:
    """Take ``margin`` pixels off each side."""
    return np.ascontiguousarray(field[margin : field.shape[0] - margin, margin : field.shape[1] - margin])
