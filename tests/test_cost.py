"""Parameters, multiply–accumulates and seconds; every tissue and scale code from one set of features."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from nephrospot.cost import COLUMNS, build_shapes, count_macs, count_parameters, list_costs, list_readings, write_costs
from nephrospot.models import SCALE_CODES, TISSUES, build
from nephrospot.report.codes import draw_every_code, read_every_code, write_every_code
from networks import seeded_state


def unet_macs(f, side, depth=5):
    """Multiply–accumulates of the plain U-Net with f filters at the first level, layer by layer."""
    sizes, total = [f * 2**k for k in range(depth)], 0
    for level, size in enumerate(sizes):
        pixels = (side // 2**level) ** 2
        total += pixels * 9 * ((sizes[level - 1] if level else 3) + size) * size
    for level in range(depth - 1):
        pixels = (side // 2**level) ** 2
        deep, shallow = sizes[level + 1], sizes[level]
        total += pixels * (deep * shallow + 9 * (deep * shallow + shallow * shallow))
    return total + side**2 * f * 2


def test_counts_of_the_published_networks():
    """The numbers that the official code prints and that were counted in it."""
    scale, tissue = build_shapes("omni-seg"), build_shapes("omni-seg-class")
    assert (count_parameters(scale), count_parameters(tissue)) == (6_986_122, 6_033_238)
    assert (count_parameters(scale, ["PT"]), count_parameters(tissue, ["PT"])) == (6_909_706, 5_956_822), "dead layers"
    assert count_macs(scale, ["CAP"]) == pytest.approx(11.04e9, rel=5e-4)
    assert count_macs(scale, list(TISSUES)) < 1.03 * count_macs(scale, ["CAP"]), "six tissues share one backbone"


def test_counts_of_separate_networks():
    nets = build_shapes("multi-unet", width=8)
    each = {tissue: count_parameters(nets, [tissue], 32) for tissue in TISSUES}
    assert sum(each.values()) == count_parameters(nets) == count_parameters(nets, TISSUES, 32)
    assert each["CAP"] < each["PT"], "glomeruli have the smaller network"
    macs = {tissue: count_macs(nets, [tissue], 64) for tissue in TISSUES}
    assert macs["PT"] == unet_macs(8, 64) and macs["CAP"] == unet_macs(4, 64), "as counted layer by layer"
    assert count_macs(nets, list(TISSUES), 64) == sum(macs.values()), "and six tissues cost six networks"
    assert count_macs(nets, ["PT"], 128) == 4 * macs["PT"], "four times the pixels"


def test_shapes_and_real_networks_agree():
    real, shapes = build("omni-seg", width=8), build_shapes("omni-seg", width=8)
    for tissues in (["VES"], list(TISSUES)):
        assert count_macs(real, tissues, 32) == count_macs(shapes, tissues, 32)
        assert count_parameters(real, tissues, 32) == count_parameters(shapes, tissues, 32)


def test_table_of_costs(tmp_path):
    config = {
        "small": {"network": "multi-unet", "options": {"width": 4}},
        "omni": {"network": "omni-seg", "options": {"width": 8}},
        "perfect": {"masks": "{tissue}.png"},
    }
    costs = list_costs(config, repeats=2, side_px=32)
    assert list(costs) == COLUMNS and len(costs) == 2 * 7, "a row a tissue and one for all; masks have no cost"
    assert (costs["seconds"] > 0).all() and set(costs["device"]) == {"cpu"} and (costs["threads"] > 0).all()
    write_costs(costs, tmp_path / "costs.tsv")
    back = pd.read_csv(tmp_path / "costs.tsv", sep="\t")
    assert back["parameters_used"].equals(costs["parameters_used"])
    counted = list_costs({"small": config["small"]}, side_px=32)
    assert counted["seconds"].isna().all() and counted["macs"].tolist() == costs["macs"][:7].tolist()
    with pytest.raises(ValueError, match="did you mean 'omni-seg'"):
        list_costs({"x": {"network": "omniseg"}})


def test_published_scale_codes():
    assert list_readings(TISSUES) == [(0, 1), (1, 1), (2, 0), (3, 0), (4, 1), (5, 3)], "the official folders"


@pytest.fixture
def omniseg():
    method = build("omni-seg", width=8)
    method.load_state_dict(seeded_state(method, 4))
    return method.eval()


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def test_every_code_equals_a_pass_of_its_own(omniseg, image):
    calls = []
    hook = omniseg.layer4.register_forward_hook(lambda *_: calls.append(1))
    grid = read_every_code(omniseg, image)
    hook.remove()
    assert len(calls) == 1, "one set of features"
    assert grid.features.shape == (8, 32, 48) and grid.margins.shape == (6, 4, 32, 48)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float() / 255
    for tissue in range(6):
        for scale in range(4):
            with torch.no_grad():
                logits = omniseg(tensor, torch.tensor([tissue]), torch.tensor([scale]))[0]
            expected = (logits[1] - logits[0]).numpy()
            np.testing.assert_allclose(grid.margins[tissue, scale], expected, rtol=1e-4, atol=1e-4)
    assert np.abs(grid.margins[2, 0] - grid.margins[2, 3]).max() > 1e-3, "the scale code matters"


def test_class_aware_answers_do_not_know_the_scale(image):
    method = build("omni-seg-class", width=8)
    method.load_state_dict(seeded_state(method, 4))
    margins = read_every_code(method, image).margins
    np.testing.assert_array_equal(margins, np.repeat(margins[:, :1], 4, axis=1))
    assert np.abs(margins[0] - margins[1]).max() > 1e-3, "but the tissue"


def test_figure_of_every_code(omniseg, image, tmp_path):
    grid = read_every_code(omniseg, image)
    picture = draw_every_code(grid, image, "a <patch> & more")
    words = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]
    told = " ".join(words)
    for tissue, row in zip(TISSUES, grid.margins, strict=True):
        for code, margins in zip(SCALE_CODES, row, strict=True):
            assert re.search(rf"\b{tissue}, {code}× +{100 * (margins > 0).mean():.0f} %", told), f"{tissue} at {code}×"
    assert "a <patch> & more" in told and "feature 8" in told
    write_every_code(grid, image, tmp_path / "fig8.svg", "a <patch> & more")
    assert (tmp_path / "fig8.svg").read_text(encoding="utf-8") == picture, "same inputs, same bytes"


def test_every_code_refusals(omniseg, image):
    with pytest.raises(ValueError, match="give a method with network omni-seg"):
        read_every_code(build("multi-unet", width=4), image)
    with pytest.raises(ValueError, match=r"shape \(30, 48, 3\).*multiples of 16"):
        read_every_code(omniseg, image[:30])
