"""Glomeruli, arteries, veins: placed first, the tubules grow around them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nephrospot.simulate.anatomy import Anatomy
from nephrospot.simulate.noise import fill, ring, wave
from nephrospot.simulate.zones import CORTEX, GLASS, Zones

CORNERS = 72  # points of an outline


@dataclass(frozen=True)
class Glomerulus:
    """Outlines in µm, (n, 2) of x and y: Bowman's capsule and the tuft within."""

    x_um: float
    y_um: float
    radius_um: float
    capsule: np.ndarray
    tuft: np.ndarray


@dataclass(frozen=True)
class Vessel:
    """Outlines in µm, (n, 2) of x and y: the outside of the wall and the lumen. ``kind``: artery or vein."""

    kind: str
    x_um: float
    y_um: float
    radius_um: float
    wall_um: float
    outer: np.ndarray
    lumen: np.ndarray


class Room:
    """Keeps track of what is taken, on a raster of 1 µm per pixel."""

    def __init__(self, zones: Zones, capsule_um: float) -> None:
        glass = (zones.zone == GLASS).astype(np.uint8)
        size = 2 * int(np.ceil(capsule_um)) + 1
        self.taken = cv2.dilate(glass, np.ones((size, size), np.uint8))
        turn = np.linspace(0, 2 * np.pi, 9)[:-1]
        self._ring = np.concatenate([[[0, 0]], np.stack([np.cos(turn), np.sin(turn)], 1)])

    def is_free(self, x, y, radius) -> np.ndarray:
        """Whether discs (arrays of one shape, µm) touch nothing taken; outside the canvas counts as free."""
        rows, columns = self.taken.shape
        px = np.round(x[..., None] + self._ring[:, 0] * np.asarray(radius)[..., None]).astype(np.int32)
        py = np.round(y[..., None] + self._ring[:, 1] * np.asarray(radius)[..., None]).astype(np.int32)
        return ~self.taken[np.clip(py, 0, rows - 1), np.clip(px, 0, columns - 1)].any(axis=-1)

    def take(self, polygon_um: np.ndarray, margin_um: float) -> None:
        """Take the inside of an outline and a margin around it."""
        fill(self.taken, polygon_um, 1, 1.0)
        points = np.round(polygon_um).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(self.taken, [points], True, 1, max(1, int(2 * margin_um)))


def place_vessels(anatomy: Anatomy, zones: Zones, room: Room, rng: np.random.Generator) -> list[Vessel]:
    """Arteries until their share of the cortex is reached, most near the medulla, and a few veins."""
    cortex_um2 = float((zones.zone == CORTEX).sum())
    vessels: list[Vessel] = []
    for kind, share in (("artery", anatomy.artery_share), ("vein", 0.6 * anatomy.artery_share)):
        # At least one try where the expected area is less than one vessel, so that patches get some.
        wanted, area = share * cortex_um2 * rng.uniform(0.7, 1.3), 0.0
        while area < wanted:
            radius = 0.5 * np.exp(rng.uniform(*np.log(anatomy.artery_um)))
            if area + 3.14 * radius**2 > 1.6 * wanted and rng.random() > 0.3:
                break
            spot = _find(zones, room, radius + 6, rng, arcuate=radius > 0.35 * anatomy.artery_um[1])
            if spot is None:
                break
            vessel = _cut_vessel(anatomy, kind, spot, radius, rng)
            room.take(vessel.outer, 1.0)
            vessels.append(vessel)
            area += np.pi * radius**2 * 0.8
    return vessels


def _find(zones, room, radius, rng, arcuate=False, high=0.97, tries=400):
    rows, columns = room.taken.shape
    x, y = rng.uniform(0, columns, tries), rng.uniform(0, rows, tries)
    row, column = y.astype(int), x.astype(int)
    depth = zones.depth[row, column]
    good = (zones.zone[row, column] == CORTEX) & (depth <= high)
    if arcuate:  # large vessels run along the border of the medulla
        border = depth[good].min() if good.any() else 0.0
        good &= rng.random(tries) < np.exp(-(depth - border) / 0.06)
    good &= room.is_free(x, y, np.full(tries, radius))
    first = np.flatnonzero(good)
    return (float(x[first[0]]), float(y[first[0]])) if len(first) else None


def _cut_vessel(anatomy, kind, spot, radius, rng):
    squeeze = rng.uniform(0.6, 1.0) if kind == "artery" else rng.uniform(0.35, 0.8)
    angle = rng.uniform(0, np.pi)
    outer = radius * wave(rng, CORNERS, range(2, 6), 0.05 if kind == "artery" else 0.12)
    if kind == "artery":
        wall = np.clip(anatomy.artery_wall * 2 * radius * rng.uniform(0.75, 1.25), 4.0, 0.45 * radius * squeeze * 2)
        crinkle = wave(rng, CORNERS, range(9, 16), 0.07)  # the elastic lamina folds when the artery contracts
    else:
        wall, crinkle = rng.uniform(1.5, 3.0), 1.0
    lumen = np.maximum(outer - wall, 0.12 * radius) * crinkle
    lumen = np.minimum(lumen, outer - 1.2)
    inner = ring(spot, lumen, max(0.15, (radius * squeeze - wall) / max(radius - wall, 1.0)), angle)
    return Vessel(kind, *spot, radius, float(wall), ring(spot, outer, squeeze, angle), inner)


def place_glomeruli(anatomy: Anatomy, zones: Zones, room: Room, rng: np.random.Generator) -> list[Glomerulus]:
    """Glomeruli in the cortex until they cover their share of it; each is a sphere cut at random."""
    wanted = anatomy.glomerulus_share * float((zones.zone == CORTEX).sum()) * rng.uniform(0.85, 1.15)
    glomeruli: list[Glomerulus] = []
    area = 0.0
    while area < wanted:
        sphere = anatomy.glomerulus_um / 2 * np.exp(anatomy.glomerulus_spread * rng.normal())
        radius = sphere * np.sqrt(1 - rng.uniform(0, 0.93) ** 2)
        if area + np.pi * radius**2 > 1.3 * wanted and rng.random() < 0.5:
            break
        # The outermost cortex has none.
        spot = _find(zones, room, radius + 8, rng, high=0.95)
        if spot is None:
            break
        glomerulus = _cut_glomerulus(anatomy, spot, radius, rng)
        room.take(glomerulus.capsule, 0.5)
        glomeruli.append(glomerulus)
        area += np.pi * radius**2
    return glomeruli


def _cut_glomerulus(anatomy, spot, radius, rng):
    squeeze, angle = rng.uniform(0.82, 1.0), rng.uniform(0, np.pi)
    capsule = radius * wave(rng, CORNERS, range(2, 7), 0.035)
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    # Bowman's space is a crescent: the tuft hangs at the vascular pole.
    space = anatomy.bowman_um * rng.uniform(0.5, 1.5) * (1 + 0.75 * np.cos(turn - rng.uniform(0, 2 * np.pi)))
    lobes = rng.integers(5, 9)
    dents = 0.5 + 0.5 * np.cos(lobes * turn + rng.uniform(0, 6.3) + 0.8 * np.sin(2 * turn + rng.uniform(0, 6.3)))
    dents = dents**3 * rng.uniform(0.04, 0.16) * radius
    tuft = capsule - np.maximum(space, 0.6) - dents * (wave(rng, CORNERS, range(1, 4), 0.5).clip(0, 2))
    tuft = np.clip(tuft * wave(rng, CORNERS, range(9, 16), 0.015), 0.35 * radius, capsule - 0.6)
    return Glomerulus(*spot, float(radius), ring(spot, capsule, squeeze, angle), ring(spot, tuft, squeeze, angle))
