"""Slides that can't be used, in a run that goes on without them: whole in the tables or not at all, and told of."""

import shutil
import subprocess

import pandas as pd
import pytest
import tifffile

from small_project import SNAKEMAKE, Project, summary

pytestmark = pytest.mark.long
CORRELATIONS = "results/correlations.parquet"


class Cohort(Project):
    """A good slide, one that the check refuses, and one whose pixels fail the network in the middle of its work."""

    def __init__(self, folder, root):
        super().__init__(folder, root)
        self.simplify()
        slide = (folder / "demo/K1/slide.tiff").read_bytes()
        (folder / "cut.tiff").write_bytes(slide[: len(slide) // 2])
        self.damage(folder / "demo/K2/slide.tiff", folder / "damaged.tiff")
        self.good = [self.row("K1")]
        self.bad = [self.row("cut", image="cut.tiff"), self.row("damaged", like="K2", image="damaged.tiff")]

    @staticmethod
    def damage(slide, copy):
        """A slide with one tile of the finest level overwritten; the coarser levels are sound."""
        shutil.copy(slide, copy)
        with tifffile.TiffFile(slide) as tiff:
            page = tiff.pages[0]
            place = len(page.dataoffsets) // 2
            offset, size = page.dataoffsets[place], page.databytecounts[place]
        with copy.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * size)

    def run(self, rows, *arguments, expect=0):
        self.command("all", rows)
        command = [SNAKEMAKE, "--cores", "2", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=900)
        told = done.stdout + done.stderr
        assert done.returncode == expect and "Traceback" not in told, told[-4000:]
        return told


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, root):
    cohort = Cohort(tmp_path_factory.mktemp("cohort"), root)
    cohort.told = cohort.run([*cohort.good, *cohort.bad], "--keep-going", expect=1)
    return cohort


def test_the_run_ends_with_an_error_that_names_both_slides_and_why(cohort):
    sentences = summary(cohort.told)
    assert any(sentence.startswith("slide cut:") and "cut.tiff" in sentence for sentence in sentences)
    assert any("damaged.tiff" in sentence and "the pixels near x" in sentence for sentence in sentences)
    assert len(sentences) == 2, "each is told once, whatever the number of steps that passed it on"
    assert "is without cut, damaged" in cohort.told


def test_the_tables_are_made_and_say_whom_they_lack(cohort):
    table = pd.read_parquet(cohort.folder / CORRELATIONS)
    assert set(table["left_out"]) == {"cut, damaged"} and table["n_slides"].max() == 1
    page = (cohort.folder / "results/report.html").read_text()
    assert "This page leaves out cut and damaged" in page and "the pixels near x" in page
    assert "without cut, damaged" in (cohort.folder / "results/table2.html").read_text()


def test_nothing_of_a_slide_that_was_read_in_part_is_left(cohort):
    """Notes stood in the places of these files while the run went on."""
    left = {path.name for slide in ("cut", "damaged") for path in (cohort.folder / "results" / slide).rglob("*.*")}
    assert not {name for name in left if not name.startswith(".")} & {"spots.parquet", "masks.ome.zarr", "overview.jpg"}


def test_the_values_are_those_of_a_cohort_that_never_had_these_slides(cohort):
    """Excluded in the sheet: nothing but the tables is made again, and they are the same."""
    with_bad = pd.read_parquet(cohort.folder / CORRELATIONS)
    told = cohort.run(cohort.good)
    assert "rule predict_masks" not in told and "rule correlate_spots" in told
    without = pd.read_parquet(cohort.folder / CORRELATIONS)
    pd.testing.assert_frame_equal(with_bad.drop(columns="left_out"), without.drop(columns="left_out"))
    assert set(without["left_out"]) == {""}


def test_the_next_run_tries_the_slide_again_and_then_makes_the_tables(cohort):
    cohort.command("all", [*cohort.good, cohort.bad[1]])
    done = subprocess.run(
        [SNAKEMAKE, "-n", "--quiet", "rules"], cwd=cohort.folder, capture_output=True, text=True, timeout=120
    )
    planned = dict(line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) == 2)
    own = {"predict_masks": "1", "stitch_masks": "1", "measure_spots": "1", "draw_overlay": "1", "try_spots": "1"}
    assert own.items() <= planned.items() and planned["correlate_spots"] == planned["write_report"] == "1"
    assert "check_slide" not in planned and "deconvolve_spots" not in planned, "what was sound is kept"
