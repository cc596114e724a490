"""Tables of Visium's spots as Space Ranger writes them, as text or Parquet: read and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nephrospot.errors import InputError, tell_cause
from nephrospot.files import unpack

COLUMNS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
MIN_SPOTS_IN_TISSUE = 3
MAX_SPOTS = 1_000_000  # the largest slide has 14,336
MAX_TEXT_BYTES = 256 << 20
FARTHEST = 1e9  # pixels; numbers beyond it would overflow where the lattice is fitted


def read_parquet(path: Path) -> tuple[pd.DataFrame, str]:
    """The columns of `COLUMNS` that are there, as text, and the layout's name; raises `InputError`."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # as in `nephrospot.files.read_columns`
            if file.metadata.num_rows > MAX_SPOTS:
                raise ValueError(f"it declares {file.metadata.num_rows} rows")
            held = [name for name in COLUMNS if name in file.schema_arrow.names]
            table = file.read(columns=held)
        # As the texts that the other layouts have, whatever type they are stored in.
        columns = {name: _as_text(table.column(name)).to_pylist() for name in held}
        return pd.DataFrame(columns, dtype=object), "parquet"
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: the file is cut short or isn't Parquet with Space Ranger's columns ({tell_cause(error)}); copy "
            "it again."
        ) from error


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return (column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column).cast(pa.string())


def read_lines(path: Path) -> list[str]:
    """Lines that aren't empty; at least one. Raises `InputError`."""
    try:
        text = unpack(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the file isn't UTF-8 text ({error.reason}); copy it again.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read ({tell_cause(error)}); copy it again.") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty; copy it again from the Space Ranger run.")
    return lines


def read_csv(path: Path) -> tuple[pd.DataFrame, str]:
    """The table as text, and the layout's name; the header is looked for. Raises `InputError`."""
    lines = read_lines(path)
    rows = [line.split(",") for line in lines]
    if any(sign in line for sign in ' "\t' for line in lines):
        rows = [[cell.strip().strip('"') for cell in row] for row in rows]
    header = "barcode" in [cell.lower() for cell in rows[0]]
    names = rows[0] if header else COLUMNS
    body = rows[1:] if header else rows
    if len(set(names)) < len(names):
        raise InputError(f"{path}: a column stands there twice ({', '.join(names)}); copy the file again.")
    for number, row in enumerate(body, start=1 + header):
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {number}: {len(row)} cells where {len(names)} were expected; "
                "the file is cut short or edited, copy it again."
            )
    return pd.DataFrame(body, columns=names, dtype=str), "csv with header" if header else "v1 list"


def check_positions(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table in our names and types; one `InputError` for the first thing that is wrong with it."""
    if missing := [name for name in COLUMNS if name not in raw.columns]:
        raise InputError(f"{path}: the columns {', '.join(missing)} are missing; copy the file again.")
    numbers = {}
    for name in COLUMNS[1:]:
        values = pd.to_numeric(raw[name], errors="coerce").to_numpy(float)
        if bad := np.flatnonzero(~np.isfinite(values)).tolist():
            raise InputError(
                f"{path}, spot {raw['barcode'].iloc[bad[0]]}: {name} is {raw[name].iloc[bad[0]]!r}, "
                "not a number; copy the file again."
            )
        if far := np.flatnonzero(np.abs(values) > FARTHEST).tolist():
            raise InputError(
                f"{path}, spot {raw['barcode'].iloc[far[0]]}: {name} is {values[far[0]]:g}, which is on no slide; copy "
                "the file again."
            )
        if not name.startswith("pxl") and (values != np.round(values)).any():
            raise InputError(f"{path}: {name} holds fractions where whole numbers were expected; copy the file again.")
        numbers[name] = values
    if not np.isin(numbers["in_tissue"], (0, 1)).all():
        raise InputError(f"{path}: in_tissue holds more than 0 and 1; copy the file again.")
    doubles = raw["barcode"][raw["barcode"].duplicated()].tolist()
    if doubles:
        raise InputError(
            f"{path}: {len(doubles)} barcodes such as {doubles[0]} stand there twice; give one row a spot."
        )
    if numbers["in_tissue"].sum() < MIN_SPOTS_IN_TISSUE:
        raise InputError(
            f"{path}: {int(numbers['in_tissue'].sum())} spots lie on tissue, at least {MIN_SPOTS_IN_TISSUE} are "
            "needed; check column in_tissue."
        )
    return pd.DataFrame(
        {
            "barcode": raw["barcode"].astype(str).to_numpy(),
            "in_tissue": numbers["in_tissue"].astype(bool),
            "array_row": numbers["array_row"].astype(int),
            "array_col": numbers["array_col"].astype(int),
            "x_px": numbers["pxl_col_in_fullres"],
            "y_px": numbers["pxl_row_in_fullres"],
        }
    )
