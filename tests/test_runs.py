"""Which trainings a configuration asks for, and what of it is refused."""

import copy
import subprocess
import sys

import pytest
import yaml

from nephrospot.errors import InputError
from nephrospot.settings import read_settings
from nephrospot.training.runs import list_runs

TRAINING = """
recipe: {epochs: 7, learning_rate: 0.01}
rates: [0.3, 1]
semi: {warm_up_epochs: 2, strategy: grid}
methods:
  omni: {label: Omni-Seg, network: omni-seg, recipe: {learning_rate: 0.02}, semi: {strategy: matching}}
  unets: {label: U-Nets, network: multi-unet, initial: start.safetensors, published: U-Nets}
  given: {label: Given, network: omni-seg-class, weights: theirs.pth}
ablation:
  none: {label: neither, network: omni-seg-class}
  cr: {label: CR, network: omni-seg-class, semi: {}}
  sc: {label: SC, network: omni-seg, semi: {pseudo: false}}
fractions: {methods: [omni, unets], shares: [0.33, 0.125]}
"""


@pytest.fixture
def config(root):
    config = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    return config | {"training": yaml.safe_load(TRAINING)}


@pytest.fixture
def runs(config):
    return list_runs(read_settings(config)["training"])


def test_every_training_has_a_name_and_a_table(runs):
    assert {name: run["table"] for name, run in runs.items()} == {
        "omni": "table1",
        "unets": "table1",
        "given": "table1",
        "ablation-none": "table3",
        "ablation-cr": "table3",
        "ablation-sc": "table3",
        "omni-33-percent": "fig10",
        "omni-12.5-percent": "fig10",
        "unets-33-percent": "fig10",
        "unets-12.5-percent": "fig10",
    }


def test_a_training_s_own_recipe_goes_before_the_common_one(runs):
    assert runs["omni"]["recipe"] == {"epochs": 7, "learning_rate": 0.02}
    assert runs["unets"]["recipe"] == runs["ablation-cr"]["recipe"] == {"epochs": 7, "learning_rate": 0.01}
    assert runs["unets"]["initial"] == runs["unets-33-percent"]["initial"] == "start.safetensors"


def test_semi_is_merged_where_it_is_asked_for(runs):
    assert runs["omni"]["semi"] == {"warm_up_epochs": 2, "strategy": "matching"}
    assert runs["ablation-cr"]["semi"] == {"warm_up_epochs": 2, "strategy": "grid"}, "empty keys still ask for it"
    assert runs["unets"]["semi"] is None and runs["ablation-none"]["semi"] is None


def test_trainings_go_by_the_check_of_the_first_with_their_network(runs):
    assert {name: run["rates_of"] for name, run in runs.items()} == {
        "omni": "omni",
        "unets": "unets",
        "given": "given",
        "ablation-none": "ablation-none",
        "ablation-cr": "ablation-none",
        "ablation-sc": "omni",
        "omni-33-percent": "omni",
        "omni-12.5-percent": "omni",
        "unets-33-percent": "unets",
        "unets-12.5-percent": "unets",
    }


def test_what_would_be_the_same_weights_is_trained_once(config):
    training = config["training"]
    training["ablation"]["like-unets"] = {"label": "x", "network": "multi-unet", "initial": "start.safetensors"}
    training["ablation"]["again"] = {"label": "y", "network": "omni-seg-class"}
    runs = list_runs(read_settings(config)["training"])
    assert runs["ablation-like-unets"]["twin"] == "unets" and runs["ablation-again"]["twin"] == "ablation-none"
    assert [name for name, run in runs.items() if run["twin"]] == ["ablation-like-unets", "ablation-again"]


def test_less_data_means_fewer_regions_or_where_there_are_none_fewer_labels(runs):
    learning, plain = runs["omni-33-percent"], runs["unets-33-percent"]
    assert learning["semi"]["share"] == 0.33 and learning["fraction"] == 1 and learning["share"] == 0.33
    assert plain["fraction"] == 0.33 and plain["semi"] is None
    assert "share" not in runs["omni"]["semi"] and runs["omni"]["share"] == 1, "the method itself is left alone"
    for name in ("omni", "unets"):
        same = {"network", "options", "recipe", "label", "initial", "published"}
        assert {key: runs[f"{name}-33-percent"][key] for key in same} == {key: runs[name][key] for key in same}


def test_nothing_is_asked_for_by_default(config):
    del config["training"]
    assert list_runs(read_settings(config)["training"]) == {}


def refuse(config):
    with pytest.raises(InputError) as told:
        read_settings(config)
    return str(told.value).splitlines()


REFUSED = {
    "another method's fraction": (("fractions", "methods"), ["omny"], "'omny' isn't under training.methods; did you"),
    "no such fold": (("split",), {"folds": 5, "fold": 6}, "training.split.fold: 6 of 5 can't be; give two folds or"),
    "shares": (("split",), {"test": 0.2}, "training 0.6, validation 0.1, test 0.2) add up to 0.9; make them"),
    "fraction of given weights": (
        ("fractions", "methods"),
        ["given"],
        "'given' has weights, so it isn't trained; leave",
    ),
    "a recipe for given weights": (
        ("methods", "given", "recipe"),
        {"epochs": 3},
        "training.methods.given: weights are measured as they are, so recipe would change nothing; remove either",
    ),
    "unknown key of a recipe": (("recipe", "epoch"), 3, "training.recipe.epoch: there is no such key; did you mean"),
    "unknown key of a training": (("methods", "omni", "netwrok"), "x", "did you mean 'network'"),
    "unknown key of semi": (("semi", "startegy"), "grid", "did you mean 'strategy'"),
    "files of another": (
        ("methods", "Ablation-sc"),
        {"label": "x", "network": "tal"},
        "training.ablation.sc: its files would be those of training.methods.Ablation-sc",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_told_in_one_sentence(config, case):
    path, value, expected = REFUSED[case]
    place = config["training"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    told = refuse(config)
    assert len(told) == 1 and expected in told[0], told


def test_own_patches_need_a_name_and_regions_for_pseudo_labels(config):
    config["training"]["patches"] = "patches"
    told = refuse(config)
    assert len(told) == 3 and "training.data: the key is empty" in told[0]
    for place, sentence in zip(("methods.omni", "ablation.cr"), told[1:], strict=True):
        assert f"training.{place}.semi" in sentence and "give training.rois" in sentence
    complete = copy.deepcopy(config)
    complete["training"] |= {"data": "biopsies of 2020", "rois": "rois"}
    assert read_settings(complete)["training"]["side_px"] == 0


def test_settings_are_read_without_torch():
    code = "import sys, nephrospot.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0, "each of Snakemake's processes reads them"
