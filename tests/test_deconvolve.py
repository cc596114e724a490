"""Deconvolution of slides, and the least-squares baseline."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nephrospot import deconvolve
from nephrospot.errors import InputError
from rctd_golden import place_spots, read_golden

TISSUES = {"PT": ["PT_S1", "PT_S2", "PT_S3"]}


@pytest.fixture(scope="module")
def golden(root):
    return read_golden(root)


def test_baseline_recovers_the_truth(golden):
    weights = deconvolve.deconvolve_nnls(golden["counts"], golden["reference"])
    shares = weights.div(weights.sum(axis=1), axis=0)[golden["truth"].columns]
    error = ((shares - golden["truth"]) ** 2).to_numpy().mean() ** 0.5
    assert error < 0.1, f"Root mean square error of the shares is {error:.3f}."
    pt = [frame[TISSUES["PT"]].sum(axis=1) for frame in (shares, golden["truth"])]
    assert np.corrcoef(*pt)[0, 1] > 0.97, "Summed PT must follow the truth closely."


@pytest.mark.parametrize(("platform", "tolerance"), [(0, 1e-6), (1.5, 0.02)])
def test_baseline_without_noise(platform, tolerance):
    """Exact between like technologies, and close where each gene has a factor of its own."""
    rng = np.random.default_rng(3)
    profiles = rng.gamma(0.5, size=(3, 200)) * 1000
    cells = sparse.csr_matrix(np.repeat(profiles, 4, axis=0).round())
    names = [f"g{i}" for i in range(200)]
    reference = ad.AnnData(cells, pd.DataFrame({"cell_type": np.repeat(list("abc"), 4)}, [f"c{i}" for i in range(12)]))
    reference.var_names = names
    truth = rng.dirichlet([1, 1, 1], size=60)
    shares = cells.toarray()[::4] / cells.toarray()[::4].sum(axis=1, keepdims=True)
    expected = 1e4 * truth @ shares * rng.lognormal(0, platform, 200)
    counts = ad.AnnData(sparse.csr_matrix(expected), pd.DataFrame(index=[f"s{i}" for i in range(60)]))
    counts.var_names = names
    weights = deconvolve.deconvolve_nnls(counts, reference)
    error = weights.div(weights.sum(axis=1), axis=0).to_numpy() - truth
    assert (error**2).mean() ** 0.5 < tolerance, f"A factor a gene of sd {platform} must not show."
    shuffled = rng.permutation(200)
    again = deconvolve.deconvolve_nnls(counts[:, shuffled].copy(), reference)
    assert np.abs(again - weights).to_numpy().max() < 1e-9, "Genes are matched by name, not by place."


def test_overlap_of_genes():
    spots, cells = pd.Index([f"g{i}" for i in range(100)]), pd.Index([f"g{i}" for i in range(40, 400)])
    assert deconvolve.check_overlap("B1", spots, cells, 60, 0.5) == 60
    with pytest.raises(InputError, match=r"B1: 60 genes in common.*61 are needed.*Gene symbols"):
        deconvolve.check_overlap("B1", spots, cells, 61, 0.5)
    with pytest.raises(InputError, match="70 are needed"):
        deconvolve.check_overlap("B1", spots, cells, 1, 0.7)


def test_slide_by_the_baseline_alone(golden, tmp_path):
    """From files to the table, without RCTD and its tables."""
    from test_counts import write_h5

    counts, reference = golden["counts"], golden["reference"]
    genes = [*counts.var_names[:-1], "mt-Co1"]  # the last gene becomes mitochondrial
    matrix = counts.X.toarray().astype(int)
    matrix[5] //= 1000
    write_h5(tmp_path / "outs" / "filtered_feature_bc_matrix.h5", matrix, list(counts.obs_names), genes)
    reference.write_h5ad(tmp_path / "reference.h5ad")
    settings = {"tissues": TISSUES, "methods": ["nnls"], "min_common_genes": 500, "min_genes": 10}
    spots = [*counts.obs_names[:60], "ABSENT-1"]
    run = (tmp_path, place_spots(spots), tmp_path / "reference.h5ad", tmp_path / "no_tables.npz")
    table, notes = deconvolve.deconvolve_slide(*run, settings)
    assert list(table["barcode"]) == spots and notes["n_used"] == 59 and notes["n_common_genes"] == 599
    assert table.set_index("barcode")["status"][["s5", "ABSENT-1"]].tolist() == [
        "fewer than 500 UMI",
        "not among the counts",
    ]
    quality = notes["quality"]
    assert [(part["limit"], part["n_removed"]) for part in quality["limits"][:2]] == [
        ("not among the counts", 1),
        ("fewer than 500 UMI", 1),
    ]
    assert quality["n_edge"] == table["edge"].sum() > 0, "The flag stands with each spot, used or not."
    other = sorted(set(golden["truth"]) - set(TISSUES["PT"]))
    assert notes["other_cell_types"] == other and any(other[0] in note for note in notes["notes"])
    pt = table.set_index("barcode")["tissue:PT"].dropna()
    assert np.corrcoef(pt, golden["truth"].loc[pt.index, TISSUES["PT"]].sum(axis=1))[0, 1] > 0.97
    pd.testing.assert_frame_equal(table, deconvolve.deconvolve_slide(*run, settings)[0])

    for change, sentence in [
        ({"tissues": {"PT": ["PT-S1"]}}, "'PT-S1'.*did you mean 'PT_S1'"),
        ({"tissues": {"PT": []}}, "tissue PT has no cell types"),
        ({"methods": ["music"]}, "unknown deconvolution 'music'"),
        ({"min_umi": 10**9}, r"0 of 61 spots.*fewer than 1e\+09 UMI"),
        ({"min_umi": 10**9, "drop_edge": True}, r"leave drop_edge out"),
    ]:
        with pytest.raises(InputError, match=sentence):
            deconvolve.deconvolve_slide(*run, {**settings, **change})
