"""Tables of published numbers as text, before anybody says what their columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError


def read_published_cells(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table separated by tabs with ``#`` comments; every cell is text.

    Raises
    ------
    InputError
        When it can't be read, or a column is lacking.
    """
    try:
        table = pd.read_csv(path, sep="\t", comment="#", dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors and wrong encodings are all ValueErrors
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: can't be read as a table separated by tabs ({reason}); mend the file.") from error
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}; the columns are {', '.join(columns)}.")
    return table
