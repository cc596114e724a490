"""Correlations against independent formulas, and joins that nothing irrelevant can change."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from nephrospot.correlate import COLUMNS
from nephrospot.correlate import correlate as correlate_pairs
from nephrospot.errors import InputError
from nephrospot.join import join_spots
from nephrospot.pairs import gather_pairs
from nephrospot.pooled import add_up

COMPARISONS = [
    {"tissue": "CAP", "reference": "pathologist"},
    {"tissue": "PT", "reference": "rctd"},
    {"tissue": "PT", "reference": "nnls"},
]


def make_slide(name: str, seed: int, side: int = 12, shift: float = 0.0):
    """spots, scores and proportions of a slide of ``side``² spots on a hexagonal lattice."""
    rng = np.random.default_rng(seed)
    column, row = (grid.ravel() for grid in np.meshgrid(np.arange(side), np.arange(side)))
    n = side**2
    barcode = [f"{name}{i:04d}" for i in range(n)]
    x_px, y_px = (column + 0.5 * (row % 2)) * 200.0, row * 200 * np.sqrt(3) / 2
    truth = rng.uniform(0, 60, n) + shift
    spots = pd.DataFrame({"barcode": barcode, "x_px": x_px, "y_px": y_px, "reason": ""})
    spots["PT_percent"], spots["CAP_percent"] = truth + rng.normal(0, 9, n), truth[::-1] + rng.normal(0, 3, n)
    spots.loc[[3, 8], ["PT_percent", "CAP_percent"]] = np.nan
    spots.loc[[3, 8], "reason"] = "beyond the image"
    scores = pd.DataFrame({"barcode": barcode, "CAP": np.clip(truth[::-1].round(-1), 0, 100)})
    scores.loc[::7, "CAP"] = np.nan
    frames = []
    for deconvolution, noise in (("rctd", 0.05), ("nnls", 0.2)):
        frame = pd.DataFrame({"barcode": barcode, "deconvolution": deconvolution, "status": "used"})
        frame["tissue:PT"] = truth / 100 + rng.normal(0, noise, n)
        frame.loc[::20, ["status", "tissue:PT"]] = ["fewer than 500 UMI", np.nan]
        frames.append(frame)
    return spots, scores, pd.concat(frames, ignore_index=True)


SLIDES = {"A": make_slide("A", 1), "B": make_slide("B", 2, shift=30.0), "C": make_slide("C", 3, side=9, shift=-5.0)}


def correlate(tables, comparisons, methods, moran=True):
    """From joined tables, with places in pixels."""
    return correlate_pairs(gather_pairs(tables, comparisons, methods, place=("x_px", "y_px")), methods, moran)


def join_all(slides=SLIDES, method="omni"):
    return [
        join_spots(slide, method, spots, COMPARISONS, scores, proportions)
        for slide, (spots, scores, proportions) in slides.items()
    ]


@pytest.fixture(scope="module")
def result():
    return correlate(join_all(), COMPARISONS, ["omni"], moran=False)


def pick(table, tissue, reference, level="pooled", method="omni"):
    key = {"method": method, "tissue": tissue, "reference": reference, "level": level}
    found = table[np.logical_and.reduce([table[name] == value for name, value in key.items()])]
    assert len(found) == 1
    return found.iloc[0]


def by_hand(reference, slides="ABC"):
    """Complete pairs (x, y, slide) joined by plain dictionaries."""
    pairs = []
    for slide in slides:
        spots, scores, proportions = SLIDES[slide]
        if reference == "pathologist":
            values, column = dict(zip(scores["barcode"], scores["CAP"], strict=True)), "CAP_percent"
        else:
            own = proportions[proportions["deconvolution"] == reference]
            values, column = dict(zip(own["barcode"], 100 * own["tissue:PT"], strict=True)), "PT_percent"
        rows = zip(spots["barcode"], spots[column], strict=True)
        pairs += [(x, values[barcode], slide) for barcode, x in rows if np.isfinite([x, values[barcode]]).all()]
    x, y, slide = zip(*pairs, strict=True)
    return np.array(x), np.array(y), np.array(slide)


@pytest.mark.parametrize(("tissue", "reference"), [("CAP", "pathologist"), ("PT", "rctd"), ("PT", "nnls")])
def test_pooled_and_slides_equal_scipy(result, tissue, reference):
    for level, slides in [("pooled", "ABC"), ("slide:A", "A"), ("slide:B", "B"), ("slide:C", "C")]:
        x, y, _ = by_hand(reference, slides)
        row = pick(result, tissue, reference, level)
        assert (row["n"], row["n_slides"]) == (len(x), len(slides))
        assert row["r"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
        assert row["rho"] == pytest.approx(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1], abs=1e-12)
        assert row["reason"] == ""


def test_within_is_the_repeated_measures_correlation(result):
    x, y, slide = by_hand("rctd")
    dummies = np.stack([slide == name for name in "ABC"], axis=1).astype(float)

    def left_over(design):
        fit, *_ = np.linalg.lstsq(design, y, rcond=None)
        return np.sum((y - design @ fit) ** 2), fit[-1]

    (without, _), (error, slope) = left_over(dummies), left_over(np.c_[dummies, x])
    expected = np.sign(slope) * np.sqrt((without - error) / without)  # Bakdash & Marusich 2017, from an ANCOVA
    row = pick(result, "PT", "rctd", "within")
    assert row["r"] == pytest.approx(expected, abs=1e-12)
    assert row["r"] != pytest.approx(pick(result, "PT", "rctd")["r"], abs=0.01), (
        "Offsets between slides must matter here."
    )


def test_offsets_of_slides_leave_within_alone(result):
    moved = [table.copy() for table in join_all()]
    for shift, table in zip([0, -500, 200], moved, strict=True):
        table["predicted"] += shift
    again = correlate(moved, COMPARISONS, ["omni"], moran=False)
    assert pick(again, "PT", "rctd", "within")["r"] == pytest.approx(
        pick(result, "PT", "rctd", "within")["r"], abs=1e-9
    )
    assert pick(again, "PT", "rctd")["r"] < 0, "Pooled r does see the offsets."


def test_agreement_in_percentage_points(result):
    x, y, _ = by_hand("pathologist")
    row = pick(result, "CAP", "pathologist")
    assert row["mean_error_pp"] == pytest.approx(np.mean(x - y)) and row["mae_pp"] == pytest.approx(
        np.abs(x - y).mean()
    )
    spread = np.var(x) + np.var(y) + (x.mean() - y.mean()) ** 2
    assert row["ccc"] == pytest.approx(2 * np.cov(x, y, bias=True)[0, 1] / spread)
    others = result[(result["reference"] != "pathologist") | (result["level"] == "within")]
    assert others[["ccc", "mean_error_pp", "mae_pp"]].isna().all(axis=None), (
        "Area and mRNA shares don't agree, they correlate."
    )


def test_concordance_by_hand():
    # means 2 and 3, variances 2/3 and 2/3, covariance 2/3: 2·(2/3) / (2/3 + 2/3 + 1) = 4/7
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)
    assert concordance([1, 2, 3], [1, 2, 3]) == 1
    assert concordance([10, 20, 30], [5, 10, 15]) < 0.7, "Reading half of everything has r = 1 but no concordance."
    assert np.isnan(concordance([5, 5], [5, 5]))


def concordance(x, y):
    return add_up([np.array([x, y], float)]).concordance


def test_presence_has_its_own_figures():
    """Half of the spots are empty on both sides: what is left has its own r, and any of it an AUROC."""
    rng = np.random.default_rng(0)
    table = join_all()[0].query("reference == 'pathologist'").copy()
    some = rng.random(len(table)) < 0.5
    y = np.where(some, rng.uniform(5, 50, len(table)), 0)
    x = np.where(some, y + rng.normal(0, 10, len(table)), 0).clip(0)
    row = pick(correlate([table.assign(predicted=x, observed=y, dropped="")], COMPARISONS[:1], ["omni"], moran=False),
               "CAP", "pathologist")  # fmt: skip
    either = (x > 0) | (y > 0)
    assert row["r_positive"] == pytest.approx(np.corrcoef(x[either], y[either])[0, 1])
    greater = (x[y > 0][:, None] > x[y == 0]).mean() + (x[y > 0][:, None] == x[y == 0]).mean() / 2
    assert row["auroc"] == pytest.approx(greater)


def test_columns_and_counts(result):
    assert list(result) == COLUMNS
    assert list(dict.fromkeys(result["level"])) == ["pooled", "within", "slide:A", "slide:B", "slide:C"]
    row = pick(result, "CAP", "pathologist")
    counted = dict(reversed(part.split(" ", 1)) for part in row["dropped"].split("; "))
    total = sum(len(spots) for spots, *_ in SLIDES.values())
    assert row["n"] + sum(map(int, counted.values())) == total, "Every spot is used or counted with its reason."
    assert counted["beyond the image"] == "6" and "not scored" in counted
    assert "fewer than 500 UMI" in pick(result, "PT", "rctd")["dropped"]


def test_constant_predictions():
    spots, scores, proportions = SLIDES["A"]
    none = spots.assign(CAP_percent=np.where(spots["CAP_percent"].isna(), np.nan, 0.0))
    tables = [
        join_spots("A", "omni", none, COMPARISONS, scores, proportions),
        join_spots("B", "omni", SLIDES["B"][0], COMPARISONS, *SLIDES["B"][1:]),
    ]
    one = correlate(tables, COMPARISONS, ["omni"], moran=False)
    row = pick(one, "CAP", "pathologist", "slide:A")
    assert (
        np.isnan(row["r"]) and np.isnan(row["rho"]) and row["reason"] == f"prediction constant (0 in {row['n']} spots)"
    )
    assert row["mean_error_pp"] < 0, "The error is defined all the same."
    for level in ("pooled", "within", "slide:B"):
        assert np.isfinite(pick(one, "CAP", "pathologist", level)["r"]), (
            "Constant on one slide concerns that slide only."
        )
    assert pick(one, "PT", "rctd", "slide:A")["reason"] == ""

    all_none = correlate(tables[:1], COMPARISONS, ["omni"], moran=False)
    assert "needs two slides" in pick(all_none, "CAP", "pathologist", "within")["reason"]
    third = 100 / 3  # a constant that no float represents exactly
    flat = [table.assign(predicted=table["predicted"] * 0 + third) for table in tables]
    both = correlate(flat, COMPARISONS, ["omni"], moran=False)
    assert "constant on every slide" in pick(both, "CAP", "pathologist", "within")["reason"]
    assert "prediction constant (33.3333 in" in pick(both, "CAP", "pathologist")["reason"]
    dull = correlate([tables[0].assign(observed=tables[0]["observed"] * 0)], COMPARISONS, ["omni"], moran=False)
    assert "rctd constant (0 in" in pick(dull, "PT", "rctd")["reason"]


def test_what_is_lacking_is_named():
    spots, scores, proportions = SLIDES["A"]
    bare = join_spots("A", "omni", spots.drop(columns="PT_percent"), COMPARISONS, None, proportions.head(3))
    table = correlate([bare], COMPARISONS, ["omni", "unet"], moran=False)
    row = pick(table, "CAP", "pathologist")
    assert row["n"] == 0 and "no pathologist for A" in row["reason"] and np.isnan(row["r"])
    assert "omni doesn't segment PT" in pick(table, "PT", "rctd")["dropped"]
    assert pick(table, "PT", "rctd", method="unet")["reason"] == "no spots from this method"
    assert (
        "no column 'DT'"
        in join_spots(
            "A", "omni", spots.assign(DT_percent=1.0), [{"tissue": "DT", "reference": "pathologist"}], scores
        )["dropped"].iloc[0]
    )
    few = correlate(
        [join_spots("A", "omni", spots, COMPARISONS, scores.iloc[1:3], None)], COMPARISONS, ["omni"], moran=False
    )
    assert pick(few, "CAP", "pathologist")["reason"].startswith("only 2 spots with both values (mostly: not scored)")
    assert len(correlate([], COMPARISONS, ["omni"])) == 3


def test_wrong_input_is_refused():
    spots, scores, proportions = SLIDES["A"]
    with pytest.raises(InputError, match=r"unknown reference 'rtcd'.*did you mean 'rctd'"):
        join_spots("A", "omni", spots, [{"tissue": "PT", "reference": "rtcd"}], scores, proportions)
    for change in ({"spots": pd.concat([spots, spots[:1]])}, {"scores": pd.concat([scores, scores[:1]])}):
        frames = {"spots": spots, "scores": scores} | change
        with pytest.raises(InputError, match="A0000 twice"):
            join_spots("A", "omni", frames["spots"], COMPARISONS, frames["scores"], proportions)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), strangers=st.integers(0, 30))
def test_order_of_rows_and_strangers_change_nothing(result, seed, strangers):
    rng = np.random.default_rng(seed)

    def shuffled(frame):
        return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)

    slides = {}
    for name, (spots, scores, proportions) in SLIDES.items():
        unknown = [f"X{i}" for i in range(strangers)]
        more_scores = pd.DataFrame({"barcode": unknown, "CAP": 50.0})
        more = pd.DataFrame({"barcode": unknown, "deconvolution": "rctd", "status": "used", "tissue:PT": 0.5})
        frames = (spots, pd.concat([scores, more_scores]), pd.concat([proportions, more]))
        slides[name] = tuple(shuffled(frame) for frame in frames)
    again = correlate([shuffled(table) for table in join_all(slides)], COMPARISONS, ["omni"], moran=False)
    pd.testing.assert_frame_equal(again, result, check_exact=True)


def test_moran_is_in_the_table():
    table = correlate(join_all(), COMPARISONS[:1], ["omni"])
    assert table["moran_i"].notna().all()
    assert table["moran_i"].abs().max() < 0.3, "The simulated errors know nothing of their neighbours."
