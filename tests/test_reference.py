"""The single-cell reference and its checks."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from nephrospot.errors import InputError
from nephrospot.reference import read_reference

TYPES = ["PT-S1", "PT-S2", "Podo"]


@pytest.fixture
def cells():
    """90 cells of three types, 40 genes of which two are mitochondrial."""
    matrix = np.random.default_rng(1).poisson(6.0, (90, 40)).astype(np.float32)
    genes = [f"Gene{i}" for i in range(38)] + ["mt-Co1", "mt-Nd1"]
    obs = pd.DataFrame({"cell_type": np.repeat(TYPES, 30)}, index=[f"c{i}" for i in range(90)])
    return ad.AnnData(sparse.csr_matrix(matrix), obs=obs, var=pd.DataFrame(index=genes))


@pytest.fixture
def save(tmp_path):
    def write(cells):
        cells.write_h5ad(tmp_path / "reference.h5ad")
        return tmp_path / "reference.h5ad"

    return write


def test_counts_without_mitochondrial_genes(cells, save):
    reference = read_reference(save(cells), "cell_type", ["PT-S1"])
    assert reference.shape == (90, 38)
    assert (reference.X.toarray() == cells.X.toarray()[:, :38]).all()
    assert reference.uns["notes"] == []
    assert list(reference.obs["cell_type"]) == list(cells.obs["cell_type"])


@pytest.mark.parametrize("place", ["layer", "raw"])
def test_raw_counts_are_found_beside_normalised_values(cells, save, place):
    expected = cells.X.toarray()[:, :38]
    if place == "layer":
        cells.layers["counts"] = cells.X.copy()
    else:
        cells.raw = cells.copy()
    cells.X = sparse.csr_matrix(np.log1p(cells.X.toarray()))
    if place == "raw":
        cells = cells[:, :20].copy()  # highly variable genes only, as is common; raw keeps them all
    reference = read_reference(save(cells), "cell_type")
    assert (reference.X.toarray() == expected).all()
    assert "normalised" in reference.uns["notes"][0]
    assert {"layer": "layers['counts']", "raw": "raw.X"}[place] in reference.uns["notes"][0]


def test_normalised_values_alone_are_refused(cells, save):
    cells.X = sparse.csr_matrix(np.log1p(cells.X.toarray()))
    cells.layers["scaled"] = cells.X.copy()
    with pytest.raises(InputError, match=r"no raw counts.*layers: scaled.*layers\['counts'\] or as raw\.X"):
        read_reference(save(cells), "cell_type")


def test_wrong_column_is_answered_with_the_nearest(cells, save):
    with pytest.raises(InputError, match=r"no column 'celltype'.*did you mean 'cell_type'"):
        read_reference(save(cells), "celltype")


def test_all_wrong_types_are_told_at_once(cells, save):
    cells.obs.loc[cells.obs_names[:6], "cell_type"] = "Rare"
    with pytest.raises(InputError) as caught:
        read_reference(save(cells), "cell_type", ["PT-S3", "PT-S2"], leave_out=["Unknwon"])
    told = str(caught.value).splitlines()
    assert len(told) == 4, "Unknown to leave out, absent, and the two that are too small."
    assert any("'PT-S3'" in line and "did you mean" in line for line in told)
    assert any("'Rare' has 6 usable cells" in line and "leave_out" in line for line in told)
    assert any("'PT-S1' has 24 usable cells" in line for line in told)


def test_types_can_be_left_out(cells, save):
    reference = read_reference(save(cells), "cell_type", leave_out=["Podo"])
    assert set(reference.obs["cell_type"]) == {"PT-S1", "PT-S2"}
    with pytest.raises(InputError, match="needs two or more"):
        read_reference(save(cells), "cell_type", leave_out=["Podo", "PT-S1"])


def test_poor_cells_do_not_count(cells, save):
    matrix = cells.X.toarray()
    matrix[:10] = 0
    matrix[:10, -1] = 5000  # rich in mitochondrial UMI only
    cells.X = sparse.csr_matrix(matrix)
    with pytest.raises(InputError, match="'PT-S1' has 20 usable cells"):
        read_reference(save(cells), "cell_type")
    reference = read_reference(save(cells), "cell_type", cell_min=20)
    assert reference.n_obs == 80 and "10 cells with fewer than 100 UMI" in reference.uns["notes"][0]


def test_unlabelled_cells_are_left_out_and_noted(cells, save):
    cells.obs.loc[cells.obs_names[[0, 40]], "cell_type"] = np.nan
    reference = read_reference(save(cells), "cell_type")
    assert reference.n_obs == 88 and "2 cells without a label" in reference.uns["notes"][0]


def test_repeated_and_ensembl_gene_names(cells, save):
    symbols = cells.var_names.tolist()
    symbols[1] = symbols[0]
    cells.var_names = [f"ENSMUSG{i:011d}" for i in range(40)]
    cells.var["feature_name"] = symbols
    reference = read_reference(save(cells), "cell_type")
    assert reference.var_names.is_unique and "Gene0" in reference.var_names
    assert not any(name.startswith("mt-") for name in reference.var_names)
    assert "feature_name" in reference.uns["notes"][0] and "Gene0" in reference.uns["notes"][1]


def test_files_that_cannot_be_read(tmp_path, cells, save):
    with pytest.raises(InputError, match="no such file"):
        read_reference(tmp_path / "absent.h5ad", "cell_type")
    path = save(cells)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"can't be read as \.h5ad"):
        read_reference(path, "cell_type")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"matrix\.mtx and genes\.txt and cells\.csv lacking"):
        read_reference(tmp_path / "folder", "cell_type")


def write_folder(folder, cells, genes=None):
    folder.mkdir(exist_ok=True)
    io.mmwrite(folder / "matrix.mtx", cells.X.T.astype(int).tocoo())
    (folder / "genes.txt").write_text("\n".join(genes or cells.var_names) + "\n")
    cells.obs.to_csv(folder / "cells.csv", index_label="cell")
    return folder


def test_folder_equals_h5ad(tmp_path, cells, save):
    cells.obs["nUMI"] = cells.X.sum(axis=1).A1.astype(int) + np.repeat([0, 7], 45)
    one, other = (
        read_reference(save(cells), "cell_type"),
        read_reference(write_folder(tmp_path / "f", cells), "cell_type"),
    )
    assert (one.X != other.X).nnz == 0
    assert list(one.var_names) == list(other.var_names) and list(one.obs_names) == list(other.obs_names)
    assert "in 45 of 90 cells" in other.uns["notes"][0], "A matrix that lost genes is noticed by its nUMI."
    with pytest.raises(InputError, match=r"40 x 90, but genes\.txt has 39 lines"):
        read_reference(write_folder(tmp_path / "f", cells, genes=list(cells.var_names[:39])), "cell_type")


def test_real_folder(shared_data):
    reference = read_reference(shared_data / "lymph_visium" / "reference", "cell_type", ["B", "T_CD4"])
    assert reference.n_obs == 330 and reference.obs["cell_type"].nunique() == 11
