"""Files for other tools: opened again by anndata and spatialdata, with every value where it belongs."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from label_files import write_labels
from nephrospot.handover import build_anndata, write_anndata, write_spatialdata
from nephrospot.slide import open_slide
from pictures import write_tiff

MPP = 0.5


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    n = 30
    barcode = [f"b{i:02d}-1" for i in range(n)]
    table = pd.DataFrame({"barcode": barcode, "array_row": np.arange(n), "array_col": np.arange(n) % 6})
    table["x_px"], table["y_px"] = rng.uniform(200, 1400, (2, n))
    spots = {
        "omni": table.assign(CAP_percent=rng.uniform(0, 90, n), PT_percent=rng.uniform(0, 90, n), reason=""),
        "unet": table.assign(CAP_percent=rng.uniform(0, 90, n), reason=""),
    }
    spots["omni"].loc[4, "CAP_percent"] = np.nan
    counts = ad.AnnData(sparse.csr_matrix(rng.poisson(3, (n - 1, 7)).astype(np.float32)))
    counts.obs_names, counts.var_names = barcode[:0:-1], [f"gene{i}" for i in range(7)]
    shares = pd.DataFrame({"barcode": barcode[:25], "deconvolution": "rctd", "status": "used"})
    shares["type:PT-S1"], shares["tissue:PT"] = 0.25, 0.4
    shares = pd.concat([shares, shares.assign(deconvolution="nnls")])
    scores = pd.DataFrame({"barcode": barcode[5:], "CAP": 50.0})
    return spots, counts, shares, scores


@pytest.fixture(scope="module")
def data(parts):
    spots, counts, shares, scores = parts
    return build_anndata("K1", {"mpp": MPP}, spots, counts, shares, scores)


def test_every_value_is_its_spots_own(data, parts, tmp_path):
    write_anndata(data, tmp_path / "spots.h5ad")
    again = ad.read_h5ad(tmp_path / "spots.h5ad")
    spots, counts, *_ = parts
    own = spots["omni"].set_index("barcode")
    assert np.allclose(again.obs["pct_CAP"], own["CAP_percent"], equal_nan=True)
    assert np.allclose(again.obs["pct_CAP.unet"], spots["unet"]["CAP_percent"]) and "pct_PT.unet" not in again.obs
    assert np.allclose(again.obsm["spatial"][:, 0], (own["x_px"] + 0.5) * MPP)
    assert again.obsm["proportions"]["PT-S1"].notna().sum() == 25 and again.obsm["tissue_shares"]["PT"].iloc[0] == 0.4
    assert "proportions_nnls" in again.obsm and again.obs["score_CAP"].isna().sum() == 5
    for barcode in ("b01-1", "b20-1"):
        assert np.array_equal(again[barcode].X.toarray(), counts[barcode].X.toarray())
    assert again.obs["n_umi"]["b01-1"] == counts["b01-1"].X.sum() and np.isnan(again.obs["n_umi"]["b00-1"])
    assert again.obs["edge"].all(), "no spot of this slide has six neighbours"
    assert again["b00-1"].X.sum() == 0, "a spot that the matrix leaves out has no count, not another's"


def test_counts_have_their_quality_without_cell_types(parts):
    data = build_anndata("K1", {"mpp": MPP}, parts[0], parts[1])
    assert {"n_umi", "n_genes", "mt_percent", "edge"} <= set(data.obs) and "status" not in data.obs
    assert data.obs["n_genes"]["b02-1"] == (parts[1]["b02-1"].X > 0).sum()


def test_without_counts_or_cell_types_there_is_still_a_table(parts):
    data = build_anndata("K1", {"mpp": MPP}, parts[0])
    assert data.shape == (30, 0) and "proportions" not in data.obsm and "pct_PT" in data.obs


def test_spatialdata_opens_it_in_micrometres(data, tmp_path):
    mask = np.zeros((800, 800), bool)
    mask[100:200, 300:400] = True
    store = write_labels(tmp_path / "m", {"CAP": mask}, 1.0)
    picture = np.full((1600, 1600, 3), 200, np.uint8)
    picture[200:400, 600:800] = 0
    with open_slide(write_tiff(tmp_path / "s.tiff", picture)) as slide:
        write_spatialdata(data, slide, MPP, {"omni": store}, 55.0, tmp_path / "spatialdata.zarr")
    sd = pytest.importorskip("spatialdata")
    held = sd.read_zarr(tmp_path / "spatialdata.zarr")
    assert set(held.images) == {"slide"} and set(held.labels) == {"omni_CAP"} and set(held.tables) == {"table"}
    circles = held.shapes["spots"]
    assert set(circles["radius"]) == {27.5} and len(circles) == data.n_obs
    assert np.allclose(circles.geometry.x, data.obsm["spatial"][:, 0])
    for element in (held.images["slide"], held.labels["omni_CAP"]):
        extent = sd.get_extent(element, coordinate_system="um")
        assert extent["x"] == pytest.approx((0, 800), abs=2) and extent["y"] == pytest.approx((0, 800), abs=2)
    label = np.asarray(held.labels["omni_CAP"])
    assert label[50:100, 150:200].all() and label.sum() == 2500, "2 µm per pixel"
    assert held.tables["table"].obs["spot"].tolist() == list(range(data.n_obs))
