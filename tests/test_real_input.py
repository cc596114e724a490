"""Real files through the same rules, without a special case; skipped where the public material is absent."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from demo_project import Project, merge

pytestmark = pytest.mark.real

REAL = ("--configfile", "config/real_input.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory, root, shared_data):
    base = tmp_path_factory.mktemp("real")
    (base / "shared").symlink_to(shared_data.parent)  # config/real_input.tsv says ../shared
    (base / "project").mkdir()
    return Project(base / "project", root)


@pytest.fixture(scope="module")
def mosaic(project):
    project.told = project.run("--cores", "2", *REAL)
    return project.folder / "results-real/mouse_pas_mosaic"


def test_the_experts_masks_reproduce_the_true_percentages(mosaic, shared_data, capsys):
    spots = pd.read_parquet(mosaic / "expert/spots.parquet").set_index("barcode")
    truth = pd.read_csv(shared_data / "mouse_pas_mosaic/truth_spot_percent.csv").set_index("barcode")
    assert set(spots.index) == set(truth.index)
    error = max((spots[f"{tissue}_percent"] - truth[tissue]).abs().max() for tissue in truth)
    with capsys.disabled():
        print(f"\nmouse_pas_mosaic: largest error of a spot {error:.3f} percentage points over {truth.size} values")
    assert error < 0.1


def test_the_experts_row_is_a_perfect_correlation_and_the_networks_have_one(mosaic):
    table = pd.read_csv(mosaic.parent / "table2.tsv", sep="\t").set_index("method")
    for tissue in ("CAP", "TUFT", "VES"):
        assert table.loc["expert", f"{tissue} pathologist: r_x100"] == pytest.approx(100, abs=0.01)
        for network in ("omni-seg", "multi-unet"):
            r, reason = (table.loc[network, f"{tissue} pathologist: {name}"] for name in ("r_x100", "reason"))
            assert np.isfinite(r) or reason, "a number, or the reason why there is none"


def test_the_report_calls_the_weights_simulated_and_not_the_slide(mosaic):
    page = (mosaic.parent / "report.html").read_text()
    assert "Simulated weights" in page and "Simulated data" not in page


def test_lymph_counts_deconvolve_under_the_mosaics_spots(project, shared_data):
    """Plumbing alone: another tissue's counts under ten barcodes that happen to join."""
    folder = project.folder / "joined"
    shutil.copytree(shared_data / "mouse_pas_mosaic/spatial", folder / "spatial")
    shutil.copy(shared_data / "lymph_visium/outs/filtered_feature_bc_matrix.h5", folder)
    sheet = pd.read_csv(project.folder / "config/real_input.tsv", sep="\t").assign(visium="joined")
    sheet.to_csv(project.folder / "config/joined.tsv", sep="\t", index=False)
    reference = "../shared/data/lymph_visium/reference"
    labels = pd.read_csv(shared_data / "lymph_visium/reference/cells.csv")["cell_type"].value_counts()
    rare = [label for label, count in labels.items() if count < 25]
    config = yaml.safe_load((project.folder / "config/real_input.yaml").read_text())
    changes = {
        "sheet": "config/joined.tsv",
        "results": "results-joined",
        "tissues": {"PT": {"cell_types": [labels.index[0]]}},
        "deconvolution": {"reference": reference, "min_common_share": 0.2, "leave_out": rare},
    }
    (project.folder / "config/joined.yaml").write_text(yaml.safe_dump(merge(config, changes)))
    target = "results-joined/mouse_pas_mosaic/proportions.parquet"
    project.run(target, "--cores", "2", "--configfile", "config/joined.yaml")
    table = pd.read_parquet(project.folder / target)
    used = table[table["status"] == "used"]
    assert set(table["deconvolution"]) == {"rctd", "nnls"} and len(table) == 34
    assert len(used) >= 10, "ten barcodes have counts"
    shares = used.filter(like="type:")
    assert np.allclose(shares.sum(axis=1), 1) and (shares >= 0).all(axis=None)
    assert (table.loc[table["status"] != "used", "status"].str.len() > 5).all(), (
        "a reason for every spot that isn't used"
    )


def test_a_vendor_slide_of_another_tissue_is_read(project):
    sheet = project.folder / "config/vendor.tsv"
    image = "../shared/data/cmu1_small_region/CMU-1-Small-Region.svs"
    sheet.write_text(f"slide\timage\tspecies\nCMU1\t{image}\thuman\n")
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    config |= {"sheet": "config/vendor.tsv", "results": "results-vendor"}
    del config["methods"]["perfect"], config["methods"]["multi-unet"], config["evaluation"]
    (project.folder / "config/vendor.yaml").write_text(yaml.safe_dump(config))
    target = "results-vendor/CMU1/omni-seg/masks.ome.zarr"
    project.run(target, "--cores", "2", "--configfile", "config/vendor.yaml")
    tiles = pd.read_parquet(project.folder / "results-vendor/CMU1/tiles.parquet")
    assert set(tiles["magnification"]) == {5.0, 10.0, 20.0}, "40× would need finer pixels than this slide has"
