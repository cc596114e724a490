"""Table III: the ablation beside what is published."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from nephrospot.table3 import PARTS, make_table3, read_published_table3, write_table3


@pytest.fixture
def published3(root):
    return read_published_table3(root / "config" / "published_table3.tsv")


@pytest.fixture
def correlations():
    rows = [
        ("full", "PT", "rctd", "pooled", 1874, 0.8012, ""),
        ("full", "CAP", "pathologist", "pooled", 1800, 0.91, ""),
        ("full", "PT", "rctd", "within", 1874, 0.1, ""),
        ("bare", "PT", "rctd", "pooled", 1874, 0.6, ""),
        ("bare", "CAP", "pathologist", "pooled", 1800, np.nan, "prediction constant (0 in 1,800 spots)"),
        ("odd", "PT", "rctd", "pooled", 1874, 0.7, ""),
    ]
    return pd.DataFrame(rows, columns=["method", "tissue", "reference", "level", "n", "r", "reason"])


ABLATION = {
    "odd": {"label": "Matching alone", "published": "MS"},
    "full": {"label": "Everything <on>", "published": "SC+MS+CR"},
    "bare": {"label": "Nothing", "published": "none"},
}


def test_published_ablation_equals_the_paper(published3, root):
    paper = root.parent / "shared" / "papers" / "omni-seg-journal.txt"
    if not paper.is_file():
        pytest.skip(f"the paper's text is not at {paper}")
    part = paper.read_text(encoding="utf-8").split("TABLE III\n")[1].split("*SC is")[0]
    lines = [line.split("\t") for line in part.splitlines() if re.search(r"\t\d+\.\d+\t\d+\.\d+$", line)]
    assert len(lines) == 6
    for *ticks, pt, cap in lines:
        name = "+".join(part for part, tick in zip(PARTS, ticks, strict=True) if tick) or "none"
        own = published3[published3["method"] == name].set_index("tissue")["r_x100"]
        assert (own["PT"], own["CAP"]) == (float(pt), float(cap)), name


def test_ablation_beside_print(correlations, published3, tmp_path):
    table = make_table3(correlations, ABLATION, published3)
    assert table["configuration"].tolist() == ["none", "CR", "MS+CR", "SC", "SC+CR", "SC+MS+CR", "MS"], "as printed"
    assert table[list(PARTS)].astype(int).agg("sum", axis=1).tolist() == [0, 1, 2, 1, 2, 3, 1]
    full = table.set_index("configuration").loc["SC+MS+CR"]
    assert full["PT rctd: r_x100"] == 80.12 and full["PT rctd: published_r_x100"] == 75.25 and full["method"] == "full"
    odd = table.set_index("configuration").loc["MS"]
    assert np.isnan(odd["PT rctd: published_r_x100"]) and odd["PT rctd: r_x100"] == 70
    write_table3(table, tmp_path / "t.tsv", tmp_path / "t.html")
    back = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert back["SC"].tolist() == [0, 0, 0, 1, 1, 1, 0] and np.isnan(back.loc[0, "CAP pathologist: r_x100"])
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    plain = page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    words = " ".join(ElementTree.fromstring(plain).itertext())
    assert (
        "prediction constant (0 in 1,800 spots)" in words and page.count("✓") == 10 and "Everything &lt;on&gt;" in page
    )


def test_table3_refusals(correlations, published3):
    for wrong in ("CR+SC", "SC+XY", ""):
        with pytest.raises(ValueError, match=r"Method a: published: .* is no ablation; join what is on"):
            make_table3(correlations, {"a": {"published": wrong}}, published3)
    with pytest.raises(ValueError, match="Methods a and b are both 'SC'"):
        make_table3(correlations, {"a": {"published": "SC"}, "b": {"published": "SC"}}, published3)
