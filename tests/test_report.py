import hashlib
import html
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from nephrospot.correlate import correlate
from nephrospot.join import join_spots
from nephrospot.pairs import gather_pairs
from nephrospot.report.page import write_report
from nephrospot.report.worst import crop_path
from nephrospot.sensitivity import ITSELF
from nephrospot.table2 import make_table2
from nephrospot.worst import choose_worst
from report_inputs import COMPARISONS, PUBLISHED, Page, make_inputs, save_noise, text_of

HEADINGS = ["The answer", "The slides", "What the network saw", "Spots against the pathologist",
            "Spots against the transcripts", "How sure", "What was refused or left out, and why",
            "How it was made", "Words"]  # fmt: skip


@pytest.fixture
def inputs(root, tmp_path):
    return make_inputs(root, tmp_path)


@pytest.fixture
def page(inputs, tmp_path):
    write_report(tmp_path / "report.html", **inputs)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_sections_stand_in_reading_order(page):
    parsed = Page(page)
    assert [heading.strip() for heading in parsed.headings] == HEADINGS, "the answer comes first, the glossary last"
    assert not parsed.open, f"tags left open: {parsed.open}"
    assert len(parsed.ids) == len(set(parsed.ids)), "an id stands twice"


def test_page_needs_nothing_from_outside(page):
    parsed = Page(page)
    outside = [a for a in parsed.addresses if not a.startswith(("data:", "#"))]
    assert not outside, f"the page would load {outside[:3]}"
    assert "@import" not in page and not re.search(r"url\((?!%23)", page), "the style would load something"
    missing = {a[1:] for a in parsed.addresses if a.startswith("#")} - set(parsed.ids)
    assert not missing, f"links within the page lead nowhere: {missing}"


def test_markup_in_names_stays_text(page):
    assert page.count("<script") == 1, "a name became a script"
    assert "&lt;script&gt;alert(" in page, "the slide's name should be there, escaped"
    assert "<b>note</b>" not in page and "<i>tissue</i>" not in page, "notes and reasons are text"
    assert "script>alert" not in re.sub(r"&lt;/?script&gt;", "", page), "nor may a figure carry it as markup"


def test_every_published_method_has_a_row_and_nan_a_footnote(page):
    words = text_of(page)
    for method in ("TAL again", "Med3D"):
        assert method in words, f"{method} has no row"
    assert "75.25" in words and "91.73" in words and "−5.16" in words, "published values stand in their own column"
    assert "Published: nothing was predicted in any spot" in words, "the paper's nan has its reason"
    assert "Prediction constant (0 in 76 spots)" in words, "our own NaN has its reason, with n"
    assert re.search(r"–<sup><a href=\"#note-\w\">", page), "and the cell points to it"


def test_every_value_of_table2_carries_its_n(page, inputs):
    body = page[page.index('class="table2"') : page.index('class="notes"')]
    cell = r'"num ours[^"]*"><a href="#scatter-[\w-]+">([^<]+)</a>(?:<sup>†</sup>)?'
    cell += r"<small>([^<]+)</small><small>n = ([\d,]+)</small>"
    shown = re.findall(cell, body)
    table = inputs["table2"]
    for pair in ("PT rctd", "CAP pathologist"):
        value, lo, hi, n = table.loc[0, [f"{pair}: {name}" for name in ("r_x100", "lo_x100", "hi_x100", "n")]]
        wanted = (f"{value:.2f}", f"{lo:.1f} to {hi:.1f}", f"{n}")
        assert lo < value < hi and wanted in shown, f"{wanted} aren't shown together"


def test_every_value_leads_to_its_scatter_and_from_there_to_the_worst_spots(inputs, tmp_path):
    tables = [
        join_spots(slide, method, table, COMPARISONS, inputs["scores"][slide], inputs["proportions"][slide])
        for (slide, method), table in inputs["spots"].items()
    ]
    methods = list(inputs["settings"]["methods"])
    cohort = gather_pairs(tables, COMPARISONS, methods, place=("x_px", "y_px"))
    inputs["worst"], inputs["worst_folder"] = choose_worst(cohort, methods), str(tmp_path / "worst")
    for row in inputs["worst"].itertuples():
        path = Path(crop_path(inputs["worst_folder"], row))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (row.rank, 0, 0)).save(path)
    write_report(tmp_path / "r.html", **inputs)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    targets = [address[1:] for address in page.addresses if address.startswith("#scatter-")]
    assert len(targets) == 4 - 1 and set(targets) <= set(page.ids), "one method has no value for CAP"
    part = text[text.index('id="scatter-CAP-pathologist-omni-seg"') :]
    part = part[: part.index("</details>")]
    worst = inputs["worst"].query("method == 'omni-seg' and tissue == 'CAP'").sort_values("rank")
    assert len(worst) == 20 and part.count("<figure><img") == 20
    first = worst.iloc[0]
    told = f"{first['barcode']}, mask {first['predicted']:.0f} %, pathologist {first['observed']:.0f} %"
    assert html.escape(told, quote=False) in part
    pairs = pd.concat(tables)
    off = (pairs["predicted"] - pairs["observed"]).abs()
    mine = (pairs["method"] == "omni-seg") & (pairs["tissue"] == "CAP") & (pairs["dropped"] == "")
    assert abs(first["off"]) == pytest.approx(off[mine].max())


def test_how_sure_names_both_questions(page, inputs):
    words = text_of(page[page.index('id="certainty"') : page.index('id="refused"')])
    assert "can't be told apart" in words or "better" in words or "has no correlation here" in words
    assert "In new animals" in words and "On these slides" in words
    assert "AUROC" in words and "worth (n_eff)" in words
    row = inputs["correlations"].query("level == 'pooled' and method == 'omni-seg' and tissue == 'CAP'").iloc[0]
    assert f"{row['lo']:.3f} to {row['hi']:.3f}" in words


def test_the_answer_names_the_highest_and_says_simulated(page, inputs):
    table = inputs["table2"]
    words = text_of(page[: page.index('class="table2"')])
    assert "These values come from simulated data." in words, "the answer itself says so too"
    best = table.loc[0, "CAP pathologist: r_x100"]
    assert f"r × 100 = {best:.2f} (95 % interval" in words, "the sentence gives the value and its interval"
    assert "All 2 slides of this report are simulated" in words, "the banner tells that nothing is real"
    assert "trained on simulated images" in words, "and that the weights aren't the published ones"


def test_no_banner_for_real_slides(inputs, tmp_path):
    for manifest in inputs["manifests"].values():
        manifest["group"] = "2024 cohort"
    inputs["weights"]["omni-seg"]["card"] = {"data": "Nephrolab patches"}
    write_report(tmp_path / "r.html", **inputs)
    assert 'class="banner"' not in (tmp_path / "r.html").read_text(encoding="utf-8"), "real data is called simulated"


def test_simulated_weights_on_real_slides(inputs, tmp_path):
    for manifest in inputs["manifests"].values():
        manifest["group"] = ""
    write_report(tmp_path / "r.html", **inputs)
    words = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Simulated weights." in words, "the banner says what is simulated"
    assert "come from simulated data" not in words, "the spots are real"


def test_what_was_left_out_is_told(page):
    refused = text_of(page[page.index('id="refused"') : page.index('id="made"')])
    assert "K9" in refused and "folded <i>tissue</i>" in refused, "the excluded slide, with its reason"
    assert "didn't read PTC on K1: read at 40×" in refused, "the tissue, with its reason"
    assert "2 fewer than 500 UMI" in refused, "spots without a share are counted"
    assert "2 not scored" in refused and "2 the disc is cut" in refused, "and the others"


def test_the_spots_quality_is_told(page):
    words = text_of(page[page.index('id="transcripts"') : page.index('id="certainty"')])
    assert "4,321 1,234 9.9 22 (55.0 %) 1 (2.5 %) 0 39 (97.5 %)" in words, "medians, edge, limit, fit, used"


def test_every_share_stands_under_its_own_name(inputs, tmp_path):
    rows = [
        ("PT", "rctd", "omni-seg", "pooled", 76, 0.7104),
        ("PT", "rctd_cells", "omni-seg", "pooled", 75, 0.61),
        ("PT", "rctd_cells", ITSELF, "pooled", 78, 0.95),
        ("PT", "rctd_cells", "omni-seg", "slide:K1", 38, 0.1),
    ]
    inputs["sensitivity"] = pd.DataFrame(rows, columns=["tissue", "reference", "method", "level", "n", "r"])
    inputs["second_notes"] = {"K1": inputs["notes"]["K1"] | {"sigma": 0.21, "sigma_at_floor": True}}
    write_report(tmp_path / "r.html", **inputs)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    words = text_of(page[page.index("Does it hang on what is compared") : page.index('id="certainty"')])
    assert "tissue method share of mRNA, RCTD share of cells, converted PT Omni" in words
    assert "71.04 (n = 76) 61.00 (n = 75)" in words
    assert "(share of mRNA, RCTD) – 95.00 (n = 78)" in words, "the shares against one another"
    assert "K1 (second reference)" in words and "0.21 (the least it can find)" in words


def test_how_it_was_made(page):
    made = text_of(page[page.index('id="made"') :])
    assert "ab" * 32 in made, "the weights' SHA-256"
    assert "scale_code: 10" in made and "torch 2.13.0" in made, "configuration and versions"


def test_masks_of_other_weights_are_noticed(inputs, tmp_path, page):
    assert "other weights" not in page, "nothing says that the weights differ"
    inputs["predictions"]["K1", "omni-seg"]["weights_sha256"] = "cd" * 32
    write_report(tmp_path / "r.html", **inputs)
    words = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert f"the masks of K1 were made with other weights (SHA-256 {'cd' * 32})" in words, "stale masks go unnoticed"


def test_same_inputs_give_the_same_bytes(inputs, tmp_path):
    digests = set()
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, **inputs)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1, "the page depends on something besides its inputs"


def test_time_is_printed_only_where_given(inputs, tmp_path, page):
    write_report(tmp_path / "r.html", **inputs, made_at="2026-11-21 09:00")
    assert "2026-11-21 09:00" in (tmp_path / "r.html").read_text(encoding="utf-8") and "Made 2" not in page


def test_nnls_alone_needs_no_check_with_itself(inputs, tmp_path):
    """A cohort whose transcripts were deconvolved by NNLS only; the page once ended in a traceback."""
    inputs["settings"] = inputs["settings"] | {"comparisons": [{"tissue": "PT", "reference": "nnls"}]}
    write_report(tmp_path / "r.html", **inputs)
    assert "simpler deconvolution" not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_slide_that_could_not_be_used_is_on_the_first_screen(inputs, tmp_path):
    inputs["correlations"] = inputs["correlations"].assign(left_out="K7")
    write_report(tmp_path / "r.html", **inputs, refused={"K7": ["slide K7: it is <b>torn</b>."]})
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    banner = text_of(page[: page.index('id="answer"')])
    assert "This page leaves out K7, and Table II is without K7: section 7 says why." in banner
    refused = text_of(page[page.index('id="refused"') : page.index('id="made"')])
    assert "K7 , refused: It is <b>torn</b>." in refused


def test_page_survives_a_cohort_with_nothing_to_compare(inputs, tmp_path):
    inputs |= {"spots": {}, "scores": {}, "proportions": {}, "overlays": {}, "notes": {}, "predictions": {}}
    inputs["correlations"] = correlate(
        gather_pairs([], COMPARISONS, []), list(inputs["settings"]["methods"]), moran=False
    )
    inputs["table2"] = make_table2(inputs["correlations"], inputs["settings"]["methods"], PUBLISHED)
    write_report(tmp_path / "r.html", **inputs)
    words = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "no method has a value for CAP" in words and "No pictures were drawn" in words, "emptiness is told"


def test_page_stays_below_ten_megabytes_for_twenty_slides(inputs, tmp_path):
    save_noise(tmp_path / "large.jpg", 800)
    first = next(iter(inputs["spots"]))
    many = pd.concat([inputs["spots"][first]] * 12, ignore_index=True)
    many["barcode"] = [f"T{i}" for i in range(len(many))]
    score = pd.DataFrame({"barcode": many["barcode"], "CAP": many["CAP_percent"].round()})
    slides = [f"S{i}" for i in range(20)]
    inputs["manifests"] = {slide: {**inputs["manifests"]["K1"], "slide": slide, "notes": []} for slide in slides}
    inputs["spots"] = {(slide, "omni-seg"): many for slide in slides}
    inputs["scores"] = dict.fromkeys(slides, score)
    inputs["proportions"] = inputs["notes"] = {}
    inputs["overlays"] = {}
    for slide in slides:
        inputs["overlays"][slide, "omni-seg"] = dict.fromkeys(("overview", "regions"), tmp_path / "large.jpg")
    write_report(tmp_path / "r.html", **inputs)
    size = (tmp_path / "r.html").stat().st_size
    assert size < 10_000_000, f"{size} bytes are too many to mail"
