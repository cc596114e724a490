"""Nuclei: where they lie in each structure, how large they are and whose they are."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd

from nephrospot.simulate.anatomy import Anatomy
from nephrospot.simulate.noise import distance_to
from nephrospot.simulate.structures import (
    CAPSULE,
    CD,
    CELL_TYPES,
    DT,
    INTERSTITIUM,
    PT,
    THIN,
)
from nephrospot.simulate.tubules import KINDS, Tubules

# Size along and across as shares of the proximal nucleus, and the spread of the logarithm of both.
SIZES = {
    "PT-S1": (1.0, 0.92),
    "PT-S2": (1.0, 0.92),
    "PT-S3": (1.0, 0.92),
    "TAL": (0.95, 0.85),
    "DCT": (0.95, 0.88),
    "CD-PC": (0.98, 0.92),
    "CD-IC": (0.95, 0.92),
    "Podo": (1.12, 0.90),
    "Mesangial": (0.92, 0.74),
    "Endo": (1.35, 0.42),
    "SMC": (2.0, 0.36),
    "Fib": (1.6, 0.40),
    "Macro": (0.95, 0.75),
}


class _Placer:
    """Accepts places one by one, none nearer to another than the nuclei need."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.taken = np.zeros(shape, bool)
        self.rows: list[tuple] = []

    def place(self, x, y, spacing_um, cell_type, angle, limit=None) -> None:
        """Arrays of candidates in random order; ``cell_type`` holds indices into `CELL_TYPES`."""
        height, width = self.taken.shape
        r = max(1, round(spacing_um))
        yy, xx = np.mgrid[-r : r + 1, -r : r + 1]
        disc = xx * xx + yy * yy <= spacing_um * spacing_um
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        x, y, cell_type, angle = x[inside], y[inside], cell_type[inside], angle[inside]
        columns, rows = x.astype(int), y.astype(int)
        keep = ~self.taken[rows, columns]
        items = zip(
            x[keep], y[keep], columns[keep].tolist(), rows[keep].tolist(), cell_type[keep], angle[keep], strict=True
        )
        placed = 0
        for xi, yi, c, w, kind, turn in items:
            if self.taken[w, c]:
                continue
            top, left = max(0, w - r), max(0, c - r)
            view = self.taken[top : w + r + 1, left : c + r + 1]
            view |= disc[top - w + r : top - w + r + view.shape[0], left - c + r : left - c + r + view.shape[1]]
            self.rows.append((xi, yi, kind, turn))
            placed += 1
            if limit is not None and placed >= limit:
                return


def place_nuclei(
    anatomy: Anatomy,
    tubules: Tubules,
    structure: np.ndarray,
    glomeruli: list,
    vessels: list,
    capillaries: pd.DataFrame,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Nuclei of a canvas of 1 µm per pixel.

    Returns
    -------
    pandas.DataFrame
        x_um, y_um, cell_type, long_um, short_um (diameters), angle (radians).
    """
    placer = _Placer(structure.shape)
    code = {name: i for i, name in enumerate(CELL_TYPES)}
    _line_vessels(placer, vessels, code, rng)
    _fill_tufts(placer, glomeruli, anatomy, code, rng)
    _line_tubules(placer, tubules, structure, anatomy, code, rng)
    _fill_interstitium(placer, structure, capillaries, code, rng)
    table = pd.DataFrame(placer.rows, columns=["x_um", "y_um", "kind", "angle"])
    kind = table.pop("kind").to_numpy(int)
    table.insert(2, "cell_type", pd.Categorical.from_codes(kind, CELL_TYPES))
    size = np.array([SIZES[name] for name in CELL_TYPES]).reshape(-1, 2)[kind] * anatomy.nucleus_um
    size = size * np.exp(0.10 * rng.normal(size=size.shape))
    # The section cuts many nuclei off-centre.
    size *= np.sqrt(1 - rng.uniform(0, 0.75, len(size)) ** 2)[:, None]
    table["long_um"], table["short_um"] = size.max(axis=1), size.min(axis=1)
    return table


def _line_vessels(placer, vessels, code, rng):
    for vessel in vessels:
        outer, lumen = vessel.outer, vessel.lumen
        layers = max(1, int(vessel.wall_um / 6.5)) if vessel.kind == "artery" else 0
        for layer in range(layers + 1):
            share = 0.06 if layer == 0 else (layer - 0.5) / layers * 0.8 + 0.15
            line = lumen + share * (outer - lumen)
            ahead = np.roll(line, -1, axis=0)
            spacing = 11.0 if layer == 0 else 10.0
            where = rng.uniform(0, 1, int(np.linalg.norm(ahead - line, axis=1).sum() / 2.5) + 4)
            k = rng.integers(0, len(line), len(where))
            point = line[k] + where[:, None] * (ahead - line)[k]
            turn = np.arctan2(*(ahead - line)[k].T[::-1]) + 0.15 * rng.normal(size=len(k))
            kind = np.full(len(k), code["Endo" if layer == 0 else "SMC"])
            placer.place(point[:, 0], point[:, 1], spacing, kind, turn)


def _fill_tufts(placer, glomeruli, anatomy, code, rng):
    shares = [0.30, 0.28, 0.42]
    kinds = np.array([code["Podo"], code["Mesangial"], code["Endo"]])
    for glomerulus in glomeruli:
        centre = np.array([glomerulus.x_um, glomerulus.y_um])
        n = int(glomerulus.radius_um**2 * 0.35) + 10
        k = rng.integers(0, len(glomerulus.tuft), n)
        point = centre + (0.96 * np.sqrt(rng.random(n)))[:, None] * (glomerulus.tuft[k] - centre)
        angle = rng.uniform(0, np.pi, n)
        placer.place(point[:, 0], point[:, 1], 0.88 * anatomy.nucleus_um, rng.choice(kinds, n, p=shares), angle)


def _line_tubules(placer, tubules, structure, anatomy, code, rng):
    height, width = structure.shape
    n = int(height * width / 5)
    x, y = rng.uniform(0, width, n), rng.uniform(0, height, n)
    row, column = y.astype(int), x.astype(int)
    what, cell = structure[row, column], tubules.cell[row, column]
    keep = np.isin(what, (PT, DT, CD, THIN)) & (cell > 0)
    x, y, row, column, what, cell = x[keep], y[keep], row[keep], column[keep], what[keep], cell[keep]
    inside, lumen = tubules.inside_um[row, column], tubules.lumen_um[row, column]
    wall = tubules.table["wall_um"].to_numpy()[cell - 1]
    kind = tubules.table["kind"].to_numpy()[cell - 1]
    types = np.array([code.get(k, code["CD-PC"]) for k in KINDS])[kind]
    collecting = kind == KINDS.index("CD")
    types[collecting & (rng.random(len(x)) < 0.35)] = code["CD-IC"]
    types[kind == KINDS.index("THIN")] = code["Endo"]
    tangent = level_direction(tubules.inside_um, row, column)
    # Proximal nuclei lie in the lower half of a tall epithelium, the others in its middle.
    low = np.where(what == PT, 3.4, np.where(what == THIN, 0.6, 0.38 * wall))
    high = np.where(what == PT, 0.62 * wall, np.where(what == THIN, 2.2, 0.66 * wall))
    grazed = wall > 2.2 * anatomy.proximal_wall_um
    low, high = np.where(grazed, 3.0, low), np.where(grazed, 99.0, np.minimum(high, 14.0))
    band = (inside > low) & (inside < high) & ((lumen < -1.0) | (what == THIN))
    spacing = {PT: 10.6, DT: 8.2, CD: 8.6, THIN: 11.0}
    scale = anatomy.nucleus_um / 6.2
    for structure_code, gap in spacing.items():
        pick = band & (what == structure_code)
        placer.place(x[pick], y[pick], gap * scale, types[pick], tangent[pick])


def _fill_interstitium(placer, structure, capillaries, code, rng):
    """Endothelium beside capillaries; a few fibroblasts and macrophages between the tubules."""
    if len(capillaries):
        pick = rng.random(len(capillaries)) < 0.55
        some = capillaries[pick]
        side = some["angle"].to_numpy() + np.pi / 2 * rng.choice([-1, 1], len(some))
        away = 0.5 * some["short_um"].to_numpy() + 0.8
        x, y = some["x_um"] + away * np.cos(side), some["y_um"] + away * np.sin(side)
        kind = np.full(len(some), code["Endo"])
        placer.place(x.to_numpy(), y.to_numpy(), 5.0, kind, some["angle"].to_numpy())
    height, width = structure.shape
    n = int(height * width / 60)
    x, y = rng.uniform(0, width, n), rng.uniform(0, height, n)
    row, column = y.astype(int), x.astype(int)
    keep = np.isin(structure[row, column], (INTERSTITIUM, CAPSULE))
    x, y, row, column = x[keep], y[keep], row[keep], column[keep]
    kind = np.where(rng.random(len(x)) < 0.72, code["Fib"], code["Macro"])
    between = cv2.GaussianBlur(distance_to(~np.isin(structure, (INTERSTITIUM, CAPSULE)), 20.0), (0, 0), 1.5)
    along = level_direction(between, row, column) + 0.2 * rng.normal(size=len(x))
    placer.place(x, y, 8.0, kind, along)


def level_direction(field, row, column):
    """Direction along the level lines of ``field``, radians."""
    above, below = field[np.maximum(row - 1, 0), column], field[np.minimum(row + 1, field.shape[0] - 1), column]
    left, right = field[row, np.maximum(column - 1, 0)], field[row, np.minimum(column + 1, field.shape[1] - 1)]
    return np.arctan2(below - above, right - left) + np.pi / 2
