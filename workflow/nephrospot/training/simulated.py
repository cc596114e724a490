"""Partially labelled patches of simulated human-like kidneys, written in the layout of the published data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nephrospot.files import whole
from nephrospot.models import TISSUES, scale_id
from nephrospot.mpp import magnification_to_mpp
from nephrospot.simulate.anatomy import anatomy
from nephrospot.simulate.render import render
from nephrospot.simulate.tissue import Layout, lay_out
from nephrospot.training.rois import write_roi

PATCH_PX = 256
# Scale code and folder word of each tissue, as in the published data.
CODES = {"DT": 10, "PT": 10, "CAP": 5, "TUFT": 5, "VES": 10, "PTC": 40}
WORDS = {"DT": "dt", "PT": "pt", "CAP": "capsule", "TUFT": "tuft", "VES": "vessel", "PTC": "ptc"}
# Field and pixel size that serve a scale code: wide fields for large tissues, fine ones for capillaries.
FIELDS_UM = {5: (2000.0, 0.5), 10: (2000.0, 0.5), 40: (420.0, 0.25)}


@dataclass(frozen=True)
class Patch:
    """Where a patch lies in a field, in pixels of the field, and how many field pixels one of its pixels is."""

    centre_x: float
    centre_y: float
    zoom: float


def write_patches(root: str | Path, rois: str | Path, donors: int, patches_per_tissue: int, seed: int) -> None:
    """Write ``root/{task}_{scale}_{word}/he/im_{donor}_{k}.png`` and masks, and the whole fields to ``rois``.

    Each donor is a field of human-like cortex with sizes and stain of its own. Three patches in four are centred
    on the tissue, the fourth anywhere, so that the network also learns where there is none. Patches are drawn
    at 0.6 to 1.2 times the nominal µm per pixel, since glomeruli and cells differ in size. A donor has a wide field,
    from which all tissues but capillaries come, and a fine one: ``rois/he/im_{donor}_0.png`` and ``_1.png``.
    """
    per_donor = -(-patches_per_tissue // donors)
    with whole(root) as temporary, whole(rois) as regions:
        for donor in range(donors):
            rng = np.random.default_rng([seed, donor])
            fields: dict[tuple[float, float], tuple[Layout, np.ndarray]] = {}
            for tissue in TISSUES:
                size = FIELDS_UM[CODES[tissue]]
                if size not in fields:
                    fields[size] = _draw_field(*size, rng, seed * 1000 + donor)
                    name = f"im_{donor}_{len(fields) - 1}"
                    write_roi(regions, "he", name, str(donor), fields[size][1], size[1])
                layout, image = fields[size]
                folder = f"{TISSUES.index(tissue)}_{scale_id(CODES[tissue])}_{WORDS[tissue]}"
                _write_tissue(temporary / folder / "he", tissue, layout, image, donor, per_donor, rng)


def _draw_field(side_um: float, mpp: float, rng: np.random.Generator, seed: int) -> tuple[Layout, np.ndarray]:
    grow = float(np.exp(rng.normal(0, 0.15)))
    human = anatomy("human")
    sizes = anatomy(
        "human",
        glomerulus_um=human.glomerulus_um * grow * float(np.exp(rng.normal(0, 0.1))),
        proximal_um=human.proximal_um * grow,
        distal_um=human.distal_um * grow,
        nucleus_um=human.nucleus_um * float(np.exp(rng.normal(0, 0.12))),
        glomerulus_share=float(rng.uniform(0.06, 0.14)),
        artery_share=float(rng.uniform(0.03, 0.08)),
        cortex_depth=float(rng.uniform(0.7, 1.0)),
        outer_medulla_depth=0.2,
    )
    layout = lay_out(sizes, side_um, side_um, mpp, seed, outline="edge" if rng.random() < 0.4 else "full")
    return layout, render(layout, seed)


def _write_tissue(
    folder: Path, tissue: str, layout: Layout, image: np.ndarray, donor: int, count: int, rng: np.random.Generator
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    mask = layout.mask(tissue).astype(np.uint8)
    rows, columns = np.nonzero(mask)
    for k in range(count):
        zoom = magnification_to_mpp(CODES[tissue]) / layout.mpp * float(np.exp(rng.uniform(-0.5, 0.2)))
        half = min(PATCH_PX * zoom / 2, min(mask.shape) / 2)
        if len(rows) and rng.random() < 0.75:
            at = rng.integers(len(rows))
            centre = np.array([columns[at], rows[at]]) + rng.uniform(-0.3, 0.3, 2) * half
        else:
            centre = rng.uniform(0, 1, 2) * mask.shape[::-1]
        x, y = np.clip(centre, half, np.array(mask.shape[::-1]) - half)
        patch = Patch(float(x), float(y), zoom)
        name = f"im_{donor}_{k}"
        cv2.imwrite(str(folder / f"{name}.png"), _cut(image, patch)[..., ::-1])
        cv2.imwrite(
            str(folder / f"{name}_mask_{WORDS[tissue]}.png"), 255 * (_cut(mask * 255, patch) > 127).astype(np.uint8)
        )


def _cut(picture: np.ndarray, patch: Patch) -> np.ndarray:
    """A patch of a field, averaged over the pixels that it merges."""
    side = round(PATCH_PX * patch.zoom)
    left, top = round(patch.centre_x - side / 2), round(patch.centre_y - side / 2)
    left, top = (
        max(0, min(corner, size - side)) for corner, size in ((left, picture.shape[1]), (top, picture.shape[0]))
    )
    cut = picture[top : top + side, left : left + side]
    interpolation = cv2.INTER_AREA if side > PATCH_PX else cv2.INTER_LINEAR
    return cv2.resize(cut, (PATCH_PX, PATCH_PX), interpolation=interpolation)
