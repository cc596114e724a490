"""One training by its run: rate, share of the labels, extras, and going on after a stop."""

import json

import pandas as pd
import pytest
import torch

from discs import Stopper, split_discs, write_discs, write_fields
from nephrospot.errors import InputError
from nephrospot.models.weights import read_card
from nephrospot.training.recipe import Recipe
from nephrospot.training.rois import list_rois
from nephrospot.training.semi import SemiOptions, SemiSupervision
from nephrospot.training.splits import take_part
from nephrospot.training.start import train_run
from nephrospot.training.train import train_method

RUN = {
    "network": "omni-seg",
    "options": {"width": 4},
    "recipe": {"optimiser": "adam", "epochs": 1, "patches_per_epoch": 8},
    "semi": None,
    "fraction": 1.0,
}
PSEUDO = {"tissues": ["PT"], "strategy": "grid", "warm_up_epochs": 0, "keep_empty": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    write_discs(folder / "patches", side=32)
    write_fields(folder / "rois", side=64)
    return folder


def start(folder, output, rates=None, rois=None, **changes):
    patches = split_discs(folder / "patches")
    return train_run(
        RUN | changes, patches, rois, rates, None, output / "w.safetensors", output / "c.json", 1, "roi", "discs", 1
    )


def test_the_best_rate_of_the_check_is_taken(folder, tmp_path):
    table = pd.DataFrame({"learning_rate": [1e-4, 3e-3], "best": [False, True]})
    table.to_csv(tmp_path / "rates.tsv", sep="\t", index=False)
    card = start(folder, tmp_path, tmp_path / "rates.tsv")
    assert card["recipe"]["learning_rate"] == 3e-3 and read_card(tmp_path / "w.safetensors") == card
    assert start(folder, tmp_path)["recipe"]["learning_rate"] == Recipe().learning_rate


def test_a_fraction_thins_out_whole_regions_of_the_training_part_alone(folder, tmp_path):
    full, less = (start(folder, tmp_path, fraction=share) for share in (1.0, 0.5))
    regions = full["split"]["rois"]["training"]
    assert less["split"]["rois"]["training"] == -(-regions // 2) < regions
    assert less["patches"]["validation"] == full["patches"]["validation"]
    assert less["patches"]["training"] < full["patches"]["training"]
    assert less["config"] == full["config"] and less["split"]["digest"] != full["split"]["digest"]


def test_semi_supervision_is_on_the_card(folder, tmp_path):
    card = start(folder, tmp_path, rois=folder / "rois", semi=PSEUDO | {"share": 0.5})
    (extra,) = card["extras"]
    assert extra["options"]["strategy"] == "grid" and extra["regions"] == 2, "half of the training part's four"
    with pytest.raises(InputError, match="pseudo-labels need the regions' folder"):
        start(folder, tmp_path, semi=PSEUDO)
    agreement = start(folder, tmp_path, semi={"pseudo": False, "warm_up_epochs": 0})
    assert agreement["extras"][0]["regions"] == 0, "consistency alone needs none"


def test_pseudo_labels_that_outlive_an_epoch_survive_a_stop(folder, tmp_path):
    """Made in the first and third of four epochs; the run stops in the fourth."""
    patches = split_discs(folder / "patches")
    recipe = Recipe("adam", 3e-3, epochs=4, patches_per_epoch=8)

    def train(name, stop=None):
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        semi = SemiSupervision(SemiOptions(**PSEUDO, refresh_epochs=2), list_rois(folder / "rois"), patches)
        train_method(
            "omni-seg", {"width": 4}, patches, recipe, output / "w.safetensors", output / "c.json", 1, "discs", 1,
            [semi, Stopper(stop)],
        )  # fmt: skip
        curve = json.loads((output / "c.json").read_text())["epochs"]
        told = [(point["loss"], point["mean_dice"]) for point in curve]
        return ((output / "w.safetensors").read_bytes(), told), semi

    whole, uninterrupted = train("whole")
    with pytest.raises(RuntimeError, match="stopped"):
        train("stopped", stop=3)
    held = torch.load(tmp_path / "stopped/.w.checkpoint.pt", weights_only=True)["extras"][0]["patches"]
    assert len(held) == len(uninterrupted.state_dict()["patches"]) > 0
    again, resumed = train("stopped")
    assert again == whole
    for one, other in zip(resumed.state_dict()["patches"], uninterrupted.state_dict()["patches"], strict=True):
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])
        assert (one["tissue_id"], one["scale_id"]) == (other["tissue_id"], other["scale_id"])
    none = SemiSupervision(SemiOptions(**PSEUDO), list_rois(folder / "rois"), patches)
    assert none.state_dict() == {"patches": []}, "made anew each epoch, they needn't be kept"


def test_a_part_is_taken_whole_or_refused(folder):
    patches = split_discs(folder / "patches").sample(frac=1, random_state=0)
    part = take_part(patches, "validation")
    assert list(part.index) == list(range(len(part))) and set(part["split"]) == {"validation"}
    assert sorted(part["image"]) == sorted(patches.loc[patches["split"] == "validation", "image"])
    with pytest.raises(InputError, match="no patch is for test; give it a share"):
        take_part(patches, "test")
    with pytest.raises(InputError, match="no column split"):
        take_part(patches.drop(columns="split"), "test")
