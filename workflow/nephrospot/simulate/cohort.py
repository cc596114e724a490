"""Write simulated slides as a user would have them on disk, with the truth beside them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from nephrospot import files
from nephrospot.errors import InputError, Problems, did_you_mean
from nephrospot.simulate import spaceranger
from nephrospot.simulate.anatomy import anatomy
from nephrospot.simulate.expression import (
    CountSettings,
    Profiles,
    ReferenceSettings,
    draw_reference,
    draw_spots,
    make_profiles,
)
from nephrospot.simulate.pathologist import score_spots
from nephrospot.simulate.pyramid import write_pyramid
from nephrospot.simulate.render import render
from nephrospot.simulate.structures import CELL_TYPES, TISSUES
from nephrospot.simulate.tissue import Layout, lay_out

# Every setting of the simulated cohort; a configuration overrides single ones (see `complete`).
DEFAULTS: dict[str, dict] = {
    "section": {
        "species": "mouse",
        "width_um": 2200.0,
        "height_um": 2200.0,
        "mpp": 0.5,
        "outline": "kidney",  # or "full", "edge"
        "anatomy": {},  # sizes that differ from the species', see Anatomy
    },
    "image": {"tile_px": 256, "jpeg_quality": 85},
    "visium": {
        "layout": "v1",  # or "v2", "cytassist", "parquet"
        "pitch_um": 100.0,
        "rotation_degrees": 0.0,
        # From the Visium image's pixels to the slide's: x_slide = scale * x_visium + x_px.
        "scale": 1.0,
        "x_px": 0.0,
        "y_px": 0.0,
    },
    "genes": {"seed": 2026, "number": 2000},  # the same for all slides and their reference
    "counts": asdict(CountSettings()),
    "reference": asdict(ReferenceSettings()),
    "scores": {
        "tissues": ["CAP"],
        "gain": 1.05,  # percentages are overestimated by this factor …
        "gain_sd": 0.25,  # … which varies between spots (natural logarithm)
        "error_sd_pp": 4.0,  # percentage points
        "step_pp": 5.0,
        "sliver_pp": 5.0,  # below this, a tissue is missed with the next probability
        "miss_probability": 0.6,
        "false_probability": 0.01,  # of seeing 5 to 10 % where there is none
    },
}


def complete(settings: dict | None) -> dict:
    """`DEFAULTS`, single settings replaced by those given.

    Raises
    ------
    InputError
        For settings that don't exist or are of the wrong kind, all at once.
    """
    problems = Problems()
    settings = settings or {}
    for section, values in settings.items():
        if section not in DEFAULTS:
            problems.add(f"The simulation has no settings {section!r}; {did_you_mean(section, DEFAULTS)}")
            continue
        if not isinstance(values, dict):
            problems.add(f"The simulation's settings {section!r} must be names and values, not {values!r}.")
            continue
        for name, value in values.items():
            if name not in DEFAULTS[section]:
                known = did_you_mean(name, DEFAULTS[section])
                problems.add(f"The simulation has no setting {section}.{name}; {known}")
                continue
            usual = DEFAULTS[section][name]
            wanted = (int, float) if isinstance(usual, (int, float)) else type(usual)
            if not isinstance(value, wanted) or isinstance(value, bool):
                problems.add(f"The simulation's setting {section}.{name} is {value!r}; give it like {usual!r}.")
    problems.raise_if_any()
    return {section: values | (settings.get(section) or {}) for section, values in DEFAULTS.items()}


def write_slide(folder: str | Path, settings: dict | None = None, seed: int = 0) -> dict:
    """Simulate one kidney and write it into ``folder``.

    Writes slide.tiff, outs/ (Space Ranger's folder), scores.csv, and the truth: masks/{tissue}.png and
    truth.parquet, one row a spot in the tissue: barcode, ``{tissue}_percent`` (of the 55 µm disc's
    pixels), ``cells:{type}``, ``cell_share:{type}``, ``rna_share:{type}``.

    Parameters
    ----------
    settings
        Overrides of `DEFAULTS`, nested as it is.
    seed
        Of everything but the genes' profiles, which `settings["genes"]["seed"]` decides.

    Returns
    -------
    dict
        spots_in_tissue, spots_total, width_px, height_px, mpp.
    """
    settings = complete(settings)
    spaceranger.check_layout(settings["visium"]["layout"])
    section, folder = settings["section"], Path(folder)
    sizes = anatomy(section["species"], **section["anatomy"])
    mpp = section["mpp"]
    layout = lay_out(sizes, section["width_um"], section["height_um"], mpp, seed, section["outline"])
    image = render(layout, seed)
    write_pyramid(folder / "slide.tiff", image, mpp, settings["image"]["tile_px"], settings["image"]["jpeg_quality"])
    for tissue in TISSUES:
        mask = layout.mask(tissue).view(np.uint8) * np.uint8(255)
        spaceranger.write_png(folder / "masks" / f"{tissue}.png", mask)

    visium = settings["visium"]
    spots = spaceranger.hex_lattice(
        section["width_um"], section["height_um"], visium["pitch_um"], visium["rotation_degrees"], seed
    )
    areas, spots["in_tissue"] = measure_discs(layout, spots)
    if not spots["in_tissue"].any():
        raise InputError(
            f"{folder}: no spot lies on the simulated section; make section.width_um and section.height_um larger."
        )
    inside = spots["in_tissue"].to_numpy() == 1
    seen = spots[inside].reset_index(drop=True)
    cells = count_cells(layout, seen)
    profiles = _profiles(settings)
    positions_um = seen[["x_um", "y_um"]].to_numpy()
    counts, truth = draw_spots(profiles, cells, positions_um, seed, CountSettings(**settings["counts"]))
    _write_outs(folder / "outs", image, spots, seen["barcode"].tolist(), counts, profiles, mpp, visium)
    areas = areas[inside].reset_index(drop=True)
    tables = [seen[["barcode"]], areas]
    tables += [truth[name].add_prefix(f"{name}:") for name in ("cells", "cell_share", "rna_share")]
    files.write_parquet(folder / "truth.parquet", pd.concat(tables, axis=1))
    with files.whole(folder / "scores.csv") as temporary:
        scores = score_spots(seen["barcode"], areas, settings["scores"], seed)
        scores.to_csv(temporary, index=False, lineterminator="\n")
    return {
        "spots_in_tissue": int(inside.sum()),
        "spots_total": len(spots),
        "width_px": layout.shape[1],
        "height_px": layout.shape[0],
        "mpp": mpp,
    }


def write_reference(path: str | Path, settings: dict | None = None, seed: int = 0) -> None:
    """Write the single-cell reference that goes with slides of the same ``settings["genes"]``."""
    settings = complete(settings)
    reference = draw_reference(_profiles(settings), seed, settings=ReferenceSettings(**settings["reference"]))
    with files.whole(path) as temporary:
        reference.write_h5ad(temporary, compression="gzip")


def measure_discs(layout: Layout, spots: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Percentage of each tissue in the 55 µm disc of each spot, and whether half of it or more is tissue.

    A pixel counts where its centre is within 27.5 µm of the spot's; the part of a disc outside
    the image counts as no tissue.
    """
    radius = spaceranger.SPOT_UM / 2 / layout.mpp
    columns = {f"{tissue}_percent": list(codes) for tissue, codes in TISSUES.items()}
    percent = np.zeros((len(spots), len(columns)))
    on_tissue = np.zeros(len(spots))
    for i, (x, y) in enumerate(spots[["x_um", "y_um"]].to_numpy() / layout.mpp):
        rows = np.arange(int(np.ceil(y - radius)), int(np.floor(y + radius)) + 1)
        cols = np.arange(int(np.ceil(x - radius)), int(np.floor(x + radius)) + 1)
        disc = (rows[:, None] - y) ** 2 + (cols - x) ** 2 <= radius**2
        total = disc.sum()
        keep_rows, keep_cols = (rows >= 0) & (rows < layout.shape[0]), (cols >= 0) & (cols < layout.shape[1])
        disc = disc[np.ix_(keep_rows, keep_cols)]
        pixels = layout.structure[np.ix_(rows[keep_rows], cols[keep_cols])][disc]
        count = np.bincount(pixels, minlength=256)
        percent[i] = [100 * count[codes].sum() / total for codes in columns.values()]
        on_tissue[i] = count[1:].sum() / total
    return pd.DataFrame(percent, columns=list(columns)), pd.Series((on_tissue >= 0.5).astype(int))


def count_cells(layout: Layout, spots: pd.DataFrame) -> np.ndarray:
    """Nuclei of each type with their centre in the 55 µm disc, (spots, types) int in `CELL_TYPES`' order."""
    nuclei = layout.nuclei
    tree = cKDTree(nuclei[["x_um", "y_um"]].to_numpy())
    found = tree.query_ball_point(spots[["x_um", "y_um"]].to_numpy(), spaceranger.SPOT_UM / 2)
    kind = nuclei["cell_type"].cat.codes.to_numpy()
    return np.array([np.bincount(kind[k], minlength=len(CELL_TYPES)) for k in found]).reshape(-1, len(CELL_TYPES))


def _profiles(settings) -> Profiles:
    return make_profiles(settings["genes"]["seed"], settings["genes"]["number"])


def _write_outs(folder, image, spots, barcodes, counts, profiles, mpp, visium):
    """Space Ranger's folder; its full-resolution pixels are the Visium image's."""
    scale, shift = visium["scale"], np.array([visium["x_px"], visium["y_px"]])
    if scale <= 0:
        raise InputError(f"visium.scale is {scale}; give a positive number such as 1.")
    pixels = (spots[["x_um", "y_um"]].to_numpy() / mpp - shift) / scale
    table = spots.assign(pxl_col_in_fullres=pixels[:, 0], pxl_row_in_fullres=pixels[:, 1])
    spatial = folder / "spatial"
    spaceranger.write_positions(spatial, table, visium["layout"])
    if scale != 1 or shift.any():
        size = np.ceil((np.array([image.shape[1], image.shape[0]]) - shift) / scale).astype(int)
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], float)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        glass = tuple(float(v) for v in np.median(image[::16, 0], axis=0))
        image = cv2.warpAffine(image, matrix, tuple(map(int, size)), flags=flags, borderValue=glass)
    spaceranger.write_images(spatial, image, mpp * scale, visium["layout"])
    spaceranger.write_matrix(folder / "filtered_feature_bc_matrix.h5", counts, barcodes, profiles.genes)
