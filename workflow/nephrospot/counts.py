"""Raw counts of the Visium spots from a Space Ranger folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy
from scipy import sparse

from nephrospot.barcodes import read_count_barcodes
from nephrospot.errors import InputError, tell_cause
from nephrospot.hdf5 import HDF5_ERRORS, check_indices, check_parts, check_texts
from nephrospot.mtx import read_lines, read_mtx

GENE = "Gene Expression"
TEXTS = ("barcodes", "features/id", "features/name", "features/feature_type")
H5_PARTS = ("barcodes", "data", "features", "indices", "indptr", "shape", *TEXTS)


def read_counts(visium_folder: str | Path) -> ad.AnnData:
    """Read the raw counts of one slide.

    Looks in the folder and in its ``outs`` for ``filtered_feature_bc_matrix.h5``, the folder
    ``filtered_feature_bc_matrix/`` and ``raw_feature_bc_matrix.h5``, in this order. File names
    may carry a prefix, as downloads from GEO do.

    Parameters
    ----------
    visium_folder : path
        Space Ranger's ``outs`` or the folder that holds it.

    Returns
    -------
    AnnData, spots x genes
        ``X`` CSR float32 with whole numbers; genes by symbol, unique; ``uns["source"]`` is the
        file read and ``uns["notes"]`` a list of sentences.

    Raises
    ------
    InputError
        Nothing to read, Visium HD, a damaged file, values that are no counts, a barcode twice.
    """
    folder = Path(visium_folder)
    source = _find_matrix(folder)
    with warnings.catch_warnings():  # repeated gene names are mended and noted below, repeated barcodes refused
        warnings.filterwarnings("ignore", message=".*names are not unique.*")
        counts = _read_mtx(source) if source.is_dir() else _read_h5(source)
    if counts.n_obs == 0 or counts.n_vars == 0:
        raise InputError(f"{source}: the matrix has {counts.n_obs} spots and {counts.n_vars} genes; export it again.")
    if not are_counts(counts.X):
        raise InputError(
            f"{source}: the values are no raw counts (found {_example(counts.X)}); "
            "deconvolution needs Space Ranger's own matrix, before any normalisation."
        )
    twice = counts.obs_names[counts.obs_names.duplicated()]
    if len(twice):
        raise InputError(f"{source}: barcode {twice[0]} occurs twice; use the matrix of one capture area only.")
    counts.X = sparse.csr_matrix(counts.X, dtype=np.float32)
    notes = []
    if source.name.endswith("raw_feature_bc_matrix.h5"):
        notes.append(f"{source.name} is read since no filtered matrix is there; only spots in tissue are kept.")
    notes += make_genes_unique(counts, str(source))
    counts.uns = {"source": str(source), "notes": notes}
    return counts


def read_counts_if_any(visium_folder: str | Path) -> ad.AnnData | None:
    """As `read_counts`; None where the folder has positions and no filtered matrix."""
    return None if read_count_barcodes(visium_folder) is None else read_counts(visium_folder)


def _find_matrix(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give Space Ranger's outs folder as `visium`.")
    places = [folder, folder / "outs"]
    for place in places:
        if (place / "binned_outputs").is_dir() or any(place.glob("square_0*um")):
            raise InputError(
                f"{place}: this is Visium HD (square bins), and nephrospot measures 55 µm spots; "
                "give the outs folder of a Visium v1 or v2 slide, or leave `visium` empty."
            )
    for pattern in ("*filtered_feature_bc_matrix.h5", "*filtered_feature_bc_matrix", "*raw_feature_bc_matrix.h5"):
        for place in places:
            found = sorted(place.glob(pattern))
            if len(found) > 1:
                names = ", ".join(path.name for path in found)
                raise InputError(f"{place}: {len(found)} count matrices ({names}); keep one slide's in the folder.")
            if found:
                return found[0]
    raise InputError(
        f"{folder}: no counts there; put filtered_feature_bc_matrix.h5 (or its mtx folder) into the folder or its outs."
    )


def _read_h5(path: Path) -> ad.AnnData:
    try:
        with h5py.File(path) as file:
            check_parts(file)
            _look_at_matrix(file.get("matrix", {}))
        # All features: scanpy would take the genes' columns out by indices that nobody looked at.
        counts = scanpy.read_10x_h5(path, gex_only=False)
        check_indices(counts.X)
        return _keep_genes(counts)
    except HDF5_ERRORS as error:
        raise InputError(
            f"{path}: can't be read as a Space Ranger matrix ({tell_cause(error)}); copy it again, an interrupted copy "
            "is likely."
        ) from error


def _look_at_matrix(matrix: h5py.Group | dict) -> None:
    """What scanpy takes for granted: all parts are there, and of their kinds. Raises ValueError."""
    lacking = [part for part in H5_PARTS if part not in matrix]
    if lacking:
        raise ValueError(f"lacks matrix/{lacking[0]}")
    if matrix["data"].dtype.kind not in "iuf":
        raise ValueError("its values aren't numbers")
    if any(matrix[name].dtype.kind not in "iu" for name in ("indices", "indptr", "shape")):
        raise ValueError("its indices aren't whole numbers")
    for part in ("barcodes", *(f"features/{name}" for name in matrix["features"])):
        check_texts(matrix[part], wanted=part in TEXTS)


def _read_mtx(folder: Path) -> ad.AnnData:
    found = []
    for names in (("matrix.mtx",), ("barcodes.tsv",), ("features.tsv", "genes.tsv")):
        paths = [folder / f"{name}{end}" for name in names for end in (".gz", "")]
        found.append(next((path for path in paths if path.is_file()), None))
        if found[-1] is None:
            raise InputError(f"{folder}: {names[0]}.gz is lacking; copy the whole folder from Space Ranger.")
    matrix, names, features = found
    barcodes, rows = read_lines(names), [line.split("\t") for line in read_lines(features)]
    short = next((number for number, row in enumerate(rows, start=1) if len(row) < 2), None)
    if short:
        raise InputError(
            f"{features}, line {short}: a gene's id and name were expected, with a tab between; copy it again."
        )
    columns = {"gene_ids": [row[0] for row in rows], "name": [row[1] for row in rows]}
    # Space Ranger 1 wrote genes.tsv, without a third column.
    columns["feature_types"] = [row[2] if len(row) > 2 else GENE for row in rows]
    counts = read_mtx(matrix, {features.name: len(rows), names.name: len(barcodes)}).T.tocsr()
    var = pd.DataFrame(columns).set_index("name").rename_axis(None)
    return _keep_genes(ad.AnnData(counts, obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)), var=var))


def _keep_genes(counts: ad.AnnData) -> ad.AnnData:
    """Antibodies and guides are left out."""
    return counts[:, (counts.var["feature_types"] == GENE).to_numpy()].copy()


def are_counts(matrix) -> bool:
    """Whether every value is a whole number, finite and not negative, and not all are zero."""
    data = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    if data.dtype.kind not in "buif":
        return False
    return bool(data.size and np.isfinite(data).all() and data.min() >= 0 and data.max() > 0) and not np.any(data % 1)


def _example(matrix) -> str:
    data = np.ravel(matrix.data if sparse.issparse(matrix) else np.asarray(matrix))
    odd = data[~(np.isfinite(data) & (data >= 0)) | (data % 1 != 0)]
    return f"{odd[0]:g}" if odd.size else "nothing but zeros"


def make_genes_unique(counts: ad.AnnData, source: str) -> list[str]:
    """Give repeated gene names a numbered ending, in place; returns the note to make of it."""
    repeated = counts.var_names[counts.var_names.duplicated()].unique()
    counts.var_names_make_unique()
    if not len(repeated):
        return []
    return [f"{source}: {len(repeated)} gene names occur more than once (such as {repeated[0]}) and were numbered."]


def is_mitochondrial(gene_names: Iterable[str]) -> np.ndarray:
    """Which genes are encoded in mitochondria (mt- in mouse, MT- in human), bool (genes,)."""
    return pd.Index(gene_names).astype(str).str.lower().str.startswith("mt-")
