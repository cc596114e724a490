"""What large cohorts need: pairs kept on disk, no slide that takes the others' intervals, a page that stays small."""

import numpy as np
import pandas as pd
import pytest

from nephrospot.certainty import measure_certainty, stack_methods
from nephrospot.cohort import Tables
from nephrospot.pairs import gather_pairs
from nephrospot.report.page import write_report
from nephrospot.report.shown import choose_shown
from nephrospot.spool import Parts, Spool
from report_inputs import make_inputs, text_of
from spots_by_hand import hexagons, make_pairs, smooth_maps

PT = [{"tissue": "PT", "reference": "rctd"}]


def test_a_spool_gives_back_what_it_was_given():
    spool, pieces = Spool(), [b"", b"one", b"two" * 70_000]
    for piece in pieces:
        spool.append(piece)
    assert [spool.read(number) for number in range(len(spool))] == pieces
    parts = Parts(lambda number: np.array([number]), [2, 0])
    assert len(parts) == 2 and [int(part[0]) for part in parts] == [2, 0]


def test_pairs_hold_every_spot_that_some_method_has():
    x = np.arange(12.0)
    maps = {name: (hexagons(4, 3), {"a": x.copy(), "b": x + 5}, 2 * x) for name in "LK"}
    maps["L"][1]["b"][3] = np.nan
    table = make_pairs(maps)
    (pairs,) = gather_pairs([own for _, own in table.groupby(["slide", "method"], sort=False)], PT, ["b", "a", "none"])
    assert pairs.slides == ["L", "K"] and pairs.by_name == [1, 0]
    assert pairs.barcodes(0) == [f"b{number:04d}" for number in range(12)]
    both = pairs.predicted(0, ["a", "b"])
    assert np.array_equal(both[:, 0], x) and np.isnan(both[3, 1]) and both[4, 1] == 9
    assert pairs.lacking(0, "b") == {"not scored": 1} and pairs.lacking(0, "a") == {}
    assert pairs.lacking(0, "none") is None, "a method without spots isn't one whose spots are all lacking"
    assert np.array_equal(pairs.observed(1), 2 * x)


def test_a_slide_with_two_spots_leaves_the_others_their_intervals():
    maps = {}
    for slide, side in (("K1", 16), ("K2", 16), ("few", 16)):
        place, own = hexagons(side, side), smooth_maps(hexagons(side, side), 100, 2, seed=len(maps))
        maps[slide] = (place, {"a": own[:, 0] + own[:, 1]}, own[:, 0].copy())
    maps["few"][1]["a"][2:] = np.nan
    (pairs,) = gather_pairs([make_pairs(maps)], PT, ["a"])
    (stack,) = stack_methods(pairs, ["a"])
    assert stack.sizes == [256, 256, 2]
    table = measure_certainty(stack, seed=1, replicates=100).set_index("level")
    assert table.loc[["pooled", "within", "slide:K1"], ["lo", "hi", "n_eff"]].notna().all(axis=None)
    assert np.isnan(table.loc["slide:few", "lo"]), "two spots have no interval"


def test_tables_are_read_when_they_are_asked_for():
    seen = []
    tables = Tables({"a": 1, "b": 2}, lambda key, given: seen.append(key) or pd.DataFrame({"x": [given]}))
    assert len(tables) == 2 and "a" in tables and "c" not in tables and tables.get("c") is None and seen == []
    assert tables["b"]["x"][0] == 2 and tables["b"]["x"][0] == 2 and seen == ["b"], "the last one is kept"


class TestShown:
    slides = [f"S{number:03d}" for number in range(100)]

    def correlations(self, r):
        return pd.DataFrame({"level": [f"slide:{slide}" for slide in self.slides], "r": r})

    def test_a_small_cohort_is_shown_whole(self):
        assert choose_shown(self.slides[:20], self.correlations(np.nan)) == self.slides[:20]

    def test_the_worst_and_the_best_are_shown_and_steps_between(self):
        r = np.random.default_rng(0).permutation(100) / 100
        shown = choose_shown(self.slides, self.correlations(r))
        ranks = sorted(round(100 * r[self.slides.index(slide)]) for slide in shown)
        assert len(shown) == 20 and ranks[0] == 0 and ranks[-1] == 99 and max(np.diff(ranks)) <= 6
        assert shown == sorted(shown), "in the sheet's order"

    def test_slides_without_an_r_fill_what_is_left(self):
        r = np.where(np.arange(100) < 3, 0.5, np.nan)
        assert choose_shown(self.slides, self.correlations(r)) == self.slides[:20]


@pytest.fixture
def many(root, tmp_path):
    """The report's inputs with its one plain slide thirty times."""
    inputs = make_inputs(root, tmp_path)
    names = [f"S{number:02d}" for number in range(30)]
    for part in ("manifests", "scores", "proportions", "notes"):
        inputs[part] = dict.fromkeys(names, inputs[part]["K1"])
    for part in ("spots", "overlays"):
        inputs[part] = {(name, method): inputs[part]["K1", method] for name in names for method in ("omni-seg", "tal")}
    inputs["sheet"] = pd.DataFrame({"slide": names, "exclude": ""})
    return inputs


def test_the_page_of_thirty_slides_draws_twenty_and_says_so(many, tmp_path):
    write_report(tmp_path / "r.html", **many)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('class="photo"') == 20 * 2 * 2 and page.count("<summary>Map of ") == 2 * 20
    told = text_of(page)
    assert "Of the 30 slides 20 are drawn on this page" in told
    assert all(f"S{number:02d}" in told for number in range(30)), "every slide has its row"
    assert "30 slides such as S00, S01 and S02" in told, "a note on all slides doesn't name thirty"
    assert len(page) < 10_000_000
