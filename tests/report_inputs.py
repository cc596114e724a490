"""A small report's inputs, with names full of markup, and a reader of the page."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from nephrospot.certainty import add_certainty
from nephrospot.correlate import correlate
from nephrospot.differences import compare_methods
from nephrospot.join import join_spots
from nephrospot.pairs import gather_pairs
from nephrospot.settings import read_settings
from nephrospot.table2 import make_table2

NASTY = "<script>alert('x')</script> & \"co\""
COMPARISONS = [{"tissue": "PT", "reference": "rctd"}, {"tissue": "CAP", "reference": "pathologist"}]
PUBLISHED = pd.DataFrame(
    [
        ("Omni-Seg", "PT", "rctd", 10, 75.25, "paper", ""),
        ("Omni-Seg", "CAP", "pathologist", 20, 91.73, "paper", ""),
        ("TAL", "PT", "rctd", 10, 4.18, "paper", ""),
        ("TAL", "CAP", "pathologist", 20, np.nan, "paper", "nothing was predicted in any spot"),
        ("Med3D", "PT", "rctd", 10, -5.16, "paper", ""),
    ],
    columns=["method", "tissue", "reference", "magnification", "r_x100", "source", "note"],
)


def make_slide(rng, n_rows=8, n_columns=5):
    """40 spots of one slide with truths, scores and proportions that follow them."""
    row, column = (index.ravel() for index in np.mgrid[0:n_rows, 0:n_columns])
    n = n_rows * n_columns
    barcode = [f"S{i:03d}-1" for i in range(n)]
    pt = np.clip(50 + 30 * np.sin(column / 2) + rng.normal(0, 5, n), 0, 100)
    cap = np.where(rng.random(n) < 0.3, rng.uniform(10, 90, n), 0.0)
    place = {"x_px": 400.0 + 200 * column + 100 * (row % 2), "y_px": 400.0 + 173 * row}
    scores = pd.DataFrame({"barcode": barcode, "CAP": 5 * np.round(cap / 5)})
    scores.loc[3, "CAP"] = np.nan
    status = np.where(np.arange(n) == 7, "fewer than 500 UMI", "used")
    share = np.where(status == "used", np.clip(pt / 100 + rng.normal(0, 0.05, n), 0, 1), np.nan)
    tables = [
        pd.DataFrame({"barcode": barcode, "deconvolution": name, "n_umi": 900.0, "n_genes": 500.0, "mt_percent": 9.0,
                      "edge": False, "status": status, "weight_sum": 1.0, "type:PT-S1": share, "tissue:PT": share})
        for name in ("rctd", "nnls")
    ]  # fmt: skip
    return barcode, place, pt, cap, scores, pd.concat(tables, ignore_index=True)


def save_noise(path, side):
    """A JPEG that compresses as badly as can be."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path, quality=90)


def make_spots(rng, barcode, place, pt, cap, noise, silent):
    spots = pd.DataFrame({"barcode": barcode, "array_row": 0, "array_col": 0, **place, "inside_share": 1.0})
    n = len(barcode)
    spots["PT_percent"] = np.clip(pt + rng.normal(0, noise, n), 0, 100)
    spots["CAP_percent"] = 0.0 if silent else np.where(cap > 0, np.clip(cap + rng.normal(0, noise, n), 0, 100), 0)
    spots["reason"] = ""
    spots.loc[11, ["PT_percent", "CAP_percent", "reason"]] = [np.nan, np.nan, "the disc is cut by the image's edge"]
    return spots


def make_inputs(root, tmp_path):
    """Two slides and two methods, one of which never sees a capsule; names full of markup."""
    config = yaml.safe_load((root / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["methods"] = {
        "omni-seg": {"label": f"Omni {NASTY}", "network": "omni-seg", "weights": "w", "published": "Omni-Seg"},
        "tal": {"label": "TAL again", "network": "omni-seg", "weights": "w", "published": "TAL"},
    }
    config |= {"comparisons": COMPARISONS, "evaluation": {}}
    settings = read_settings(config)
    rng = np.random.default_rng(1)
    spots, scores, proportions, manifests, notes = {}, {}, {}, {}, {}
    for slide in ("K1", NASTY):
        barcode, place, pt, cap, scores[slide], proportions[slide] = make_slide(rng)
        spots[slide, "omni-seg"] = make_spots(rng, barcode, place, pt, cap, 8, silent=False)
        spots[slide, "tal"] = make_spots(rng, barcode, place, pt, cap, 20, silent=True)
        manifests[slide] = {
            "slide": slide, "species": "mouse", "stain": "H&E", "group": "simulated", "mpp": 0.5,
            "mpp_witnesses": {"tag": 0.5, "pitch": 0.501}, "width_px": 2000, "height_px": 2200,
            "spots_in_tissue": 40, "spots_total": 60, "visium_layout": "csv with header", "n_scores": 39,
            "registration": {"correlation": 0.93, "shift_x_um": 0.0, "shift_y_um": 30.0, "overlap": 1.0, "sure": True},
            "problems": [], "notes": [f"slide {slide}: a stray <b>note</b>"],
        }  # fmt: skip
        notes[slide] = {"n_spots": 40, "n_used": 39, "n_common_genes": 1500, "n_reg_genes": 700, "sigma": 0.42,
                        "quality": {"median_umi": 4321.0, "median_genes": 1234.0, "median_mt_percent": 9.87,
                                    "n_edge": 22,
                                    "limits": [{"limit": "fewer than 500 UMI", "n_failing": 1, "n_removed": 1}]},
                        "r_rctd_nnls": {"PT": 0.97}, "notes": ["Cell types that belong to no tissue: IC."]}  # fmt: skip
    joined = [
        join_spots(slide, method, table, COMPARISONS, scores[slide], proportions[slide])
        for (slide, method), table in spots.items()
    ]
    joined = [table.assign(x_um=table["x_px"] / 2, y_um=table["y_px"] / 2) for table in joined]
    cohort = gather_pairs(joined, COMPARISONS, list(settings["methods"]))
    correlations = correlate(cohort, list(settings["methods"]), moran=False)
    correlations = add_certainty(correlations, cohort, seed=1, replicates=200)
    differences = compare_methods(cohort, list(settings["methods"]), seed=1, replicates=200)
    sheet = pd.DataFrame({"slide": ["K1", NASTY, "K9"], "exclude": ["", "", "folded <i>tissue</i>"]})
    overlays = {}
    for index, key in enumerate(spots):
        paths = {kind: tmp_path / f"{index}-{kind}.jpg" for kind in ("overview", "regions")}
        for path in paths.values():
            Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(path)
        overlays[key] = paths
    return {
        "settings": settings,
        "manifests": manifests,
        "sheet": sheet,
        "table2": make_table2(correlations, settings["methods"], PUBLISHED, differences),
        "correlations": correlations,
        "differences": differences,
        "spots": spots,
        "proportions": proportions,
        "scores": scores,
        "overlays": overlays,
        "notes": notes,
        "predictions": {
            ("K1", "omni-seg"): {
                "tiles": {"10x": 1840},
                "refused": {"PTC": "read at 40× (0.25 µm per pixel) but the slide has 0.5"},
            }
        },
        "weights": {"omni-seg": {"path": "w.safetensors", "sha256": "ab" * 32, "card": {"data": "simulated kidneys"}}},
        "versions": {"nephrospot": "0.1", "torch": "2.13.0"},
    }


class Page(HTMLParser):
    """Addresses, headings, ids, and whether every tag is closed."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids, self.headings, self.tags = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
            assert not name.startswith("on"), f"<{tag}> has a handler {name}: data may have become code"
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}: the markup isn't well formed"
        self.open.pop()

    def handle_data(self, data):
        if "h2" in self.open and "span" not in self.open:
            self.headings[-1] += data


def text_of(page):
    """The page as words, blanks of any width alike."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))
