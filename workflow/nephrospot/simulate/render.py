"""Paint a layout as a section stained with haematoxylin and eosin.

Optical densities of two stains and of red cells are summed and turned into light by
Beer and Lambert's law; the colours of the stains are a donor's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nephrospot.simulate import structures as s
from nephrospot.simulate.noise import Grain, smooth_noise
from nephrospot.simulate.stamps import soften, stamp_nuclei, stamp_organs, stamp_red_cells
from nephrospot.simulate.tissue import Layout

# Optical density of eosin and of haematoxylin outside nuclei, by structure.
EOSIN = {
    s.GLASS: 0.0, s.INTERSTITIUM: 0.39, s.PT: 0.86, s.DT: 0.56, s.CD: 0.44, s.THIN: 0.42, s.BOWMAN: 0.02,
    s.TUFT: 0.46, s.ARTERY: 0.62, s.VEIN: 0.04, s.PTC: 0.05, s.CAPSULE: 0.55,
}  # fmt: skip
HAEMATOXYLIN = {
    s.GLASS: 0.0, s.INTERSTITIUM: 0.05, s.PT: 0.16, s.DT: 0.13, s.CD: 0.08, s.THIN: 0.07, s.BOWMAN: 0.0,
    s.TUFT: 0.17, s.ARTERY: 0.10, s.VEIN: 0.01, s.PTC: 0.01, s.CAPSULE: 0.06,
}  # fmt: skip


@dataclass(frozen=True)
class Donor:
    """How one kidney was cut, stained and scanned. Stain vectors are optical densities of red, green, blue."""

    haematoxylin: tuple[float, float, float] = (0.62, 0.70, 0.36)
    eosin: tuple[float, float, float] = (0.13, 0.83, 0.42)
    erythrocyte: tuple[float, float, float] = (0.14, 0.86, 0.62)
    haematoxylin_strength: float = 1.0
    eosin_strength: float = 1.0
    white: tuple[float, float, float] = (245.0, 244.0, 246.0)
    blur_um: float = 0.35
    noise: float = 2.0  # grey levels
    congestion: float = 0.4  # share of capillaries with red cells
    open_lumen: float = 0.0  # µm; how far lumens gape (perfused) or are shut


def draw_donor(seed: int) -> Donor:
    """A donor, drawn at random around the default."""
    rng = np.random.default_rng([seed, 100])

    def near(vector, spread):
        return tuple(float(v) for v in np.clip(np.array(vector) + spread * rng.normal(size=3), 0.03, 1.2))

    return Donor(
        haematoxylin=near(Donor.haematoxylin, 0.035),
        eosin=near(Donor.eosin, 0.045),
        erythrocyte=near(Donor.erythrocyte, 0.04),
        haematoxylin_strength=float(np.exp(0.14 * rng.normal())),
        eosin_strength=float(np.exp(0.16 * rng.normal())),
        white=tuple(float(v) for v in 244 + rng.uniform(-4, 4) + rng.uniform(-2, 2, 3)),
        blur_um=float(rng.uniform(0.25, 0.5)),
        noise=float(rng.uniform(1.0, 2.5)),
        congestion=float(rng.uniform(0.1, 0.7)),
        open_lumen=float(rng.normal() * 0.8),
    )


def render(layout: Layout, seed: int, donor: Donor | None = None) -> np.ndarray:
    """Paint ``layout``.

    Parameters
    ----------
    layout
        From `nephrospot.simulate.tissue.lay_out`.
    seed
        Of texture, red cells and noise; and of the donor where none is given.
    donor
        Colours and sharpness.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) uint8 RGB at the layout's mpp.
    """
    donor = donor or draw_donor(seed)
    rng = np.random.default_rng([seed, 101])
    shape, mpp = layout.shape, layout.mpp
    eosin, haematoxylin = np.empty(shape, np.float32), np.empty(shape, np.float32)
    tint = _tint_cells(layout, rng)
    grain = {um: Grain(rng, um / mpp, shape[1]) for um in (0.45, 0.7, 1.5, 2.0)}
    for rows in _strips(shape[0]):
        _paint_tubules(layout, donor, tint, grain, rows, eosin, haematoxylin)
    stamp_organs(layout, eosin, haematoxylin, rng)
    nuclei, cells = stamp_nuclei(layout, rng), stamp_red_cells(layout, donor.congestion, rng)
    uneven = smooth_noise(rng, layout.tubules.cell.shape, 180)
    sensor = Grain(rng, 0.5, shape[1])
    image = np.empty((*shape, 3), np.uint8)
    halo = int(np.ceil(4 * max(donor.blur_um, 0.5) / mpp))  # what the blurs of a strip need of its neighbours
    for rows in _strips(shape[0]):
        wide = slice(max(0, rows.start - halo), min(shape[0], rows.stop + halo))
        densities = _develop(layout, grain, uneven, wide, eosin, haematoxylin, nuclei, cells)
        light = _expose(donor, mpp, *densities)[rows.start - wide.start :][: rows.stop - rows.start]
        light += sensor.rows(rows)[..., None] * np.float32(donor.noise)
        np.clip(light, 0, 255, out=light)
        image[rows] = light  # cuts the fraction off
    return image


def _strips(height, size=256):
    """Rows in pieces that fit the processor's cache."""
    return [slice(start, min(start + size, height)) for start in range(0, height, size)]


def _lookup(table, default=0.0):
    values = np.full(256, default, np.float32)
    values[list(table)] = list(table.values())
    return values


def _paint_tubules(layout, donor, tint, grain, rows, eosin, haematoxylin):
    """Write both stains of epithelium, lumens and interstitium into ``rows``."""
    structure, tubules = layout.structure[rows], layout.tubules
    e, h = cv2.LUT(structure, _lookup(EOSIN)), cv2.LUT(structure, _lookup(HAEMATOXYLIN))
    tubule = cv2.LUT(structure, _lookup(dict.fromkeys((s.PT, s.DT, s.CD, s.THIN), 1.0)))
    proximal = cv2.LUT(structure, _lookup({s.PT: 1.0}))
    e *= layout.upsample(tint, rows)
    inside, lumen = layout.upsample(tubules.inside_um, rows), layout.upsample(tubules.lumen_um, rows)
    lumen += np.float32(donor.open_lumen)
    lumen += (0.15 + 0.65 * proximal) * grain[0.7].rows(rows)
    # The brush border: a darker, blurred seam on the lumen of proximal tubules.
    e += (0.22 * proximal) * np.maximum(1 - np.abs(lumen + 1.2) / 1.8, 0)
    # Apical edge of the other cells, and the basement membrane of all tubules.
    e += (0.12 * (tubule - proximal)) * np.maximum(1 - np.abs(lumen + 0.6) / 0.7, 0)
    e += 0.16 * np.maximum(1 - np.abs(inside - 0.2) / 0.9, 0)
    space = np.clip(lumen / (0.7 + 1.5 * proximal) + 0.5, 0, 1) * tubule
    # Lumens are empty but for some cell debris and proteins.
    content = 0.05 + (0.08 * proximal) * np.clip(grain[2.0].rows(rows) - 0.4, 0, 1)
    e += space * (content - e)
    h *= 1 - space
    eosin[rows], haematoxylin[rows] = e, h


def _tint_cells(layout, rng):
    """Factor of each tubule and each cell, with pale seams between cells; float32 at 1 µm per pixel."""
    n = len(layout.tubules.table) + 1
    tint = np.exp(np.where(np.arange(n) > 0, 0.10, 0.0) * rng.normal(size=n)).astype(np.float32)
    tint = tint[layout.tubules.cell]
    shape = tint.shape
    mark = np.zeros(shape, np.uint8)
    nuclei = layout.nuclei
    mark[nuclei["y_um"].to_numpy(int).clip(0, shape[0] - 1), nuclei["x_um"].to_numpy(int).clip(0, shape[1] - 1)] = 1
    if not mark.any():
        return tint
    _, label = cv2.distanceTransformWithLabels(1 - mark, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tint *= np.exp(0.05 * rng.normal(size=int(label.max()) + 1)).astype(np.float32)[label]
    seam = np.zeros(shape, np.uint8)
    seam[:, 1:] |= label[:, 1:] != label[:, :-1]
    seam[1:] |= label[1:] != label[:-1]
    tint *= 1 - 0.13 * cv2.GaussianBlur(seam.astype(np.float32), (0, 0), 0.6)
    return tint


def _develop(layout, grain, uneven, rows, eosin, haematoxylin, nuclei, cells):
    """Add granules, fibres, clumps of chromatin and uneven staining; densities of the three colours."""
    structure, mpp = layout.structure[rows], layout.mpp
    fine, middle = grain[0.45].rows(rows), grain[1.5].rows(rows)
    rough = _lookup({s.PT: 0.12, s.INTERSTITIUM: 0.14, s.TUFT: 0.13, s.ARTERY: 0.09}, 0.06)
    clumps = _lookup({s.INTERSTITIUM: 0.22}, 0.07)
    shade = np.exp(0.06 * layout.upsample(uneven, rows))
    e = eosin[rows] * (1 + cv2.LUT(structure, rough) * fine + cv2.LUT(structure, clumps) * middle)
    chromatin = soften(nuclei[rows], 0.45 / mpp) * (1 + 0.16 * fine + 0.10 * middle)
    e *= shade * (1 - np.minimum(0.55 * chromatin, 0.9))  # chromatin takes the place of cytoplasm
    h = haematoxylin[rows] * shade + 1.15 * chromatin
    blood = cv2.LUT(structure, _lookup(dict.fromkeys((s.PTC, s.TUFT, s.ARTERY, s.VEIN), 1.0)))
    return np.maximum(e, 0), h, soften(cells[rows], 0.3 / mpp) * blood * (1 - np.minimum(0.6 * chromatin, 0.8))


def _expose(donor, mpp, eosin, haematoxylin, cells):
    """Light through the section: Beer–Lambert and the lens' blur; (rows, columns, 3) float32."""
    light = np.empty((*eosin.shape, 3), np.float32)
    for channel in range(3):
        density = haematoxylin * np.float32(-donor.haematoxylin_strength * donor.haematoxylin[channel])
        density -= eosin * np.float32(donor.eosin_strength * donor.eosin[channel])
        density -= cells * np.float32(donor.erythrocyte[channel])
        np.exp(density, out=density)
        density *= np.float32(donor.white[channel])
        light[..., channel] = density
    blur = donor.blur_um / mpp
    return cv2.GaussianBlur(light, (0, 0), blur) if blur > 0.25 else light
