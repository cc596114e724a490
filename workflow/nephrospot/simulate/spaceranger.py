"""Write the folder that 10x's Space Ranger would have written, in each of its layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd

from nephrospot import files
from nephrospot.errors import InputError, did_you_mean

SPOT_UM = 55.0
FIDUCIAL_UM = 105.0
# Diameter of a spot that the scale factors stand for (µm); it differs by slide type.
STATED_SPOT_UM = {"v1": 65.0, "v2": 65.0, "cytassist": 70.0, "parquet": 65.0}
GRID = (78, 128)  # rows and columns of a 6.5 mm capture area
POSITION_COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def hex_lattice(width_um: float, height_um: float, pitch_um: float, rotation_degrees: float, seed: int) -> pd.DataFrame:
    """Spots of a 6.5 mm capture area, centred on a field, that lie in the field.

    Columns of spots are half a pitch apart and every second one of a row is used, rows √3/2 pitches.

    Returns
    -------
    pandas.DataFrame
        barcode, array_row, array_col, x_um, y_um (from the field's top left).
    """
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    even = (rows + columns) % 2 == 0
    rows, columns = rows[even], columns[even]
    x = (columns - (GRID[1] - 1) / 2) * pitch_um / 2
    y = (rows - (GRID[0] - 1) / 2) * pitch_um * np.sqrt(3) / 2
    turn = np.radians(rotation_degrees)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    x, y = x + width_um / 2, y + height_um / 2
    inside = (x >= 0) & (y >= 0) & (x < width_um) & (y < height_um)
    lattice = {"array_row": rows[inside], "array_col": columns[inside], "x_um": x[inside], "y_um": y[inside]}
    frame = pd.DataFrame(lattice)
    frame.insert(0, "barcode", draw_barcodes(len(frame), seed))
    return frame


def draw_barcodes(n: int, seed: int) -> list[str]:
    """``n`` different barcodes of 16 bases, with the suffix -1."""
    rng = np.random.default_rng([seed, 300])
    found: dict[str, None] = {}
    while len(found) < n:
        for bases in rng.integers(0, 4, (n, 16)):
            found["".join("ACGT"[b] for b in bases) + "-1"] = None
    return list(found)[:n]


def check_layout(layout: str) -> None:
    """Raise `InputError` for a layout that Space Ranger never had."""
    if layout not in STATED_SPOT_UM:
        raise InputError(f"visium.layout is {layout!r}; {did_you_mean(layout, STATED_SPOT_UM)}")


def write_positions(folder: Path, spots: pd.DataFrame, layout: str) -> Path:
    """Write the positions (columns `POSITION_COLUMNS`, pixels as floats) in the layout's way."""
    check_layout(layout)
    table = spots[list(POSITION_COLUMNS)].copy()
    pixels = list(POSITION_COLUMNS[-2:])
    if layout in ("v1", "v2"):
        table[pixels] = table[pixels].round().astype(int)
    name = {"v1": "tissue_positions_list.csv", "parquet": "tissue_positions.parquet"}
    path = folder / name.get(layout, "tissue_positions.csv")
    if layout == "parquet":
        files.write_parquet(path, table)
    else:
        with files.whole(path) as temporary:
            table.to_csv(temporary, index=False, header=layout != "v1", lineterminator="\n")
    return path


def write_images(folder: Path, image: np.ndarray, visium_mpp: float, layout: str) -> None:
    """Write the small images and the scale factors of a Visium image (RGB, ``visium_mpp`` µm per pixel)."""
    factors = {
        "spot_diameter_fullres": STATED_SPOT_UM[layout] / visium_mpp,
        "fiducial_diameter_fullres": FIDUCIAL_UM / visium_mpp,
    }
    for name, longest in (("hires", 2000), ("lowres", 600)):
        scale = min(1.0, longest / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        factors[f"tissue_{name}_scalef"] = scale
        write_png(folder / f"tissue_{name}_image.png", small[..., ::-1])
    files.write_json(folder / "scalefactors_json.json", factors)


def write_png(path: Path, image: np.ndarray, level: int = 1) -> None:
    """Write a PNG (grey or BGR)."""
    with files.whole(path) as temporary:
        done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])
        if not done:
            raise OSError(f"{path}: the PNG could not be encoded.")
        temporary.write_bytes(data.tobytes())


def write_matrix(path: Path, counts: np.ndarray, barcodes: list[str], genes: tuple[str, ...]) -> None:
    """Write a feature–barcode matrix in 10x's HDF5 (version 3); barcodes are sorted as Space Ranger does.

    ``counts``: (barcodes, genes) int.
    """
    order = np.argsort(np.array(barcodes))
    counts = np.asarray(counts)[order]
    spot, gene = np.nonzero(counts)
    starts = np.concatenate([[0], np.cumsum(np.bincount(spot, minlength=len(counts)))])
    with files.whole(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        file.attrs["chemistry_description"] = "simulated by nephrospot"
        file.attrs["library_ids"] = np.array(["simulated"], "S")  # scanpy and squidpy ask for it
        matrix = file.create_group("matrix")

        def put(name, values):
            matrix.create_dataset(name, data=values, compression="gzip", compression_opts=1)

        put("barcodes", np.array(barcodes, "S")[order])
        put("data", counts[spot, gene].astype(np.int32))
        put("indices", gene.astype(np.int64))
        put("indptr", starts.astype(np.int64))
        put("shape", np.array([len(genes), len(counts)], np.int32))
        put("features/id", np.array([f"SIMG{k:08d}" for k in range(1, len(genes) + 1)], "S"))
        put("features/name", np.array(genes, "S"))
        put("features/feature_type", np.array(["Gene Expression"] * len(genes), "S"))
        put("features/genome", np.array(["simulated"] * len(genes), "S"))
        matrix["features"].create_dataset("_all_tag_keys", data=np.array(["genome"], "S"))
