"""A note in the place of a step's files: passed on, left out of tables, and taken back."""

import logging
from types import SimpleNamespace

import pandas as pd
import pytest
import zarr
from snakemake.iocontainers import InputFiles, Wildcards

from nephrospot.errors import InputError, PassingError
from nephrospot.files import write_json, write_parquet
from nephrospot.job import job
from nephrospot.omezarr import open_masks
from nephrospot.refusals import find_refused, leave_out, read_note, take_back, write_note

WHY = ["slide K1: the pixels near x 5, y 7 can't be read; copy the slide again."]


@pytest.fixture(autouse=True)
def keep_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for slide, problems in (("K1", []), ("K2", []), ("K3", ["slide K3: no slide."])):
        write_json(tmp_path / "results" / slide / "slide.json", {"problems": problems})
    return tmp_path / "results"


def run(inputs, outputs, body=lambda: None, slide="K1", **options):
    """A script's body as Snakemake runs it; its exit code."""
    wildcards = Wildcards(fromdict={"slide": slide} if slide else {})
    snakemake = SimpleNamespace(
        log=[f"logs/{slide}.log"], rule="rule", wildcards=wildcards, input=InputFiles(inputs), output=outputs, config={}
    )
    try:
        with job(snakemake, **options):
            body()
    except SystemExit as end:
        return end.code
    return 0


def refuse():
    raise InputError(WHY[0])


def test_a_step_of_one_slide_leaves_notes_and_the_run_goes_on(results):
    outputs = ["results/K1/m/spots.parquet", "results/K1/m/masks.ome.zarr"]
    assert run([], outputs, refuse) == 0
    assert [read_note(path) for path in outputs] == [WHY, WHY]
    assert "can't go on: slide K1" in (results.parent / "logs/K1.log").read_text()


def test_the_steps_that_follow_pass_it_on_without_doing_anything(results):
    write_note(["results/K1/m/masks.ome.zarr"], WHY)
    done = []
    assert run(["results/K1/m/masks.ome.zarr"], ["results/K1/m/a.parquet"], lambda: done.append(1)) == 0
    assert done == [] and read_note("results/K1/m/a.parquet") == WHY
    assert run(["results/K3/slide.json"], ["results/K3/tiles.parquet"], slide="K3") == 0
    assert read_note("results/K3/tiles.parquet") == ["slide K3: no slide."]


def test_nobody_takes_a_note_for_data(results):
    """Where a step forgot to look, it must fail."""
    write_note(["results/K1/m/spots.parquet", "results/K1/m/masks.ome.zarr"], WHY)
    with pytest.raises(Exception, match=r"[Pp]arquet"):
        pd.read_parquet("results/K1/m/spots.parquet")
    with pytest.raises(InputError, match="isn't an OME-Zarr"):
        open_masks("results/K1/m/masks.ome.zarr")


@pytest.mark.parametrize("slide", ["K1", None])
def test_what_the_input_is_not_to_blame_for_fails(results, slide):
    def fill_the_disk():
        raise PassingError("the disk is full.")

    assert run([], ["results/K1/a.json"], fill_the_disk, slide) == 1
    assert not (results / "K1/a.json").exists()


def test_a_table_of_all_slides_fails_unless_it_can_leave_some_out(results):
    write_note(["results/K1/m/spots.parquet"], WHY)
    spots = ["results/K1/m/spots.parquet", "results/K2/slide.json"]
    assert run(spots, ["results/table.tsv"], slide=None) == 1
    assert run(spots, ["results/table.tsv"], slide=None, can_leave_out=True) == 0
    assert not (results / "table.tsv").exists(), "no note in the place of a table"


def test_outputs_elsewhere_get_no_note(results):
    assert run([], ["demo/K1/slide.tiff"], refuse) == 1


def test_who_is_refused_is_found_among_the_inputs(results):
    write_note(["results/K1/m/spots.parquet", "results/K1/n/spots.parquet"], WHY)
    write_parquet("results/K2/m/spots.parquet", pd.DataFrame({"a": [1]}))
    write_json("results/verdicts.json", {"problems": [], "slides": {"K2": ["slide K2: scores."]}, "lines": []})
    inputs = ["results/K1/m/spots.parquet", "results/K1/n/spots.parquet", "results/K2/m/spots.parquet"]
    assert find_refused([*inputs, "demo/K9/slide.tiff"], "results") == {"K1": WHY}
    refused = find_refused(inputs, "results", "results/verdicts.json")
    assert refused == {"K1": WHY, "K2": ["slide K2: scores."]}
    assert leave_out(["K0", "K1", "K2"], refused) == ["K0"] and leave_out({"K0": 1, "K1": 2}, refused) == {"K0": 1}
    assert leave_out([], refused) == [], "a cohort without spots has none to leave out"
    with pytest.raises(InputError, match="none of the slides can be used"):
        leave_out(["K1", "K2"], refused)


def test_no_table_where_what_all_share_is_wrong(results):
    write_json("results/verdicts.json", {"problems": ["config, published: gone."], "slides": {}, "lines": []})
    with pytest.raises(InputError, match="config, published"):
        find_refused([], "results", "results/verdicts.json")


def test_notes_are_taken_back_and_nothing_else_is(results):
    write_note(["results/K1/tiles.parquet", "results/K1/m/masks.ome.zarr", "results/K1/m/predict.json"], WHY)
    zarr.open_group("results/K2/m/masks.ome.zarr", mode="w")
    write_parquet("results/K2/tiles.parquet", pd.DataFrame({"a": [1]}))
    before = {path for path in results.rglob("*") if "K1" not in path.parts}
    assert take_back(["K1", "K2", "K3"], "results") == {"K1": WHY}
    assert {path for path in results.rglob("*") if "K1" not in path.parts} == before
    assert [path.name for path in (results / "K1").rglob("*")] == ["slide.json"], "no empty folder either"
    assert take_back(["K1", "K2", "K3"], "results") == {}
