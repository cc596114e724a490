"""What a cohort's files say of it: done, running, failed, left; and a forecast beside what was used."""

import base64
import json
import math
import re

import pytest

from nephrospot.forecast import CORE_MACS_A_SECOND, read_cost, tell_hours, work_per_mm2
from nephrospot.job import MARK
from nephrospot.models import build
from nephrospot.models.weights import save_weights
from nephrospot.status import DONE, FAILED, LEFT, RUNNING, Step, judge_steps, tell_status

OPTIONS = {"window_px": 256, "halo_px": 32, "shifts": 1, "mode": "nephrospot", "max_upsampling": 1.25, "flips": False}
PT = [("PT", 10.0, 10)]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Four slides and one network, of which one slide each is done, running, failed and left."""
    monkeypatch.chdir(tmp_path)
    steps = []
    for slide in ("K1", "K2", "K3", "K4"):
        (tmp_path / "results" / slide / "net").mkdir(parents=True)
        facts = {"tissue_mm2": 10.0, "spots_in_tissue": 100, "mpp": 0.5}
        (tmp_path / "results" / slide / "slide.json").write_text(json.dumps(facts))
        log = f"results/logs/predict_masks/{slide}.net"
        steps.append(Step("check_slide", slide, "", f"results/{slide}/slide.json", f"results/logs/check/{slide}.log"))
        steps.append(Step("predict_masks", slide, "net", f"results/{slide}/net/predicted.zarr", f"{log}.log",
                          f"{log}.benchmark.tsv"))  # fmt: skip
    (tmp_path / "results/logs/predict_masks").mkdir(parents=True)
    (tmp_path / "results/K1/net/predicted.zarr").mkdir()
    (tmp_path / "results/K1/net/predict.json").write_text('{"device": "cpu"}')
    (tmp_path / steps[1].benchmark).write_text("s\th:m:s\tcpu_time\n3600.0\t1:00:00\t7200.0\n")
    begin(tmp_path, steps[3].output)
    (tmp_path / steps[5].log).write_text(f"a warning\n{MARK}slide K3: the slide is torn; scan it again.\n")
    return steps


def begin(folder, output):
    """Snakemake's mark of a job that has begun, and its lock."""
    mark = base64.urlsafe_b64encode(output.encode()).decode()
    for place, name in (("incomplete", mark), ("locks", "0.input.lock")):
        (folder / ".snakemake" / place).mkdir(parents=True, exist_ok=True)
        (folder / ".snakemake" / place / name).write_text("{}")


def tell(steps, plan=None):
    slides = dict.fromkeys(step.slide for step in steps)
    plan = plan or {"networks": {}, "weights": {}, "readings": {}, "segmentation": {}}
    return tell_status(steps, {slide: f"results/{slide}/slide.json" for slide in slides}, plan)


class TestStates:
    def test_each_state_is_told_from_the_files(self, cohort):
        judged = judge_steps(cohort)
        assert [judged[step][0] for step in cohort[1::2]] == [DONE, RUNNING, FAILED, LEFT]
        assert judged[cohort[5]][1] == "slide K3: the slide is torn; scan it again."

    def test_a_killed_run_leaves_nothing_running(self, cohort, tmp_path):
        (tmp_path / ".snakemake/locks/0.input.lock").unlink()
        assert judge_steps(cohort)[cohort[3]][0] == LEFT, "its mark stays, but nobody holds the lock"

    def test_an_output_under_way_isnt_done(self, cohort, tmp_path):
        (tmp_path / cohort[3].output).mkdir()
        assert judge_steps(cohort)[cohort[3]][0] == RUNNING

    def test_a_traceback_is_a_failure_too(self, cohort, tmp_path):
        (tmp_path / cohort[7].log).write_text("Traceback (most recent call last):\nKeyError: 'x'\n")
        assert judge_steps(cohort)[cohort[7]] == (FAILED, f"an error of the program; {cohort[7].log} has it")

    def test_a_long_path_is_split_as_snakemake_does(self, cohort, tmp_path):
        output = f"results/{'S' * 150}/{'m' * 80}/predicted.zarr"
        mark = base64.urlsafe_b64encode(output.encode()).decode()
        folder = tmp_path / ".snakemake/incomplete" / f"@{mark[:254]}"
        folder.mkdir()
        (folder / mark[254:]).write_text("{}")
        step = Step("predict_masks", "S", "m", output, "results/logs/none.log")
        assert judge_steps([step])[step][0] == RUNNING

    def test_what_isnt_a_mark_is_no_mistake(self, cohort, tmp_path):
        (tmp_path / ".snakemake/incomplete/migration_underway").write_text("")
        assert judge_steps(cohort)[cohort[1]][0] == DONE


class TestText:
    def test_every_slide_but_the_done_ones_has_a_line(self, cohort):
        lines = tell(cohort).splitlines()
        assert "K2: running predict_masks net, 1 of 2 steps done" in lines
        assert (
            "K3: failed at predict_masks net, 1 of 2 steps done – slide K3: the slide is torn; scan it again." in lines
        )
        assert "K4: left, 1 of 2 steps done, next predict_masks net" in lines
        assert "4 slides: 1 done, 1 running, 1 failed, 1 left." in lines
        assert not any(line.startswith("K1") for line in lines)
        assert "Tissue: 40 mm² on 4 slides that were looked at." in lines

    def test_the_rest_costs_what_the_done_slides_did_for_each_mm2(self, cohort):
        row = next(line for line in tell(cohort).splitlines() if line.startswith("predict_masks net"))
        assert re.split(r"  +", row)[1:7] == ["1", "3", "2.0", "0", "6.0", "–"], "2 h for 10 mm², 30 mm² are left"

    def test_gpu_hours_are_told_apart(self, cohort, tmp_path):
        (tmp_path / "results/K1/net/predict.json").write_text('{"device": "NVIDIA H100"}')
        row = next(line for line in tell(cohort).splitlines() if line.startswith("predict_masks net"))
        assert re.split(r"  +", row)[1:7] == ["1", "3", "2.0", "1.0", "6.0", "3.0"]

    def test_a_slide_that_wasnt_looked_at_is_said(self, cohort, tmp_path):
        (tmp_path / "results/K4/slide.json").unlink()
        assert "Tissue: 30 mm² on 3 slides that were looked at; `snakemake check` looks at the other 1." in tell(cohort)

    def test_nothing_done_is_forecast_from_the_network(self, cohort, tmp_path):
        save_weights(build("multi-unet", width=4), tmp_path / "w.safetensors", {"options": {"width": 4}})
        (tmp_path / "results/K1/net/predicted.zarr").rmdir()
        slides = ("K1", "K2", "K3", "K4")
        plan = {"networks": {"net": "multi-unet"}, "weights": {"net": ["w.safetensors"]},
                "segmentation": {"net": OPTIONS}, "readings": {slide: {"net": PT} for slide in slides}}  # fmt: skip
        row = next(line for line in tell(cohort, plan).splitlines() if line.startswith("predict_masks net"))
        expected = 40 * work_per_mm2("multi-unet", "w.safetensors", PT, 0.5, OPTIONS) / CORE_MACS_A_SECOND
        cells = re.split(r"  +", row)
        assert cells[5] == cells[7] == tell_hours(expected) and expected > 0


class TestForecast:
    @pytest.fixture
    def weights(self, tmp_path):
        save_weights(build("multi-unet", width=4), tmp_path / "w.safetensors", {"options": {"width": 4}})
        return str(tmp_path / "w.safetensors")

    def test_work_grows_with_magnification_grids_flips_and_folds(self, weights):
        once = work_per_mm2("multi-unet", weights, PT, 0.25, OPTIONS)
        assert work_per_mm2("multi-unet", weights, [("PT", 20.0, 10)], 0.25, OPTIONS) == pytest.approx(4 * once)
        assert work_per_mm2("multi-unet", weights, PT, 0.25, OPTIONS | {"shifts": 2}) == pytest.approx(2 * once)
        assert work_per_mm2("multi-unet", weights, PT, 0.25, OPTIONS | {"flips": True}) == pytest.approx(4 * once)
        assert work_per_mm2("multi-unet", [weights] * 5, PT, 0.25, OPTIONS) == pytest.approx(5 * once)
        # 256 px windows for every 192 px at 1 µm: the floor's work times (256 / 192)².
        assert once == pytest.approx((256 / 192) ** 2 * 1e6 * 3.0e3, rel=0.2), "3.0 KMAC a pixel (docs/performance.md)"

    def test_tissue_that_the_slide_is_too_coarse_for_costs_nothing(self, weights):
        assert work_per_mm2("multi-unet", weights, [("PTC", 40.0, 40)], 0.5, OPTIONS) == 0

    def test_what_isnt_known_is_nan(self, weights, tmp_path):
        (tmp_path / "broken.safetensors").write_bytes(b"no")
        assert math.isnan(work_per_mm2("multi-unet", str(tmp_path / "broken.safetensors"), PT, 0.5, OPTIONS))
        assert math.isnan(work_per_mm2("multi-unet", weights, PT, 0.5, OPTIONS | {"mode": "omniseg-official"}))

    @pytest.mark.parametrize("text", ["", "s\n", "s\tcpu_time\nmany\t1\n", "h:m:s\n1:00:00\n"])
    def test_a_benchmark_under_way_is_none(self, tmp_path, text):
        (tmp_path / "b.tsv").write_text(text)
        assert read_cost(tmp_path / "b.tsv") is None and read_cost(tmp_path / "gone.tsv") is None

    def test_a_job_too_short_to_be_seen_has_no_processor_time(self, tmp_path):
        (tmp_path / "b.tsv").write_text("s\tcpu_time\n0.4\tNA\n")
        cost = read_cost(tmp_path / "b.tsv")
        assert cost.seconds == 0.4 and math.isnan(cost.cpu_seconds)

    @pytest.mark.parametrize(("seconds", "told"), [(36, "0.01"), (7200, "2.0"), (360_000, "100"), (math.nan, "–")])
    def test_hours_have_the_digits_that_matter(self, seconds, told):
        assert tell_hours(seconds) == told
