"""Where the section has tissue, and where cortex, outer and inner medulla lie in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nephrospot.errors import InputError, did_you_mean
from nephrospot.simulate.anatomy import Anatomy
from nephrospot.simulate.noise import resample, smooth_noise

GLASS, CORTEX, OUTER_MEDULLA, INNER_MEDULLA = 0, 1, 2, 3
OUTLINES = ("kidney", "full", "edge")
COARSE_UM = 8  # the zones are smooth: this grid is fine enough


@dataclass(frozen=True)
class Zones:
    """Maps at 1 µm per pixel, all (rows, columns).

    ``depth``: 0 at the papilla, 1 at the capsule, more on glass (float32). ``zone``: codes of
    this module (uint8). ``heading``: direction from papilla to capsule, radians (float32).
    ``ray``: strength of the medullary rays in the cortex, about N(0, 1) (float32).
    """

    depth: np.ndarray
    zone: np.ndarray
    heading: np.ndarray
    ray: np.ndarray


def draw_zones(anatomy: Anatomy, shape: tuple[int, int], outline: str, rng: np.random.Generator) -> Zones:
    """Draw the section's outline and zones on a canvas of ``shape`` (rows, columns in µm)."""
    if outline not in OUTLINES:
        raise InputError(f"outline is {outline!r}; {did_you_mean(outline, OUTLINES)}")
    rows, columns = (int(np.ceil(n / COARSE_UM)) + 2 for n in shape)
    y, x = np.mgrid[:rows, :columns] * float(COARSE_UM)
    if outline == "kidney":
        depth, heading = _kidney(x, y, shape, rng)
    else:
        depth, heading = _field(anatomy, x, y, shape, outline, rng)
    # Rays run from the papilla outwards: their pattern depends on the heading alone, or in a
    # field, where the heading is one, on the position across it.
    if outline == "kidney":
        across, waves = heading, (9, 14, 19, 23)
    else:
        across, waves = _across(x, y, heading) / 170.0, (1.0, 1.7, 2.6, 3.3)
    phases, strengths = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.5, 0.9, 4)
    ray = sum(s * np.sin(k * across + p) for k, p, s in zip(waves, phases, strengths, strict=True))
    maps = [depth, np.cos(heading), np.sin(heading), ray]
    maps = [resample(m.astype(np.float32), shape, 1.0 / COARSE_UM) for m in maps]
    maps[0] += 0.012 * smooth_noise(rng, shape, 60) * (maps[0] < 0.95)
    cortex = 1.0 - anatomy.cortex_depth
    zone = np.full(shape, CORTEX, np.uint8)
    zone[maps[0] < cortex] = OUTER_MEDULLA
    zone[maps[0] < cortex - anatomy.outer_medulla_depth] = INNER_MEDULLA
    zone[maps[0] >= 1.0] = GLASS
    return Zones(maps[0], zone, np.arctan2(maps[2], maps[1]), maps[3])


def _across(x, y, heading):
    angle = float(heading.flat[0])
    return -np.sin(angle) * x + np.cos(angle) * y


def _kidney(x, y, shape, rng):
    """Bean: an ellipse with a hilum; the papilla lies towards the hilum, so the medulla is off-centre."""
    height, width = shape
    hilum = rng.uniform(-0.5, 0.5) + rng.choice([0.0, np.pi])
    phases = rng.uniform(0, 2 * np.pi, 8)
    size = rng.uniform(0.95, 1.0)

    def reach(angle):
        a, b = 0.47 * width * size, 0.47 * height * size
        ellipse = a * b / np.sqrt((b * np.cos(angle)) ** 2 + (a * np.sin(angle)) ** 2)
        from_hilum = np.angle(np.exp(1j * (angle - hilum)))
        notch = 1 - 0.20 * np.exp(-((from_hilum / 0.32) ** 2))
        waves = sum(0.010 / (k + 1) ** 0.5 * np.sin((k + 2) * angle + p) for k, p in enumerate(phases))
        return ellipse * notch * (1 + waves)

    shift = 0.30 * 0.47 * min(width, height) * np.array([np.cos(hilum), np.sin(hilum)])
    depth = np.full(x.shape, 0.5)
    for _ in range(8):  # the curve of depth t is centred at middle + (1 - t) * shift: solve for t
        free = np.clip(1 - depth, 0, 1)
        dx = x - width / 2 - free * shift[0]
        dy = y - height / 2 - free * shift[1]
        angle = np.arctan2(dy, dx)
        depth = 0.5 * depth + 0.5 * np.hypot(dx, dy) / reach(angle)
    return depth, np.arctan2(y - height / 2 - shift[1], x - width / 2 - shift[0])


def _field(anatomy, x, y, shape, outline, rng):
    """A straight piece of kidney: cortex, sometimes with medulla or (edge) with the capsule."""
    angle = rng.uniform(-np.pi, np.pi)
    height, width = shape
    along = np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2)
    span = 0.5 * (abs(np.cos(angle)) * width + abs(np.sin(angle)) * height)
    thickness_um = 2200.0 if anatomy.species == "mouse" else 9000.0  # from the papilla to the capsule
    cortex = 1.0 - anatomy.cortex_depth
    if outline == "edge":
        depth = 1.0 + (along - rng.uniform(-0.2, 0.8) * span) / thickness_um
    elif rng.random() < 0.25:
        depth = cortex + (along - rng.uniform(-0.7, 0.7) * span) / thickness_um
        depth -= 0.2 * (rng.random() < 0.3)  # now and then deeper, where the inner medulla begins
    else:
        depth = 0.85 + 0.1 * along / (span + 1)
    return depth if outline == "edge" else np.minimum(depth, 0.97), np.full(x.shape, angle)
