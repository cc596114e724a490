"""Jobs that failed for good, told by slide and rule."""

import logging

import pytest

from nephrospot.failures import FailureRecorder
from nephrospot.job import MARK


def event(name, **facts):
    """A record as Snakemake logs it."""
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", (), None)
    record.__dict__.update(event=name, **facts)
    return record


class Run:
    """A recorder that is told of jobs."""

    def __init__(self, folder):
        self.recorder, self.folder = FailureRecorder(), folder

    def start(self, job, rule="predict_masks", mem_mb=6000, runtime=480, **wildcards):
        asked = {"mem_mb": mem_mb, "runtime": runtime}
        self.recorder.emit(event("job_info", jobid=job, rule_name=rule, wildcards=wildcards, resources=asked))

    def fail(self, job, rule="predict_masks", message=None, said=""):
        log = self.folder / f"{job}.log"
        log.write_text(said)
        facts = {"jobid": job, "rule_name": rule, "log": [str(log)], "rule_msg": message, "indent": False}
        self.recorder.emit(event("job_error", **facts))

    def finish(self, job):
        self.recorder.emit(event("job_finished", job_id=job))


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.mark.parametrize(
    ("message", "said", "words"),
    [
        ("SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'.", "", "killed above the 6000 MB that it asked for"),
        ("status is: 'FAILED'", "slurmstepd: error: Exceeded job memory limit", "give it more mem_mb in the profile"),
        (
            "status is: 'FAILED'",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch",
            "give it more mem_mb",
        ),
        ("status is: 'TIMEOUT'", "", "stopped after the 480 minutes that it asked for; give it more runtime"),
        ("status is: 'FAILED'", "*** JOB 7 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "more runtime"),
        ("failed due to a node failure, SLURM status is: 'NODE_FAIL'", "", "its node failed; run the same command"),
        ("SLURM status is: 'CANCELLED'", "", "cancelled from outside"),
        (
            "SLURM sbatch failed. The error message was 'sbatch: error:\ninvalid partition x'.\n    sbatch call:\n",
            "",
            "Slurm didn't take the job (sbatch: error: invalid partition x); correct what the profile asks for",
        ),
        (None, "Traceback (most recent call last)", "ended with an error, and its log says which"),
    ],
    ids=[
        "memory",
        "memory by polling",
        "memory by cgroup",
        "time",
        "time in the log",
        "node",
        "cancelled",
        "sbatch",
        "bug",
    ],
)
def test_why_a_job_failed(run, message, said, words):
    run.start(7, slide="K7", method="omni-seg")
    run.fail(7, message=message, said=said)
    (sentence,) = run.recorder.tell()
    assert sentence.startswith("slide K7, rule predict_masks (omni-seg): ") and words in sentence
    assert sentence.endswith(f"see {run.folder / '7.log'}.")


def test_what_another_attempt_mended_is_no_failure(run):
    run.start(1, slide="K1")
    run.fail(1, message="'TIMEOUT'")
    run.start(1, slide="K1", runtime=960)
    run.finish(1)
    assert run.recorder.tell() == []


def test_attempts_are_counted_and_the_last_one_is_told(run):
    for attempt in (1, 2, 3):
        run.start(1, slide="K1", runtime=60 * attempt)
        run.fail(1, message="'TIMEOUT'")
    (sentence,) = run.recorder.tell()
    assert "the 180 minutes" in sentence and "(3 attempts)" in sentence


def test_a_job_that_left_sentences_of_its_own_is_told_by_them(run):
    run.start(1, slide="K1")
    run.fail(1, said=f"{MARK}slide K1: the disk is full.\n")
    assert run.recorder.tell() == []


def test_a_job_of_the_cohort_has_no_slide(run):
    run.start(1, rule="write_report")
    run.fail(1, rule="write_report")
    assert run.recorder.tell()[0].startswith("rule write_report: ")


class TestGroups:
    """Several rules in one Slurm job: told once, and by the rule at fault where Slurm's log names it."""

    def fail(self, run, said):
        for job, rule in ((1, "stitch_masks"), (2, "draw_overlay")):
            run.start(job, rule=rule, slide="K1", method="omni-seg")
        (run.folder / "slurm.log").write_text(said)
        members = [{"jobid": 1, "rule_name": "stitch_masks", "log": ["a.log"]}]
        members += [{"jobid": 2, "rule_name": "draw_overlay", "log": ["b.log"]}]
        run.recorder.emit(event("group_error", aux_logs=[str(run.folder / "slurm.log")], job_error_info=members))
        for member in members:
            run.recorder.emit(event("job_error", **member, rule_msg=None, indent=True))

    def test_one_rule_at_fault(self, run):
        self.fail(run, "Error in rule draw_overlay:\n")
        (sentence,) = run.recorder.tell()
        assert sentence.startswith("slide K1, rule draw_overlay (omni-seg): it ended with an error")
        assert "b.log" in sentence and "a.log" not in sentence

    def test_all_of_them_killed(self, run):
        self.fail(run, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED DUE TO TIME LIMIT ***")
        (sentence,) = run.recorder.tell()
        assert sentence.startswith("slide K1, rules stitch_masks, draw_overlay (omni-seg): stopped after the time")
        run.finish(2)
        assert run.recorder.tell() == [], "the group's next attempt mended it"


def test_other_lines_are_passed_over(run):
    run.recorder.emit(logging.LogRecord("snakemake", logging.INFO, "", 0, "Building DAG of jobs...", (), None))
    assert run.recorder.tell() == []
