"""The smallest size of an object, chosen where a truth is."""

import numpy as np
import pandas as pd
import pytest

from label_files import discs, write_labels
from nephrospot.choose import COLUMNS, choose_postprocessing, choose_sizes, write_postprocessing
from nephrospot.errors import InputError
from nephrospot.evaluate import evaluate_slide

SHAPE = (300, 300)
TRUE = [(50, 50), (50, 200), (200, 60), (220, 220)]
DUST = [(row, column) for row in (20, 120, 280) for column in range(20, 290, 40)]
SIZES = [0, 30, 100, 300, 1000, 3000]


def write_slide(folder, slide, dust_radius=4, methods=("m",), tissue="CAP"):
    """A truth of four discs of 30 px, and methods that see them and dust besides."""
    truth = discs(SHAPE, TRUE, 15)
    predicted = discs(SHAPE, TRUE, 14) | (discs(SHAPE, DUST, dust_radius) if dust_radius else False)
    for method in methods:
        write_labels(folder / slide / method / "masks.ome.zarr", {tissue: predicted}, 1.0)
    write_labels(folder / slide / "perfect/masks.ome.zarr", {tissue: truth}, 1.0)
    return [folder / slide / name / "masks.ome.zarr" for name in (methods[0], "perfect")]


def test_dust_is_dropped_and_glomeruli_are_kept(tmp_path):
    masks, truth = write_slide(tmp_path, "K1")
    table = choose_sizes([masks], [truth], "CAP", SIZES)
    assert list(table) == COLUMNS
    chosen = table[table["chosen"]].iloc[0]
    dust, glomerulus = discs(SHAPE, DUST[:1], 4).sum(), discs(SHAPE, TRUE[:1], 14).sum()
    assert 30 < dust < 100 < glomerulus < 1000, "what the sizes mean for these masks"
    assert (chosen["min_area_um2"], chosen["f1"]) == (100, 1), "of 100 and 300, which are as good, the smaller"
    assert table.loc[0, ["tp", "fp", "fn"]].tolist() == [4, len(DUST), 0]
    assert table["f1"].tolist()[-1] == 0 and table["recall"].tolist()[-1] == 0, "too large a size drops everything"


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_removing_the_objects_and_evaluating_again(tmp_path, size):
    paths = [write_slide(tmp_path, slide, radius) for slide, radius in (("K1", 4), ("K2", 7))]
    table = choose_sizes(*zip(*paths, strict=True), "CAP", SIZES, min_area_um2=40).set_index("min_area_um2")
    counts = np.zeros(3, int)
    for slide, radius in (("K1", 4), ("K2", 7)):
        kept = [
            discs(SHAPE, places, r)
            for places, r in ((TRUE, 14), (DUST, radius))
            if discs(SHAPE, places[1:2], r).sum() >= size
        ]
        path = write_labels(tmp_path / f"{slide}.{size}", {"CAP": np.any([np.zeros(SHAPE), *kept], axis=0)}, 1.0)
        row = evaluate_slide(path, tmp_path / slide / "perfect/masks.ome.zarr", ["CAP"], {"CAP": 40}).iloc[0]
        counts += row[["ours_tp", "ours_fp", "ours_fn"]].to_numpy(int)
    assert table.loc[size, ["tp", "fp", "fn"]].tolist() == counts.tolist()
    assert table.loc[size, "n_slides"] == 2


def test_without_objects_nothing_is_chosen(tmp_path):
    path = write_labels(tmp_path / "empty", {"CAP": np.zeros((20, 20))})
    table = choose_sizes([path], [path], "CAP", SIZES)
    assert not table["chosen"].any() and table["f1"].isna().all()


def test_where_nothing_is_found_nothing_is_chosen(tmp_path):
    for name, places in (("m", DUST), ("perfect", TRUE)):
        write_labels(tmp_path / "K1" / name / "masks.ome.zarr", {"CAP": discs(SHAPE, places, 6)})
    table, sentences = choose_postprocessing(tmp_path, "perfect", ["m"], ["K1"], ["CAP"], SIZES, {})
    assert (table["f1"] == 0).all() and not table["chosen"].any(), "an F1 of 0 recommends no size"
    assert "m, CAP: no true object is found whatever the size" in sentences[0]


def test_a_tissue_without_masks_is_told(tmp_path):
    masks, truth = write_slide(tmp_path, "K1")
    with pytest.raises(InputError, match=r"TUFT: no validation slide has masks .* evaluation.validation"):
        choose_sizes([masks], [truth], "TUFT", SIZES)


def test_every_method_gets_its_line_for_the_configuration(tmp_path):
    write_slide(tmp_path, "K1", methods=("dusty", "same"))
    write_slide(tmp_path, "K2", methods=("dusty", "same"))
    for slide in ("K1", "K2"):
        clean = write_labels(tmp_path / slide / "same/masks.ome.zarr", {"CAP": discs(SHAPE, TRUE, 14)}, 1.0)
        assert clean.is_dir()
    table, sentences = choose_postprocessing(
        tmp_path, "perfect", ["dusty", "same"], ["K1", "K2"], ["CAP", "TUFT"], SIZES, {}
    )
    assert table.groupby(["method", "tissue"])["chosen"].sum().tolist() == [1, 1]
    assert "dusty, CAP: write under postprocess: CAP: {min_area_um2: 100} (F1 1.000 instead of 0.276" in sentences[0]
    assert "dusty: TUFT: no validation slide" in sentences[1]
    assert "same, CAP: no size is better than 0 µm² (F1 1.000)." in sentences[2]
    assert sentences[-1].startswith("The sizes were chosen on K1, K2") and "report the other slides" in sentences[-1]
    write_postprocessing(tmp_path / "postprocessing.tsv", table, sentences)
    text = (tmp_path / "postprocessing.tsv").read_text(encoding="utf-8")
    assert text.startswith(f"# {sentences[0]}\n")
    again = pd.read_csv(tmp_path / "postprocessing.tsv", sep="\t", comment="#")
    assert list(again) == ["method", "tissue", *COLUMNS] and len(again) == 2 * len(SIZES)


def test_a_folder_without_any_mask_still_has_a_table(tmp_path):
    write_slide(tmp_path, "K1")
    table, sentences = choose_postprocessing(tmp_path, "perfect", ["m"], ["K1"], ["PTC"], SIZES, {})
    assert len(table) == 0 and "PTC" in sentences[0]
