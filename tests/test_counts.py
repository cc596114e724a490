"""Counts from Space Ranger folders."""

import gzip

import h5py
import numpy as np
import pytest
import scanpy
from scipy import io, sparse

from nephrospot.counts import are_counts, is_mitochondrial, read_counts
from nephrospot.errors import InputError

GENES = ["Lrp2", "Nphs2", "mt-Co1", "Umod", "Umod"]


@pytest.fixture
def matrix():
    return np.random.default_rng(0).poisson(3.0, (6, 5))


def write_h5(path, matrix, barcodes=None, genes=GENES):
    """A Space Ranger matrix (features x barcodes, compressed by column)."""
    barcodes = barcodes or [f"AAA{i}-1" for i in range(len(matrix))]
    columns = sparse.csc_matrix(np.asarray(matrix).T)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(columns, name)
        group["shape"] = np.array(columns.shape, dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENS{i}" for i in range(len(genes))], dtype="S")
        features["name"] = np.array(genes, dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * len(genes), dtype="S")
        features["genome"] = np.array(["mm10"] * len(genes), dtype="S")


def write_mtx(folder, matrix, genes=GENES):
    folder.mkdir(parents=True)
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(np.asarray(matrix).T))
    for name, lines in {
        "barcodes.tsv.gz": [f"AAA{i}-1" for i in range(len(matrix))],
        "features.tsv.gz": [f"ENS{i}\t{gene}\tGene Expression" for i, gene in enumerate(genes)],
    }.items():
        with gzip.open(folder / name, "wt") as file:
            file.write("\n".join(lines) + "\n")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("layout", ["h5", "mtx"])
def test_the_counts_are_those_that_scanpy_reads(tmp_path, matrix, layout):
    path = tmp_path / f"filtered_feature_bc_matrix{'.h5' if layout == 'h5' else ''}"
    (write_h5 if layout == "h5" else write_mtx)(path, matrix)
    ours, theirs = read_counts(tmp_path), (scanpy.read_10x_h5 if layout == "h5" else scanpy.read_10x_mtx)(path)
    assert list(ours.obs_names) == list(theirs.obs_names) and list(ours.var["gene_ids"]) == list(theirs.var["gene_ids"])
    assert np.array_equal(ours.X.toarray(), theirs.X.toarray())


@pytest.mark.parametrize("where", ["", "outs"])
@pytest.mark.parametrize("layout", ["h5", "prefixed", "mtx", "raw"])
def test_every_layout_gives_the_same_counts(tmp_path, matrix, where, layout):
    folder = tmp_path / where
    if layout == "mtx":
        write_mtx(folder / "filtered_feature_bc_matrix", matrix)
    else:
        names = {"h5": "filtered", "prefixed": "GSM1_kidney_filtered", "raw": "raw"}
        write_h5(folder / f"{names[layout]}_feature_bc_matrix.h5", matrix)
    counts = read_counts(tmp_path)
    assert (counts.X.toarray() == matrix).all()
    assert list(counts.obs_names) == [f"AAA{i}-1" for i in range(6)]
    assert counts.var_names.is_unique, "A repeated gene name must not stay."
    assert any("Umod" in note for note in counts.uns["notes"])
    assert any("no filtered" in note for note in counts.uns["notes"]) == (layout == "raw")


def test_filtered_goes_before_raw(tmp_path, matrix):
    write_h5(tmp_path / "filtered_feature_bc_matrix.h5", matrix[:3])
    write_h5(tmp_path / "raw_feature_bc_matrix.h5", matrix)
    assert read_counts(tmp_path).n_obs == 3


@pytest.mark.parametrize("name", ["binned_outputs", "square_002um"])
def test_visium_hd_is_refused(tmp_path, matrix, name):
    (tmp_path / name).mkdir()
    write_h5(tmp_path / "filtered_feature_bc_matrix.h5", matrix)
    with pytest.raises(InputError, match=r"Visium HD.*55 µm"):
        read_counts(tmp_path)


def test_refusals_say_what_to_do(tmp_path, matrix):
    with pytest.raises(InputError, match=r"no such folder.*outs"):
        read_counts(tmp_path / "absent")
    with pytest.raises(InputError, match=r"put filtered_feature_bc_matrix\.h5"):
        read_counts(tmp_path)
    path = tmp_path / "filtered_feature_bc_matrix.h5"
    write_h5(path, matrix)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"filtered_feature_bc_matrix\.h5.*copy it again"):
        read_counts(tmp_path)
    with h5py.File(path, "w") as file:
        file["matrix/data"] = np.arange(3)
    with pytest.raises(InputError, match="lacks matrix/barcodes"):
        read_counts(tmp_path)
    write_h5(path, matrix / 2)
    with pytest.raises(InputError, match=r"no raw counts \(found \d*\.5\).*normalisation"):
        read_counts(tmp_path)
    write_h5(path, matrix * 0)
    with pytest.raises(InputError, match="no raw counts"):
        read_counts(tmp_path)
    write_h5(path, matrix, barcodes=["A-1", "B-1", "C-1", "D-1", "E-1", "A-1"])
    with pytest.raises(InputError, match="A-1 occurs twice"):
        read_counts(tmp_path)
    write_h5(path, matrix)
    write_h5(tmp_path / "other_filtered_feature_bc_matrix.h5", matrix)
    with pytest.raises(InputError, match="2 count matrices"):
        read_counts(tmp_path)


def test_mtx_folder_without_its_features_is_refused(tmp_path, matrix):
    folder = tmp_path / "filtered_feature_bc_matrix"
    write_mtx(folder, matrix)
    (folder / "matrix.mtx.gz").write_bytes((folder / "matrix.mtx.gz").read_bytes()[:40])
    with pytest.raises(InputError, match="copy it again"):
        read_counts(tmp_path)
    (folder / "features.tsv.gz").unlink()
    with pytest.raises(InputError, match=r"features\.tsv\.gz is lacking"):
        read_counts(tmp_path)


def test_are_counts():
    assert are_counts(np.array([[0, 1], [2, 3.0]])) and are_counts(sparse.csr_matrix([[0, 5]]))
    for wrong in ([[0.5]], [[-1]], [[np.nan]], [[np.inf]], [[0]], np.empty((0, 3))):
        assert not are_counts(np.asarray(wrong, float)), f"{wrong} are no counts"


def test_mitochondrial_genes():
    found = is_mitochondrial(["mt-Co1", "MT-ND1", "Mt1", "MTOR", "Umod"])
    assert list(found) == [True, True, False, False, False], "Metallothioneins are no mitochondrial genes."


def test_real_folders(shared_data):
    lymph = read_counts(shared_data / "lymph_visium")
    assert lymph.shape == (1000, 2000), "The folder above outs serves as well."
    assert read_counts(shared_data / "tiny_visium").shape == (100, 100)
