"""The pathologist's scores: read as written, or refused in a sentence."""

import numpy as np
import pytest

from nephrospot.errors import InputError
from nephrospot.scores import read_readings, read_scores

TISSUES = ["PT", "CAP", "TUFT"]
BARCODES = ["AAAC-1", "CCCA-1", "GGGT-1", "TTTG-1"]


def write(tmp_path, *lines, encoding="utf-8"):
    path = tmp_path / "scores.csv"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def read(tmp_path, *lines, **kwargs):
    return read_scores(write(tmp_path, *lines, **kwargs), TISSUES, BARCODES, "slide B1")


def refuse(tmp_path, *lines, **kwargs):
    with pytest.raises(InputError) as caught:
        read(tmp_path, *lines, **kwargs)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_and_empty_cells(tmp_path, sign, encoding):
    lines = ["note,CAP,barcode,PT,reader", '"fold, small",12.5,CCCA-1,,JK', ",0, AAAC-1 ,100,JK"]
    lines = [lines[0].replace(",", sign), f"fold{sign}12.5{sign}CCCA-1{sign}{sign}JK", lines[2].replace(",", sign)]
    table = read(tmp_path, *lines, encoding=encoding)
    assert table.columns.tolist() == ["barcode", "PT", "CAP"], "one reader needs no column, a note none at all"
    assert table["barcode"].tolist() == ["CCCA-1", "AAAC-1"], "the file's order stays"
    assert np.isnan(table["PT"][0]), "an empty cell is a spot not scored, not a zero"
    assert table["CAP"].tolist() == [12.5, 0] and table["PT"][1] == 100


MISTAKES = {
    "text": (["barcode,PT", "AAAC-1,much"], "AAAC-1: PT is 'much'"),
    "NA": (["barcode,PT", "AAAC-1,NA"], "leave the cell empty"),
    "percent sign": (["barcode,PT", "AAAC-1,25%"], "write 25 without"),
    "decimal comma": (["barcode;PT", "AAAC-1;12,5"], "12.5"),
    "decimal comma in commas": (["barcode,PT", "AAAC-1,12,5"], "decimals with a point"),
    "infinite": (["barcode,PT", "AAAC-1,inf"], "'inf'"),
    "hidden number": (["barcode,PT", "AAAC-1,1_0"], "'1_0'"),
    "negative": (["barcode,PT", "AAAC-1,-1"], "0 to 100"),
    "too much": (["barcode,PT", "AAAC-1,101"], "0 to 100"),
    "fractions": (["barcode,PT,CAP", "AAAC-1,0.5,0.2", "CCCA-1,1,0"], "multiply them by 100"),
    "double": (["barcode,PT", "AAAC-1,1", "AAAC-1,2"], "AAAC-1 is scored twice"),
    "no suffix": (["barcode,PT", "AAAC,10", "CCCA,20"], "write -1 behind each"),
    "other suffix": (["barcode,PT", "AAAC-2,10"], "suffix differs"),
    "other slide": (["barcode,PT", "ACAC-1,10", "ACCA-1,20"], "another slide"),
    "one unknown": (["barcode,PT", "AAAC-1,10", "ACCA-1,20"], "ACCA-1 is not on this slide"),
    "no barcode": (["barcode,PT", ",10"], "no barcode"),
    "no barcode column": (["Barcodes,PT", "AAAC-1,10"], "perhaps 'Barcodes'"),
    "unknown tissue": (["barcode,PTT", "AAAC-1,10"], "did you mean 'PT'"),
    "wrong case": (["barcode,cap", "AAAC-1,10"], "did you mean 'CAP'"),
    "doubled column": (["barcode,PT,PT", "AAAC-1,10,11"], "twice"),
    "no tissue": (["barcode,note", "AAAC-1,nice"], "no column of a tissue"),
    "no row": (["barcode,PT"], "no spot"),
    "empty": ([""], "empty"),
    "short row": (["barcode,PT,CAP", "AAAC-1,10"], "2 cells under 3 columns"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_with_file_and_remedy(tmp_path, case):
    lines, words = MISTAKES[case]
    sentences = refuse(tmp_path, *lines)
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith("slide B1, scores.csv")
    assert words in sentences[0]


def test_all_mistakes_at_once_and_long_lists_are_cut(tmp_path):
    rows = [f"NNN{k}-1,x,200" for k in range(9)]
    told = "\n".join(refuse(tmp_path, "barcode,PT,CAP", *rows))
    assert "9 barcodes such as NNN0-1" in told and "(and 8 more)" in told and "0 to 100" in told
    assert len(told.splitlines()) <= 6


def test_few_low_scores_are_no_fractions(tmp_path):
    assert read(tmp_path, "barcode,PT", "AAAC-1,1", "CCCA-1,0", "GGGT-1,0")["PT"].tolist() == [1, 0, 0]


def test_missing_file_and_wrong_encoding(tmp_path):
    with pytest.raises(InputError, match="column scores"):
        read_scores(tmp_path / "none.csv", TISSUES, BARCODES, "slide B1")
    assert "UTF-8" in refuse(tmp_path, "barcode,PT,note", "AAAC-1,1,größer", encoding="latin-1")[0]


def test_readers_are_averaged_each_over_their_readings(tmp_path):
    lines = ["barcode,reader,reading,CAP", "AAAC-1,JK,1,10", "AAAC-1,JK,2,20", "AAAC-1,LM,,35", "CCCA-1,LM,,5"]
    assert read(tmp_path, *lines).to_numpy().tolist() == [["AAAC-1", 25.0], ["CCCA-1", 5.0]]
    long = read_readings(write(tmp_path, *lines), TISSUES, BARCODES, "slide B1")
    assert long[["reader", "reading"]].to_numpy().tolist() == [["JK", "1"], ["JK", "2"], ["LM", "1"], ["LM", "1"]]
    (told,) = refuse(tmp_path, "barcode,reader,CAP", "AAAC-1,JK,1", "AAAC-1,JK,2")
    assert "AAAC-1 is scored twice" in told and "column reading" in told
