"""Table I: means, counts, intervals, and what is printed beside them."""

import re
from collections import namedtuple
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
import pytest

from nephrospot.agree import METRICS
from nephrospot.intervals import resample_rois
from nephrospot.models import TISSUES
from nephrospot.table1 import (
    AVERAGE,
    LONG_COLUMNS,
    make_table1,
    measure_patches,
    read_published_table1,
    summarise,
    write_table1,
)

Patch = namedtuple("Patch", "image mask tissue roi mpp")
CONFIG = {
    "net": {"label": "Net <small> & new", "published": "Omni-Seg"},
    "tal": {"label": "TAL", "published": "TAL"},
}
PRINTED = {"dice_x100": "dice", "hd_um": "hd_um", "msd_um": "msd_um"}


@pytest.fixture
def published(root):
    return read_published_table1(root / "config" / "published_table1.tsv")


@pytest.fixture
def predictions(tmp_path):
    """Patches of two tissues in six regions; one is missed, and one is rightly left empty."""
    image = tmp_path / "im_0_0.png"
    cv2.imwrite(str(image), np.full((40, 40, 3), 90, np.uint8))
    mask = tmp_path / "im_0_0_mask_tuft.png"
    cv2.imwrite(str(mask), np.zeros((40, 40), np.uint8))
    patches = []
    for tissue in ("CAP", "PT"):
        for place in range(12):
            truth, found = np.zeros((2, 40, 40), bool)
            truth[5:15, 5:15] = True
            found[5:15, 5 + place % 3 : 15 + place % 3] = True
            if tissue == "CAP" and place < 2:
                found[:], truth[:] = False, place == 0 and truth
            patches.append((Patch(image, mask, tissue, f"r{place // 2}", 2.0), found, truth))
    return patches


def read_words(page):
    """The page's text; fails where its tags don't match."""
    plain = page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    return " ".join(ElementTree.fromstring(plain).itertext())


def make_long(values, metric="dice", convention="ours"):
    """A long table from {(tissue, roi): values}."""
    rows = [
        ("net", tissue, f"{roi}-{k}", roi, convention, metric, value, value, "defined")
        for (tissue, roi), many in values.items()
        for k, value in enumerate(many)
    ]
    return pd.DataFrame(rows, columns=LONG_COLUMNS)


def test_long_and_summary_count_everything(predictions):
    long = measure_patches("net", predictions)
    assert len(long) == 24 * sum(len(names) for names in METRICS.values())
    table = summarise(long, seed=1, draws=200).set_index(["convention", "metric", "tissue"])
    hd, dice = table.loc[("ours", "hd_um", "CAP")], table.loc[("ours", "dice", "CAP")]
    assert (hd["n"], hd["n_defined"], hd["n_both_empty"], hd["n_one_sided"]) == (12, 10, 1, 1), "nothing is lost"
    assert (dice["n"], dice["n_defined"], dice["n_rois"]) == (12, 11, 6), "a missed object has a Dice: 0"
    shifts = [2.0 * (place % 3) for place in range(2, 12)]
    assert hd["mean"] == pytest.approx(np.mean(shifts)), "the mean over patches where both masks hold something"
    assert hd["worst_mean"] == pytest.approx((sum(shifts) + np.hypot(80, 80)) / 11), (
        "one diagonal of 40 × 40 px at 2 µm"
    )
    dices = [0.0] + [1 - (place % 3) / 10 for place in range(2, 12)]
    assert dice["mean"] == pytest.approx(np.mean(dices)) and dice["mean"] == dice["worst_mean"]
    pt, average = table.loc[("ours", "dice", "PT")], table.loc[("ours", "dice", AVERAGE)]
    assert average["mean"] == pytest.approx((dice["mean"] + pt["mean"]) / 2) and average["n"] == 24
    assert pt["lo"] < pt["mean"] < pt["hi"] and "200 draws of 6 regions" in pt["interval"]
    theirs = table.loc[("omniseg", "dice", "CAP")]
    assert theirs["mean"] > dice["mean"] and theirs["n_defined"] == 12, "that convention has a number for everything"
    assert "hd95_um" not in METRICS["omniseg"] and ("omniseg", "hd95_um", "CAP") not in table.index


def test_a_patch_that_cannot_be_measured_is_named(predictions):
    patch = predictions[0][0]
    cv2.imwrite(str(patch.image), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match=r"im_0_0\.png: The patch's image is wholly black"):
        measure_patches("net", predictions)
    assert len(measure_patches("net", predictions, ["ours"])) == 24 * 4, "ours has no need of the image"


def test_average_needs_every_tissue():
    long = make_long({("CAP", "a"): [10.0, 20.0], ("PT", "b"): [np.nan, np.nan]}, "hd_um")
    table = summarise(long).set_index("tissue")
    assert table.loc["CAP", "mean"] == 15 and np.isnan(table.loc["PT", "mean"])
    assert np.isnan(table.loc[AVERAGE, "mean"]), "a mean over the other tissues would flatter"
    assert table.loc["CAP", "interval"] == "no interval: only 1 region with values"
    assert "only 0 regions" in table.loc["PT", "interval"] and np.isnan(table.loc["CAP", "lo"])


def test_tissues_come_in_their_order():
    long = make_long({(tissue, "a"): [0.5] for tissue in reversed(TISSUES)})
    assert summarise(long)["tissue"].tolist() == [*TISSUES, AVERAGE]


def test_intervals_are_those_of_regions():
    """Patches of a region are alike: many more patches in each must not shorten the interval."""
    rng = np.random.default_rng(3)
    level = rng.normal(0.7, 0.1, 20)
    few, many = (pd.DataFrame({"roi": np.repeat(np.arange(20), k), "value": np.repeat(level, k)}) for k in (2, 50))
    a, b = resample_rois([few], 5), resample_rois([many], 5)
    assert (a.lo, a.hi) == pytest.approx((b.lo, b.hi)) and a.lo < level.mean() < a.hi
    assert resample_rois([few], 5) == a and resample_rois([few], 6) != a, "a seed's draws are its own, and repeat"
    four = few[few["roi"] < 4]
    assert np.isnan(resample_rois([four], 5).lo) and "only 4 regions" in resample_rois([four], 5).told


def test_intervals_cover_the_truth():
    rng, hits, repeats = np.random.default_rng(11), 0, 200
    for _ in range(repeats):
        # 15 regions with levels of their own and 1 to 6 patches each; truth .7.
        counts = rng.integers(1, 7, 15)
        level = np.repeat(rng.normal(0.7, 0.08, 15), counts)
        values = level + rng.normal(0, 0.03, len(level))
        table = pd.DataFrame({"roi": np.repeat(np.arange(15), counts), "value": values})
        interval = resample_rois([table], seed=int(rng.integers(1 << 30)), draws=400)
        hits += interval.lo <= 0.7 <= interval.hi
    assert 0.86 <= hits / repeats <= 0.99, f"{hits} of {repeats} nominal 95 % intervals hold the truth"


def test_regions_shared_by_tissues_are_drawn_together():
    """What two tissues of one region have in common doesn't average out."""
    level = np.random.default_rng(2).normal(0.7, 0.1, 12)
    one = pd.DataFrame({"roi": [f"r{k}" for k in range(12)], "value": level})
    apart = one.assign(roi=[f"q{k}" for k in range(12)])
    together, separate = resample_rois([one, one], 1), resample_rois([one, apart], 1)
    assert together.hi - together.lo > 1.2 * (separate.hi - separate.lo)
    rare = pd.DataFrame({"roi": [f"p{k}" for k in range(200)], "value": 0.5})
    five = resample_rois([one[:5], rare], 1, draws=4000)
    assert np.isfinite([five.lo, five.hi]).all(), "draws without a region of one tissue are left out, not taken as 0"
    assert (0.5 + level[:5].min()) / 2 <= five.lo < five.hi <= (0.5 + level[:5].max()) / 2


def test_published_averages_are_the_means_of_their_cells(published):
    """All but the two cells that are known to be misprinted."""
    cells = published.pivot_table(index="method", columns=["metric", "tissue"], values="value", sort=False)
    assert cells.shape == (9, 21) and cells.notna().all(axis=None)
    wrong = []
    for metric in PRINTED.values():
        difference = (cells[metric][list(TISSUES)].mean(axis=1) - cells[metric][AVERAGE]).abs()
        limit = 0.011 * (0.01 if metric == "dice" else 1)
        wrong += [(method, metric) for method in difference.index[difference > limit]]
    assert sorted(wrong) == [("Multi-class", "dice"), ("Residual U-Nets", "msd_um")]
    noted = published[(published["note"] != "") & (published["tissue"] == AVERAGE)]["method"].unique()
    assert sorted(noted) == ["Multi-class", "Residual U-Nets"], "and both are noted"


def test_published_cells_equal_the_paper(published, root):
    paper = root.parent / "shared" / "papers" / "omni-seg-journal.txt"
    if not paper.is_file():
        pytest.skip(f"the paper's text is not at {paper}")
    part = paper.read_text(encoding="utf-8").split("TABLE I\n")[1].split("TABLE II\n")[0]
    cells = published.set_index(["method", "tissue", "metric"])["value"]
    checked = 0
    for block in part.split("Method\t")[1:]:
        tissues = re.findall(r"[A-Z]{2,}|Average", block.splitlines()[0])
        for name, values in re.findall(r"^(.+?)(?: \[\d+\]| \(Ours\))\t([\d.\t]+)$", block, flags=re.MULTILINE):
            for place, value in enumerate(map(float, values.split("\t"))):
                metric = list(PRINTED.values())[place % 3]
                own = cells[(name, tissues[place // 3], metric)] * (100 if metric == "dice" else 1)
                assert own == pytest.approx(value), f"{name}, {tissues[place // 3]}, {metric}"
                checked += 1
    assert checked == 8 * 21


def test_published_values_stand_beside_their_own_convention_only(predictions, published):
    long = pd.concat([measure_patches("net", predictions), measure_patches("tal", predictions[:3])])
    table = make_table1(summarise(long, draws=100), CONFIG, published)
    cap = table[(table["label"] == "TAL") & (table["tissue"] == "CAP")].set_index(["convention", "metric"])["published"]
    assert cap["omniseg", "dice"] == 0.5182 and cap["omniseg", "hd_um"] == 402.76
    assert table.loc[table["convention"] == "ours", "published"].isna().all(), "never in a column with foreground Dice"
    rest = table[table["block"] == "published"]
    assert set(rest["label"]) == set(published["method"]) - {"Omni-Seg", "TAL"} and rest["n"].isna().all()
    assert len(rest) == 7 * 21


def test_files_for_machines_and_readers(predictions, published, tmp_path):
    long = measure_patches("net", predictions)
    table = make_table1(summarise(long, draws=100), CONFIG, published)
    paths = [tmp_path / f"table1.{kind}" for kind in ("parquet", "tsv", "html")]
    write_table1(long, table, *paths)
    assert pd.read_parquet(paths[0]).equals(long.reset_index(drop=True))
    back = pd.read_csv(paths[1], sep="\t")
    np.testing.assert_allclose(back["mean"], table["mean"], rtol=1e-5)
    page = paths[2].read_text(encoding="utf-8")
    words = read_words(page)
    assert "Net &lt;small&gt; &amp; new" in page and "10 / 1 / 1" in words, "labels are escaped, counts are shown"
    assert "a prediction of nothing scores nearly 50" in words and "U-Nets (published, not run here)" in words
    rows = table[table["label"] == "TAL"]
    assert len(rows) == 21 and set(rows["block"]) == {"method"}, "a method that wasn't run keeps what is published"
    assert {"81.11", "402.76"} <= set(words.split()), "published values as they are printed"
    first = [path.read_bytes() for path in paths]
    write_table1(long, table, *paths)
    assert [path.read_bytes() for path in paths] == first, "same inputs, same bytes"


def test_few_regions_are_told_in_a_footnote(predictions, published, tmp_path):
    long = measure_patches("net", predictions[:4], conventions=["ours"])
    paths = [tmp_path / f"table1.{kind}" for kind in ("parquet", "tsv", "html")]
    write_table1(long, make_table1(summarise(long), CONFIG, published), *paths)
    page = paths[2].read_text(encoding="utf-8")
    assert "only 1 region with values" in page and "<small>" not in page


def test_table1_refusals(tmp_path, published):
    summary = summarise(make_long({("CAP", "a"): [0.5]}))
    with pytest.raises(ValueError, match="did you mean 'TAL'"):
        make_table1(summary, {"net": {"published": "TALL"}}, published)
    with pytest.raises(ValueError, match="Method net has figures but no settings"):
        make_table1(summary, {"other": {}}, published)
    path = tmp_path / "published.tsv"
    path.write_text("method\ttissue\tdice_x100\thd_um\tmsd_um\tsource\tnote\nX\tDT\t81\tmany\t3\t\t\n")
    with pytest.raises(ValueError, match="X, DT: hd_um is 'many'; give a number"):
        read_published_table1(path)
    path.write_text("method\ttissue\n")
    with pytest.raises(ValueError, match="no column dice_x100, hd_um"):
        read_published_table1(path)
