"""Training as people run it: patches → splits → rates → weights → Table I, Figs. 8 and 10, and the page."""

import copy
import json
import re

import pandas as pd
import pytest
import yaml

from demo_project import Project
from discs import write_discs, write_fields
from nephrospot.models.weights import read_card

pytestmark = pytest.mark.long
TINY = {
    "patches": "patches",
    "rois": "rois",
    "data": "discs <drawn> for a test",
    "split": {"by": "roi", "training": 0.5, "validation": 0.25, "test": 0.25},
    "recipe": {"optimiser": "adam", "learning_rate": 0.001, "epochs": 2, "patches_per_epoch": 8},
    "rates": [1, 3],
    "rate_epochs": 1,
    "semi": {"warm_up_epochs": 1, "tissues": ["PT"], "strategy": "grid", "keep_empty": True},
    "methods": {
        "small-omni": {"label": "Omni <small>", "network": "omni-seg", "options": {"width": 4}, "semi": {}}
        | {"published": "Omni-Seg"},
        "unets": {"label": "U-Nets", "network": "multi-unet", "options": {"width": 4}},
        "given": {"label": "Given", "network": "omni-seg"}
        | {"weights": "workflow/weights/simulated/omni-seg.safetensors"},
    },
    "ablation": {},
    "fractions": {"methods": ["small-omni"], "shares": [0.5]},
}
HALF = "small-omni-50-percent"


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    project = Project(tmp_path_factory.mktemp("training"), root)
    write_discs(project.folder / "patches", rois=8, side=32)
    write_fields(project.folder / "rois", rois=8, side=48)
    configure(project, TINY)
    return project


def configure(project, training):
    path = project.folder / "config/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"training": training}, sort_keys=False))


@pytest.fixture(scope="module")
def results(project):
    told = project.run("table1", "fig10", "training_page", "--cores", "2")
    assert "rule predict_masks:" not in told, "no slide of the cohort is needed for Table I"
    return project.folder / "results"


def test_every_training_took_the_best_rate_and_says_what_it_learnt_from(results):
    for name, checked in (("small-omni", "small-omni"), ("unets", "unets"), (HALF, "small-omni")):
        rates = pd.read_csv(results / f"training/{checked}.rates.tsv", sep="\t")
        assert rates["learning_rate"].tolist() == pytest.approx([0.001, 0.003]) and rates["best"].sum() == 1
        card = read_card(results / f"training/{name}.safetensors")
        assert card["recipe"]["learning_rate"] == rates.loc[rates["best"], "learning_rate"].item()
        assert card["data"] == TINY["data"] and card["patches"].keys() == {"training", "validation", "test"}
        assert len(json.loads((results / f"training/{name}.json").read_text())["epochs"]) == 2
    full, half = (read_card(results / f"training/{name}.safetensors") for name in ("small-omni", HALF))
    assert half["extras"][0]["regions"] == full["extras"][0]["regions"] / 2, "Fig. 10 varies the unlabelled regions"
    assert half["patches"] == full["patches"], "and leaves the labels alone"
    assert not read_card(results / "training/unets.safetensors")["extras"]


def test_table1_is_of_the_test_part_alone(results):
    patches = pd.read_parquet(results / "patches.parquet")
    assert patches.groupby("roi")["split"].nunique().max() == 1, "a region is in one part"
    table = pd.read_csv(results / "table1.tsv", sep="\t").query("block == 'method'")
    table = table.set_index(["label", "tissue", "convention", "metric"]).sort_index()
    for tissue in ("PT", "CAP"):
        tested = ((patches["split"] == "test") & (patches["tissue"] == tissue)).sum()
        assert tested > 0
        for label in ("Omni <small>", "U-Nets", "Given"):
            assert table.loc[(label, tissue, "ours", "dice"), "n"] == tested
    assert table.loc[("Omni <small>", "PT", "omniseg", "dice"), "published"] > 0.5, "print stands beside its convention"
    assert "Omni <small>" not in (results / "table1.html").read_text()


def test_given_weights_are_measured_as_they_are(results):
    assert {path.name for path in results.glob("training/given.*")} == {"given.parquet"}, "nothing was trained"
    costs = pd.read_csv(results / "costs.tsv", sep="\t").set_index(["method", "tissue"])["parameters"]
    assert costs["given", "all"] > costs["small-omni", "all"], "its card says that it is wider"


def test_the_curve_of_less_data_ends_with_table1s_training(results):
    curve, table = (pd.read_csv(results / f"{name}.tsv", sep="\t") for name in ("fig10", "table1"))
    assert sorted(curve["percent"].unique()) == [50, 100]
    for tissue in ("PT", "CAP"):
        ours = table[(table["method"] == "small-omni") & (table["tissue"] == tissue) & (table["convention"] == "ours")]
        expected = ours.loc[ours["metric"] == "dice", "mean"].item()
        drawn = curve[(curve["percent"] == 100) & (curve["tissue"] == tissue)]["dice"].item()
        assert drawn == pytest.approx(expected, abs=1e-5)


def test_the_page_holds_all_of_it_and_nothing_unescaped(results):
    page = (results / "training.html").read_text()
    for name in ("patches", "table1", "rates", "curves", "costs", "fig10", "fig8"):
        assert f'id="{name}"' in page, f"section {name}"
    assert 'id="table3"' not in page, "no ablation was asked for"
    assert "Omni &lt;small&gt;" in page and "Omni <small>" not in page and "Discs &lt;drawn&gt;" in page
    assert (results / "fig8.svg").read_text().startswith("<svg")
    assert "imulated" not in page, "these patches aren't simulated"


def test_nothing_is_done_twice(project, results):
    assert project.planned("--", "table1", "fig10", "fig8", "training_page") == {}


def test_a_changed_label_trains_nothing(project, results):
    changed = copy.deepcopy(TINY)
    changed["methods"]["unets"]["label"] = "Another name"
    configure(project, changed)
    try:
        assert set(project.planned("--", "training_page")) <= {
            "write_table1",
            "draw_fractions",
            "draw_parameters",
            "write_training_page",
            "training_page",
        }
    finally:
        configure(project, TINY)


def test_the_ablations_networks_read_the_cohorts_slides(project, results):
    """A dry run: correlations of the ablation alone, from predictions of its own."""
    ablation = {
        "none": {"label": "neither", "network": "omni-seg-class", "options": {"width": 4}, "published": "none"},
        "sc": {"label": "SC", "network": "omni-seg", "options": {"width": 4}, "published": "SC"},
    }
    configure(project, TINY | {"ablation": ablation})
    try:
        told = project.run("-n", "table3")
    finally:
        configure(project, TINY)
    planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", told, re.MULTILINE)}
    assert planned["train_method"] == 2 and planned["correlate_ablation"] == planned["write_table3"] == 1
    assert planned["predict_masks"] == planned["measure_spots"] == 4, "two networks on two slides, and no other method"
    assert planned["check_rates"] == 1, "SC goes by the check of the method with its network"
    for slide in ("K1", "K4"):
        for name in ("none", "sc"):
            assert f"results/{slide}/ablation-{name}/spots.parquet" in told
    job = told[told.index("rule correlate_ablation:") :]
    assert re.search(r"spots\.parquet", job) and "results/K1/omni-seg/" not in told
