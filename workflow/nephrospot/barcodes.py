"""Which spots have counts, without reading the counts."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import h5py

from nephrospot.errors import InputError
from nephrospot.visium import find_outs


def read_count_barcodes(folder: str | Path) -> list[str] | None:
    """Barcodes of the filtered count matrix (h5 or mtx folder), None where there is no matrix.

    Raises
    ------
    InputError
        When the file is cut short.
    """
    outs = find_outs(folder)
    matrix = outs / "filtered_feature_bc_matrix.h5"
    if matrix.is_file():
        try:
            with h5py.File(matrix) as file:
                return [barcode.decode() for barcode in file["matrix/barcodes"][:]]
        except (OSError, KeyError) as error:
            raise InputError(f"{matrix}: it is cut short or isn't Space Ranger's ({error}); copy it again.") from error
    for name in ("barcodes.tsv.gz", "barcodes.tsv"):
        path = outs / "filtered_feature_bc_matrix" / name
        if path.is_file():
            try:
                with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
                    return [line.strip() for line in file if line.strip()]
            except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
                raise InputError(f"{path}: it is cut short ({error}); copy it again.") from error
    return None
