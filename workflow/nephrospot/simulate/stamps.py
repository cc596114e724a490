"""Small things drawn one by one into the stains: nuclei, red cells, capillary loops, muscle layers."""

from __future__ import annotations

import cv2
import numpy as np

from nephrospot.simulate import structures as s
from nephrospot.simulate.noise import distance_to, smooth_noise
from nephrospot.simulate.tissue import Layout

SHIFT = 4  # drawing to 1/16 pixel

# Darkness of nuclei by type; 1 is a proximal nucleus.
DARKNESS = {"Endo": 1.25, "SMC": 1.1, "Fib": 1.2, "Macro": 1.2, "Mesangial": 1.2, "Podo": 0.9, "CD-PC": 0.95}


def soften(stamped: np.ndarray, sigma_px: float) -> np.ndarray:
    """Optical density (float32) of a raster that was stamped with 150 for a density of 1."""
    return cv2.GaussianBlur(stamped.astype(np.float32), (0, 0), max(0.3, sigma_px)) / np.float32(150)


def stamp_nuclei(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Nuclei with their darker envelope, (rows, columns) uint8; 150 stands for a density of 1."""
    body, rim = np.zeros(layout.shape, np.uint8), np.zeros(layout.shape, np.uint8)
    table = layout.nuclei
    dark = np.array([DARKNESS.get(name, 1.0) for name in table["cell_type"].cat.categories])
    dark = dark[table["cell_type"].cat.codes.to_numpy()] * np.exp(0.16 * rng.normal(size=len(table)))
    value = np.clip(150 * dark, 60, 255)
    _ellipses(body, table, value, layout.mpp)
    _ellipses(rim, table, 0.45 * value, layout.mpp, outline=max(1, round(0.5 / layout.mpp)))
    return cv2.add(body, rim)


def _ellipses(raster, table, values, mpp, outline=cv2.FILLED):
    unit = (1 << SHIFT) / mpp
    x = np.round(table["x_um"].to_numpy() * unit).astype(int).tolist()
    y = np.round(table["y_um"].to_numpy() * unit).astype(int).tolist()
    values = np.asarray(values).astype(int).tolist()
    a = np.maximum(np.round(table["long_um"].to_numpy() / 2 * unit), 8).astype(int).tolist()
    b = np.maximum(np.round(table["short_um"].to_numpy() / 2 * unit), 8).astype(int).tolist()
    turn = np.degrees(table["angle"].to_numpy()).tolist()
    for xi, yi, ai, bi, angle, value in zip(x, y, a, b, turn, values, strict=True):
        cv2.ellipse(raster, (xi, yi), (ai, bi), angle, 0, 360, value, outline, cv2.LINE_8, SHIFT)


def stamp_red_cells(layout: Layout, congestion: float, rng: np.random.Generator) -> np.ndarray:
    """Red cells in capillaries, vessels and the loops of glomeruli, (rows, columns) uint8 as `stamp_nuclei`."""
    mpp = layout.mpp
    raster = np.zeros(layout.shape, np.uint8)
    radius = layout.anatomy.erythrocyte_um / 2
    spots = []
    some = layout.capillaries[rng.random(len(layout.capillaries)) < congestion]
    for x, y, long, short, angle in some.itertuples(index=False):
        for _ in range(rng.integers(1, 4)):
            u, v = rng.uniform(-0.35, 0.35, 2) * (long, short)
            spots.append((x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle)))
    for vessel in layout.vessels:
        fullness = rng.uniform(0, 1) ** 2
        n = int(fullness * np.pi * vessel.radius_um**2 / (radius**2 * 4))
        centre = np.array([vessel.x_um, vessel.y_um])
        k = rng.integers(0, len(vessel.lumen), n)
        drop = centre + (0.92 * np.sqrt(rng.random(n)))[:, None] * (vessel.lumen[k] - centre)
        spots.extend(map(tuple, drop))
    for glomerulus in layout.glomeruli:
        n = int(congestion * rng.uniform(0, 1) * glomerulus.radius_um**2 / 22)
        centre = np.array([glomerulus.x_um, glomerulus.y_um])
        k = rng.integers(0, len(glomerulus.tuft), n)
        spots.extend(map(tuple, centre + (0.85 * np.sqrt(rng.random(n)))[:, None] * (glomerulus.tuft[k] - centre)))
    unit = (1 << SHIFT) / mpp
    for x, y in spots:
        size = max(8, round(radius * rng.uniform(0.7, 1.0) * unit))
        axes = (size, round(size * rng.uniform(0.6, 1.0)))
        where = (round(x * unit), round(y * unit))
        cv2.ellipse(
            raster, where, axes, rng.uniform(0, 180), 0, 360, int(rng.integers(130, 220)), -1, cv2.LINE_8, SHIFT
        )
    return raster


def stamp_organs(layout: Layout, eosin: np.ndarray, haematoxylin: np.ndarray, rng: np.random.Generator) -> None:
    """Draw the insides of glomeruli and vessels into both stains, in place."""
    for glomerulus in layout.glomeruli:
        window = _window(layout, glomerulus.capsule, 3)
        if window is not None:
            _draw_glomerulus(layout, glomerulus, window, eosin, haematoxylin, rng)
    for vessel in layout.vessels:
        window = _window(layout, vessel.outer, 8)
        if window is not None:
            _draw_vessel(layout, vessel, window, eosin, haematoxylin, rng)


def _window(layout, outline, margin_um):
    """Slices around an outline, clipped to the image, or None where nothing of it shows."""
    low = np.floor((outline.min(axis=0) - margin_um) / layout.mpp).astype(int)
    high = np.ceil((outline.max(axis=0) + margin_um) / layout.mpp).astype(int)
    rows = slice(max(0, low[1]), min(layout.shape[0], high[1]))
    columns = slice(max(0, low[0]), min(layout.shape[1], high[0]))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _points(outline, window, mpp):
    origin = np.array([window[1].start, window[0].start])
    return np.round((outline / mpp - origin) * (1 << SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def _draw_glomerulus(layout, glomerulus, window, eosin, haematoxylin, rng):
    """Capillary loops with pale lumens in a pink mesangium; Bowman's capsule as a line."""
    mpp = layout.mpp
    part = layout.structure[window]
    tuft = part == s.TUFT
    loops = np.zeros(part.shape, np.uint8)
    walls = np.zeros(part.shape, np.uint8)
    centre = np.array([glomerulus.x_um, glomerulus.y_um])
    size = 0.55 * layout.anatomy.capillary_um
    n = int(glomerulus.radius_um**2 / size**2 * 1.1) + 3
    k = rng.integers(0, len(glomerulus.tuft), n)
    points = centre + (0.93 * np.sqrt(rng.random(n)))[:, None] * (glomerulus.tuft[k] - centre)
    unit = (1 << SHIFT) / mpp
    origin = np.array([window[1].start, window[0].start]) * (1 << SHIFT)
    for point in points:
        axes = np.maximum(np.round(size * rng.uniform(0.45, 0.95, 2) * unit), 8).astype(int)
        where = tuple(int(v) for v in np.round(point * unit - origin))
        turn = rng.uniform(0, 180)
        cv2.ellipse(loops, where, tuple(map(int, axes)), turn, 0, 360, 255, -1, cv2.LINE_8, SHIFT)
        cv2.ellipse(walls, where, tuple(map(int, axes)), turn, 0, 360, 255, max(1, round(0.8 / mpp)), cv2.LINE_8, SHIFT)
    blur = max(0.4, 0.6 / mpp)
    pale = cv2.GaussianBlur(loops, (0, 0), blur).astype(np.float32) / 255 * tuft
    wall = cv2.GaussianBlur(walls, (0, 0), blur * 0.7).astype(np.float32) / 255 * tuft
    cells = smooth_noise(rng, part.shape, 2.5 / mpp)
    eosin[window] *= 1 - 0.62 * pale
    eosin[window] += 0.30 * wall + 0.05 * cells * tuft
    haematoxylin[window] *= 1 - 0.6 * pale
    haematoxylin[window] += tuft * np.clip(0.08 * cells, -0.1, 0.2) + 0.05 * wall
    line = np.zeros(part.shape, np.uint8)
    cv2.polylines(
        line, [_points(glomerulus.capsule, window, mpp)], True, 255, max(1, round(1.2 / mpp)), cv2.LINE_8, SHIFT
    )
    line = cv2.GaussianBlur(line, (0, 0), max(0.3, 0.4 / mpp)).astype(np.float32) / 255
    eosin[window] += 0.42 * line
    haematoxylin[window] += 0.08 * line


def _draw_vessel(layout, vessel, window, eosin, haematoxylin, rng):
    """Concentric muscle and the elastic lamina; an empty lumen; loose fibres around."""
    mpp = layout.mpp
    part = layout.structure[window]
    body = np.isin(part, (s.ARTERY, s.VEIN))
    lumen = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(lumen, [_points(vessel.lumen, window, mpp)], 1, cv2.LINE_8, SHIFT)
    lumen = (lumen > 0) & body
    wall = body & ~lumen
    outwards = distance_to(lumen) * np.float32(mpp)
    wobble = smooth_noise(rng, part.shape, 6 / mpp)
    layers = np.sin(2 * np.pi * (outwards + 0.9 * wobble) / 2.6)
    eosin[window] = np.where(wall, 0.66 + 0.13 * layers + 0.08 * wobble, np.where(lumen, 0.03, eosin[window]))
    haematoxylin[window] = np.where(wall, 0.11, np.where(lumen, 0.01, haematoxylin[window]))
    lamina = np.clip(1 - np.abs(outwards - 0.7) / 0.8, 0, 1) * wall
    eosin[window] += 0.22 * lamina
    around = distance_to(body) * np.float32(mpp)
    sheath = np.clip(1 - around / 6, 0, 1) * (part == s.INTERSTITIUM)
    eosin[window] += 0.18 * sheath * (1 + np.sin(2 * np.pi * (around + 1.2 * wobble) / 2.0))
