"""The whole workflow on Slurm: the same bytes as on this machine alone, also without a slide that can't be used."""

import json
import shutil

import pandas as pd
import pytest

from slurm_project import SlurmProject
from small_project import summary

pytestmark = pytest.mark.slurm
TABLES = ["correlations.parquet", "differences.parquet", "table2.tsv", "table2.html"]


@pytest.fixture(scope="module")
def done(tmp_path_factory, root):
    """A cohort that went through Slurm."""
    project = SlurmProject(tmp_path_factory.mktemp("cohort"), root)
    project.told = project.run()
    return project


def read(project):
    return {name: (project.folder / "results" / name).read_bytes() for name in TABLES}


def test_the_tables_are_byte_for_byte_those_of_a_local_run(done):
    """The report tells how many seconds the networks took, so it isn't."""
    there = read(done)
    shutil.move(done.folder / "results", done.folder / "kept")
    try:
        done.run_locally()
        assert read(done) == there
    finally:
        shutil.rmtree(done.folder / "results")
        shutil.move(done.folder / "kept", done.folder / "results")


def test_what_follows_the_networks_is_one_job_a_slide(done):
    """And asks for no more than its largest step."""
    groups = done.jobs("finish")
    assert [(job.state, job.memory) for job in groups] == [("COMPLETED", "2500M")] * 2
    assert "draw_overlay" in groups[0].comment and not done.jobs("draw_overlay")


def test_a_corrupt_slide_is_left_out_and_the_others_are_done(done):
    before = len(done.jobs("check_slide"))
    slide = done.folder / "demo/K1/slide.tiff"
    (done.folder / "cut.tiff").write_bytes(slide.read_bytes()[: slide.stat().st_size // 2])
    done.give(done.row("K1"), done.row("K2", like="K2"), done.row("K3", image="cut.tiff"))
    told = done.run(expect=1)
    assert any("slide K3:" in sentence and "cut.tiff" in sentence for sentence in summary(told))
    table = pd.read_parquet(done.folder / "results/correlations.parquet")
    assert set(table["left_out"]) == {"K3"} and "slide:K3" not in set(table["level"])
    assert "K3" in (done.folder / "results/report.html").read_text()
    assert len(done.jobs("check_slide")) == before + 1, "the two others were done already"
    assert json.loads((done.folder / "results/verdicts.json").read_text())["slides"].keys() == {"K3"}
