"""Counts, references and R's weights, as the tests of the deconvolution read them."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import io, sparse


def read_golden(root):
    """64 simulated spots with their truth, a reference, and what R spacexr 2.2.1 made of them."""
    with np.load(root / "tests" / "golden" / "rctd_sim_small.npz") as file:
        held = {name: file[name] for name in file.files}
    genes, types = held["genes"], held["types"]
    cells = [f"c{i}" for i in range(len(held["ref_labels"]))]
    return {
        "counts": make_counts(held["sp_counts"], held["spots"], genes),
        "reference": make_counts(held["ref_counts"], cells, genes, cell_type=held["ref_labels"]),
        "truth": pd.DataFrame(held["truth_umi"], held["spots"], types),
        "R": pd.DataFrame(held["R_weights_full"], held["spots"], types),
        "R_doublet": pd.read_csv(root / "tests" / "golden" / "rctd_sim_small_doublet.csv", index_col=0),
    }


def read_referee(folder):
    """One of the sets that R spacexr 2.2.1 was run on, from the public material: counts, reference, R's weights.

    R was told the UMI of whole spots and cells where genes are missing; a gene of its own carries what is missing.
    """
    spots, cells = (pd.read_csv(folder / f"{name}_obs.csv", index_col=0) for name in ("sp", "ref"))
    held = {name: _read_matrix(folder, name) for name in ("sp", "ref")}
    if "nUMI" in spots:
        held = {
            name: matrix.assign(padding=obs["nUMI"].to_numpy() - matrix.sum(axis=1).to_numpy())
            for (name, matrix), obs in zip(held.items(), (spots, cells), strict=True)
        }
    matrices = {name: make_counts(frame.to_numpy(), frame.index, frame.columns) for name, frame in held.items()}
    matrices["ref"].obs["cell_type"] = cells["cell_type"].astype(str).to_numpy()
    weights = pd.read_csv(folder / "R_weights_full.csv", index_col=0)
    return {"counts": matrices["sp"], "reference": matrices["ref"], "R": weights}


def _read_matrix(folder, name) -> pd.DataFrame:
    """Spots or cells x genes."""
    if (folder / f"{name}_counts.csv.gz").is_file():
        return pd.read_csv(folder / f"{name}_counts.csv.gz", index_col=0).T
    names = pd.read_csv(folder / f"{name}_obs.csv", index_col=0).index
    genes = (folder / f"{name}_genes.txt").read_text().split()
    return pd.DataFrame(io.mmread(folder / f"{name}_counts.mtx.gz").toarray().T, names, genes)


def make_counts(matrix, names, genes, **labels):
    obs = pd.DataFrame(labels, index=np.asarray(names, str))
    return ad.AnnData(sparse.csr_matrix(np.asarray(matrix, "f4")), obs, pd.DataFrame(index=np.asarray(genes, str)))


def place_spots(barcodes):
    """Spots on tissue, ten a row of Visium's lattice."""
    row, place = np.divmod(np.arange(len(barcodes)), 10)
    return pd.DataFrame({"barcode": barcodes, "array_row": row, "array_col": 2 * place + row % 2})
