"""The labelled single-cell reference that the spots are deconvolved with, checked before use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata._io.specs.registry import IORegistryError  # a part of no kind that is known; there is no public name
from scipy import sparse

from nephrospot.counts import are_counts, is_mitochondrial, make_genes_unique
from nephrospot.errors import InputError, Problems, did_you_mean, tell_cause
from nephrospot.hdf5 import HDF5_ERRORS, check_indices, check_parts
from nephrospot.mtx import read_lines, read_mtx

SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "symbol")


def read_reference(
    path: str | Path,
    label_column: str,
    required_types: Iterable[str] = (),
    leave_out: Iterable[str] = (),
    cell_min: int = 25,
    min_umi: int = 100,
) -> ad.AnnData:
    """Read a reference and make sure that it can serve RCTD.

    Parameters
    ----------
    path : path
        An .h5ad, or a folder with ``matrix.mtx`` (genes x cells), ``genes.txt`` (one a line) and
        ``cells.csv`` (first column the cell, others such as the label).
    label_column : str
        Column of ``obs`` (or of cells.csv) with the cell type.
    required_types : iterable of str
        Cell types that the configuration gives to a tissue.
    leave_out : iterable of str
        Cell types to remove, such as "Unknown" or doublets.
    cell_min : int
        Fewest cells of a type. RCTD drops a smaller type with a warning only, and its mRNA then
        goes to the types that resemble it.
    min_umi : int
        Cells with fewer UMI (without mitochondrial genes) are removed, as RCTD does.

    Returns
    -------
    AnnData, cells x genes
        ``X`` CSR float32 raw counts without mitochondrial genes, ``obs[label_column]`` as text,
        ``uns["notes"]`` a list of sentences.

    Raises
    ------
    InputError
        With one sentence for each thing wrong.
    """
    path = Path(path)
    reference, notes = _read_folder(path) if path.is_dir() else _read_h5ad(path)
    if label_column not in reference.obs:
        near = f" ({did_you_mean(label_column, reference.obs).rstrip('.')})" if len(reference.obs.columns) else ""
        raise InputError(
            f"{path}: no column {label_column!r} among the cells; give the column that holds the cell types as "
            f"deconvolution.label_column{near}."
        )
    notes += _name_by_symbol(reference, path)
    notes += make_genes_unique(reference, str(path))
    reference = reference[:, ~is_mitochondrial(reference.var_names)].copy()

    labels = reference.obs[label_column].astype(object)
    unlabelled = int(labels.isna().sum())
    if unlabelled:
        notes.append(f"{path}: {unlabelled} cells without a label in {label_column!r} were left out.")
    labels = labels.astype(str).where(labels.notna(), "")
    leave_out = [str(name) for name in leave_out]
    problems = Problems()
    for name in leave_out:
        if name not in set(labels):
            problems.add(
                f"{path}: no cell type {name!r} to leave out; {did_you_mean(name, sorted(set(labels) - {''}))}"
            )
    enough = np.asarray(reference.X.sum(axis=1)).ravel() >= min_umi
    labelled = (labels != "").to_numpy() & ~labels.isin(leave_out).to_numpy()
    if (few := int((labelled & ~enough).sum())) > 0:
        notes.append(f"{path}: {few} cells with fewer than {min_umi} UMI were left out, as RCTD does.")
    _check_types(problems, path, labels[labelled], labels[labelled & enough], required_types, cell_min)
    problems.raise_if_any()

    reference = reference[labelled & enough].copy()
    reference.obs = pd.DataFrame({label_column: labels[labelled & enough]})
    reference.X = sparse.csr_matrix(reference.X, dtype=np.float32)
    reference.uns = {"notes": notes}
    return reference


def _check_types(problems, path, labels, fit_labels, required_types, cell_min) -> None:
    present, sizes = labels.unique(), fit_labels.value_counts()
    for name in required_types:
        if name not in present:
            problems.add(
                f"{path}: the configuration gives cell type {name!r} to a tissue, but the reference has "
                f"none; {did_you_mean(name, sorted(present))}"
            )
    for name in sorted(present):
        if sizes.get(name, 0) < cell_min:
            problems.add(
                f"{path}: cell type {name!r} has {sizes.get(name, 0)} usable cells, fewer than {cell_min}; "
                "merge it with a neighbouring type, add cells, or list it under `leave_out`."
            )
    if len(present) < 2:
        problems.add(f"{path}: {len(present)} cell type(s) in all; deconvolution needs two or more.")


def _read_h5ad(path: Path) -> tuple[ad.AnnData, list[str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .h5ad or a folder with matrix.mtx, genes.txt and cells.csv.")
    try:
        with h5py.File(path) as file:
            check_parts(file)
        held = ad.read_h5ad(path)
        for matrix in (held.X, *held.layers.values(), *([held.raw.X] if held.raw is not None else [])):
            if matrix is not None:
                check_indices(matrix)
    except (*HDF5_ERRORS, IORegistryError) as error:
        raise InputError(f"{path}: can't be read as .h5ad ({tell_cause(error)}); copy or export it again.") from error
    if held.X is not None and are_counts(held.X):
        return ad.AnnData(held.X, held.obs, held.var), []
    others = {
        f"layers[{name!r}]": (held.layers[name], held.var) for name in ("counts", "raw_counts") if name in held.layers
    }
    if held.raw is not None:
        others["raw.X"] = (held.raw.X, held.raw.var)
    for name, (matrix, genes) in others.items():
        if are_counts(matrix):
            return ad.AnnData(matrix, held.obs, genes), [
                f"{path}: X is normalised, so the raw counts in {name} are used."
            ]
    looked = ", ".join(["X", *others])
    layers = f" (layers: {', '.join(held.layers)})" if len(held.layers) else ""
    raise InputError(
        f"{path}: no raw counts, RCTD needs whole numbers; looked at {looked}{layers}. "
        "Store the counts before normalisation as X, as layers['counts'] or as raw.X."
    )


def _read_folder(folder: Path) -> tuple[ad.AnnData, list[str]]:
    lacking = [name for name in ("matrix.mtx", "genes.txt", "cells.csv") if not (folder / name).is_file()]
    if lacking:
        raise InputError(
            f"{folder}: {' and '.join(lacking)} lacking; a reference folder has matrix.mtx, genes.txt, cells.csv."
        )
    genes = [gene.strip() for gene in read_lines(folder / "genes.txt")]
    try:
        cells = pd.read_csv(folder / "cells.csv", index_col=0)
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{folder}/cells.csv: can't be read ({tell_cause(error)}); export it again.") from error
    matrix = read_mtx(folder / "matrix.mtx", {"genes.txt": len(genes), "cells.csv": len(cells)}).T.tocsr()
    if not are_counts(matrix):
        raise InputError(
            f"{folder}/matrix.mtx: no raw counts, RCTD needs whole numbers; export them before normalisation."
        )
    cells.index = cells.index.astype(str)
    notes = []
    n_umi = pd.to_numeric(cells.get("nUMI", pd.Series(np.nan, cells.index)), errors="coerce").to_numpy(float)
    if short := int((n_umi > matrix.sum(axis=1).A1).sum()):
        notes.append(
            f"{folder}: in {short} of {len(cells)} cells the counts add up to less than nUMI, so genes are missing "
            "from the matrix; shares are then taken of the genes left (export all genes if you can)."
        )
    return ad.AnnData(matrix, obs=cells, var=pd.DataFrame(index=genes)), notes


def _name_by_symbol(reference: ad.AnnData, path: Path) -> list[str]:
    """Name genes by symbol, as Space Ranger does, where the reference has Ensembl identifiers."""
    if np.mean(reference.var_names.str.match(r"ENS[A-Z]*G\d+")) < 0.5:
        return []
    column = next((name for name in SYMBOL_COLUMNS if name in reference.var), None)
    if column is None:
        return []
    reference.var_names = reference.var[column].astype(str).to_numpy()
    return [f"{path}: genes are Ensembl identifiers, so the symbols in var[{column!r}] are used."]
