"""The tables on masks: every number as a reader expects it, and a dash for what isn't known."""

import numpy as np
import pandas as pd

from nephrospot.evaluate import POOLED_COLUMNS
from nephrospot.objects import DTYPES
from nephrospot.report.segmentation import list_evaluation, list_objects


def test_a_row_for_each_method_tissue_and_use():
    row = dict.fromkeys(POOLED_COLUMNS, 0.5) | {"method": "a", "tissue": "CAP", "use": "test", "n_slides": 4}
    rows = [row | {"dice": 0.9342}, row | {"use": "validation", "n_slides": 1, "patch_dice": np.nan}]
    table = list_evaluation(pd.DataFrame(rows), {"a": "Method A"})
    assert [line[:5] for line in table["rows"]] == [
        ["Method A", "CAP", "4", "93.4", "50.0"],
        ["Method A", "CAP", "1 for validation", "50.0", "–"],
    ]
    assert all(len(line) == len(table["head"]) for line in table["rows"])


def test_without_a_truth_there_is_no_row():
    assert list_evaluation(None, {})["rows"] == []


def test_objects_are_counted_by_tissue():
    one = {"tissue": "CAP", "area_um2": 4000.0, "circularity": 0.8, "tuft_fraction": 0.7, "barcode": "A-1"}
    none = {"tissue": "VES", "area_um2": 900.0, "circularity": 0.5, "tuft_fraction": np.nan, "barcode": ""}
    objects = pd.DataFrame([one | {"spots_touched": 2}, one | {"area_um2": 6000.0, "barcode": "", "spots_touched": 1},
                            none | {"spots_touched": 0}])  # fmt: skip
    table = list_objects({("K1", "a"): objects}, {"a": "Method A"})
    assert table["rows"] == [
        ["K1", "Method A", "CAP", "2", "5,000", "0.80", "70", "1", "2"],
        ["K1", "Method A", "VES", "1", "900", "0.50", "–", "0", "0"],
    ]
    assert all(len(line) == len(table["head"]) for line in table["rows"])


def test_a_slide_without_objects_has_no_row():
    empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in DTYPES.items()})
    assert list_objects({("K1", "a"): empty}, {})["rows"] == []
