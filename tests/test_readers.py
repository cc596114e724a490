"""Readers: the ICC of the textbook, ceilings, a bias that r doesn't see, and one reader who is asked for more."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from nephrospot.readers import ADVICE, COLUMNS, agreement_icc, bin_scores, measure_readers
from spots_by_hand import hexagons


def test_the_icc_of_shrout_and_fleiss():
    """Six targets, four judges (Shrout & Fleiss 1979, table 2); ICC(2,1), which is ICC(A,1), is .29 in table 4."""
    values = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert agreement_icc([values]) == pytest.approx(0.2898, abs=5e-5)


def test_absolute_agreement_sees_a_bias():
    first = np.linspace(0, 80, 40)
    assert agreement_icc([np.column_stack([first, first])]) == 1
    assert agreement_icc([np.column_stack([first, first + 20])]) < 0.8
    assert np.isnan(agreement_icc([np.zeros((5, 2))]))


def test_bins_keep_0_apart():
    assert bin_scores(np.array([0, 0.5, 25, 26, 50, 75, 75.1, 100])).tolist() == [0, 1, 1, 2, 2, 3, 4, 4]


@pytest.fixture(scope="module")
def cohort():
    readings, places = {}, {}
    for seed, slide in enumerate(("K1", "K2")):
        rng = np.random.default_rng(seed)
        place = hexagons(16, 16)
        barcode = [f"b{number}" for number in range(len(place))]
        truth = np.where(rng.random(256) < 0.4, rng.uniform(5, 90, 256), 0)
        tables = []
        for reader, reading, bias, error in (("A", "1", 0, 3), ("A", "2", 0, 3), ("B", "1", 8, 6)):
            score = np.clip(truth + (truth > 0) * (bias + rng.normal(0, error, 256)), 0, 100)
            table = pd.DataFrame({"barcode": barcode, "reader": reader, "reading": reading, "CAP": score})
            tables.append(table[: 120 if reading == "2" else 256])
        readings[slide] = pd.concat(tables, ignore_index=True)
        places[slide] = pd.DataFrame({"barcode": barcode, "x_um": place[:, 0], "y_um": place[:, 1]})
    return readings, places


@pytest.fixture(scope="module")
def table(cohort):
    return measure_readers(*cohort, seed=1, replicates=200)


def test_readers_are_compared_with_each_other_and_with_themselves(table):
    assert list(table.columns) == COLUMNS
    assert table[["kind", "who", "n"]].to_numpy().tolist() == [["between", "A and B", 512], ["within", "A", 240]]
    assert (table["lo"] < table["icc"]).all() and (table["icc"] < table["hi"]).all()
    between, within = (table.set_index("kind").loc[kind] for kind in ("between", "within"))
    assert within["icc"] > between["icc"] and between["ceiling"] == pytest.approx(np.sqrt(between["icc"]))


def test_bias_and_limits_are_bland_and_altmans(cohort, table):
    both = pd.concat([own.assign(slide=slide) for slide, own in cohort[0].items()]).query("reading == '1'")
    wide = both.pivot(index=["slide", "barcode"], columns="reader", values="CAP")
    difference = wide["B"] - wide["A"]
    row = table.set_index("kind").loc["between"]
    assert row["mean_difference_pp"] == pytest.approx(difference.mean()) and row["mean_difference_pp"] > 2
    assert row["limit_hi_pp"] - row["limit_lo_pp"] == pytest.approx(2 * 1.96 * difference.std())
    bins = [bin_scores(wide[reader].to_numpy()) for reader in "AB"]
    assert row["kappa"] == pytest.approx(cohen_kappa_score(*bins, weights="quadratic"))


def test_one_reader_is_asked_for_more(cohort):
    readings, places = cohort
    once = {slide: own.query("reader == 'A' and reading == '1'") for slide, own in readings.items()}
    (row,) = measure_readers(once, places, seed=1).to_dict("records")
    assert row["reason"] == ADVICE and np.isnan(row["icc"])


def test_a_third_reader_adds_pairs_and_all_together(cohort):
    readings, places = cohort
    more = {
        slide: pd.concat(
            [own, own.query("reader == 'B'").assign(reader="C", CAP=lambda table: table["CAP"].clip(upper=60))]
        )
        for slide, own in readings.items()
    }
    table = measure_readers(more, places, seed=1, replicates=100)
    assert table.query("kind == 'between'")["who"].tolist() == ["A and B", "A and C", "B and C", "A and B and C"]
    assert table.loc[table["who"] == "A and B and C", "kappa"].isna().all()


def test_few_spots_say_so(cohort):
    readings, places = cohort
    few = {"K1": readings["K1"].groupby(["reader", "reading"]).head(12)}
    table = measure_readers(few, places, seed=1)
    assert table["reason"].str.startswith("only 12 spots that both saw").all() and table["icc"].isna().all()


def test_no_scores_no_rows():
    assert measure_readers({}, {}, seed=1).empty


def test_slides_are_asked_for_once_and_their_order_is_no_information(cohort, table):
    """A cohort's tables aren't held together: each is turned into numbers before the next is read."""
    readings, places = cohort
    asked = []

    class Watched(dict):
        def __getitem__(self, slide):
            asked.append(slide)
            return super().__getitem__(slide).sample(frac=1, random_state=1).sort_values("reading", kind="stable")

    found = measure_readers(Watched({slide: readings[slide] for slide in ("K2", "K1")}), places, seed=1, replicates=200)
    assert asked == ["K2", "K1"]
    pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_readers_who_saw_different_spots_are_compared_where_both_did():
    """Slides without one of the readers, without a score, or read once add nothing; others what is complete."""
    place, rng = hexagons(10, 10), np.random.default_rng(2)
    barcodes = np.array([f"b{number:02}" for number in rng.permutation(100)])
    where = pd.DataFrame({"barcode": barcodes, "x_um": place[:, 0], "y_um": place[:, 1]})

    def read(reader, reading, spots):
        values = {"CAP": rng.uniform(0, 90, len(spots)), "PT": np.where(spots % 3, 50.0, np.nan), "VES": np.nan}
        return pd.DataFrame({"barcode": barcodes[spots], "reader": reader, "reading": reading, **values})

    a, b, c = read("A", "1", np.arange(80)), read("B", "1", np.arange(30, 100)), read("B", "2", np.arange(40, 65))
    readings = {"K1": pd.concat([a, b, c]), "K2": a.assign(PT=1.0), "K3": b.drop(columns="CAP")[:1]}
    found = measure_readers(readings, {"K1": where, "K2": where}, seed=1, replicates=50)
    assert found["tissue"].tolist() == ["CAP", "CAP", "PT", "PT", "VES"]
    assert found["n"].tolist() == [50, 25, 33, 17, 0] and found["n_slides"].tolist() == [1, 1, 1, 1, 0]
    scores = a.merge(b, on="barcode").sort_values("barcode")[["CAP_x", "CAP_y"]].to_numpy()
    assert found["icc"][0] == pytest.approx(agreement_icc([scores]), abs=1e-12)
