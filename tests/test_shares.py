"""Shares of mRNA, and what becomes of them as shares of cells or of area."""

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.shares import check_factors, convert_shares, list_factors, proportions_table

TISSUES = {"PT": ["x"], "ALL": ["x", "y"]}


def make_spots(*statuses):
    barcodes = [f"s{i}" for i in range(len(statuses))]
    numbers = {"n_umi": 900.0, "n_genes": 300.0, "mt_percent": 1.0, "edge": False}
    return pd.DataFrame({"barcode": barcodes, **numbers, "status": statuses})


def test_proportions_keep_every_spot():
    spots = make_spots("used", "fewer than 500 UMI", "used", "used")
    weights = pd.DataFrame({"y": [0.2, np.nan, 0.0], "x": [0.6, np.nan, -1e-9]}, index=["s0", "s2", "s3"])
    table = proportions_table(weights, spots, TISSUES, "rctd")
    head = ["barcode", "deconvolution", "n_umi", "n_genes", "mt_percent", "edge", "status", "weight_sum"]
    assert list(table) == [*head, "type:x", "type:y", "tissue:PT", "tissue:ALL"]
    assert list(table["barcode"]) == ["s0", "s1", "s2", "s3"] and set(table["deconvolution"]) == {"rctd"}
    assert table["weight_sum"][0] == pytest.approx(0.8), "How much of the spot was explained is kept."
    assert table["tissue:PT"][0] == pytest.approx(0.75) and table["tissue:ALL"][0] == pytest.approx(1)
    assert table.loc[1:, "type:x":].isna().all(axis=None)
    assert list(table["status"][:2]) == ["used", "fewer than 500 UMI"]
    assert table["status"][2:].str.startswith("left out by rctd").all(), "No spot without a number calls itself used."


@pytest.fixture
def proportions():
    """Half and half, one type alone, and a spot without shares; below them the baseline's."""
    weights = pd.DataFrame({"x": [1.0, 0.0, np.nan], "y": [1.0, 3.0, np.nan]}, index=["s0", "s1", "s2"])
    spots = make_spots("used", "used", "fewer than 500 UMI")
    return pd.concat([proportions_table(weights, spots, TISSUES, name) for name in ("rctd", "nnls")])


def test_cells_with_twice_the_mrna_are_half_as_many(proportions):
    factors = list_factors({"x": 2000.0, "y": 1000.0}, {}, {})
    cells = convert_shares(proportions, factors["rctd_cells"], TISSUES, "rctd_cells")
    assert list(cells["barcode"]) == ["s0", "s1", "s2"] and set(cells["deconvolution"]) == {"rctd_cells"}
    assert cells["type:x"].tolist()[:2] == [pytest.approx(1 / 3), 0], "Of equal mRNA one in three cells is an x."
    assert cells["tissue:PT"].tolist()[:2] == [pytest.approx(1 / 3), 0]
    assert np.allclose(cells["tissue:ALL"][:2], 1), "Shares add up to 1 again."
    assert cells.loc[2].filter(regex="^t(ype|issue):").isna().all() and cells["status"][2] == "fewer than 500 UMI"
    assert list(cells) == list(proportions)


def test_area_in_proportion_to_mrna_gives_the_share_of_mrna_back(proportions):
    umi = {"x": 2000.0, "y": 1000.0}
    factors = list_factors(umi, {}, {"x": 80.0, "y": 40.0})
    area = convert_shares(proportions, factors["rctd_area"], TISSUES, "rctd_area")
    own = proportions[proportions["deconvolution"] == "rctd"]
    assert np.allclose(area["tissue:PT"], own["tissue:PT"], equal_nan=True)
    factors = list_factors(umi, {}, {"x": 40.0, "y": 40.0})
    ratios = {name: own["x"] / own["y"] for name, own in factors.items()}
    assert ratios["rctd_area"] == ratios["rctd_cells"], "Cells of one size: area is as many cells."


def test_umi_of_the_configuration_go_before_the_references():
    factors = list_factors({"x": 2000.0, "y": 1000.0}, {"x": 500.0}, {})
    assert factors == {"rctd_cells": {"x": 1 / 500, "y": 1 / 1000}}, "No area was given, so there is none."


def test_factors_that_do_not_go_with_the_reference_are_refused():
    with pytest.raises(InputError) as caught:
        check_factors(["PT-S1", "Podo"], {"PT_S1": 5000}, {"Pdo": 90.0, "Podo": 80.0})
    told = str(caught.value).splitlines()
    assert len(told) == 3
    assert told[0].startswith("config, deconvolution.cell_umi: ") and "did you mean 'PT-S1'" in told[0]
    assert told[1].startswith("config, deconvolution.cell_area_um2: ") and "did you mean 'Podo'" in told[1]
    assert "PT-S1 have no area" in told[2]


def test_converted_shares_come_closer_to_the_cells(root):
    """R's weights of simulated spots, whose cells and mRNA are known."""
    with np.load(root / "tests/golden/rctd_sim_small.npz") as file:
        held = {name: file[name] for name in file.files}
    types, barcodes = list(held["types"]), [f"s{i}" for i in range(len(held["spots"]))]
    weights = pd.DataFrame(held["R_weights_full"], barcodes, types)
    table = proportions_table(weights, make_spots(*["used"] * len(barcodes)), {"PT": types[:3]}, "rctd")
    umi = pd.Series(held["ref_counts"].sum(axis=1)).groupby(held["ref_labels"]).mean().to_dict()
    cells = convert_shares(table, list_factors(umi, {}, {})["rctd_cells"], {"PT": types[:3]}, "rctd_cells")

    def error(shares, truth):
        own = shares[[f"type:{name}" for name in types]].to_numpy()
        return np.sqrt(np.mean((own - held[truth]) ** 2))

    assert error(cells, "truth_cell") < error(table, "truth_cell"), "Cells are nearer to the share of cells."
    assert error(table, "truth_umi") < error(cells, "truth_umi"), "RCTD's own number is nearer to the share of mRNA."
