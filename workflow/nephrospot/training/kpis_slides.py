"""Patches from whole slides with mask TIFFs, as task 2 of the KPIs challenge has them, in the layout of its task 1."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from nephrospot.errors import InputError, Problems
from nephrospot.files import whole
from nephrospot.mpp import KPIS_MPP
from nephrospot.slide import Slide, open_slide
from nephrospot.tissue import TISSUE_MPP, find_tissue

SIDES_TOLERANCE = 0.01


def cut_slides(
    root: str | Path,
    output: str | Path,
    seed: int,
    at_mpp: float = KPIS_MPP,
    side_px: int = 256,
    mpp: float | None = None,
    min_tissue: float = 0.1,
    empty_per_full: float = 1.0,
) -> int:
    """Cut ``root/…/{group}/{case}_wsi.tiff`` and ``{case}_mask.tiff`` into patches that `list_patches` reads.

    Parameters
    ----------
    output
        Folder to make: ``{group}/{case}/img/{case}_{k}_{x}_{y}_img.png`` and ``mask/…_mask.png``; x and y in level-0
        pixels.
    seed
        Of the choice among patches without foreground.
    at_mpp, side_px
        µm per pixel and side of the patches, which lie edge to edge.
    mpp
        µm per pixel of the slides at level 0; by default what each file says.
    min_tissue
        Patches with less tissue are left out.
    empty_per_full
        Patches without foreground that are kept for each one with some: most patches of a slide have none.

    Returns
    -------
    Number of patches

    Raises
    ------
    InputError
        When there is no slide, a mask is missing or of another shape, or a slide doesn't say its µm per pixel.

    Notes
    -----
    The mask may be of any resolution; 0 is background and everything above half of its largest value is foreground.
    """
    root, problems = Path(root), Problems()
    pairs = []
    for image in sorted(path for path in root.rglob("*_wsi.tif*") if path.is_file()):
        masks = [image.with_name(image.name.replace("_wsi.", "_mask.").rsplit(".", 1)[0] + end) for end in _ENDS]
        found = [path for path in masks if path.is_file()]
        if found:
            pairs.append((image, found[0]))
        else:
            problems.add(f"{image}: its mask {masks[0].name} isn't beside it; copy it there.")
    if not pairs and not problems.sentences:
        problems.add(f"{root}: no slides were found; they are called {{group}}/{{case}}_wsi.tiff.")
    problems.raise_if_any()
    count = 0
    with whole(output) as temporary:
        for index, (image, mask) in enumerate(pairs):
            case = image.name.split("_wsi.")[0]
            folder = temporary / image.parent.name / case
            rng = np.random.default_rng([seed, index])
            with open_slide(image) as slide, open_slide(mask) as label:
                count += _cut(slide, label, folder, case, rng, at_mpp, side_px, mpp, min_tissue, empty_per_full)
    return count


_ENDS = (".tiff", ".tif")


def _cut(slide: Slide, label: Slide, folder, case, rng, at_mpp, side_px, mpp, min_tissue, empty_per_full) -> int:
    mpp = mpp or slide.tag_mpp
    if not mpp:
        raise InputError(f"{slide.path}: the file doesn't say its µm per pixel; give mpp.")
    ratio = label.width_px / slide.width_px
    if abs(label.height_px / slide.height_px / ratio - 1) > SIDES_TOLERANCE:
        raise InputError(
            f"{label.path}: the mask has {label.width_px} × {label.height_px} px and the slide {slide.width_px} × "
            f"{slide.height_px}; it must show the same field."
        )
    scale = at_mpp / mpp
    tissue = find_tissue(slide, mpp, str(slide.path)).astype(np.float32)
    top = 255 if label.thumbnail(2048).max() > 1 else 1
    full, empty = [], []
    for y in _starts(slide.height_px, side_px * scale):
        for x in _starts(slide.width_px, side_px * scale):
            if _share(tissue, (x, y), side_px * scale, mpp / TISSUE_MPP) < min_tissue:
                continue
            mask = label.read_window(x * ratio, y * ratio, scale * ratio, side_px, side_px)[..., 0] > top // 2
            (full if mask.any() else empty).append((x, y, mask))
    kept = sorted(rng.permutation(len(empty))[: round(empty_per_full * max(1, len(full)))])
    chosen = sorted(full + [empty[i] for i in kept], key=lambda patch: (patch[1], patch[0]))
    for part in ("img", "mask"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for k, (x, y, mask) in enumerate(chosen):
        name = f"{case}_{k}_{round(x)}_{round(y)}"
        pixels = slide.read_window(x, y, scale, side_px, side_px)
        cv2.imwrite(str(folder / "img" / f"{name}_img.png"), pixels[..., ::-1])
        cv2.imwrite(str(folder / "mask" / f"{name}_mask.png"), mask.astype(np.uint8) * 255)
    return len(chosen)


def _starts(extent: int, side: float) -> list[float]:
    """Edge to edge; the last one is moved inwards so that nothing is left over."""
    count = max(1, int(np.ceil(extent / side - 1e-9)))
    return [min(index * side, max(0.0, extent - side)) for index in range(count)]


def _share(tissue: np.ndarray, corner: tuple[float, float], side: float, factor: float) -> float:
    left, top = (int(value * factor) for value in corner)
    right, bottom = (int(np.ceil((value + side) * factor)) for value in corner)
    return float(tissue[top:bottom, left:right].mean())
