"""The workflow after a whole run of the demonstration: again from its record, work done ahead, and from raw reads."""

import json
import re
import shutil

import pytest

from demo_project import Project
from fake_spaceranger import install

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    project = Project(tmp_path_factory.mktemp("project"), root)
    project.run("--cores", "2")
    return project


@pytest.fixture(scope="module")
def results(project):
    return project.folder / "results"


def test_a_rerun_from_the_record_gives_the_same_tables(results, project):
    project.run(
        "--cores", "2", "--configfile", "results/provenance/config.yaml", "--config", "results=again",
    )  # fmt: skip
    for name in ("table2.tsv", "correlations.parquet", "differences.parquet", "evaluation.tsv"):
        assert (project.folder / "again" / name).read_bytes() == (results / name).read_bytes()
    shutil.rmtree(project.folder / "again")


class TestAhead:
    """Work done ahead by two processes, then taken over by the ordinary run."""

    def test_it_ends_with_the_same_bytes_and_no_network_runs_again(self, project, results):
        store = results / "K1/omni-seg/predicted.zarr"
        before = {path.relative_to(store): path.read_bytes() for path in store.rglob("[0-9z]*") if path.is_file()}
        assert len(before) > 4
        shutil.rmtree(store)
        (results / "K1/omni-seg/predict.json").unlink()
        path = project.folder / "config/config.yaml"
        kept = path.read_text()
        project.configure({"segmentation": {"shares": 2}})
        try:
            told = project.run("predict_ahead", "--cores", "2")
            assert "2-of-2" in told
            ready = json.loads((results / "ahead.json").read_text())["ready"]
            assert ready == ["results/K1/omni-seg/predicted.zarr"], "what is done isn't done again"
            project.run("--cores", "2")
        finally:
            path.write_text(kept)
        after = {path.relative_to(store): path.read_bytes() for path in store.rglob("[0-9z]*") if path.is_file()}
        assert after == before
        facts = json.loads((results / "K1/omni-seg/predict.json").read_text())
        log = (results / "logs/predict_masks/K1.omni-seg.log").read_text()
        assert float(re.search(r"done in ([\d.]+) s", log)[1]) < 0.5 * facts["seconds"], "taken over, not computed"
        assert not list((results / "K1/omni-seg").glob(".predicted*")), "nothing is left behind"


class TestReads:
    """From raw reads, with a program that stands for the user's Space Ranger."""

    @pytest.fixture
    def with_reads(self, project, tmp_path):
        (tmp_path / "bin").mkdir()
        shutil.copytree(project.folder / "demo/K1/outs", tmp_path / "bin/outs")
        for name in ("fastq/K1_S1_L001_R1_001.fastq.gz", "fastq/K1_S1_L001_R2_001.fastq.gz", "mm10/reference.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        reads = {"spaceranger": str(install(tmp_path / "bin")), "transcriptome": str(tmp_path / "mm10")}
        reads["slides"] = {"K1": {"fastqs": str(tmp_path / "fastq"), "serial": "V19J01-123", "area": "A1"}}
        path = project.folder / "config/config.yaml"
        kept = path.read_text()
        project.configure({"reads": reads})
        yield tmp_path / "bin"
        path.write_text(kept)
        project.write_sheet("K1", "K4")

    def test_without_space_ranger_nothing_starts(self, project, with_reads):
        (with_reads / "spaceranger").unlink()
        told = project.run("check", "--cores", "1", expect=1)
        assert "install Space Ranger from 10x Genomics" in told and "Traceback" not in told

    def test_the_folder_is_counted_and_the_slide_goes_on_from_it(self, project, results, with_reads):
        assert "count_spots" not in project.planned(), "only where it is asked for, or the sheet names its folder"
        project.write_sheet("K1", "K4")
        sheet = project.folder / "config/slides.tsv"
        sheet.write_text(sheet.read_text().replace("demo/K1/outs", "results/spaceranger/K1/outs"))
        project.run("results/K1/slide.json", "--cores", "2")
        slide = json.loads((results / "K1/slide.json").read_text())
        assert slide["visium"] == "results/spaceranger/K1/outs" and slide["problems"] == []
        told = [json.loads(line) for line in (with_reads / "calls.jsonl").read_text().splitlines()]
        assert len(told) == 1 and {"count", "--id=K1", "--localcores=2", "--area=A1"} <= set(told[0])
        another = {"fastqs": str(with_reads.parent / "fastq"), "sample": "K1", "serial": "V19J01-123", "area": "B1"}
        project.configure({"reads": {"slides": {"K4": another}, "min_version": "3.0"}})
        assert project.planned("results/K1/slide.json") == {}, "another slide or version limit counts nothing again"
        shutil.rmtree(results / "spaceranger")
