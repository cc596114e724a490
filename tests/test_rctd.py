"""RCTD as a program: R's weights in full mode, its classes in doublet mode, and failures told in sentences."""

import os
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nephrospot import deconvolve, rctd
from nephrospot.doublet import add_pairs, spread_pairs, sum_up_classes
from nephrospot.errors import InputError
from nephrospot.likelihood import write_likelihood_tables
from nephrospot.shares import proportions_table
from rctd_golden import place_spots, read_golden, read_referee
from test_counts import write_h5

WORDS = ["spot_class", "first_type", "second_type"]


@pytest.fixture(scope="module")
def golden(root):
    return read_golden(root)


@pytest.fixture(scope="module")
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
    weights, facts, pairs = rctd.deconvolve_rctd(golden["counts"], golden["reference"], tables)
    assert list(weights.index) == list(golden["R"].index), "Every spot that R fitted, and no other."
    deviation = (weights[golden["R"].columns] - golden["R"]).abs().to_numpy().max()
    print(f"largest deviation from R: {deviation:.2g}")
    assert deviation < 1e-4, f"Weights differ from R's by up to {deviation:.2g}."
    assert facts["sigma"] == 0.33 and facts["n_reg_genes"] == 150, "As in R."
    assert facts["versions"] == {"rctd-py": "0.4.0"} and facts["n_not_converged"] == 0
    assert pairs is None and not facts["sigma_at_floor"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sim_small", "slideseq", pytest.param("simulated_visium", marks=pytest.mark.real)])
def test_every_set_of_the_referee_has_the_weights_of_r(shared_data, tables, name):
    """Minutes for simulated_visium, whose 400 spots take R as long."""
    held = read_referee(shared_data / "rctd_referee" / name)
    weights, facts, _ = rctd.deconvolve_rctd(held["counts"], held["reference"], tables)
    fitted = weights.dropna(how="all")
    assert set(fitted.index) == set(held["R"].index), "The same spots dropped."
    deviation = (fitted.loc[held["R"].index, held["R"].columns] - held["R"]).abs().to_numpy().max()
    print(f"{name}: {len(fitted)} of {len(weights)} spots, sigma {facts['sigma']}, largest deviation {deviation:.2g}")
    assert deviation < 1e-4


@pytest.mark.slow
def test_doublet_mode_gives_the_classes_of_r(golden, tables):
    """R's classes and types of 64 simulated spots; the weights of full mode come along."""
    weights, facts, pairs = rctd.deconvolve_rctd(golden["counts"], golden["reference"], tables, mode="doublet")
    assert (pairs[WORDS] == golden["R_doublet"][WORDS]).all(axis=None)
    assert (weights[golden["R"].columns] - golden["R"]).abs().to_numpy().max() < 1e-4
    assert facts["spot_classes"] == {"singlet": 42, "doublet_certain": 22} and "n_not_converged" not in facts
    assert np.allclose(pairs["first_weight"] + pairs["second_weight"], 1)


@pytest.mark.slow
def test_doublet_mode_on_real_beads(shared_data, tables):
    folder = shared_data / "rctd_referee" / "slideseq"
    held, by_r = read_referee(folder), pd.read_csv(folder / "R_results_df_doublet.csv", index_col=0).astype(str)
    weights, facts, pairs = rctd.deconvolve_rctd(held["counts"], held["reference"], tables, mode="doublet")
    assert set(pairs.index[pairs["spot_class"] != ""]) == set(by_r.index), "The same spots dropped."
    agree = (pairs.loc[by_r.index, WORDS] == by_r[WORDS]).mean()
    print(agree.to_dict())
    # One bead's two types are tied, and the order of the types decides.
    assert agree["spot_class"] == 1 and (agree[["first_type", "second_type"]] > 0.98).all()
    in_r = pd.read_csv(folder / "R_weights_doublet.csv", index_col=0)
    assert (weights.loc[in_r.index, in_r.columns] - in_r).abs().to_numpy().max() < 1e-4
    assert facts["spot_classes"]["reject"] == 7


@pytest.fixture
def pairs():
    """A spot of each class, and one that RCTD left out."""
    rows = [
        ("singlet", "x", "y", 0.8, 0.2),
        ("doublet_certain", "x", "z", 0.7, 0.3),
        ("doublet_uncertain", "x", "z", 0.6, 0.4),
        ("reject", "y", "z", 0.5, 0.5),
        ("", "", "", np.nan, np.nan),
    ]
    return pd.DataFrame(rows, [f"s{i}" for i in range(5)], [*WORDS, "first_weight", "second_weight"])


def test_pairs_become_shares_only_where_all_types_are_sure(pairs):
    weights = spread_pairs(pairs, ["z", "y", "x"])
    assert weights.loc["s0"].tolist() == [0, 0, 1], "A singlet is its first type alone."
    assert np.allclose(weights.loc["s1"], [0.3, 0, 0.7])
    assert weights.loc["s2":].isna().all(axis=None)


def test_a_spot_without_a_share_says_why(pairs):
    numbers = {"n_umi": 900.0, "n_genes": 300.0, "mt_percent": 1.0, "edge": False}
    spots = pd.DataFrame({"barcode": [*pairs.index, "s5"], **numbers, "status": [*["used"] * 5, "fewer than 500 UMI"]})
    table = proportions_table(spread_pairs(pairs, ["x", "y", "z"]), spots, {"PT": ["x"]}, "rctd")
    table = add_pairs(table, pairs)
    assert list(table["status"]) == [
        "used",
        "used",
        "left out by rctd (not sure of its second cell type)",
        "left out by rctd (more than two cell types)",
        "left out by rctd (too few counts in its genes)",
        "fewer than 500 UMI",
    ]
    assert table["tissue:PT"].tolist()[:2] == [1, pytest.approx(0.7)] and table["tissue:PT"][2:].isna().all()
    assert list(table["spot_class"]) == [*pairs["spot_class"], ""]


def test_a_slide_that_doublet_mode_does_not_suit_is_noted(pairs):
    classes, notes = sum_up_classes(pairs)
    assert classes == dict.fromkeys(pairs["spot_class"][:4], 1) and notes == [], "Half of four is still fine."
    classes, notes = sum_up_classes(pairs.iloc[1:])
    assert "isn't sure of 2 of 3 spots" in notes[0] and "mode: full" in notes[0]


@pytest.mark.slow
def test_a_slide_in_doublet_mode(golden, tables, tmp_path):
    """From files to the table: R's singlets are one type alone, and every spot without a share says why."""
    counts = golden["counts"]
    matrix = counts.X.toarray().astype(int)
    write_h5(tmp_path / "filtered_feature_bc_matrix.h5", matrix, list(counts.obs_names), list(counts.var_names))
    golden["reference"].write_h5ad(tmp_path / "reference.h5ad")
    settings = {"tissues": {"PT": ["PT_S1", "PT_S2", "PT_S3"]}, "mode": "doublet", "methods": ["rctd"]}
    settings |= {"min_common_genes": 500, "min_genes": 10}
    spots = place_spots([*counts.obs_names, "ABSENT-1"])
    table, facts = deconvolve.deconvolve_slide(tmp_path, spots, tmp_path / "reference.h5ad", tables, settings)
    table = table.set_index("barcode")
    assert facts["spot_classes"] == {"singlet": 42, "doublet_certain": 22} and facts["n_spots"] == 65
    assert (table.loc[golden["R_doublet"].index, WORDS] == golden["R_doublet"][WORDS]).all(axis=None)
    shares = table.filter(like="type:")
    assert (shares[table["spot_class"] == "singlet"].max(axis=1) == 1).all()
    assert (shares.notna().all(axis=1) == (table["status"] == "used")).all()
    assert table.loc["ABSENT-1", ["status", "spot_class"]].tolist() == ["not among the counts", ""]


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
    assert (
        notes["sigma"] == 0.21
        and notes["sigma_at_floor"]
        and any("least it can find" in note for note in notes["notes"])
    )
    assert notes["r_rctd_nnls"]["B"] > 0.5, "Two ways to the same share can't be strangers."


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
        ("""os.kill(os.getpid(), 9)""", r"killed: give the job more memory"),
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
