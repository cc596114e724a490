"""Table II: ours beside the published numbers."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from nephrospot.errors import InputError
from nephrospot.table2 import make_table2, read_published, render_table2, write_table2
from nephrospot.table2_latex import escape_latex, render_latex

METHODS = {
    "omniseg": {"label": "Omni-Seg (ours)", "published": "Omni-Seg", "ceiling": False},
    "truth": {"label": "True <masks> & more", "published": None, "ceiling": True},
    "tal": {"label": "TAL", "published": "TAL", "ceiling": False},
}


@pytest.fixture
def correlations():
    rows = [
        ("omniseg", "PT", "rctd", "pooled", 1874, 0.75254, ""),
        ("omniseg", "PT", "rctd", "within", 1874, 0.1, ""),
        ("omniseg", "CAP", "pathologist", "pooled", 1800, 0.9, ""),
        ("tal", "PT", "rctd", "pooled", 1874, -0.04, ""),
        ("tal", "CAP", "pathologist", "pooled", 1800, np.nan, "prediction constant (0 in 1,800 spots)"),
        ("truth", "PT", "rctd", "pooled", 1874, 0.97, ""),
        ("truth", "CAP", "pathologist", "pooled", 1800, 0.99, ""),
    ]
    return pd.DataFrame(rows, columns=["method", "tissue", "reference", "level", "n", "r", "reason"])


@pytest.fixture
def published(root):
    return read_published(root / "config" / "published.tsv")


def test_published_numbers(published):
    pt = published[published["tissue"] == "PT"].set_index("method")["r_x100"]
    cap = published[published["tissue"] == "CAP"].set_index("method")["r_x100"]
    assert pt.to_dict() == {
        "U-Nets": 71.05,
        "DeepLabV3s": 73.15,
        "Residual U-Nets": 74.04,
        "TAL": 4.18,
        "Med3D": -5.16,
        "Multi-class": 61.25,
        "Multi-kidney": 74.30,
        "Omni-Seg": 75.25,
    }
    assert cap.drop("TAL").tolist() == [89.30, 89.80, 35.42, 85.89, 87.39, 69.11, 91.73] and np.isnan(cap["TAL"])
    assert set(zip(published["tissue"], published["reference"], published["magnification"], strict=True)) == {
        ("PT", "rctd", "10"),
        ("CAP", "pathologist", "20"),
    }


def test_published_numbers_equal_the_paper(published, root):
    paper = root.parent / "shared" / "papers" / "omni-seg-journal.txt"
    if not paper.is_file():
        pytest.skip(f"the paper's text is not at {paper}")
    part = paper.read_text(encoding="utf-8").split("TABLE II\n")[1].split("TABLE III")[0]
    printed = re.findall(r"^(.+?)(?: \[\d+\]| \(Ours\))\t(\S+)\t(\S+)$", part, flags=re.MULTILINE)
    assert len(printed) == 8
    for method, pt, cap in printed:
        own = published[published["method"] == method].set_index("tissue")["r_x100"]
        assert (f"{own['PT']:.2f}", f"{own['CAP']:.2f}") == (pt, cap), f"{method} differs from the paper"


def test_slides_that_could_not_be_used_stand_in_every_form_of_the_table(correlations, published, tmp_path):
    whole = make_table2(correlations, METHODS, published)
    assert set(whole["left_out"]) == {""} and "ouldn't be used" not in render_table2(whole) + render_latex(whole)
    table = make_table2(correlations.assign(left_out="K_7"), METHODS, published)
    write_table2(table, tmp_path / "t.tsv", tmp_path / "t.html")
    assert set(pd.read_csv(tmp_path / "t.tsv", sep="\t")["left_out"]) == {"K_7"}
    assert "without K_7, which couldn't be used</caption>" in render_table2(table)
    assert r"Without K\_7, which couldn't be used." in render_latex(table)


def test_ours_and_published_side_by_side(correlations, published):
    table = make_table2(correlations, METHODS, published)
    ours = table.set_index("label").loc["Omni-Seg (ours)"]
    assert (
        ours["PT rctd: r_x100"] == 75.25 and ours["PT rctd: n"] == 1874 and ours["PT rctd: published_r_x100"] == 75.25
    )
    assert ours["CAP pathologist: published_r_x100"] == 91.73
    assert list(table["block"].unique()) == ["method", "ceiling", "published"], "Ceilings stand apart from methods."
    assert list(table["label"][:3]) == ["Omni-Seg (ours)", "TAL", "True <masks> & more"], (
        "Configured order in each block."
    )
    tal = table.set_index("label").loc["TAL"]
    assert np.isnan(tal["CAP pathologist: r_x100"]) and "constant" in tal["CAP pathologist: reason"]
    assert "nothing was predicted" in tal["CAP pathologist: published_reason"]


def test_every_published_method_is_a_row(correlations, published):
    table = make_table2(correlations, METHODS, published)
    shown = {*table["label"], *(settings["published"] for settings in METHODS.values())}
    assert set(published["method"]) <= shown
    rest = table[table["block"] == "published"]
    assert len(rest) == 6 and (rest["PT rctd: reason"] == "not run").all() and rest["PT rctd: r_x100"].isna().all()
    assert rest["PT rctd: published_r_x100"].notna().all()


def test_unknown_published_name(correlations, published):
    methods = {"omniseg": {"label": "x", "published": "OmniSeg", "ceiling": False}}
    with pytest.raises(InputError, match=r"Method omniseg: published 'OmniSeg'.*did you mean 'Omni-Seg'"):
        make_table2(correlations, methods, published)


def test_html_is_whole_and_escaped(correlations, published, tmp_path):
    table = make_table2(correlations, METHODS, published)
    html = render_table2(table, title='Table II <of "B&B">')
    assert "<masks>" not in html and "True &lt;masks&gt; &amp; more" in html
    tree = ElementTree.fromstring(html.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    rows = [["".join(cell.itertext()) for cell in row.iter("td")] for row in tree.iter("tr")]
    rows = {row[0]: row[1:] for row in rows if row}
    assert rows["Omni-Seg (ours)"] == ["75.25", "1,874", "75.25", "90.00", "1,800", "91.73"]
    assert rows["TAL"] == ["-4.00", "1,874", "4.18", "–a", "1,800", "–b"], "Absent values carry a footnote's letter."
    assert rows["U-Nets"] == ["not run", "", "71.05", "not run", "", "89.30"]
    assert rows["True <masks> & more"][2] == "", "No published value, no mark."
    notes = ["".join(note.itertext()) for note in tree.iter("p")]
    assert notes[0] == "a prediction constant (0 in 1,800 spots)" and notes[1].startswith("b the paper prints nan")


def test_tsv_reads_back(correlations, published, tmp_path):
    table = make_table2(correlations, METHODS, published)
    write_table2(table, tmp_path / "table2.tsv", tmp_path / "table2.html")
    back = pd.read_csv(tmp_path / "table2.tsv", sep="\t", keep_default_na=False, na_values=["nan"])
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert (tmp_path / "table2.html").read_text(encoding="utf-8") == render_table2(table)


def test_bad_published_table(tmp_path):
    head = "method\ttissue\treference\tmagnification\tr_x100\tsource\tnote\n"
    (tmp_path / "p.tsv").write_text("# why\n" + head + "A\tPT\trctd\t10\tabc\tx\t\n")
    with pytest.raises(InputError, match=r"p\.tsv: A, PT: r_x100 is 'abc'"):
        read_published(tmp_path / "p.tsv")
    (tmp_path / "p.tsv").write_text("method\ttissue\nA\tPT\n")
    with pytest.raises(InputError, match=r"no column reference, magnification, r_x100"):
        read_published(tmp_path / "p.tsv")


@pytest.fixture
def differences():
    rows = [
        ("omniseg", "tal", "PT", "rctd", True, True, 0.001, 0.4, 0.30),
        ("tal", "unet", "PT", "rctd", False, False, 0.5, 0.1, 0.5),
        ("omniseg", "unet", "PT", "rctd", True, False, 0.2, 0.4, 0.01),
    ]
    columns = ["method_a", "method_b", "tissue", "reference", "with_best", "separable", "p", "t_diff", "t_p"]
    return pd.DataFrame(rows, columns=columns)


def test_ties_stand_with_the_best_and_a_dagger_tells_of_new_animals(correlations, published, differences):
    unet = correlations.query("method == 'tal' and tissue == 'PT'").assign(method="unet", r=0.74)
    both = pd.concat([correlations, unet])
    both = both.assign(lo=both["r"] - 0.05, hi=both["r"] + 0.04)
    methods = METHODS | {"unet": {"label": "U-Nets & co", "published": "U-Nets", "ceiling": False}}
    table = make_table2(both, methods, published, differences).set_index("method")
    assert table.loc[["omniseg", "tal", "unet", "truth"], "PT rctd: standing"].tolist() == ["best", "below", "tie", ""]
    assert table.loc[["omniseg", "tal", "unet"], "PT rctd: animals"].tolist() == ["", "not shown", "differs"]
    assert (table["CAP pathologist: standing"] == "").all(), "nothing was compared there"
    assert table.loc["omniseg", ["PT rctd: lo_x100", "PT rctd: hi_x100"]].tolist() == [70.25, 79.25]
    page = render_table2(table.reset_index())
    assert "<b>75.25 <small>70.2 – 79.2</small></b>" in page
    assert page.count("<b>") == 2 and page.count("<sup>†</sup>") == 3, "two daggers and their explanation"
    assert "new animals" not in render_table2(make_table2(both, methods, published)), "no key without marks"


def test_latex_prints_what_the_table_says(correlations, published, differences):
    both = correlations.assign(lo=correlations["r"] - 0.05, hi=correlations["r"] + 0.04)
    text = render_latex(make_table2(both, METHODS, published, differences))
    assert r"Omni-Seg (ours) & \textbf{75.25} (70.2--79.2) & 1,874 & 75.25" in text
    assert r"TAL & $-$4.00\textsuperscript{\textdagger}" in text and r"True <masks> \& more" in text
    assert r"--\textsuperscript{a}" in text and r"\textsuperscript{a} prediction constant (0 in 1,800 spots)" in text
    assert text.count(r"\begin{") == text.count(r"\end{") and text.count("{") == text.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {6}, "every row has all its cells"


def test_latex_escapes_everything():
    assert escape_latex("a_b & 5 % {x} $1 #2 ~ ^ \\") == (
        r"a\_b \& 5 \% \{x\} \$1 \#2 \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
