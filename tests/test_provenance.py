"""What made the results: every file by its hash, and a state that a run can begin with."""

import hashlib
import json

import pytest
import yaml

from nephrospot.errors import InputError
from nephrospot.provenance import describe_checkout, gather_provenance, hash_inputs, write_state
from nephrospot.settings import read_settings
from nephrospot.sheet import read_sheet


@pytest.fixture
def given(tmp_path):
    files = ["slide.tiff", "scores.csv", "outs/spatial/tissue_positions.csv", "outs/filtered_feature_bc_matrix.h5",
             "outs/filtered_feature_bc_matrix/matrix.mtx.gz", "outs/possorted_genome_bam.bam"]  # fmt: skip
    for number, name in enumerate(files):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 10)
    return {"image": str(tmp_path / "slide.tiff"), "visium": str(tmp_path / "outs"), "scores": f"{tmp_path}/scores.csv"}


def test_every_file_that_is_read_has_its_hash_and_no_other(given, tmp_path):
    found = hash_inputs(**given)
    names = {path.removeprefix(f"{tmp_path}/") for path in found}
    assert names == {
        "slide.tiff",
        "scores.csv",
        "outs/spatial/tissue_positions.csv",
        "outs/filtered_feature_bc_matrix.h5",
        "outs/filtered_feature_bc_matrix/matrix.mtx.gz",
    }, "a BAM isn't read"
    assert found[given["image"]] == {"bytes": 10, "sha256": hashlib.sha256(bytes(10)).hexdigest()}


def test_one_byte_is_seen(given, tmp_path):
    before = hash_inputs(**given)
    (tmp_path / "outs/spatial/tissue_positions.csv").write_bytes(b"x" * 10)
    after = hash_inputs(**given)
    assert [path for path in before if before[path] != after[path]] == [f"{tmp_path}/outs/spatial/tissue_positions.csv"]


def test_a_slide_alone_is_enough_and_a_lost_file_is_told(given, tmp_path):
    assert list(hash_inputs(given["image"])) == [given["image"]]
    with pytest.raises(InputError, match=r"lost\.csv: the file is gone; put it back"):
        hash_inputs(given["image"], scores=str(tmp_path / "lost.csv"))


def test_a_run_can_begin_with_the_state(root, tmp_path):
    settings = read_settings(yaml.safe_load((root / "config/config.yaml").read_text()))
    sheet = read_sheet(root / settings["sheet"], settings, look_for_files=False)
    write_state(settings, sheet, tmp_path / "config.yaml", tmp_path / "slides.tsv")
    again = read_settings(yaml.safe_load((tmp_path / "config.yaml").read_text()))
    assert again == settings | {"sheet": str(tmp_path / "slides.tsv")}
    assert read_sheet(tmp_path / "slides.tsv", again, look_for_files=False).equals(sheet)


def test_the_record_tells_code_versions_and_results(root, tmp_path):
    settings = read_settings(yaml.safe_load((root / "config/config.yaml").read_text()))
    settings["methods"] = {"omni-seg": settings["methods"]["omni-seg"]}
    settings["methods"]["omni-seg"]["weights"] = str(root / settings["methods"]["omni-seg"]["weights"])
    settings["published"] = str(root / settings["published"])
    settings["deconvolution"]["reference"] = ""
    (tmp_path / "inputs.json").write_text(json.dumps({"a.tiff": {"bytes": 1, "sha256": "0"}}))
    (tmp_path / "table2.tsv").write_text("method\n")
    record = gather_provenance(
        settings, [str(tmp_path / "inputs.json")], [str(tmp_path / "table2.tsv")], {"numpy": "2"}, root
    )
    assert set(record["inputs"]) == {"a.tiff", settings["published"], settings["methods"]["omni-seg"]["weights"]}
    assert len(record["code"]["correlate_spots"]) == 12 and record["versions"] == {"numpy": "2"}
    assert record["results"][str(tmp_path / "table2.tsv")]["bytes"] == 7


def test_a_checkout_tells_its_commit_where_there_is_one(tmp_path):
    assert describe_checkout(tmp_path) == {"commit": "", "changed": []}
