"""The page about training: what it holds, that it says what is simulated, and that nothing of it is markup."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from nephrospot.cost import COLUMNS as COST_COLUMNS
from nephrospot.report.fractions import draw_fractions, make_fractions
from nephrospot.report.parameters import draw_parameters
from nephrospot.report.training_page import write_training_page
from nephrospot.table1 import LONG_COLUMNS, make_table1, read_published_table1, summarise, write_table1

EVIL = "Net <script>alert(1)</script> & co"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in their order, and collects tables and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids, self.rows, self.scripts = [], [], [], [], 0
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{tag} is closed out of order"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th") and self.rows:
            self.rows[-1][-1] += data


def measure(method, rng, share=1.0):
    """A table of six regions' patches."""
    rows = []
    for tissue in ("PT", "CAP"):
        for roi in range(6):
            for convention, metrics in (("ours", ("dice", "hd_um", "hd95_um", "msd_um")), ("omniseg", ("dice",))):
                for metric in metrics:
                    value = share * rng.uniform(0.6, 0.9) if metric == "dice" else rng.uniform(5, 50)
                    rows.append((method, tissue, f"{roi}", f"{roi}", convention, metric, value, value, "defined"))
    return pd.DataFrame(rows, columns=LONG_COLUMNS)


@pytest.fixture(scope="module")
def given(tmp_path_factory, root):
    folder, rng = tmp_path_factory.mktemp("page"), np.random.default_rng(0)
    parts = ["training", "validation", "test"]
    patches = [(t, str(roi), parts[roi % 3]) for t in ("PT", "CAP") for roi in range(9) for _ in range(2)]
    pd.DataFrame(patches, columns=["tissue", "roi", "split"]).to_parquet(folder / "patches.parquet")
    long = measure("net", rng)
    published = read_published_table1(root / "config/published_table1.tsv")
    table = make_table1(summarise(long, 0, 50), {"net": {"label": EVIL, "published": "Omni-Seg"}}, published)
    write_table1(long, table, folder / "t.parquet", folder / "table1.tsv", folder / "t.html")
    costs = [("net", "omni-seg", t, 4e6, 4e6, 256, macs, np.nan, "", 0) for t, macs in (("PT", 1e9), ("all", 3e9))]
    pd.DataFrame(costs, columns=COST_COLUMNS).to_csv(folder / "costs.tsv", sep="\t", index=False)
    for name, dices in (("net", [0.2, 0.7, 0.5]), ("net-50-percent", [0.3])):
        points = [{"loss": 1 / (1 + dice), "mean_dice": dice} for dice in dices]
        curve = {"network": "omni-seg", "best_epoch": 1 + int(np.argmax(dices)), "epochs": points}
        (folder / f"{name}.json").write_text(json.dumps(curve))
    rates = {"learning_rate": [0.001, 1e30], "validation_loss": [0.7, np.nan], "epoch": [2, 0]}
    rates |= {
        "validation_foreground_dice": [0.61, np.nan],
        "loss": [0.5, np.nan],
        "best": [True, False],
        "reason": ["", "the loss isn't a number any more"],
    }
    pd.DataFrame(rates).to_csv(folder / "rates.tsv", sep="\t", index=False)
    pair = {"r_x100": 51.2, "n": 90, "reason": "", "published_r_x100": 70.0, "published_reason": ""}
    rows = [{"SC": 0, "MS": 0, "CR": 0, "configuration": "none", "method": "a", "label": EVIL}
            | {f"PT rctd: {name}": value for name, value in pair.items()}]  # fmt: skip
    rows.append(rows[0] | {"SC": 1, "configuration": "SC", "PT rctd: r_x100": np.nan, "PT rctd: reason": "all alike"})
    pd.DataFrame(rows).to_csv(folder / "table3.tsv", sep="\t", index=False, na_rep="nan")
    both = pd.concat([long, measure("net-50-percent", rng, 0.5)])
    runs = {name: {"label": "Net", "share": share} for name, share in (("net", 1.0), ("net-50-percent", 0.5))}
    draw_fractions(make_fractions(summarise(both, 0, 50), runs), folder / "fig10.tsv", folder / "fig10.svg")
    (folder / "fig8.svg").write_text("<svg></svg>")
    draw_parameters(table, pd.read_csv(folder / "costs.tsv", sep="\t"), {"net": EVIL, "gone": "x"}, folder / "fig4.svg")
    return folder


def test_dice_is_drawn_against_parameters(given):
    """One dot at 4 million parameters, named, and nothing for a method without a Dice."""
    drawn = (given / "fig4.svg").read_text()
    assert "parameters (millions)" in drawn and "foreground Dice" in drawn
    assert drawn.count("alert(1)") == 1 and "<script>alert" not in drawn and ">x<" not in drawn


def write(folder, name, simulated=True, **changes):
    curves = {run: folder / f"{run}.json" for run in ("net", "net-50-percent")}
    inputs = {
        "labels": dict.fromkeys(curves, EVIL),
        "patches": folder / "patches.parquet",
        "table1": folder / "table1.tsv",
        "costs": folder / "costs.tsv",
        "curves": curves,
        "rates": {"net": folder / "rates.tsv"},
        "table3": folder / "table3.tsv",
        "fig4": folder / "fig4.svg",
        "fig10": folder / "fig10.svg",
        "fig8": folder / "fig8.svg",
        "data": "drawn <b>tissue</b>",
        "by": "roi",
    }
    write_training_page(folder / name, **(inputs | {"simulated": simulated} | changes))
    return (folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(given):
    return write(given, "a.html")


def test_it_is_sound_and_needs_no_network(text):
    page = Page(text)
    assert page.scripts == 1, "the page's own script and none from a label"
    assert EVIL not in text and "<b>tissue</b>" not in text
    assert all(address.startswith(("#", "data:")) for address in page.addresses), page.addresses
    assert {address[1:] for address in page.addresses if re.match("#.", address)} <= set(page.ids)
    assert '<meta name="viewport"' in text and len(text) < 2_000_000


def test_simulated_data_are_called_so_in_the_title_and_at_every_table_of_them(given, text):
    assert "simulated patches</h1>" in text and "<title>nephrospot: training on simulated patches" in text
    captions = re.findall(r"<(?:figcaption|caption)>(.*?)</", text)
    assert len(captions) == 15, captions
    assert [caption for caption in captions if "imulated" not in caption] == [
        "Networks as configured; counted, not timed, so no patches come into it"
    ]
    assert "imulated" not in write(given, "real.html", simulated=False, fig8="")


def test_figures_stand_with_their_intervals_and_counts(given, text):
    table = pd.read_csv(given / "table1.tsv", sep="\t").query("block == 'method'")
    dice = table.query("tissue == 'PT' and convention == 'ours' and metric == 'dice'").iloc[0]
    rows = [row for row in Page(text).rows if row and row[0] == EVIL and len(row) == 12 and row[1]]
    expected = [f"{100 * dice['mean']:.1f}", f"{100 * dice['lo']:.1f} – {100 * dice['hi']:.1f}"]
    assert rows[0][1].split("\n") == expected and rows[0][5] == "6 / 0 / 0"
    assert rows[0][7] != "" and rows[0][6] != rows[0][7], "the published convention, this run beside print"


def test_patches_rates_costs_and_the_ablation_are_told(text):
    rows = Page(text).rows
    assert ["PT", "6 (3)", "6 (3)", "6 (3)"] in rows
    assert [EVIL, "0.001", "0.700", "61.0", "2", "0.500", "yes", ""] in rows
    assert [EVIL, "1e+30", "–", "–", "–", "–", "", "the loss isn't a number any more"] in rows
    assert [EVIL, "omni-seg", "4.00", "1.00", "3.00", "256"] in rows
    assert ["–", "–", "–", EVIL, "51.20", "90", "70.00"] in rows and ["✓", "–", "–", EVIL, "–", "90", "70.00"] in rows
    assert "SC, PT rctd: all alike" in text
    assert "Dice 0.70, epoch 2" in text and "Dice 0.30, epoch 1" in text, "each curve's best epoch"
    assert "(net-50-percent)" in text, "trainings of one label are told apart"


def test_what_was_not_asked_for_is_absent(given):
    text = write(given, "less.html", rates={}, table3=[], fig10=None, fig8=[])
    page = Page(text)
    assert set(page.ids) == {"patches", "table1", "rates", "curves", "costs"} and "None were tried" in text


def test_the_same_inputs_give_the_same_bytes(given, text):
    assert write(given, "b.html") == text
