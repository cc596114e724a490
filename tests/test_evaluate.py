"""Masks against the truth: brute force, no dependence on blocks, and the KPIs paper's point."""

import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from label_files import discs, source_of, write_labels
from nephrospot.evaluate import (
    COLUMNS,
    COUNTS,
    LONG_COLUMNS,
    POOLED_COLUMNS,
    compare_masks,
    count_pixels,
    evaluate_slide,
    pool_evaluations,
    write_evaluation,
)
from nephrospot.instances import regrid


def add_names(frame, slide, method="m", use="test"):
    return frame.assign(slide=slide, method=method, use=use)


def one_row(folder, predicted, truth, mpp=1.0, **options):
    """`evaluate_slide` of one tissue, as a Series."""
    paths = [write_labels(folder / name, {"CAP": mask}, mpp) for name, mask in (("p", predicted), ("t", truth))]
    return evaluate_slide(*paths, ["CAP"], {}, **options).iloc[0]


@st.composite
def two_masks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
    return [rng.random(shape) < draw(st.sampled_from([0, 0.1, 0.6, 1])) for _ in range(2)]


@settings(max_examples=80, deadline=None)
@given(
    masks=two_masks(),
    mpp=st.sampled_from([0.5, 1.0, 0.7261]),
    patch_um=st.sampled_from([3.0, 10.0, 512.0]),
    block_px=st.integers(3, 60),
)
def test_pixels_agree_with_brute_force_whatever_the_blocks(masks, mpp, patch_um, block_px):
    predicted, truth = masks
    slide, patches = count_pixels(source_of(predicted, mpp), source_of(truth, mpp), patch_um, block_px)
    assert slide.tolist() == [(predicted & truth).sum(), (predicted & ~truth).sum(), (~predicted & truth).sum()]
    expected = {}
    for i, j in np.ndindex(*truth.shape):
        counts = expected.setdefault((int((i + 0.5) * mpp / patch_um), int((j + 0.5) * mpp / patch_um)), [0, 0, 0])
        counts[0] += predicted[i, j] & truth[i, j]
        counts[1] += predicted[i, j] & ~truth[i, j]
        counts[2] += ~predicted[i, j] & truth[i, j]
    assert patches.tolist() == [counts for _, counts in sorted(expected.items())], "each pixel in its centre's patch"


@settings(max_examples=25, deadline=None)
@given(masks=two_masks(), block_px=st.integers(7, 60))
def test_no_figure_knows_the_blocks(masks, block_px):
    sources = [source_of(mask) for mask in masks]
    whole, parts = (compare_masks(*sources, 2.0, patch_um=10, block_px=side) for side in (4096, block_px))
    pd.testing.assert_series_equal(pd.Series(parts), pd.Series(whole))


def test_a_perfect_method_scores_one_in_everything(tmp_path):
    # Large enough for kpis-task2: 100 µm discs.
    truth = discs((150, 300), [(70, 70), (70, 200)], 25)
    row = one_row(tmp_path, truth, truth, mpp=2.0)
    ones = ["dice", "patch_dice", "ours_f1", "ours_precision", "ours_recall", "ours_mean_iou"]
    ones += ["kpis_task2_dice", "kpis_task2_f1", "kpis_task2_mean_iou"]
    assert (row[ones] == 1).all(), row[ones]
    assert (row["ours_tp"], row["kpis_task2_tp"], row["fp_px"], row["fn_px"]) == (2, 2, 0, 0)
    assert row["reason"] == "" and row["truth_mpp"] == 2.0
    assert row["tp_px"] == truth.sum()


def test_the_columns_are_there_with_their_types(tmp_path):
    masks = write_labels(tmp_path / "p", {"CAP": np.ones((9, 9))})
    frame = evaluate_slide(masks, masks, ["CAP", "TUFT"], {})
    assert list(frame) == COLUMNS
    assert (frame[COUNTS].dtypes == "Int64").all(), "counts stay whole numbers even where some are lacking"
    frame.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), frame)


def test_a_method_at_another_resolution_is_read_under_the_truth_s_pixel_centres(tmp_path):
    coarse = discs((50, 60), [(25, 30)], 12)
    truth = discs((201, 241), [(101, 121)], 45)  # the grids end a pixel apart
    paths = write_labels(tmp_path / "p", {"CAP": coarse}, 2.0), write_labels(tmp_path / "t", {"CAP": truth}, 0.5)
    row = evaluate_slide(*paths, ["CAP"], {}).iloc[0]
    i, j = (np.minimum(((np.arange(n) + 0.5) * 0.5 / 2).astype(int), m - 1) for n, m in ((201, 50), (241, 60)))
    expected = coarse[np.ix_(i, j)]
    counts = [(expected & truth).sum(), (expected & ~truth).sum(), (~expected & truth).sum()]
    assert row[["tp_px", "fp_px", "fn_px"]].tolist() == counts
    shape, _, read = regrid(source_of(coarse, 2.0), truth.shape, 0.5)
    assert shape == truth.shape and np.array_equal(read(slice(0, 201), slice(0, 241)), expected)


@pytest.mark.parametrize(
    ("predicted", "truth", "dice", "recall", "reason"),
    [
        (0, 0, np.nan, np.nan, "truth and prediction are empty"),
        (1, 0, 0, np.nan, "the truth is empty"),
        (0, 1, 0, 0, "the prediction has no object of the smallest size"),
    ],
)
def test_empty_masks_are_undefined_with_a_reason_or_zero(tmp_path, predicted, truth, dice, recall, reason):
    masks = [np.full((40, 40), value) for value in (predicted, truth)]
    row = one_row(tmp_path, *masks)
    assert row["dice"] == pytest.approx(dice, nan_ok=True)
    assert row["ours_recall"] == pytest.approx(recall, nan_ok=True)
    assert row["ours_f1"] == pytest.approx(dice, nan_ok=True), "no object anywhere is undefined, on one side zero"
    assert row["reason"] == reason
    # The challenge's own rules are others.
    assert row["kpis_task2_dice"] == (0 if truth else 1), "the false object is below 20 000 px"
    assert row["kpis_task2_f1"] == 0


def test_a_tissue_without_a_mask_has_a_row_with_the_reason(tmp_path):
    one = np.ones((9, 9))
    paths = [write_labels(tmp_path / name, {tissue: one}) for name, tissue in (("p", "CAP"), ("t", "TUFT"))]
    frame = evaluate_slide(*paths, ["CAP", "TUFT"], {})
    assert frame["reason"].str.startswith(("the truth has no mask of CAP", "the method has no mask of TUFT")).all()
    assert frame["dice"].isna().all() and frame["tp_px"].isna().all()


def test_a_truth_with_fewer_lines_is_held_against_the_parts_together(tmp_path):
    truth, coarse = np.zeros((8, 8), bool), np.zeros((4, 4), bool)
    truth[:4], coarse[0] = True, True
    fine = np.zeros((8, 8), bool)
    fine[2:4], fine[7] = True, True
    expected = write_labels(tmp_path / "t", {"TUBULE": truth})
    found = write_labels(tmp_path / "p", {"PT": fine})
    add = write_labels(tmp_path / "q", {"DT": coarse}, 2.0)
    shutil.copytree(add / "labels/DT", found / "labels/DT")
    zarr.open_group(found)["labels"].attrs["ome"] = {"version": "0.5", "labels": ["PT", "DT"]}
    options = {"unions": {"TUBULE": ["PT", "DT"]}}
    row = evaluate_slide(found, expected, ["TUBULE"], {}, **options).iloc[0]
    assert (row["tp_px"], row["fp_px"], row["fn_px"]) == (32, 8, 0)
    alone = evaluate_slide(write_labels(tmp_path / "o", {"PT": fine}), expected, ["TUBULE"], {}, **options).iloc[0]
    assert alone["reason"] == "the method has no mask of DT: it wasn't read"
    own = evaluate_slide(expected, expected, ["TUBULE"], {}, **options).iloc[0]
    assert own["dice"] == 1, "a mask of the tissue itself goes before its parts"


def test_patches_without_truth_are_counted_and_not_scored(tmp_path):
    truth, predicted = np.zeros((2, 40, 40), bool)
    truth[:10, :10] = True
    predicted[:10, :5] = True  # half of the only patch with truth
    predicted[30:35, 30:35] = True  # made up, in a patch of its own
    row = one_row(tmp_path, predicted, truth, patch_um=10)
    assert row["patch_dice"] == pytest.approx(2 * 50 / 150)
    assert (row["n_patches"], row["n_patches_false"]) == (1, 1)
    assert row["dice"] == pytest.approx(2 * 50 / (100 + 75)), "the slide sees what the patches don't"


def test_small_objects_count_by_their_area_in_micrometres(tmp_path):
    truth = discs((100, 100), [(30, 30)], 10) | discs((100, 100), [(80, 80)], 3)
    path = write_labels(tmp_path / "t", {"CAP": truth}, 0.5)
    small_um2 = float(discs((100, 100), [(80, 80)], 3).sum() * 0.25)
    for limit, n in ((small_um2, 2), (small_um2 + 0.1, 1)):
        row = evaluate_slide(path, path, ["CAP"], {"CAP": limit}).iloc[0]
        assert (row["ours_n_truth"], row["ours_n_predicted"], row["ours_tp"]) == (n, n, n)
        assert row["ours_min_area_um2"] == limit


def test_a_slide_too_large_for_contours_keeps_its_other_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("nephrospot.kpis.MAX_PX", 100)
    row = one_row(tmp_path, np.ones((40, 40)), np.ones((40, 40)))
    assert row["dice"] == 1 and row["ours_f1"] == 1
    assert np.isnan(row["kpis_task2_f1"]) and "kpis-task2 holds a whole mask" in row["reason"]


def test_better_in_patches_can_be_far_worse_on_the_slide(tmp_path):
    """KPIs 2024: patch Dice 94.28 and slide F1 35.01 for one model, 93.23 and 86.81 for another."""
    shape, mpp = (512, 512), 4.0  # 2 mm, patches of 128 px
    places = [(40, 30), (90, 90), (40, 158), (90, 220), (40, 290), (90, 350), (40, 420), (90, 475)]
    truth = discs(shape, places, 20)
    false = [(row, column) for row in range(160, 500, 60) for column in range(30, 500, 90)]
    first = discs(shape, places, 19.5) | discs(shape, false, 11)  # fine outlines, and many small things elsewhere
    second = discs(shape, places, 18.5) | discs(shape, false[:1], 11)
    rows = [one_row(tmp_path / name, mask, truth, mpp) for name, mask in (("1", first), ("2", second))]
    first, second = rows
    assert first["patch_dice"] > second["patch_dice"] > 0.9, "in patches with truth the first model is the better one"
    for convention in ("ours", "kpis_task2"):
        assert first[f"{convention}_f1"] < 0.4, f"{convention}: the slide's objects are mostly false"
        assert second[f"{convention}_f1"] > 0.85
        assert first[f"{convention}_recall"] == 1
    assert first["dice"] < second["dice"] < 1
    assert first["n_patches"] == second["n_patches"] == 4
    assert first["n_patches_false"] > 8 > second["n_patches_false"] == 1


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_pooled_counts_are_those_of_one_large_slide(data):
    pairs = [data.draw(two_masks()) for _ in range(data.draw(st.integers(1, 3)))]
    rows = [compare_masks(source_of(p), source_of(t), patch_um=1000) for p, t in pairs]
    frames = [add_names(pd.DataFrame([{"tissue": "CAP"} | row]), f"K{n}") for n, row in enumerate(rows)]
    pooled = pool_evaluations(frames).iloc[0]
    tp, fp, fn = (sum(row[name] for row in rows) for name in ("tp_px", "fp_px", "fn_px"))
    dice = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan
    assert pooled["dice"] == pytest.approx(dice, nan_ok=True)
    each = [row["dice"] for row in rows if row["dice"] == row["dice"]]
    assert pooled["dice_mean"] == pytest.approx(np.mean(each) if each else np.nan, nan_ok=True)
    assert pooled["n_undefined"] == len(rows) - len(each)
    # One patch a slide here: their mean is that of the slides with truth.
    marked = [row["dice"] for row in rows if row["tp_px"] + row["fn_px"]]
    assert pooled["patch_dice"] == pytest.approx(np.mean(marked) if marked else np.nan, nan_ok=True)
    found, true = (sum(row[f"ours_n_{side}"] for row in rows) for side in ("predicted", "truth"))
    tp = sum(row["ours_tp"] for row in rows)
    assert pooled["ours_f1"] == pytest.approx(2 * tp / (found + true) if found + true else np.nan, nan_ok=True)
    assert pooled["kpis_task2_f1"] == pytest.approx(np.mean([row["kpis_task2_f1"] for row in rows]))


def test_areas_are_pooled_not_pixels(tmp_path):
    half, full = np.zeros((20, 20)), np.ones((20, 20))
    half[:10] = 1
    frames = []
    for slide, mpp, predicted in (("fine", 0.5, half), ("coarse", 2.0, full)):
        paths = [write_labels(tmp_path / slide / n, {"CAP": m}, mpp) for n, m in (("p", predicted), ("t", full))]
        frames.append(add_names(evaluate_slide(*paths, ["CAP", "TUFT"], {}), slide))
    pooled = pool_evaluations(frames)
    assert list(pooled) == POOLED_COLUMNS and len(pooled) == 2
    fine, coarse = 100.0, 1600.0  # µm²
    tp, fn = fine / 2 + coarse, fine / 2
    assert pooled["dice"][0] == pytest.approx(2 * tp / (2 * tp + fn))
    assert pooled["slides"][0] == "fine, coarse"
    assert pooled.loc[1, ["n_slides", "n_undefined", "ours_n_truth"]].tolist() == [2, 2, 0], "TUFT has no mask at all"
    assert np.isnan(pooled["dice"][1])


def test_methods_and_validation_slides_are_kept_apart(tmp_path):
    path = write_labels(tmp_path / "t", {"CAP": np.ones((20, 20))})
    frame = evaluate_slide(path, path, ["CAP"], {})
    named = [("K1", "a", "validation"), ("K2", "a", "test"), ("K3", "a", "test"), ("K2", "b", "test")]
    pooled = pool_evaluations(add_names(frame, *names) for names in named)
    assert pooled[["method", "use", "slides"]].to_numpy().tolist() == [
        ["a", "validation", "K1"],
        ["a", "test", "K2, K3"],
        ["b", "test", "K2"],
    ]


def test_both_tables_are_written(tmp_path):
    path = write_labels(tmp_path / "t", {"CAP": np.ones((20, 20))})
    frame = evaluate_slide(path, path, ["CAP", "TUFT"], {})
    frames = [frame.assign(slide=slide, method="m") for slide in ("K1", "K2")]
    write_evaluation(frames, ["K2"], tmp_path / "evaluation.parquet", tmp_path / "evaluation.tsv")
    long = pd.read_parquet(tmp_path / "evaluation.parquet")
    assert list(long) == LONG_COLUMNS and len(long) == 4
    assert long["use"].tolist() == ["test", "test", "validation", "validation"]
    pooled = pd.read_csv(tmp_path / "evaluation.tsv", sep="\t")
    assert list(pooled) == POOLED_COLUMNS
    assert pooled[["slides", "use"]].to_numpy().tolist() == [["K1", "test"]] * 2 + [["K2", "validation"]] * 2
    assert pooled["dice"].tolist()[::2] == [1, 1] and pooled["dice"].isna().sum() == 2
