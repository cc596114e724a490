"""Matrix Market from elsewhere: its header is looked at before memory is taken for what it declares."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from itertools import dropwhile
from pathlib import Path

from scipy import io, sparse

from nephrospot.errors import InputError, tell_cause
from nephrospot.files import unpack

LONGEST_LINE = 4096
MAX_TABLE_BYTES = 256 << 20  # names of genes and barcodes: a hundred times what there ever is
MTX_ERRORS = (OSError, EOFError, ValueError, OverflowError, RuntimeError, zlib.error)


def read_mtx(path: Path, lines: Mapping[str, int]) -> sparse.csr_matrix:
    """Read a sparse matrix of a known shape, gzipped or not.

    Parameters
    ----------
    path
        Such as ``matrix.mtx.gz``, in coordinates.
    lines
        {name of a file: how many rows it names} and {…: how many columns}, in this order.

    Raises
    ------
    InputError
        When the header says anything else, or the file can't be read.
    """
    try:
        rows, columns, entries = _read_header(path)
        if (rows, columns) != tuple(lines.values()):
            told = " and ".join(f"{name} has {n} lines" for name, n in lines.items())
            raise InputError(
                f"{path}: the matrix is {rows} x {columns}, but {told}; they must name its rows and columns in order."
            )
        if entries > rows * columns:
            raise ValueError(f"it declares {entries} entries in {rows} x {columns} places")
        return sparse.csr_matrix(io.mmread(path))
    except InputError:
        raise
    except MTX_ERRORS as error:
        raise InputError(
            f"{path}: can't be read as a matrix ({tell_cause(error)}); copy it again, or export it anew."
        ) from error


def read_lines(path: Path) -> list[str]:
    """Lines of a text of names, gzipped or not, without empty ones.

    Raises
    ------
    InputError
        When it can't be read.
    """
    try:
        lines = unpack(path, MAX_TABLE_BYTES).decode("utf-8").split("\n")
    except MTX_ERRORS as error:
        raise InputError(f"{path}: it is cut short or isn't text ({tell_cause(error)}); copy it again.") from error
    return [line.rstrip("\r") for line in lines if line.strip()]


def _read_header(path: Path) -> tuple[int, int, int]:
    """Rows, columns and entries."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        banner = file.readline(LONGEST_LINE).lower().split()
        if banner[:3] != ["%%matrixmarket", "matrix", "coordinate"] or banner[3:4] == ["complex"]:
            raise ValueError("it doesn't begin with %%MatrixMarket matrix coordinate")
        lines = iter(lambda: file.readline(LONGEST_LINE), "")
        sizes = next(dropwhile(lambda line: line.startswith("%") or not line.strip(), lines), "").split()
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
        raise ValueError("its line of sizes isn't three numbers")
    return tuple(map(int, sizes))
