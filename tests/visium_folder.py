"""Small Space Ranger folders with known geometry, for the tests that read or check them."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd

LETTERS = np.array(list("ACGT"))


def make_positions(rows=20, columns=40, pitch_px=200.0, origin=(300.0, 400.0), angle=0.0, mirror=False):
    """A hexagonal lattice: DataFrame in Space Ranger's columns, every spot on tissue."""
    table = [(r, c) for r in range(rows) for c in range(columns) if (r + c) % 2 == 0]
    row, column = np.array(table).T
    x, y = column * pitch_px / 2, row * pitch_px * 0.866
    x = -x if mirror else x
    turned = np.column_stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])
    digits = (np.arange(len(row))[:, None] // 4 ** np.arange(8)) % 4
    return pd.DataFrame(
        {
            "barcode": ["".join(LETTERS[d]) + "-1" for d in digits],
            "in_tissue": 1,
            "array_row": row,
            "array_col": column,
            "pxl_row_in_fullres": turned[:, 1] + origin[1],
            "pxl_col_in_fullres": turned[:, 0] + origin[0],
        }
    )


def write_outs(folder, positions, pitch_px=200.0, layout="csv with header", hires=None, hires_scalef=0.1, counts=True):
    """Write a folder ``outs`` with positions, scale factors and, on demand, picture and matrix."""
    spatial = Path(folder) / "spatial"
    spatial.mkdir(parents=True)
    if layout == "parquet":
        positions.to_parquet(spatial / "tissue_positions.parquet", index=False)
    elif layout == "v1 list":
        positions.round().astype({"pxl_row_in_fullres": int, "pxl_col_in_fullres": int}).to_csv(
            spatial / "tissue_positions_list.csv", header=False, index=False
        )
    else:
        positions.to_csv(spatial / "tissue_positions.csv", index=False)
    factors = {
        "spot_diameter_fullres": 0.65 * pitch_px,
        "fiducial_diameter_fullres": 1.05 * pitch_px,
        "tissue_hires_scalef": hires_scalef,
        "tissue_lowres_scalef": hires_scalef / 3,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(factors))
    if hires is not None:
        cv2.imwrite(str(spatial / "tissue_hires_image.png"), hires)
    if counts:
        with h5py.File(Path(folder) / "filtered_feature_bc_matrix.h5", "w") as file:
            barcodes = positions.loc[positions["in_tissue"] == 1, "barcode"].to_list()
            file["matrix/barcodes"] = np.array(barcodes, dtype="S18")
    return Path(folder)


def paint_tissue(height, width, seed=0, size=12):
    """A blotchy pink picture on white; uint8 (rows, columns, 3)."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), size)
    noise = (noise - noise.mean()) / noise.std()
    dark = np.clip(90 + 60 * noise, 0, 220)
    rows, columns = np.mgrid[:height, :width]
    body = ((rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2) < 0.2
    grey = 255 - np.where(body, dark, 5)
    return np.stack([grey, grey * 0.8, grey * 0.95], axis=2).astype(np.uint8)
