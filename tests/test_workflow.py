"""The workflow as people run it: everything once, nothing twice, and only what a change concerns."""

import json
import os
import re
import shutil

import pandas as pd
import pytest

from demo_project import Project
from nephrospot.files import sha256
from nephrospot.table2 import read_published


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    project = Project(tmp_path_factory.mktemp("project"), root)
    project.first_run = project.run("--cores", "2")
    return project


@pytest.fixture(scope="module")
def results(project):
    return project.folder / "results"


TABLES = "correlate_spots measure_sensitivity write_table2 draw_worst write_report record_provenance all"
TABLES = dict.fromkeys(TABLES.split(), 1)
END = {"write_report": 1, "record_provenance": 1, "all": 1}  # the page and the record print every setting
COHORT = TABLES | {"write_evaluation": 1}
CHECK = {"judge_cohort": 1, "check": 1, "measure_readers": 1}


def after_masks(pairs, evaluated, slides=2):
    """What follows from new masks of so many slides and methods, all or some of which are compared with the truth."""
    each = ("measure_spots", "measure_objects", "export_geojson", "draw_overlay")
    return dict.fromkeys(each, pairs) | {"evaluate_masks": evaluated} | ({"try_spots": slides} if slides else {})


class TestFirstRun:
    def test_it_says_what_it_wrote(self, project):
        told = project.first_run
        assert "This run wrote" in told and "results/report.html" in told
        assert "K1: ok – 2000 × 2000 px, 0.5 µm per pixel" in told, "the check prints a line a slide"

    def test_perfect_masks_come_close_to_both_references(self, results):
        table = pd.read_csv(results / "table2.tsv", sep="\t").set_index("label")
        perfect = table.loc["Perfect masks (simulated truth)"]
        assert perfect["PT rctd: r_x100"] > 80
        assert perfect["CAP pathologist: r_x100"] > 85

    def test_the_networks_see_the_tissue(self, results):
        table = pd.read_csv(results / "table2.tsv", sep="\t").set_index("method")
        for name in ("omni-seg", "multi-unet"):
            assert table.loc[name, "PT rctd: r_x100"] > 40, "far above chance on a handful of spots"

    def test_every_published_method_is_a_row(self, results, root):
        table = pd.read_csv(results / "table2.tsv", sep="\t")
        published = read_published(root / "config/published.tsv")
        assert len(table) == 3 + published["method"].nunique() - 2, "two of the eight are run here"
        assert table["PT rctd: published_r_x100"].notna().sum() == 8

    def test_perfect_masks_measure_the_simulated_truth(self, results, project):
        for slide in ("K1", "K4"):
            spots = pd.read_parquet(results / slide / "perfect/spots.parquet").set_index("barcode")
            truth = pd.read_parquet(project.folder / "demo" / slide / "truth.parquet").set_index("barcode")
            both = spots.join(truth, rsuffix="_truth", how="inner")
            assert len(both) == len(spots) == len(truth)
            for tissue in ("PT", "CAP", "DT", "VES", "TUFT", "PTC"):
                error = (both[f"{tissue}_percent"] - both[f"{tissue}_percent_truth"]).abs()
                # Space Ranger's positions are whole pixels in this layout, and the truth counts whole pixels.
                assert error.max() < 1.5 and error.mean() < 0.2, f"{slide} {tissue}: {error.max():.2f} points"

    def test_tissue_that_the_slide_is_too_coarse_for_has_its_reason(self, results):
        summary = json.loads((results / "K1/omni-seg/predict.json").read_text())
        assert "0.25 µm per pixel" in summary["refused"]["PTC"]
        assert "PTC_percent" not in pd.read_parquet(results / "K1/omni-seg/spots.parquet")

    def test_the_report_names_the_weights(self, results):
        page = (results / "report.html").read_text()
        summary = json.loads((results / "K1/omni-seg/predict.json").read_text())
        assert summary["weights_sha256"] in page and "imulated" in page

    def test_the_record_knows_every_file_and_table(self, results, project):
        record = json.loads((results / "provenance/provenance.json").read_text())
        images = [f"demo/{slide}/slide.tiff" for slide in ("K1", "K4")]
        read = [*images, "demo/reference.h5ad", "workflow/weights/simulated/omni-seg.safetensors"]
        for path in read:
            assert record["inputs"][path]["sha256"] == sha256(project.folder / path)
        assert record["results"]["results/table2.tsv"]["sha256"] == sha256(results / "table2.tsv")
        assert len(record["checkout"]["commit"]) in (0, 40) and record["versions"]["torch"]

    def test_nothing_temporary_is_left(self, results):
        assert not [path for path in results.rglob("*") if ".tmp" in path.name or "unfinished" in path.name]


class TestRerun:
    """Dry runs after one change each; every test puts back what it changed."""

    def test_nothing_is_done_twice(self, project):
        assert project.planned() == {}

    def test_a_touched_script_is_no_change(self, project, root):
        script = root / "scripts/predict_masks.py"
        before = script.stat()
        os.utime(script)
        try:
            assert project.planned() == {}
        finally:
            os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))

    def test_an_added_slide_runs_itself_and_the_tables(self, project):
        project.write_sheet("K1", "K4", "K7")
        own = dict.fromkeys(
            ("simulate_slide", "check_slide", "hash_inputs", "find_tiles", "deconvolve_spots", "import_masks"), 1
        )
        own |= {"predict_masks": 2, "stitch_masks": 2} | CHECK
        assert project.planned() == own | after_masks(3, 2, 1) | COHORT
        project.write_sheet("K1", "K4")

    def test_rows_in_another_order_run_nothing_but_tables(self, project):
        project.write_sheet("K4", "K1")
        assert set(project.planned()) <= {*CHECK, *COHORT}
        project.write_sheet("K1", "K4")

    def test_an_excluded_slide_leaves_the_others_alone(self, project):
        sheet = project.folder / "config/slides.tsv"
        table = pd.read_csv(sheet, sep="\t", dtype=str).assign(exclude=["", "torn"])
        table.to_csv(sheet, sep="\t", index=False)
        assert set(project.planned()) == {*CHECK, *COHORT}
        project.write_sheet("K1", "K4")

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"spots": {"diameter_um": 65}}, {"measure_spots": 6, "measure_objects": 6, "try_spots": 2, **TABLES}),
            ({"deconvolution": {"min_umi": 600}}, {"deconvolve_spots": 2, "try_spots": 2, **TABLES}),
            (
                {"deconvolution": {"cell_umi": {"PT-S1": 9000}}},
                {"measure_sensitivity": 1, **END},
            ),
            (
                {"deconvolution": {"second": {"reference": "demo/reference.h5ad"}}},
                {"deconvolve_second": 2, **CHECK, **TABLES},
            ),
            ({"postprocess": {"CAP": {"min_area_um2": 900}}}, {"stitch_masks": 4, **after_masks(4, 4), **COHORT}),
            ({"evaluation": {"iou": 0.6}}, {"evaluate_masks": 4, "write_evaluation": 1, **END}),
            ({"segmentation": {"shares": 4}}, {**END}),
            ({"methods": {"omni-seg": {"label": "Another name"}}}, {"write_table2": 1, **END}),
        ],
        ids=[
            "spot size",
            "spot filter",
            "molecules of a cell",
            "second reference",
            "post-processing",
            "evaluation",
            "shares of work ahead",
            "label",
        ],
    )
    def test_a_changed_parameter_runs_what_uses_it(self, project, change, expected):
        path = project.folder / "config/config.yaml"
        before = path.read_text()
        project.configure(change)
        try:
            assert project.planned() == expected
        finally:
            path.write_text(before)

    def test_new_weights_run_their_method_in_the_same_run_as_the_check(self, project, root):
        """An ancient check.txt as input of the heavy rules once hid this (docs/decisions.md)."""
        path = project.folder / "config/config.yaml"
        before = path.read_text()
        shutil.copy(root / "workflow/weights/simulated/omni-seg.safetensors", project.folder / "new.safetensors")
        project.configure({"methods": {"omni-seg": {"weights": "new.safetensors"}}})
        try:
            planned = project.planned()
        finally:
            path.write_text(before)
        own = CHECK | {"predict_masks": 2, "stitch_masks": 2}
        assert planned == own | after_masks(2, 2) | COHORT

    def test_a_method_added_runs_itself_and_the_tables(self, project):
        path = project.folder / "config/config.yaml"
        before = path.read_text()
        project.configure({"methods": {"mine": {"label": "Mine", "masks": "demo/{slide}/masks/{tissue}.png"}}})
        try:
            planned = project.planned()
        finally:
            path.write_text(before)
        assert planned == {"import_masks": 2} | after_masks(2, 2) | COHORT

    def test_the_sweep_adds_its_methods_without_rerunning_the_others(self, project):
        path = project.folder / "config/config.yaml"
        before = path.read_text()
        project.configure({"segmentation": {"sweep": [5, 20]}})
        try:
            planned = project.planned()
        finally:
            path.write_text(before)
        assert planned == {"predict_masks": 8, "stitch_masks": 8} | after_masks(8, 8, 0) | COHORT

    def test_a_deleted_final_comes_back(self, project, results):
        overview = results / "K1/omni-seg/overview.jpg"
        kept = overview.read_bytes()
        overview.unlink()
        try:
            assert "draw_overlay" in project.planned()
        finally:
            overview.write_bytes(kept)

    def test_a_wrong_path_is_an_error_and_not_nothing_to_be_done(self, project):
        project.write_sheet("K1", "K4", image="slides/gone.svs")
        told = project.run("-n", expect=1)
        assert "slides/gone.svs" in told and "Traceback" not in told
        project.write_sheet("K1", "K4")


class TestTools:
    def test_snakemakes_own_report(self, project):
        project.run("--report", "report.zip")
        assert (project.folder / "report.zip").stat().st_size > 100_000

    def test_status_looks_beside_a_run_and_locks_nothing(self, project, results):
        lock = project.folder / ".snakemake/locks/0.output.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(str(results / "report.html"))  # as a run has it that is under way
        try:
            told = project.run("status")
        finally:
            lock.unlink()
        assert "2 slides: 2 done, 0 running, 0 failed, 0 left." in told
        row = re.search(r"^predict_masks omni-seg +2 +0 +([\d.e-]+)", told, re.MULTILINE)
        assert float(row[1]) > 0, "what it used, from the benchmarks"
        assert not list(lock.parent.iterdir()), "nothing is locked by looking"
