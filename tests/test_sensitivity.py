"""Other shares beside RCTD's: each correlated under its own name, over its own spots."""

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.sensitivity import COLUMNS, ITSELF, list_shares, measure_sensitivity

CELL_TYPES = {"PT": ["a"]}
NO_FACTORS = {"cell_umi": {}, "cell_area_um2": {}}
UMI = {"umi_per_cell": {"a": 4000.0, "b": 1000.0}}


def make_slide(seed, n=60):
    """Spots of a method, proportions of two deconvolutions and of a second reference."""
    rng = np.random.default_rng(seed)
    barcode = [f"{seed}-{i}" for i in range(n)]
    truth = rng.uniform(0.05, 0.95, n)
    spots = pd.DataFrame({"barcode": barcode, "x_px": 0.0, "y_px": 0.0, "reason": "", "PT_percent": 100 * truth})

    def shares(name, noise):
        own = np.clip(truth + rng.normal(0, noise, n), 0.01, 0.99)
        table = pd.DataFrame({"barcode": barcode, "deconvolution": name, "status": "used", "type:a": own})
        table = table.assign(**{"type:b": 1 - own, "tissue:PT": own})
        table.loc[3, ["status", "type:a", "type:b", "tissue:PT"]] = ["fewer than 500 UMI", *[np.nan] * 3]
        return table

    first = pd.concat([shares("rctd", 0.05), shares("nnls", 0.2)], ignore_index=True)
    return spots, first, shares("rctd", 0.1)


@pytest.fixture
def slides():
    return {name: make_slide(seed) for seed, name in enumerate(("K1", "K2"), start=1)}


def measure(slides, factors=NO_FACTORS, with_second=True):
    shares = {
        slide: list_shares(first, UMI, factors, CELL_TYPES, second if with_second else None)
        for slide, (_, first, second) in slides.items()
    }
    spots = {(slide, "net"): own for slide, (own, *_) in slides.items()}
    return shares, measure_sensitivity(shares, spots, ["PT"], ["net"])


def pick(table, reference, method="net", level="pooled"):
    found = table.query("reference == @reference and method == @method and level == @level")
    assert len(found) == 1
    return found.iloc[0]


def test_every_share_has_the_r_of_plain_numbers(slides):
    factors = {"cell_umi": {}, "cell_area_um2": {"a": 90.0, "b": 30.0}}
    _, table = measure(slides, factors)
    assert list(table) == COLUMNS
    assert set(table["reference"]) == {"rctd", "rctd_cells", "rctd_area", "nnls", "rctd_second"}
    mrna = np.concatenate([first.loc[:59, "type:a"] for _, first, _ in slides.values()])
    x = np.concatenate([spots["PT_percent"] for spots, *_ in slides.values()])
    known = np.isfinite(mrna)
    by_hand = {
        "rctd": mrna,
        "rctd_cells": (mrna / 4000) / (mrna / 4000 + (1 - mrna) / 1000),
        "rctd_area": (mrna * 90 / 4000) / (mrna * 90 / 4000 + (1 - mrna) * 30 / 1000),
        "rctd_second": np.concatenate([second["type:a"] for *_, second in slides.values()]),
    }
    for reference, values in by_hand.items():
        row = pick(table, reference)
        assert row["n"] == 118 and row["n_slides"] == 2
        assert row["r"] == pytest.approx(np.corrcoef(x[known], values[known])[0, 1], abs=1e-12), reference
    assert pick(table, "rctd")["dropped"] == "2 fewer than 500 UMI"


def test_the_shares_are_held_against_one_another(slides):
    _, table = measure(slides)
    row = pick(table, "rctd_second", ITSELF, "slide:K1")
    _, first, second = slides["K1"]
    pair = np.column_stack([first.loc[:59, "type:a"], second["type:a"]])
    assert row["r"] == pytest.approx(np.corrcoef(pair[np.isfinite(pair).all(axis=1)].T)[0, 1], abs=1e-12)
    own = table[table["method"] == ITSELF]
    assert set(own["reference"]) == {"rctd_cells", "nnls", "rctd_second"}, "The first share with itself says nothing."


def test_without_areas_and_second_reference_there_are_three(slides):
    shares, table = measure(slides, with_second=False)
    assert list(dict.fromkeys(shares["K1"]["deconvolution"])) == ["rctd", "nnls", "rctd_cells"]
    assert set(table["reference"]) == {"rctd", "rctd_cells", "nnls"}


def test_the_baseline_alone_is_held_against_nothing(slides):
    alone = {k: (spots, first[first["deconvolution"] == "nnls"], None) for k, (spots, first, _) in slides.items()}
    _, table = measure(alone, with_second=False)
    assert set(table["reference"]) == {"nnls"} and set(table["method"]) == {"net"}


def test_a_method_without_the_tissue_has_its_reason(slides):
    for spots, *_ in slides.values():
        del spots["PT_percent"]
    _, table = measure(slides)
    row = pick(table, "rctd_cells")
    assert np.isnan(row["r"]) and "net doesn't segment PT" in row["reason"]


def test_wrong_factors_are_refused(slides):
    with pytest.raises(InputError, match="b have no area"):
        measure(slides, {"cell_umi": {}, "cell_area_um2": {"a": 90.0}})
