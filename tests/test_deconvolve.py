"""Deconvolution: RCTD as a program, the least-squares baseline, and the table of proportions."""

import os
import shutil
import stat
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nephrospot import deconvolve, rctd
from nephrospot.errors import InputError
from nephrospot.likelihood import write_likelihood_tables

TISSUES = {"PT": ["PT_S1", "PT_S2", "PT_S3"]}


@pytest.fixture(scope="module")
def golden(root):
    """64 simulated spots with their truth, a reference, and the weights of R spacexr 2.2.1."""
    with np.load(root / "tests" / "golden" / "rctd_sim_small.npz") as file:
        held = {name: file[name] for name in file.files}
    genes, types = pd.DataFrame(index=held["genes"]), held["types"]
    labels = pd.DataFrame({"cell_type": held["ref_labels"]}, index=[f"c{i}" for i in range(len(held["ref_labels"]))])
    return {
        "counts": ad.AnnData(
            sparse.csr_matrix(held["sp_counts"].astype("f4")), pd.DataFrame(index=held["spots"]), genes
        ),
        "reference": ad.AnnData(sparse.csr_matrix(held["ref_counts"].astype("f4")), labels, genes),
        "truth": pd.DataFrame(held["truth_umi"], held["spots"], types),
        "R": pd.DataFrame(held["R_weights_full"], held["spots"], types),
    }


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """The likelihood tables (444 MB, some seconds), kept in $NEPHROSPOT_CACHE if that is set."""
    if not shutil.which("rctd", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"):
        pytest.skip("the program rctd is not installed (pip install 'nephrospot[rctd]')")
    folder = os.environ.get("NEPHROSPOT_CACHE") or tmp_path_factory.mktemp("tables")
    path = Path(folder) / "rctd_tables_1000.npz"
    if not path.is_file():
        write_likelihood_tables(path)
    return path


@pytest.mark.slow
def test_rctd_gives_the_weights_of_r(golden, tables):
    weights, facts = rctd.deconvolve_rctd(golden["counts"], golden["reference"], tables)
    assert list(weights.index) == list(golden["R"].index), "Every spot that R fitted, and no other."
    deviation = (weights[golden["R"].columns] - golden["R"]).abs().to_numpy().max()
    print(f"largest deviation from R: {deviation:.2g}")
    assert deviation < 1e-4, f"Weights differ from R's by up to {deviation:.2g}."
    assert facts["sigma"] == 0.33 and facts["n_reg_genes"] == 150, "As in R."
    assert facts["versions"] == {"rctd-py": "0.4.0"} and facts["n_not_converged"] == 0


@pytest.mark.slow
def test_real_slide_from_end_to_end(shared_data, tables):
    lymph = shared_data / "lymph_visium"
    spots = place_spots([*deconvolve.read_counts(lymph).obs_names, "ABSENT-1"])
    settings = {"tissues": {"B": ["B", "B_Plasma"]}, "min_common_genes": 500, "min_common_share": 0.25}
    table, notes = deconvolve.deconvolve_slide(lymph, spots, lymph / "reference", tables, settings)
    assert len(table) == 2 * 1001 and set(table["deconvolution"]) == {"rctd", "nnls"}
    used = table[table["status"] == "used"]
    assert len(used) == 2 * 923 and notes["n_used"] == 923 and notes["n_spots"] == 1001
    assert np.allclose(used.filter(like="type:").sum(axis=1), 1)
    unused = table[table["status"] != "used"]
    assert unused.filter(regex="^t(ype|issue):").isna().all(axis=None), "No number for a spot that was not used."
    assert notes["sigma"] == 0.21 and any("least it can find" in note for note in notes["notes"])
    assert notes["r_rctd_nnls"]["B"] > 0.5, "Two ways to the same share can't be strangers."


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


def test_proportions_keep_every_spot():
    spots = pd.DataFrame(
        {
            "barcode": ["a", "b", "c", "d"],
            "n_umi": [900.0, 10.0, 800.0, 700.0],
            "n_genes": 300.0,
            "mt_percent": 1.0,
            "edge": False,
            "status": ["used", "fewer than 500 UMI", "used", "used"],
        }
    )
    weights = pd.DataFrame({"y": [0.2, np.nan, 0.0], "x": [0.6, np.nan, -1e-9]}, index=["a", "c", "d"])
    table = deconvolve.proportions_table(weights, spots, {"PT": ["x"], "ALL": ["x", "y"]}, "rctd")
    head = ["barcode", "deconvolution", "n_umi", "n_genes", "mt_percent", "edge", "status", "weight_sum"]
    assert list(table) == [*head, "type:x", "type:y", "tissue:PT", "tissue:ALL"]
    assert list(table["barcode"]) == ["a", "b", "c", "d"] and set(table["deconvolution"]) == {"rctd"}
    assert table["weight_sum"][0] == pytest.approx(0.8), "How much of the spot was explained is kept."
    assert table["tissue:PT"][0] == pytest.approx(0.75) and table["tissue:ALL"][0] == pytest.approx(1)
    assert table.loc[1:, "type:x":].isna().all(axis=None)
    assert list(table["status"][:2]) == ["used", "fewer than 500 UMI"]
    assert table["status"][2:].str.startswith("left out by rctd").all(), "No spot without a number calls itself used."


def test_overlap_of_genes():
    spots, cells = pd.Index([f"g{i}" for i in range(100)]), pd.Index([f"g{i}" for i in range(40, 400)])
    assert deconvolve.check_overlap("B1", spots, cells, 60, 0.5) == 60
    with pytest.raises(InputError, match=r"B1: 60 genes in common.*61 are needed.*Gene symbols"):
        deconvolve.check_overlap("B1", spots, cells, 61, 0.5)
    with pytest.raises(InputError, match="70 are needed"):
        deconvolve.check_overlap("B1", spots, cells, 1, 0.7)


@pytest.fixture
def fake_rctd(tmp_path, monkeypatch):
    """Stand-in for the program: a script with the given body."""

    def install(body: str | None):
        program = tmp_path / "rctd"
        if body is not None:
            program.write_text(f"#!{sys.executable}\nimport sys, os\n{body}\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(rctd.shutil, "which", lambda *_, **__: str(program) if body is not None else None)
        (tmp_path / "tables.npz").touch()
        return tmp_path / "tables.npz"

    return install


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, r"pip install 'nephrospot\[rctd\]'"),
        (
            """print('{"status": "error", "error": "line one\\\\nNo pixels found"}'); sys.exit(1)""",
            "failed: No pixels found",
        ),
        ("""sys.exit('Traceback\\nMemoryError: too big')""", "failed: MemoryError: too big"),
        ("""os.kill(os.getpid(), 9)""", r"failed: exit status -9.*more memory"),
        ("""print('{"status": "success", "version": "0.3.10"}')""", r"0\.3\.10 differs from R"),
        ("""print('not json')""", "failed: exit status 0"),
    ],
)
def test_failures_of_the_program_are_told(golden, fake_rctd, body, sentence):
    path = fake_rctd(body)
    with pytest.raises(InputError, match=sentence):
        rctd.deconvolve_rctd(golden["counts"], golden["reference"], path)


def test_the_program_gets_its_tables_and_threads(golden, fake_rctd, tmp_path):
    path = fake_rctd(
        f"open({str(tmp_path / 'seen')!r}, 'w').write('\\n'.join([*sys.argv[1:], os.environ['RCTD_Q_MATRICES'], "
        "os.environ['OMP_NUM_THREADS'], os.environ['TORCHDYNAMO_DISABLE']]))\nsys.exit('stop')"
    )
    with pytest.raises(InputError, match="stop"):
        rctd.deconvolve_rctd(golden["counts"], golden["reference"], path, threads=3)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[-3:] == [str(path), "3", "1"]
    assert seen[0] == "run" and {"full", "--no-compile", "cpu", "--json", "-q"} <= set(seen)
    assert not Path(seen[1]).exists(), "Temporary files are gone, also after a failure."


def test_tables_lacking(golden, tmp_path):
    with pytest.raises(InputError, match="likelihood tables are not there"):
        rctd.deconvolve_rctd(golden["counts"], golden["reference"], tmp_path / "absent.npz")


def place_spots(barcodes):
    """Spots on tissue, ten a row of Visium's lattice."""
    row, place = np.divmod(np.arange(len(barcodes)), 10)
    return pd.DataFrame({"barcode": barcodes, "array_row": row, "array_col": 2 * place + row % 2})


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
