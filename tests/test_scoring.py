"""The blinded kit: shuffled, balanced, some spots twice, and back again as scores of the right spots."""

import re

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.scores import read_readings, read_scores
from nephrospot.scoring import KEY_COLUMNS, choose_spots, draw_crop, import_sheet, write_kit
from nephrospot.slide import open_slide
from pictures import write_tiff


@pytest.fixture(scope="module")
def spots():
    found = {}
    for slide, n in (("K1", 90), ("K2", 60)):
        place = 100 + 10.0 * np.arange(n)
        table = pd.DataFrame({"barcode": [f"{slide}b{i}-1" for i in range(n)], "x_px": place, "y_px": place[::-1]})
        found[slide] = table.assign(positive=np.arange(n) % 5 == 0)
    return found


@pytest.fixture(scope="module")
def key(spots):
    return choose_spots(spots, 60, 0.3, 0.1, seed=2)


def test_spots_are_shuffled_balanced_and_some_come_twice(spots, key):
    assert list(key.columns) == KEY_COLUMNS and key["number"].tolist() == list(range(1, 67))
    table = pd.concat(own.assign(slide=slide) for slide, own in spots.items())
    positive = table.set_index(["slide", "barcode"])["positive"]
    once = key[key["reading"] == 1].set_index(["slide", "barcode"])
    assert once.index.is_unique and len(once) == 60 and positive[once.index].sum() == 18
    again = key[key["reading"] == 2].set_index(["slide", "barcode"])
    assert len(again) == 6 and again.index.isin(once.index).all()
    assert (again["number"] > once.loc[again.index, "number"]).all(), "the second look comes later"
    changes = (key["slide"] != key["slide"].shift()).sum()
    assert changes > 20, "slides are mixed"
    assert choose_spots(spots, 60, 0.3, 0.1, seed=2).equals(key)
    assert not choose_spots(spots, 60, 0.3, 0.1, seed=3)["barcode"].equals(key["barcode"])


def test_where_few_are_positive_others_fill_up(spots):
    few = {slide: own.assign(positive=own.index < 2) for slide, own in spots.items()}
    key = choose_spots(few, 50, 0.5, 0, seed=1)
    assert len(key) == 50
    with pytest.raises(InputError, match="500 spots are asked for and there are 150"):
        choose_spots(spots, 500, 0.3, 0.1, seed=1)


def test_a_crop_is_of_the_spot_with_its_ring(tmp_path):
    pixels = np.full((400, 500, 3), 120, np.uint8)
    pixels[195:206, 295:306] = (250, 0, 0)
    with open_slide(write_tiff(tmp_path / "s.tiff", pixels)) as slide:
        crop = draw_crop(slide, 0.5, 300, 200, 110, 55)
    assert crop.shape == (440, 440, 3)
    assert np.abs(crop[220, 220].astype(int) - (250, 0, 0)).max() < 10, "the spot is in the middle"
    assert np.abs(crop[220, 220 + 111].astype(int) - 255).max() < 60, "55 µm across at 0.25 µm per pixel"
    assert np.abs(crop[220, 220 + 90].astype(int) - 120).max() < 10


@pytest.fixture
def kit(tmp_path, key):
    rng = np.random.default_rng(0)
    write_kit(tmp_path, key, [rng.integers(0, 255, (40, 40, 3), np.uint8) for _ in range(len(key))], ["CAP"])
    return tmp_path


def test_nothing_that_the_reader_gets_tells_the_slide(kit, key):
    page = re.sub(r"base64,[^\"]*", "", (kit / "scoring.html").read_text())
    shown = (kit / "sheet.csv").read_text() + page
    assert "K1" not in shown and "K2" not in shown and not any(barcode in shown for barcode in key["barcode"])
    assert sorted(path.name for path in (kit / "crops").iterdir())[:2] == ["0001.jpg", "0002.jpg"]
    assert (kit / "scoring.html").read_text().count("<figure>") == len(key)


def fill(kit, change=lambda sheet: sheet):
    sheet = pd.read_csv(kit / "sheet.csv", dtype=str).fillna("")
    sheet["CAP"] = sheet["number"]
    sheet.loc[3, "CAP"] = ""
    change(sheet).to_csv(kit / "filled.csv", index=False)
    return kit / "filled.csv"


def test_a_filled_sheet_becomes_scores_of_the_right_spots(kit, key, tmp_path):
    scores = import_sheet(fill(kit), kit / "key.csv", ["CAP"], "JK")
    assert set(scores) == {"K1", "K2"} and sum(map(len, scores.values())) == len(key) - 1, "an empty cell isn't a score"
    for slide, table in scores.items():
        table.to_csv(tmp_path / f"{slide}.csv", index=False)
        barcodes = set(key["barcode"])
        readings = read_readings(tmp_path / f"{slide}.csv", ["CAP"], barcodes, slide)
        expected = key[(key["slide"] == slide) & (key["number"] != 4)]
        assert readings["CAP"].tolist() == expected["number"].tolist()
        assert set(readings["reader"]) == {"JK"} and set(readings["reading"]) <= {"1", "2"}
        assert not read_scores(tmp_path / f"{slide}.csv", ["CAP"], barcodes, slide)["barcode"].duplicated().any()


REFUSED = {
    "another kit": (lambda sheet: sheet.assign(kit="0000"), "the sheet is of kit 0000"),
    "a number of its own": (lambda sheet: sheet.replace({"number": {"5": "777"}}), "1 rows have numbers that aren't"),
    "twice": (lambda sheet: sheet.replace({"number": {"5": "6"}}), "number 6 stands there twice"),
    "no percent": (lambda sheet: sheet.replace({"CAP": {"5": "much"}}), "number 5: CAP is 'much'"),
    "too much": (lambda sheet: sheet.replace({"CAP": {"5": "500"}}), "give percent from 0 to 100"),
    "no column": (lambda sheet: sheet.drop(columns="CAP"), "no column 'CAP'"),
    "a column twice": (lambda sheet: sheet.rename(columns={"note": "CAP"}), "column 'CAP' stands there twice"),
    "nothing filled in": (lambda sheet: sheet.assign(CAP=""), "no spot is scored"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_in_the_sheet_is_told(kit, case):
    change, told = REFUSED[case]
    with pytest.raises(InputError, match=told):
        import_sheet(fill(kit, change), kit / "key.csv", ["CAP"], "JK")
    with pytest.raises(InputError, match="there is no key"):
        import_sheet(fill(kit), kit / "gone.csv", ["CAP"], "JK")
