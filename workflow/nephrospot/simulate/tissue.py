"""One layout of a kidney section, from which the image, the masks and the cells are all taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd

from nephrospot.errors import InputError, did_you_mean
from nephrospot.simulate import structures as s
from nephrospot.simulate.anatomy import Anatomy
from nephrospot.simulate.noise import distance_to, fill, resample, ring
from nephrospot.simulate.nuclei import level_direction, place_nuclei
from nephrospot.simulate.organs import Glomerulus, Room, Vessel, place_glomeruli, place_vessels
from nephrospot.simulate.tubules import DISTAL, KINDS, PROXIMAL, Tubules, crop, find_corners, grow_tubules
from nephrospot.simulate.zones import CORTEX, GLASS, OUTER_MEDULLA, Zones, draw_zones

MARGIN_UM = 60  # fields are laid out larger and cut, so that their borders look like their middle


@dataclass(frozen=True)
class Layout:
    """A laid-out section. Positions are (x, y) in µm from the centre of the first pixel.

    ``structure`` (uint8, codes of `structures`) is at ``mpp``; ``zones``, ``tubules`` and
    ``edge_um`` (depth under the section's border, float32) are maps at 1 µm per pixel.
    ``capillaries``: x_um, y_um, long_um, short_um, angle. ``nuclei``: as `place_nuclei` gives
    them, with ``structure`` (code under the nucleus' centre).
    """

    anatomy: Anatomy
    mpp: float
    seed: int
    structure: np.ndarray
    zones: Zones
    tubules: Tubules
    edge_um: np.ndarray
    glomeruli: tuple[Glomerulus, ...]
    vessels: tuple[Vessel, ...]
    capillaries: pd.DataFrame
    nuclei: pd.DataFrame

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at ``mpp``."""
        return self.structure.shape

    @property
    def tissue(self) -> np.ndarray:
        """Where the section has tissue, (rows, columns) bool at ``mpp``."""
        return self.structure != s.GLASS

    def mask(self, tissue: str) -> np.ndarray:
        """Truth of CAP, TUFT, PT, DT, VES or PTC, (rows, columns) bool at ``mpp``."""
        if tissue not in s.TISSUES:
            raise InputError(f"tissue is {tissue!r}; {did_you_mean(tissue, s.TISSUES)}")
        wanted = np.zeros(256, np.uint8)
        wanted[list(s.TISSUES[tissue])] = 1
        return cv2.LUT(self.structure, wanted).view(bool)

    def upsample(self, field: np.ndarray, rows: slice | None = None, nearest: bool = False) -> np.ndarray:
        """Bring a map of 1 µm per pixel to ``mpp``; all rows or those of a slice."""
        start, stop = (0, self.shape[0]) if rows is None else (rows.start, rows.stop)
        return resample(field, (stop - start, self.shape[1]), self.mpp, (start * self.mpp, 0.0), nearest)


def lay_out(
    anatomy: Anatomy, width_um: float, height_um: float, mpp: float, seed: int, outline: str = "kidney"
) -> Layout:
    """Lay out a section of ``width_um`` by ``height_um``.

    Parameters
    ----------
    mpp
        µm per pixel of the truth rasters and of the rendering; 0.25 to 1 look best.
    outline
        "kidney": a bean on glass with cortex and medulla; "full": tissue all over, cortex and
        sometimes medulla; "edge": like full, but the capsule and glass cross the field.

    Raises
    ------
    InputError
        For sizes that are not positive, or an unknown outline.
    """
    if min(width_um, height_um) < 20 or not 0 < mpp <= 4:
        raise InputError(
            f"A section of {width_um} by {height_um} µm at {mpp} µm per pixel can't be laid out; "
            "give at least 20 µm and an mpp between 0 and 4."
        )
    margin = 0 if outline == "kidney" else MARGIN_UM
    canvas = (int(np.ceil(height_um)) + 2 * margin + 1, int(np.ceil(width_um)) + 2 * margin + 1)
    rngs = [np.random.default_rng([seed, part]) for part in range(5)]
    zones = draw_zones(anatomy, canvas, outline, rngs[0])
    room = Room(zones, anatomy.capsule_um)
    vessels = place_vessels(anatomy, zones, room, rngs[1])
    glomeruli = place_glomeruli(anatomy, zones, room, rngs[2])
    outlines = [v.outer for v in vessels] + [g.capsule for g in glomeruli]
    tubules = grow_tubules(anatomy, zones, room, outlines, rngs[3])
    capillaries = _place_capillaries(anatomy, zones, tubules, rngs[4])
    depth = distance_to(zones.zone == GLASS)
    depth = cv2.GaussianBlur(depth - 0.5 * (depth == 0), (0, 0), 1.0)
    maps = (zones, tubules, depth, glomeruli, vessels, capillaries, anatomy)
    coarse = _rasterize(*maps, canvas, 1.0, 0)
    nuclei = place_nuclei(anatomy, tubules, coarse, glomeruli, vessels, capillaries, rngs[4])
    nuclei["structure"] = coarse[nuclei["y_um"].to_numpy(int), nuclei["x_um"].to_numpy(int)]
    nuclei = nuclei[nuclei["structure"] != s.GLASS]
    shape = (round(height_um / mpp), round(width_um / mpp))
    structure = _rasterize(*maps, shape, mpp, margin)
    glomeruli, vessels = _shift(glomeruli, margin, ("capsule", "tuft")), _shift(vessels, margin, ("outer", "lumen"))
    # No row may go: the cell map holds their numbers.
    table = tubules.table.assign(x_um=tubules.table["x_um"] - margin, y_um=tubules.table["y_um"] - margin)
    return Layout(
        anatomy,
        mpp,
        seed,
        structure,
        Zones(*(crop(m, margin) for m in (zones.depth, zones.zone, zones.heading, zones.ray))),
        Tubules(*(crop(m, margin) for m in (tubules.cell, tubules.inside_um, tubules.lumen_um)), table),
        crop(depth, margin),
        glomeruli,
        vessels,
        _shift_table(capillaries, margin, width_um, height_um, 12),
        _shift_table(nuclei, margin, width_um, height_um, 0),
    )


def _place_capillaries(anatomy, zones, tubules, rng):
    """Capillaries where three tubules meet, and slits along the border of two."""
    corners = find_corners(tubules.cell, rng)
    edge = (tubules.inside_um < 0.3) & (tubules.cell > 0)
    n = int(edge.size / 300)
    x, y = rng.uniform(0, edge.shape[1], n), rng.uniform(0, edge.shape[0], n)
    slit = edge[y.astype(int), x.astype(int)]
    points = np.concatenate([corners, np.stack([x[slit], y[slit]], axis=1)])
    at_corner = np.arange(len(points)) < len(corners)
    row, column = points[:, 1].astype(int), points[:, 0].astype(int)
    zone = zones.zone[row, column]
    # The straight vessels of the inner medulla are no peritubular capillaries.
    keep = (zone == CORTEX) | ((zone == OUTER_MEDULLA) & (rng.random(len(points)) < 0.5))
    taken = np.zeros((edge.shape[0] // 8 + 2, edge.shape[1] // 8 + 2), bool)
    chosen = []
    for i in np.flatnonzero(keep):
        r, c = row[i] // 8, column[i] // 8
        if not taken[r, c] and (at_corner[i] or not taken[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].any()):
            taken[r, c] = True
            chosen.append(i)
    points, at_corner = points[chosen], at_corner[chosen]
    keep = rng.random(len(points)) < 0.8
    points, at_corner = points[keep], at_corner[keep]
    along = level_direction(tubules.inside_um, points[:, 1].astype(int), points[:, 0].astype(int))
    size = 1.1 * anatomy.capillary_um * np.exp(0.22 * rng.normal(size=len(points)))
    flat = np.where(at_corner, rng.uniform(0.55, 0.95, len(points)), rng.uniform(0.28, 0.45, len(points)))
    long = size * np.where(at_corner, 0.95, 1.25)
    angle = np.where(at_corner, rng.uniform(0, np.pi, len(points)), along)
    columns = {"x_um": points[:, 0], "y_um": points[:, 1], "long_um": long, "short_um": long * flat, "angle": angle}
    return pd.DataFrame(columns)


def _rasterize(zones, tubules, depth, glomeruli, vessels, capillaries, anatomy, shape, mpp, margin):
    """The structure raster at ``mpp`` from the maps and outlines."""

    def at(field, nearest=False):
        return resample(field, shape, mpp, (margin, margin), nearest)

    code_of = np.full(len(KINDS), s.CD, np.uint8)
    code_of[list(PROXIMAL)], code_of[list(DISTAL)] = s.PT, s.DT
    code_of[KINDS.index("THIN")] = s.THIN
    kinds = np.concatenate([[s.INTERSTITIUM], code_of[tubules.table["kind"].to_numpy(int)]]).astype(np.uint8)
    structure = np.where(at(tubules.inside_um) > 0, at(kinds[tubules.cell], nearest=True), s.INTERSTITIUM)
    structure = structure.astype(np.uint8)
    border = at(depth)
    structure[border < anatomy.capsule_um] = s.CAPSULE
    structure[border <= 0.5] = s.GLASS
    for x, y, long, short, angle in capillaries.itertuples(index=False):
        for extra, code in ((1.6, s.INTERSTITIUM), (0.0, s.PTC)):
            radii = np.full(14, (long + extra) / 2)
            outline = ring((x - margin, y - margin), radii, (short + extra) / (long + extra), angle)
            fill(structure, outline, code, mpp)
    for vessel in vessels:
        fill(structure, vessel.outer - margin, s.ARTERY if vessel.kind == "artery" else s.VEIN, mpp)
    for glomerulus in glomeruli:
        fill(structure, glomerulus.capsule - margin, s.BOWMAN, mpp)
        fill(structure, glomerulus.tuft - margin, s.TUFT, mpp)
    return structure


def _shift(items, margin, outlines):
    moved = []
    for item in items:
        changed = {name: getattr(item, name) - margin for name in outlines}
        moved.append(replace(item, x_um=item.x_um - margin, y_um=item.y_um - margin, **changed))
    return tuple(moved)


def _shift_table(table, margin, width_um, height_um, slack):
    x, y = table["x_um"] - margin, table["y_um"] - margin
    keep = (x >= -slack) & (y >= -slack) & (x < width_um + slack) & (y < height_um + slack)
    return table.assign(x_um=x, y_um=y)[keep].reset_index(drop=True)
