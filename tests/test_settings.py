"""The configuration: defaults, and one sentence for every mistake."""

import copy

import pytest
import yaml

from nephrospot.errors import InputError
from nephrospot.given import look_for_files
from nephrospot.settings import read_schema, read_settings

MINIMAL = """
species: {mouse: {CAP: {magnification: 20, scale_code: 5}, PT: {magnification: 10, scale_code: 10}}}
tissues:
  CAP: {name: glomerulus, colour: "#e69f00"}
  PT: {name: proximal tubule, colour: "#009e73", cell_types: [PT-S1]}
methods:
  net: {label: Net, network: omni-seg, weights: w.safetensors}
  mine: {label: Mine, masks: "masks/{slide}/{tissue}.png"}
comparisons: [{tissue: CAP, reference: pathologist}]
"""


@pytest.fixture
def config():
    return yaml.safe_load(MINIMAL)


def refuse(config):
    """The sentences with which a configuration is refused."""
    with pytest.raises(InputError) as caught:
        read_settings(config)
    return str(caught.value).splitlines()


def test_defaults_are_filled_in_and_the_input_is_left_alone(config):
    before = copy.deepcopy(config)
    settings = read_settings(config)
    assert config == before
    assert settings["spots"] == {"diameter_um": 55}
    assert settings["segmentation"]["tissue"]["min_saturation"] == 20
    assert settings["methods"]["net"]["ceiling"] is settings["methods"]["net"]["flips"] is False
    assert settings["tissues"]["CAP"]["cell_types"] == []
    assert settings["deconvolution"]["max_mt_percent"] == 50
    assert read_settings(settings) == settings, "settings are a configuration, too"


def test_defaults_are_not_shared(config):
    config["tissues"]["PT"].pop("cell_types")
    tissues = read_settings(config)["tissues"]
    tissues["CAP"]["cell_types"].append("Podo")
    assert tissues["PT"]["cell_types"] == []


def test_the_shipped_configuration_passes(root):
    path = root / "config" / "config.yaml"
    assert read_settings(yaml.safe_load(path.read_text(encoding="utf-8")))["sheet"] == "config/slides.tsv"


def test_schema_describes_every_key_and_allows_no_other():
    def walk(part, path):
        if part.get("type") == "object":
            assert part.get("additionalProperties") is not None, f"{path} would swallow a typo"
        for key, child in part.get("properties", {}).items():
            here = f"{path}.{key}".strip(".")
            assert "description" in child or "$ref" in child, f"{here} has no description"
            walk(child, here)
        for key in ("additionalProperties", "items"):
            if isinstance(part.get(key), dict):
                walk(part[key], path)

    schema = read_schema("config")
    walk(schema, "")
    walk(schema["$defs"]["readings"], "readings")


def put(config, path, value):
    *parents, key = path.split("/")
    for parent in parents:
        config = config[int(parent) if isinstance(config, list) else parent]
    config[int(key) if isinstance(config, list) else key] = value


MISTAKES = [
    ("tisues", {}, "tisues", "did you mean 'tissues'"),
    ("segmentation", {"windowpx": 256}, "segmentation.windowpx", "did you mean 'window_px'"),
    ("segmentation", {"tissue": {"min_area": 3}}, "segmentation.tissue.min_area", "did you mean 'min_area_um2'"),
    ("methods/net/weigths", "x", "methods.net.weigths", "did you mean 'weights'"),
    ("segmentation", {"window_px": 500}, "segmentation.window_px", "a multiple of 16"),
    ("segmentation", {"window_px": 256.5}, "segmentation.window_px", "whole number"),
    ("segmentation", {"window_px": True}, "segmentation.window_px", "whole number"),
    ("segmentation", {"halo_px": 128}, "segmentation.halo_px", "less than 128"),
    ("segmentation", {"max_upsampling": float("nan")}, "segmentation.max_upsampling", "finite"),
    ("segmentation", {"precision": "bf61"}, "segmentation.precision", "did you mean 'bf16'"),
    ("segmentation", {"sweep": [5, 5]}, "segmentation.sweep", "repeated"),
    ("segmentation", None, "segmentation", "empty"),
    ("spots", {"diameter_um": "55"}, "spots.diameter_um", "'55'; give a number"),
    ("spots", {"diameter_um": 0}, "spots.diameter_um", "more than 0"),
    ("spots", [55], "spots", "keys with values"),
    ("results", "", "results", "some text"),
    ("methods", {}, "methods", "at least one"),
    ("tissues/CAP/colour", "orange", "tissues.CAP.colour", '"#e69f00"'),
    ("tissues/CAP/colour", None, "tissues.CAP.colour", "quotes"),
    ("tissues/A b", {"name": "x", "colour": "#000000"}, "tissues.A b", "letters"),
    ("species/rat", {}, "species.rat", "human, mouse"),
    ("species/mouse/cap", {"magnification": 5, "scale_code": 5}, "species.mouse.cap", "did you mean 'CAP'"),
    ("species/mouse/CAP/scale_code", 15, "species.mouse.CAP.scale_code", "5, 10, 20, 40"),
    ("species/mouse/CAP", {"scale_code": 5}, "species.mouse.CAP.magnification", "missing"),
    ("comparisons/0/tissue", "CAPS", "comparisons.0.tissue", "did you mean 'CAP'"),
    ("comparisons/0/reference", "rctdd", "comparisons.0.reference", "did you mean 'rctd'"),
    ("deconvolution", {"methods": []}, "deconvolution.methods", "at least one"),
    ("deconvolution", {"methods": ["rctd", "cell2location"]}, "deconvolution.methods.1", "rctd, nnls"),
    ("deconvolution", {"mode": "multi"}, "deconvolution.mode", "full, doublet"),
    ("deconvolution", {"cell_umi": {"PT-S1": 0}}, "deconvolution.cell_umi.PT-S1", "more than 0"),
    ("deconvolution", {"second": {"cell_types": {"PTT": ["a"]}}}, "deconvolution.second.cell_types.PTT", "'PT'"),
    ("deconvolution", {"second": {"reference": "b.h5ad"}}, "deconvolution.second.reference", "first reference"),
    ("demo", {"seed": "x"}, "demo.seed", "whole number"),
    ("comparisons", [{"tissue": "CAP", "reference": "pathologist"}] * 2, "comparisons.1", "twice"),
    ("methods/a\\b", {"label": "x", "masks": "{slide}"}, "methods.a\\b", "letters"),
    ("methods/..", {"label": "x", "masks": "{slide}"}, "methods...", "letters"),
    ("methods/Net", {"label": "x", "masks": "{slide}"}, "methods.Net", "in case alone"),
    ("methods/mine/masks", "masks/all.png", "methods.mine.masks", "{slide}"),
    ("methods/mine/network", "omni-seg", "methods.mine", "keep masks, or"),
    ("methods/net", {"label": "x", "network": "omni-seg"}, "methods.net.weights", "missing"),
    ("methods/net", {"label": "x"}, "methods.net.network", "or masks"),
    ("methods/net/weights", 5, "methods.net.weights", "give text or a list"),
    ("methods/net/weights", "", "methods.net.weights", "some text"),
    ("methods/net/weights", [], "methods.net.weights", "at least one"),
    ("methods/net/weights", ["a", "b", "a"], "methods.net.weights", "the repeated one"),
    ("methods/net/weights", ["a", 5], "methods.net.weights.1", "give text"),
    ("methods/net/flips", "x", "methods.net.flips", "true or false"),
    ("methods/mine/flips", True, "methods.mine.flips", "there is no network"),
    ("segmentation", {"mode": "kpi"}, "segmentation.mode", "did you mean 'kpis'"),
    ("methods/net/mode", "official", "methods.net.mode", "omniseg-official"),
    ("segmentation", {"shifts": 3}, "segmentation.shifts", "1, 2, 4"),
    ("stitch", {"ngff": 0.4}, "stitch.ngff", "in quotes"),
    ("postprocess", {"CAPS": {}}, "postprocess.CAPS", "did you mean 'CAP'"),
    ("postprocess", {"CAP": {"min_area": 5}}, "postprocess.CAP.min_area", "did you mean 'min_area_um2'"),
    ("postprocess", {"CAP": {"inside": "CAP"}}, "postprocess.CAP.inside", "which can't be"),
    ("objects", {"tissues": ["CAPP"]}, "objects.tissues.0", "did you mean 'CAP'"),
    ("evaluation", {"truth": "mien", "tissues": ["CAP"]}, "evaluation.truth", "did you mean 'mine'"),
    ("evaluation", {"truth": "net", "tissues": ["CAP"]}, "evaluation.truth", "isn't a method with masks"),
    ("evaluation", {"truth": "mine", "tissues": ["CUP"]}, "evaluation.tissues.0", "did you mean 'CAP'"),
    ("evaluation", {"truth": "mine", "tissues": ["CAP"], "min_area_um2": {"CUP": 4}},
     "evaluation.min_area_um2.CUP", "did you mean 'CAP'"),
    ("evaluation", {"truth": "mine", "tissues": ["CAP"], "unions": {"CAP": ["PTT"]}},
     "evaluation.unions.CAP.0", "did you mean 'PT'"),
    ("evaluation", {"truth": "mine", "tissues": ["CAP"], "unions": {"CUP": ["PT"]}},
     "evaluation.unions.CUP", "did you mean 'CAP'"),
    ("evaluation", {"validation": ["B1"]}, "evaluation.validation", "give evaluation.truth"),
    ("evaluation", {"iou": 1}, "evaluation.iou", "less than 1"),
    ("methods/net/species_readings", {"mouse": {"DT": {"magnification": 5, "scale_code": 5}}},
     "methods.net.species_readings.mouse.DT", "isn't under tissues"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "key", "words"), MISTAKES, ids=[f"{m[2]}:{m[3]}" for m in MISTAKES])
def test_a_mistake_is_one_sentence_with_key_and_remedy(config, path, value, key, words):
    put(config, path, value)
    sentences = refuse(config)
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith(f"config, {key}: ")
    assert words in sentences[0]


def test_a_comparison_with_transcripts_needs_reference_method_and_cell_types(config):
    config["comparisons"] = [{"tissue": "CAP", "reference": "rctd"}]
    config["deconvolution"] = {"methods": ["nnls"]}
    told = refuse(config)
    assert len(told) == 3 and all(sentence.startswith("config, comparisons.0.reference: ") for sentence in told)
    for remedy in ("deconvolution.reference", "deconvolution.methods", "tissues.CAP.cell_types"):
        assert any(remedy in sentence for sentence in told), remedy
    config["comparisons"] = [{"tissue": "PT", "reference": "nnls"}]
    config["deconvolution"]["reference"] = "cells.h5ad"
    read_settings(config)


def test_all_mistakes_are_told_at_once(config):
    config["spots"] = {"diametre_um": 55}
    config["stitch"] = {"conflict_rule": "none"}
    config["tissues"]["CAP"]["colour"] = 3
    del config["species"]
    config[7] = 1
    told = "\n".join(refuse(config))
    for key in ("spots.diametre_um", "stitch.conflict_rule", "tissues.CAP.colour", "species", "7"):
        assert f"config, {key}:" in told


def test_files_are_looked_for_with_their_keys(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config["deconvolution"] = {"reference": "cells.h5ad", "second": {"reference": "more_cells.h5ad"}}
    settings = read_settings(config)
    with pytest.raises(InputError) as caught:
        look_for_files(settings, ["B1", "B2"], generated=["masks/B2"])
    told = str(caught.value).splitlines()
    keys = ["published", "deconvolution.reference", "deconvolution.second.reference"]
    keys += ["methods.net.weights", "methods.mine.masks"]
    assert [sentence.split(": ")[0] for sentence in told] == [f"config, {key}" for key in keys]
    assert all("doesn't exist; correct" in sentence for sentence in told) and "masks/B1" in told[-1]
    for folder in ("masks/B1", "config", "w.safetensors"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("config/published.tsv", "cells.h5ad", "more_cells.h5ad"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"^config, methods\.net\.weights: 'w.safetensors' is a folder; give"):
        look_for_files(settings, ["B1"])
    (tmp_path / "w.safetensors").rmdir()
    (tmp_path / "w.safetensors").touch()
    look_for_files(settings, ["B1"])
    config["methods"]["net"]["weights"] = ["w.safetensors", "w2.safetensors"]
    with pytest.raises(InputError, match=r"^config, methods\.net\.weights\.1: 'w2.safetensors' doesn't exist"):
        look_for_files(read_settings(config), ["B1"])


@pytest.mark.parametrize("config", [None, [], "text"])
def test_no_mapping_at_all(config):
    assert "config/config.yaml" in refuse(config)[0]
