"""The sample sheet: types, defaults, and one sentence for every mistake."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.settings import read_schema
from nephrospot.sheet import read_sheet, require_slides

SETTINGS = {"species": {"human": {}, "mouse": {}}}
HEADER = ["slide", "image", "visium", "scores", "species", "stain", "mpp", "group",
          "visium_scale", "visium_x_px", "visium_y_px", "exclude"]  # fmt: skip
HEADER_LINE = "\t".join(HEADER)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with the files that rows name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tiff").touch()
    (tmp_path / "s.csv").touch()
    (tmp_path / "outs").mkdir()
    return tmp_path


def line(**cells):
    row = {"slide": "B1", "image": "a.tiff", "species": "mouse", **cells}
    return "\t".join(str(row.get(name, "")) for name in HEADER)


def write(*lines, header=HEADER_LINE, end="\n", encoding="utf-8"):
    Path("slides.tsv").write_bytes(end.join([header, *lines, ""]).encode(encoding))
    return "slides.tsv"


def refuse(path, **kwargs):
    with pytest.raises(InputError) as caught:
        read_sheet(path, SETTINGS, **kwargs)
    return str(caught.value).splitlines()


def test_types_and_defaults():
    path = write(
        "# a comment between rows",
        line(),
        "",
        line(
            slide="B2",
            visium="outs",
            scores="s.csv",
            mpp="0.25",
            visium_scale="2",
            visium_x_px="-10.5",
            visium_y_px="0",
        ),
        line(slide="B3", image="gone.tiff", exclude="folded"),
    )
    sheet = read_sheet(path, SETTINGS)
    assert sheet.columns.tolist() == HEADER == list(read_schema("slides")["properties"])
    assert sheet["slide"].tolist() == ["B1", "B2", "B3"]
    assert np.isnan(sheet["mpp"][0]) and sheet["mpp"][1] == 0.25
    assert sheet.loc[0, ["visium_scale", "visium_x_px", "visium_y_px"]].tolist() == [1, 0, 0]
    assert sheet.loc[1, ["visium_scale", "visium_x_px", "visium_y_px"]].tolist() == [2, -10.5, 0]
    assert sheet.loc[0, ["visium", "scores", "stain", "group", "exclude"]].tolist() == [""] * 5
    assert sheet["exclude"][2] == "folded", "excluded rows stay, so that the report can list them"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_marks_and_trailing_blanks_are_tolerated(end, encoding):
    path = write(line(group="größer ") + "\t \t", line(slide="B2").rstrip("\t"), end=end, encoding=encoding)
    sheet = read_sheet(path, SETTINGS)
    assert sheet["group"].tolist() == ["größer", ""]


def test_optional_columns_may_be_left_out():
    sheet = read_sheet(write("B1\ta.tiff\tmouse", header="slide\timage\tspecies"), SETTINGS)
    assert sheet.columns.tolist() == HEADER and sheet["visium"][0] == ""


def test_the_shipped_sheet_is_the_demonstration(root):
    sheet = read_sheet(root / "config" / "slides.tsv", SETTINGS, generated=("demo",))
    assert sheet["slide"].tolist() == ["K1", "K2", "K3", "K4"]
    assert sheet["image"][0] == "demo/K1/slide.tiff" and set(sheet["stain"]) == {"H&E"}


def test_generated_files_need_not_exist_but_their_neighbours_do():
    row = {"visium": "demo/B1/outs", "scores": "demo/B1/scores.csv"}
    path = write(line(image="demo/B1/slide.tiff", **row), line(slide="B2", image="demo/../b.tiff"),
                 line(slide="B3", image="demolition/b.tiff"))  # fmt: skip
    sentences = refuse(path, generated=["demo"])
    assert len(sentences) == 2 and "row 2 (B2)" in sentences[0] and "row 3 (B3)" in sentences[1]


def test_jobs_need_not_look_for_files_again():
    assert read_sheet(write(line(image="gone.tiff")), SETTINGS, look_for_files=False)["image"][0] == "gone.tiff"


MISTAKES = [
    ({"slide": ""}, "slide is empty"),
    ({"slide": "../B1"}, "can't name a folder"),
    ({"slide": "B 1"}, "can't name a folder"),
    ({"slide": ".."}, "can't name a folder"),
    ({"slide": "B1."}, "can't name a folder"),
    ({"slide": "-B1"}, "can't name a folder"),
    ({"image": ""}, "image is empty"),
    ({"image": "b.tiff"}, "image 'b.tiff' doesn't exist"),
    ({"image": "~/b.tiff"}, "without ~"),
    ({"image": "outs"}, "is a folder"),
    ({"visium": "a.tiff"}, "is a file"),
    ({"visium": "out"}, "visium 'out' doesn't exist"),
    ({"scores": "t.csv", "visium": "outs"}, "scores 't.csv' doesn't exist"),
    ({"scores": "s.csv"}, "visium is empty"),
    ({"species": ""}, "species is empty"),
    ({"species": "mous"}, "did you mean 'mouse'"),
    ({"species": "rat"}, "human, mouse"),
    ({"mpp": "0,25"}, "write 0.25"),
    ({"mpp": "fine"}, "give a number"),
    ({"mpp": "0"}, "µm per pixel, such as 0.25"),
    ({"mpp": "-0.25"}, "µm per pixel, such as 0.25"),
    ({"mpp": "nan"}, "finite"),
    ({"mpp": "40"}, "not a magnification"),
    ({"visium_scale": "2", "visium": "outs"}, "visium_x_px, visium_y_px are empty"),
    ({"visium_x_px": "2", "visium_y_px": "3", "visium": "outs"}, "visium_scale is empty"),
    ({"visium_scale": "0", "visium_x_px": "0", "visium_y_px": "0", "visium": "outs"}, "visium_scale is 0"),
    ({"visium_scale": "1", "visium_x_px": "inf", "visium_y_px": "0", "visium": "outs"}, "finite"),
    ({"visium_scale": "1", "visium_x_px": "0", "visium_y_px": "0"}, "visium is empty"),
    ({"group": '"a"'}, "take the quotes out"),
]


@pytest.mark.parametrize(("cells", "words"), MISTAKES, ids=[f"{m[0]}" for m in MISTAKES])
def test_a_mistake_is_one_sentence_with_row_and_remedy(cells, words):
    sentences = refuse(write(line(slide="A1"), "# comment", line(**cells)))
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith("slides.tsv, row 2")
    assert words in sentences[0]


def test_all_rows_are_told_at_once():
    sentences = refuse(write(line(mpp="x"), line(slide="B2", species="x"), line(slide="B1"), line(slide="b2")))
    told = "\n".join(sentences)
    assert "row 1 (B1): mpp" in told and "row 2 (B2): species" in told
    assert "row 3 (B1): the name stands in row 1 too" in told
    assert "row 4 (b2): differs in case alone from row 2" in told


@pytest.mark.parametrize("sign", [",", ";", "|", " "])
def test_wrong_separators(sign):
    assert "tabs" in refuse(write(line().replace("\t", sign), header=sign.join(HEADER)))[0]
    assert "tab" in refuse(write(line().rstrip().replace("\t", sign)))[0]


def test_unknown_missing_and_doubled_columns():
    sentences = refuse(write("", header="slide\timg\tspecies\tvisum\tvisum"))
    told = "\n".join(sentences)
    assert "no column 'visum'; did you mean 'visium'" in told
    assert "column 'image' is missing" in told
    assert "'visum' stands there twice" in told


def test_too_many_cells():
    assert "cells under" in refuse(write(line() + "\tmore"))[0]


@pytest.mark.parametrize("content", [b"", b"\n# only a comment\n"])
def test_empty_file(content, folder):
    (folder / "slides.tsv").write_bytes(content)
    assert "empty" in refuse("slides.tsv")[0]


def test_no_row_all_excluded_no_file_no_text():
    assert "no slide" in refuse(write())[0]
    assert "every slide is excluded" in refuse(write(line(exclude="torn")))[0]
    assert "no such sheet" in refuse("other.tsv")[0]
    assert "folder" in refuse("outs")[0]
    path = write(line(group="µ"), encoding="latin-1")
    assert "line 2" in refuse(path)[0] and "UTF-8" in refuse(path)[0]


def test_slides_that_a_key_names_must_be_in_the_sheet():
    sheet = pd.DataFrame({"slide": ["K1", "K2", "K3"], "exclude": ["", "", "torn"]})
    require_slides(["K1", "K2"], sheet, "evaluation.validation")
    with pytest.raises(InputError) as caught:
        require_slides(["K1", "K22", "K3"], sheet, "evaluation.validation")
    unknown, excluded = str(caught.value).splitlines()
    assert unknown.startswith("config, evaluation.validation: 'K22' isn't in the sheet; did you mean 'K2'")
    assert excluded.startswith("config, evaluation.validation: K3 is excluded in the sheet")
