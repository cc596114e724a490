"""The files of a simulated slide: as Space Ranger and a scanner write them, with an exact truth."""

import hashlib
import json

import cv2
import numpy as np
import openslide
import pandas as pd
import pytest
import scanpy

from nephrospot.errors import InputError
from nephrospot.simulate import cohort
from nephrospot.simulate.structures import CELL_TYPES, TISSUES

SMALL = {"section": {"width_um": 900.0, "height_um": 900.0}, "genes": {"number": 400}}
TINY = {"section": {"width_um": 500.0, "height_um": 500.0}, "genes": {"number": 200}}
SPATIAL = "outs/spatial"
V1_COLUMNS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]


def make(folder, seed=1, size=TINY, **visium):
    summary = cohort.write_slide(folder, size | {"visium": visium}, seed)
    return folder, summary


def read_v1(folder):
    return pd.read_csv(folder / SPATIAL / "tissue_positions_list.csv", header=None, names=V1_COLUMNS)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return make(tmp_path_factory.mktemp("demo") / "S1", size=SMALL)


def test_every_file_of_the_contract_is_there(slide):
    folder, summary = slide
    expected = {"slide.tiff", "scores.csv", "truth.parquet", "outs/filtered_feature_bc_matrix.h5"}
    expected |= {f"masks/{tissue}.png" for tissue in TISSUES}
    names = ("tissue_positions_list.csv", "scalefactors_json.json", "tissue_hires_image.png", "tissue_lowres_image.png")
    expected |= {f"{SPATIAL}/{name}" for name in names}
    assert set(digests(folder)) == expected
    assert 30 <= summary["spots_in_tissue"] <= 80, "a small section has some fifty spots"


def test_openslide_reads_levels_mpp_and_colours(slide):
    folder, _ = slide
    with openslide.OpenSlide(folder / "slide.tiff") as image:
        assert float(image.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert image.dimensions == (1800, 1800)
        assert image.level_downsamples[:3] == pytest.approx((1, 2, 4))
        corner = np.array(image.read_region((0, 0), 0, (64, 64)).convert("RGB")).mean()
        overview = np.array(image.read_region((0, 0), 2, image.level_dimensions[2]).convert("RGB"))
    assert corner > 230, "the corner is glass"
    tissue = cv2.imread(str(folder / "masks/PT.png"), cv2.IMREAD_GRAYSCALE)[::4, ::4] > 0
    red, green, _ = overview[tissue].mean(axis=0)
    assert red > green + 40, "proximal tubules are pink where their mask says they are"


def test_scanpy_reads_integer_counts_of_the_spots_in_tissue(slide):
    folder, _ = slide
    counts = scanpy.read_10x_h5(folder / "outs/filtered_feature_bc_matrix.h5")
    positions = read_v1(folder)
    assert set(counts.obs_names) == set(positions.loc[positions["in_tissue"] == 1, "barcode"])
    assert list(counts.obs_names) == sorted(counts.obs_names), "Space Ranger sorts its barcodes"
    assert (counts.X.data == np.round(counts.X.data)).all() and counts.X.sum() > 0
    assert sum(name.startswith("mt-") for name in counts.var_names) == 13
    assert counts.var_names.is_unique


def test_counts_belong_to_the_barcode_of_their_spot(slide):
    """Total counts follow the truth's cells only if matrix and truth join by barcode."""
    folder, _ = slide
    counts = scanpy.read_10x_h5(folder / "outs/filtered_feature_bc_matrix.h5")
    truth = pd.read_parquet(folder / "truth.parquet").set_index("barcode").loc[counts.obs_names]
    mt = counts.var_names.str.startswith("mt-")
    share = np.asarray(counts.X[:, mt].sum(axis=1)).ravel() / np.asarray(counts.X.sum(axis=1)).ravel()
    pt = truth[["rna_share:PT-S1", "rna_share:PT-S2", "rna_share:PT-S3"]].sum(axis=1)
    assert np.corrcoef(share, pt)[0, 1] > 0.3, "spots of proximal tubules are rich in mitochondrial counts"


def test_spots_are_a_hexagonal_lattice_of_100_um(slide):
    folder, _ = slide
    positions = read_v1(folder)
    assert positions["barcode"].str.fullmatch("[ACGT]{16}-1").all() and positions["barcode"].is_unique
    assert ((positions["array_row"] + positions["array_col"]) % 2 == 0).all()
    assert positions[["pxl_row_in_fullres", "pxl_col_in_fullres"]].dtypes.eq(np.int64).all()
    xy = positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float) * 0.5
    design = np.column_stack([positions[["array_col", "array_row"]], np.ones(len(positions))])
    (per_column, per_row, _), *_ = np.linalg.lstsq(design, xy, rcond=None)
    assert 2 * np.hypot(*per_column) == pytest.approx(100, abs=0.1)
    assert np.hypot(*per_row) == pytest.approx(50 * np.sqrt(3), abs=0.1)


def test_truth_is_the_share_of_mask_pixels_in_the_disc(slide):
    """Independent oracle: every pixel of the saved mask, one by one."""
    folder, _ = slide
    truth = pd.read_parquet(folder / "truth.parquet").set_index("barcode")
    # Saved pixels are rounded; the unrounded lattice follows from the array's row and column.
    positions = read_v1(folder).set_index("barcode").loc[truth.index]
    x = (900 / 2 + (positions["array_col"] - 63.5) * 50) / 0.5
    y = (900 / 2 + (positions["array_row"] - 38.5) * 50 * np.sqrt(3)) / 0.5
    assert np.abs(x - positions["pxl_col_in_fullres"]).max() <= 0.5
    rows, columns = np.mgrid[:1800, :1800]
    some = list(truth.index[truth["CAP_percent"] > 0][:4]) + list(truth.index[:2])
    for tissue in ("CAP", "PT"):
        mask = cv2.imread(str(folder / f"masks/{tissue}.png"), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) <= {0, 255}
        for barcode in some:
            disc = (columns - x[barcode]) ** 2 + (rows - y[barcode]) ** 2 <= 55.0**2
            assert truth.loc[barcode, f"{tissue}_percent"] == pytest.approx(100 * (mask[disc] > 0).mean(), abs=1e-9)


def test_truth_and_scores_cover_the_spots_in_tissue(slide):
    folder, summary = slide
    truth = pd.read_parquet(folder / "truth.parquet")
    scores = pd.read_csv(folder / "scores.csv")
    assert len(truth) == len(scores) == summary["spots_in_tissue"]
    assert list(scores.columns) == ["barcode", "CAP"] and list(scores["barcode"]) == list(truth["barcode"])
    assert scores["CAP"].between(0, 100).all() and (scores["CAP"] % 5 == 0).all()
    for kind in ("cell_share", "rna_share"):
        shares = truth[[f"{kind}:{t}" for t in CELL_TYPES]].dropna()
        assert np.allclose(shares.sum(axis=1), 1), f"{kind} sums to 1 in every spot with cells"
    cells = truth[[f"cells:{t}" for t in CELL_TYPES]].sum(axis=1)
    assert 7 < cells.mean() < 17, f"{cells.mean():.1f} cells a spot"


def test_pathologist_errs_but_not_wildly():
    percent = pd.DataFrame({"CAP_percent": np.r_[np.zeros(500), np.full(200, 2.0), np.linspace(5, 100, 300)]})
    settings = cohort.DEFAULTS["scores"]
    scores = cohort.score_spots(pd.Series(range(1000)), percent, settings, 3)["CAP"].to_numpy()
    assert 0 < (scores[:500] > 0).mean() < 0.05, "now and then a glomerulus is seen that isn't there"
    assert (scores[500:700] == 0).mean() > 0.5, "slivers are often missed"
    r = np.corrcoef(scores, percent["CAP_percent"])[0, 1]
    assert 0.85 < r < 0.995, f"r = {r:.3f}"


@pytest.mark.parametrize(
    ("layout", "name", "stated_um"),
    [
        ("v2", "tissue_positions.csv", 65),
        ("cytassist", "tissue_positions.csv", 70),
        ("parquet", "tissue_positions.parquet", 65),
    ],
)
def test_other_layouts_of_space_ranger(tmp_path, layout, name, stated_um):
    folder, _ = make(tmp_path / "S", layout=layout, rotation_degrees=1.5)
    path = folder / SPATIAL / name
    table = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    assert list(table.columns) == V1_COLUMNS
    whole = (table["pxl_row_in_fullres"] % 1 == 0).all()
    assert whole == (layout == "v2"), "only v2 of these writes whole pixels"
    factors = json.loads((folder / SPATIAL / "scalefactors_json.json").read_text())
    assert factors["spot_diameter_fullres"] * 0.5 == pytest.approx(stated_um)
    assert factors["fiducial_diameter_fullres"] * 0.5 == pytest.approx(105)
    first = table.sort_values(["array_row", "array_col"]).iloc[:2]
    tilt = np.diff(first["pxl_row_in_fullres"])[0] / np.diff(first["pxl_col_in_fullres"])[0]
    assert np.degrees(np.arctan(tilt)) == pytest.approx(1.5, abs=0.4)


def test_visium_image_may_be_another_than_the_slide(tmp_path):
    plain, _ = make(tmp_path / "A", layout="cytassist")
    moved, _ = make(tmp_path / "B", layout="cytassist", scale=2.0, x_px=30.0, y_px=-20.0)
    a, b = (pd.read_csv(f / SPATIAL / "tissue_positions.csv") for f in (plain, moved))
    assert np.allclose(2.0 * b["pxl_col_in_fullres"] + 30, a["pxl_col_in_fullres"])
    assert np.allclose(2.0 * b["pxl_row_in_fullres"] - 20, a["pxl_row_in_fullres"])
    factors = json.loads((moved / SPATIAL / "scalefactors_json.json").read_text())
    assert factors["spot_diameter_fullres"] == pytest.approx(70.0), "70 µm at 1 µm per pixel"
    assert (plain / "truth.parquet").read_bytes() == (moved / "truth.parquet").read_bytes()
    spot = b[b["in_tissue"] == 1].iloc[5]
    big, small = (cv2.imread(str(f / SPATIAL / "tissue_hires_image.png")) for f in (plain, moved))
    x, y = (int(spot[c] * factors["tissue_hires_scalef"]) for c in ("pxl_col_in_fullres", "pxl_row_in_fullres"))
    there = big[2 * y - 20 - 20 : 2 * y - 20 + 20, 2 * x + 30 - 20 : 2 * x + 30 + 20].mean(axis=(0, 1))
    here = small[y - 10 : y + 10, x - 10 : x + 10].mean(axis=(0, 1))
    assert np.abs(there - here).max() < 8, "the spot shows the same tissue in both images"


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    folder, _ = make(tmp_path / "first")
    again, _ = make(tmp_path / "again")
    other, _ = make(tmp_path / "other", seed=2)
    assert digests(again) == digests(folder)
    same = [name for name, digest in digests(other).items() if digests(folder)[name] == digest]
    assert set(same) <= {f"{SPATIAL}/scalefactors_json.json"}, f"another seed must change {same}"


def test_reference_fits_the_slides(slide, tmp_path):
    folder, _ = slide
    settings = SMALL | {"reference": {"cells_per_type": 20}}
    cohort.write_reference(tmp_path / "reference.h5ad", settings, 1)
    cohort.write_reference(tmp_path / "again.h5ad", settings, 1)
    assert (tmp_path / "reference.h5ad").read_bytes() == (tmp_path / "again.h5ad").read_bytes()
    reference = scanpy.read_h5ad(tmp_path / "reference.h5ad")
    counts = scanpy.read_10x_h5(folder / "outs/filtered_feature_bc_matrix.h5")
    assert list(reference.var_names) == list(counts.var_names)
    assert set(reference.obs["cell_type"]) == set(CELL_TYPES)
    assert len(reference) == 20 * 13


def test_unknown_settings_are_told_together():
    with pytest.raises(InputError) as error:
        cohort.complete({"visium": {"layuot": "v1", "scale": "2x"}, "image": {"quality": 3}, "slides": {}})
    assert "did you mean 'layout'" in str(error.value)
    assert "visium.scale is '2x'" in str(error.value)
    assert "image.quality" in str(error.value) and "'slides'" in str(error.value)


def test_unknown_layout_is_told_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"visium\.layout is 'v9'; the options are v1"):
        make(tmp_path / "S", layout="v9")
    assert not (tmp_path / "S").exists()


def test_defaults_are_not_changed_by_use():
    before = json.dumps(cohort.DEFAULTS)
    cohort.complete({"section": {"mpp": 0.25}})["section"]["mpp"] = 9
    assert json.dumps(cohort.DEFAULTS) == before
