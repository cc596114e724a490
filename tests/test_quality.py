"""Quality of spots: sums, limits, what each removes, and where the tissue ends."""

import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nephrospot.errors import InputError
from nephrospot.neighbours import find_edge
from nephrospot.quality import find_failing, judge_spots, sum_up_quality, summarise_spots
from visium_folder import make_positions

COLUMNS = ["barcode", "n_umi", "n_genes", "mt_percent"]
ROWS = [("a", 500, 250, 50.0), ("b", 499, 9, 90.0), ("c", 500, 249, 0.0), ("d", 600, 300, 50.1), ("z", 1, 1, 0.0)]


@pytest.fixture
def summary():
    return pd.DataFrame(ROWS, columns=COLUMNS)


def in_tissue(barcodes, edge=()):
    return pd.DataFrame({"barcode": list(barcodes), "edge": [barcode in edge for barcode in barcodes]})


def test_summary_equals_plain_sums():
    matrix = np.random.default_rng(0).poisson(3.0, (6, 5))
    counts = ad.AnnData(sparse.csr_matrix(matrix.astype(np.float32)))
    counts.obs_names, counts.var_names = [f"b{i}" for i in range(6)], ["a", "b", "mt-Co1", "c", "MT-Nd1"]
    table = summarise_spots(counts)
    assert list(table) == COLUMNS
    assert (table["n_umi"] == matrix.sum(axis=1)).all()
    assert (table["n_genes"] == (matrix > 0).sum(axis=1)).all()
    assert np.allclose(table["mt_percent"], 100 * matrix[:, [2, 4]].sum(axis=1) / matrix.sum(axis=1))


def test_spots_are_judged_by_the_first_limit_they_fail(summary):
    spots = judge_spots(summary, in_tissue("dabcea"))
    assert list(spots["barcode"]) == ["d", "a", "b", "c", "e"], "Spots on tissue in their order, each once, no others."
    assert list(spots["status"]) == [
        "more than 50 % mitochondrial",
        "used",
        "fewer than 500 UMI",
        "fewer than 250 genes",
        "not among the counts",
    ]
    with pytest.raises(InputError, match=re.escape("positions have AAA-1_1, counts have a")):
        judge_spots(summary, in_tissue(["AAA-1_1"]))


def test_edge_spots_go_only_when_asked_for(summary):
    spots = in_tissue("abc", edge="ab")
    kept, dropped = (judge_spots(summary, spots, drop_edge=drop) for drop in (False, True))
    assert list(kept["status"]) == ["used", "fewer than 500 UMI", "fewer than 250 genes"]
    assert list(dropped["status"]) == ["at the tissue's edge", "fewer than 500 UMI", "fewer than 250 genes"]
    assert list(kept["edge"]) == [True, True, False]


def test_what_each_limit_removes_adds_up(summary):
    limits = {"min_umi": 500, "min_genes": 250, "max_mt_percent": 50, "drop_edge": True}
    spots = judge_spots(summary, in_tissue("abcde", edge="abe"), **limits)
    facts = sum_up_quality(spots, **limits)
    parts = {part["limit"]: (part["n_failing"], part["n_removed"]) for part in facts["limits"]}
    assert parts == {
        "not among the counts": (1, 1),
        "fewer than 500 UMI": (1, 1),
        "fewer than 250 genes": (2, 1),
        "more than 50 % mitochondrial": (2, 1),
        "at the tissue's edge": (3, 1),
    }
    assert sum(part["n_removed"] for part in facts["limits"]) == (spots["status"] != "used").sum()
    assert facts["limits"][0]["share_removed"] == pytest.approx(0.2)
    assert (facts["median_umi"], facts["median_genes"], facts["n_edge"]) == (500, 249.5, 3), "of a, b, c, d"
    assert facts["median_mt_percent"] == pytest.approx(50.05)


def test_a_limit_is_named_with_its_value(summary):
    failing = find_failing(summary.assign(edge=False), min_umi=1000, min_genes=1, max_mt_percent=12.5)
    assert list(failing)[1:] == ["fewer than 1000 UMI", "fewer than 1 genes", "more than 12.5 % mitochondrial"]


def count_by_hand(spots):
    """Neighbours of each spot, by the offsets of Visium's array coordinates."""
    known = set(zip(spots["array_row"], spots["array_col"], strict=True))
    steps = [(0, 2), (0, -2), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    return np.array(
        [sum((r + dr, c + dc) in known for dr, dc in steps) for r, c in spots[["array_row", "array_col"]].values]
    )


@pytest.mark.parametrize("share", [1.0, 0.8, 0.1])
def test_the_edge_is_where_a_neighbour_is_lacking(share):
    """Also with holes, and with tissue in crumbs."""
    spots = make_positions(rows=14, columns=24)
    spots = spots[np.random.default_rng(1).random(len(spots)) < share].reset_index(drop=True)
    expected = count_by_hand(spots) < 6
    assert (find_edge(spots) == expected).all()
    if share == 1:
        assert 0 < expected.sum() < len(spots) / 2, "The border of a filled field, and nothing inside it."


def test_the_edge_of_next_to_nothing():
    spots = make_positions(rows=14, columns=24)
    assert find_edge(spots[:0]).shape == (0,)
    assert find_edge(spots[:1]).tolist() == [True]
