"""A method with several files of weights and flipped windows: from the configuration to the bits, and its mistakes."""

import copy
import subprocess
from dataclasses import replace

import pytest
import yaml

from method_tests import fill
from nephrospot.cohort import describe_weights
from nephrospot.files import read_json, sha256
from nephrospot.models import NETWORKS, build
from nephrospot.models.ensemble import load_ensemble
from nephrospot.models.weights import save_weights
from nephrospot.predict import Task, list_tasks, run_method
from nephrospot.prerequisites import check_prerequisites
from nephrospot.settings import read_settings
from segmenting import Threshold, files_of
from small_project import Project

SEEDS = 3, 5  # of networks that find something here and nothing there
FOLDS = [f"weights/fold{seed}.safetensors" for seed in SEEDS]
READINGS = [("PT", 5.0, 10), ("CAP", 10.0, 5)]


def save_fold(path, seed):
    save_weights(
        fill(build("multi-unet", width=4), seed), path, {"options": {"width": 4}, "data": f"simulated, fold {seed}"}
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    """One slide, segmented by a method of two folds: by a process ahead, then by the ordinary run."""
    project = Project(tmp_path_factory.mktemp("folds"), root)
    for seed, path in zip(SEEDS, FOLDS, strict=True):
        save_fold(project.folder / path, seed)
    table = {tissue: {"magnification": m, "scale_code": code} for tissue, m, code in READINGS}
    method = {"label": "Folds", "network": "multi-unet", "weights": FOLDS, "flips": True}
    method["species_readings"] = {"mouse": table}
    config = copy.deepcopy(project.config)
    config["methods"] = {"folds": method}
    config["segmentation"] |= {"window_px": 128, "halo_px": 16, "precision": "fp32"}
    config |= {"comparisons": [], "evaluation": {}}
    for target in ("predict_ahead", "results/K1/folds/predict.json"):
        command = project.command(target, [project.row("K1")], config)
        done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if target == "predict_ahead":
            ready = read_json(project.folder / "results/ahead.json")["ready"]
            assert ready == ["results/K1/folds/predicted.zarr"], "share and joining are the same task"
    return project


@pytest.fixture
def task(project, monkeypatch):
    """What the workflow asked for, by hand."""
    monkeypatch.chdir(project.folder)
    settings = read_settings(yaml.safe_load((project.folder / "config/config.yaml").read_text()))
    segmentation = {**settings["segmentation"], "mode": "nephrospot", "flips": True}
    manifest = read_json("results/K1/slide.json")
    files = ("demo/K1/slide.tiff", manifest, "results/K1/tiles.parquet", "results/K1/tissue.png")
    return Task(*files, "multi-unet", FOLDS, READINGS, segmentation)


def predict(task, folder):
    """Facts and files of a task run here."""
    run_method(task, folder / "p.zarr", folder / "p.json", threads=1)
    return read_json(folder / "p.json"), files_of(folder / "p.zarr")


@pytest.mark.long
class TestWorkflow:
    def test_the_bits_are_those_of_both_folds_and_all_flips(self, project, task, tmp_path):
        bits = files_of(project.folder / "results/K1/folds/predicted.zarr")
        del bits[".snakemake_timestamp"]
        assert predict(task, tmp_path)[1] == bits
        segmentation = {**task.segmentation, "flips": False}
        upright = predict(replace(task, segmentation=segmentation), tmp_path)[1]
        single = predict(replace(task, weights=FOLDS[0]), tmp_path)[1]
        assert bits != upright != single != bits, "folds and flips each make a difference"

    def test_the_summary_says_how_it_was_made(self, project, task):
        facts = read_json(project.folder / "results/K1/folds/predict.json")
        assert facts["weights"] == FOLDS and facts["flips"] is True
        assert facts["weights_sha256"] == sha256(FOLDS)
        assert [card["data"] for card in facts["card"]["folds"]] == ["simulated, fold 3", "simulated, fold 5"]
        described = describe_weights(FOLDS)
        assert described["sha256"] == facts["weights_sha256"] and described["card"] == facts["card"]
        assert described["path"] == ", ".join(FOLDS), "the report's words"


class TestOneFile:
    def test_a_list_of_one_is_the_file(self, task, tmp_path):
        segmentation = {**task.segmentation, "flips": False}
        tasks = [replace(task, weights=weights, segmentation=segmentation) for weights in (FOLDS[0], FOLDS[:1])]
        (facts, bits), (again, same) = (predict(each, tmp_path) for each in tasks)
        assert bits == same and tasks[0].key == tasks[1].key
        assert facts["weights"] == again["weights"] == FOLDS[0] and facts["card"]["data"] == "simulated, fold 3"
        assert describe_weights(FOLDS[:1]) == {
            "path": FOLDS[0], "sha256": sha256(FOLDS[0]), "card": load_ensemble("multi-unet", FOLDS[0])[1]
        }  # fmt: skip

    def test_what_decides_the_bits_is_in_the_key(self, task):
        """Or unfinished work of another method would be gone on with."""
        others = [
            replace(task, weights=FOLDS[0]),
            replace(task, weights=FOLDS[::-1]),
            replace(task, segmentation={**task.segmentation, "flips": False}),
        ]
        assert len({task.key, *(other.key for other in others)}) == 4

    def test_a_share_takes_lists_and_single_files(self, task, tmp_path):
        slides = [("K1", task.image, task.manifest, task.tiles, task.tissue)]
        weights, segmentation = {"a": FOLDS, "b": FOLDS[0]}, dict.fromkeys("ab", task.segmentation)
        readings = {"K1": dict.fromkeys("ab", READINGS)}
        tasks = list_tasks(slides, dict.fromkeys("ab", "multi-unet"), weights, readings, segmentation, "", tmp_path)
        assert [made.weights for made, _, _ in tasks] == [FOLDS, FOLDS[0]] and tasks[0][0].key == task.key


class GlomeruliAlone(Threshold):
    """A network that knows one tissue."""

    tissues = ("CAP",)


class TestCheck:
    @pytest.fixture
    def check(self, root, tmp_path, monkeypatch):
        """The problems of a configuration with one method, with mouse slides alone."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(NETWORKS, "glomeruli", GlomeruliAlone)
        config = yaml.safe_load((root / "config/config.yaml").read_text())
        config |= {"published": str(root / "config/published.tsv"), "comparisons": [], "evaluation": {}}

        def check(window_px=256, **method):
            config["segmentation"]["window_px"] = window_px
            settings = read_settings(config | {"methods": {"net": {"label": "Net", **method}}})
            manifest = {"slide": "K1", "visium": "", "species": "mouse", "problems": []}
            return check_prerequisites([manifest], settings)[1]

        return check

    def test_good_folds_are_nothing_to_tell(self, check):
        for seed, name in enumerate("ab"):
            save_fold(f"{name}.safetensors", seed)
        assert check(network="multi-unet", weights=["a.safetensors", "b.safetensors"], flips=True) == []

    def test_a_fold_that_is_missing(self, check):
        save_fold("a.safetensors", 0)
        told = check(network="multi-unet", weights=["a.safetensors", "b.safetensors"])
        assert len(told) == 1 and "methods.net: correct network or weights" in told[0]
        assert "b.safetensors: there are no weights" in told[0]

    def test_a_tissue_that_the_network_does_not_know(self, check):
        save_weights(GlomeruliAlone(), "w.safetensors", {})
        told = check(network="glomeruli", weights="w.safetensors")
        assert len(told) == 5, told
        for tissue, sentence in zip(("DT", "PT", "TUFT", "VES", "PTC"), sorted(told, key=told.index), strict=True):
            assert f"these weights of glomeruli know CAP and not {tissue} (under mouse)" in sentence
            assert f"species_readings.mouse without {tissue}" in sentence
        table = {"mouse": {"CAP": {"magnification": 20, "scale_code": 5}}}
        assert check(network="glomeruli", weights="w.safetensors", species_readings=table) == []
        save_weights(GlomeruliAlone(), "other.safetensors", {})
        folds = ["w.safetensors", "other.safetensors"]
        assert len(check(network="glomeruli", weights=folds)) == 5, "folds know what each of them knows"

    def test_a_window_that_the_network_cannot_take(self, check):
        save_weights(build("multi-kidney", width=4), "w.safetensors", {"options": {"width": 4}})
        net = {"network": "multi-kidney", "weights": "w.safetensors"}
        told = check(window_px=240, **net)
        assert told == [
            "config, methods.net: multi-kidney needs windows of a multiple of 32 px, and segmentation.window_px is "
            "240; give 224 or 256."
        ]
        assert check(window_px=96, **net) == [] and check(window_px=240, mode="kpis", **net) == []
        save_fold("a.safetensors", 0)
        assert check(window_px=240, network="multi-unet", weights="a.safetensors") == []
