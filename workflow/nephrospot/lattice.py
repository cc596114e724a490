"""The lattice of Visium's spots: 100 µm between neighbours, whatever the picture's scale or turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nephrospot.errors import InputError

SPOT_PITCH_UM = 100.0


@dataclass(frozen=True)
class Lattice:
    """The hexagonal lattice fitted to the spots, in full-resolution pixels.

    Attributes
    ----------
    pitch_px : float
        Distance between neighbouring spots of a row (100 µm).
    residual : float
        Root mean square distance of the spots from the lattice, as a share of the pitch.
    strays : list of str
        Barcodes more than a quarter of the pitch off, which the fit left out.
    """

    pitch_px: float
    residual: float
    strays: list[str]


def fit_lattice(table: pd.DataFrame, where: str) -> Lattice:
    """Fit pixel positions as an affine function of the lattice indices by least squares.

    The pitch comes from the column step alone: the row step is 87 µm on 6.5 mm
    slides and 86.6 µm on 11 mm slides.

    Parameters
    ----------
    table
        Columns barcode, array_row, array_col, x_px, y_px.
    where
        How messages name the table.

    Raises
    ------
    InputError
        When the spots don't span the lattice, or form no hexagonal one.
    """
    index = np.column_stack([table["array_col"], table["array_row"], np.ones(len(table))]).astype(float)
    position = table[["x_px", "y_px"]].to_numpy(float)
    if np.linalg.matrix_rank(index) < 3:
        raise InputError(
            f"{where}: all spots lie on one line of the lattice, so their pitch can't be measured; "
            "give the file with all spots of the slide."
        )
    keep = np.ones(len(table), bool)
    for _ in range(5):
        vectors = np.linalg.lstsq(index[keep], position[keep], rcond=None)[0]  # rows: column step, row step, origin
        distance = np.hypot(*(position - index @ vectors).T)
        pitch = 2 * np.hypot(*vectors[0])
        inside = distance <= max(0.25 * pitch, 1.5 * np.median(distance))
        if (inside == keep).all() or np.linalg.matrix_rank(index[inside]) < 3:
            break
        keep = inside
    row_step = np.hypot(*vectors[1])
    residual = float(np.sqrt(np.mean(distance[keep] ** 2)) / pitch) if pitch > 0 else np.inf
    stray = distance > 0.25 * pitch
    hexagonal = (
        pitch > 0
        and residual <= 0.1
        and stray.mean() <= 0.05
        and abs(row_step / pitch / 0.866 - 1) <= 0.04
        and abs(vectors[0] @ vectors[1]) <= 0.05 * row_step * pitch / 2
    )
    if not hexagonal:
        raise InputError(
            f"{where}: the positions don't form Visium's hexagonal lattice (columns {pitch:.1f} px and rows "
            f"{row_step:.1f} px apart, {stray.sum()} of {len(table)} spots off); check that array_row, array_col, "
            "pxl_row_in_fullres and pxl_col_in_fullres are in Space Ranger's order."
        )
    return Lattice(float(pitch), residual, table["barcode"][stray].tolist())
