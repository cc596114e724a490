"""Intervals of one r: which is the wider, what is said where there is none, and that they cover what they should."""

import numpy as np
import pytest

from nephrospot.certainty import COLUMNS, add_certainty, measure_certainty, stack_common, stack_methods
from nephrospot.correlate import correlate as plain_correlate
from nephrospot.pairs import gather_pairs
from spots_by_hand import hexagons, make_pairs, smooth_maps

PT = [{"tissue": "PT", "reference": "rctd"}]


def sections(seed, scale_um=150, slides=2, side=20, noise=(0.7, 1.0), share=None):
    """{slide: (place, {method: predicted}, observed)}; with ``share`` only that share of the spots isn't 0."""
    maps = {}
    for slide in range(slides):
        place = hexagons(side, side)
        own = smooth_maps(place, scale_um, 1 + len(noise), 1000 * seed + slide)
        both = [own[:, 0], *(own[:, 0] + scale * own[:, at + 1] for at, scale in enumerate(noise))]
        if share is not None:
            both = [np.clip(values - np.quantile(values, 1 - share), 0, None) for values in both]
        maps[f"K{slide}"] = (place, dict(zip(("a", "b"), both[1:], strict=True)), both[0])
    return maps


def gather(maps, methods=("a", "b")):
    """The one comparison of `make_pairs`."""
    (pairs,) = gather_pairs([make_pairs(maps)], PT, methods)
    return pairs


@pytest.fixture(scope="module")
def table():
    (stack,) = stack_methods(gather(sections(3)), ["a", "b"])
    return measure_certainty(stack, seed=1, replicates=400)


def test_every_method_and_level_has_a_row(table):
    assert list(table.columns) == COLUMNS
    assert set(table["level"]) == {"pooled", "within", "slide:K0", "slide:K1"} and len(table) == 8
    whole = table[["n_eff", "lo", "hi", "fisher_lo", "boot_lo", "half_lo", "double_hi"]]
    assert np.isfinite(whole).all(axis=None)
    assert (table["n_eff"] < 800).all() and (table["block_um"] >= 600).all()


def test_the_wider_one_is_taken_and_named(table):
    for row in table.itertuples():
        widths = {
            "Fisher's z with n_eff": row.fisher_hi - row.fisher_lo,
            "blocks drawn again": row.boot_hi - row.boot_lo,
        }
        wider = max(widths, key=widths.get)
        assert row.interval.startswith(wider) and row.hi - row.lo == pytest.approx(widths[wider])


def test_a_slide_says_less_than_all_slides(table):
    by = table.set_index(["method", "level"])
    for method in ("a", "b"):
        assert by.loc[(method, "slide:K0"), "n_eff"] < by.loc[(method, "pooled"), "n_eff"]
        slides = by.loc[[(method, "slide:K0"), (method, "slide:K1")], "n_eff"] - 1
        assert slides.sum() == pytest.approx(by.loc[(method, "pooled"), "n_eff"], rel=0.25)


def test_small_sections_have_too_few_blocks():
    (stack,) = stack_methods(gather(sections(1, side=9)), ["a", "b"])
    table = measure_certainty(stack, seed=1, replicates=50)
    assert table["interval"].str.contains("too few blocks: ").all() and (table["n_blocks"] < 8).all()


def test_a_constant_prediction_has_no_interval():
    maps = sections(2)
    for _, predicted, _ in maps.values():
        predicted["a"] = np.zeros(len(predicted["a"]))
    (stack,) = stack_methods(gather(maps), ["a", "b"])
    table = measure_certainty(stack, seed=1, replicates=50).set_index("method")
    assert table.loc["a", ["lo", "hi"]].isna().all(axis=None) and (table.loc["a", "interval"] == "").all()
    assert table.loc["b", ["lo", "hi"]].notna().all(axis=None)


def test_methods_with_other_spots_stand_apart():
    maps = sections(2)
    maps["K0"][1]["b"][:30] = np.nan
    pairs = gather(maps, ["a", "b", "absent"])
    stacks = stack_methods(pairs, ["a", "b", "absent"])
    assert [stack.methods for stack in stacks] == [["a"], ["b"]] and [len(stack) for stack in stacks] == [800, 770]
    common = stack_common(pairs, ["a", "b", "absent"])
    assert common.methods == ["a", "b"] and len(common) == 770
    assert stack_common(pairs, ["absent"]) is None


@pytest.mark.parametrize(("scale_um", "share"), [(60, None), (60, 0.12)])
def test_intervals_hold_the_truth(scale_um, share):
    """60 simulated cohorts, smooth and with glomeruli in an eighth of the spots; the whole of it is `make coverage`."""
    truth = np.mean([correlate(sections(10_000 + seed, scale_um, 1, 30, (0.7, 1.0), share)) for seed in range(30)])
    hits = 0
    for seed in range(60):
        (stack,) = stack_methods(gather(sections(seed, scale_um, 2, 18, (0.7, 1.0), share)), ["a"])
        row = measure_certainty(stack, seed, replicates=300).iloc[0]
        hits += row["lo"] <= truth <= row["hi"]
    assert hits >= 51, "85 %: what 95 % falls below once in a thousand times"


def correlate(maps):
    _, predicted, observed = maps["K0"]
    return np.corrcoef(predicted["a"], observed)[0, 1]


def test_the_long_table_gets_its_columns():
    pairs, methods = make_pairs(sections(3, side=14)), ["a", "b", "gone"]
    cohort = gather_pairs([pairs], PT, methods)
    plain = plain_correlate(cohort, methods, moran=False)
    table = add_certainty(plain, cohort, seed=1, replicates=200)
    assert list(table.columns) == [*plain.columns, *COLUMNS[2:]] and len(table) == len(plain)
    known, unknown = table[table["r"].notna()], table[table["r"].isna()]
    assert (known["lo"] < known["r"]).all() and (known["r"] < known["hi"]).all() and len(known) == 8
    assert unknown[["lo", "hi", "n_eff"]].isna().all(axis=None) and (unknown["interval"] == "").all()
    shuffled = gather_pairs([pairs.sample(frac=1, random_state=1)], PT, methods)
    assert add_certainty(plain, shuffled, seed=1, replicates=200).equals(table), "the rows' order is no information"
    empty = add_certainty(plain_correlate([], ["a"]), [], seed=1)
    assert set(COLUMNS) <= set(empty.columns) and len(empty) == 0
