"""Which spots have counts, without reading the counts."""

from __future__ import annotations

from pathlib import Path

import h5py

from nephrospot.errors import InputError, tell_cause
from nephrospot.hdf5 import HDF5_ERRORS, check_parts, read_texts
from nephrospot.mtx import read_lines
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
                check_parts(file)
                return read_texts(file["matrix/barcodes"]).tolist()
        except HDF5_ERRORS as error:
            raise InputError(
                f"{matrix}: it is cut short or isn't Space Ranger's ({tell_cause(error)}); copy it again."
            ) from error
    for name in ("barcodes.tsv.gz", "barcodes.tsv"):
        path = outs / "filtered_feature_bc_matrix" / name
        if path.is_file():
            return [line.strip() for line in read_lines(path)]
    return None
