"""What goes wrong on clusters, made to go wrong: nothing is lost, and the user is told in a sentence."""

import os
import signal
import subprocess

import pytest

import cluster
from slurm_project import finish, freeze, kill, wait_for_script
from small_project import SNAKEMAKE, summary

pytestmark = pytest.mark.slurm
CHECKED = "results/K1/slide.json"


def test_a_node_that_dies_in_the_middle_of_a_job(project):
    """The job runs again on another node, and only there."""
    run = project.start(CHECKED)
    first = project.wait_for("check_slide")
    cluster.crash(first.node)
    try:
        finish(run)
    finally:
        cluster.recover(first.node)
    lost, done = project.jobs("check_slide")
    assert (lost.state, done.state) == ("NODE_FAIL", "COMPLETED") and lost.node != done.node
    assert (project.folder / CHECKED).exists()


def test_a_job_above_its_memory_is_given_more(project):
    project.run(CHECKED, "--set-resources", "check_slide:mem_mb=200*attempt**2")
    states = [(job.state, job.memory) for job in project.jobs("check_slide")]
    assert states[0] == ("FAILED", "200M") and states[-1] == ("COMPLETED", f"{200 * len(states) ** 2}M")


def test_a_job_that_never_has_enough_memory_is_told_of(project):
    told = project.run(CHECKED, "--set-resources", "check_slide:mem_mb=100", "--retries", "1", expect=1)
    (sentence,) = summary(told)
    assert sentence.startswith("slide K1, rule check_slide: killed above the 100 MB that it asked for; give it more")
    assert "(2 attempts)" in sentence and "results/logs/check_slide/K1.log" in sentence
    assert not (project.folder / CHECKED).exists()


def test_a_job_that_hangs_is_stopped_at_its_time_limit_and_given_more(project):
    run = project.start(CHECKED, "--set-resources", "check_slide:runtime=attempt")
    freeze(wait_for_script(project.wait_for("check_slide").id))
    finish(run)
    states = [(job.state, job.limit) for job in project.jobs("check_slide")]
    assert states == [("TIMEOUT", "1:00"), ("COMPLETED", "2:00")]


def test_a_cancelled_job_is_submitted_again(project):
    run = project.start(CHECKED)
    cluster.told("scancel", project.wait_for("check_slide").id)
    finish(run)
    assert [job.state for job in project.jobs("check_slide")] == ["CANCELLED", "COMPLETED"]


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_goes_on(project):
    run = project.start(CHECKED)
    project.wait_for("check_slide")
    told = project.run(CHECKED, expect=1)
    assert told.count("Another run works in this folder, or one was killed here: if none does, give") == 1
    finish(run)
    assert [job.state for job in project.jobs("check_slide")] == ["COMPLETED"]


def test_after_a_kill_the_next_run_waits_for_the_jobs_of_the_first(project):
    """Otherwise both would write the same file, with exit code 0."""
    run = project.start(CHECKED)
    job = project.wait_for("check_slide")
    script = wait_for_script(job.id)
    freeze(script)
    kill(run)
    told = project.run(CHECKED, expect=1)
    assert "Another run works in this folder, or one was killed here" in told
    subprocess.run([SNAKEMAKE, "--unlock"], cwd=project.folder, check=True, capture_output=True)
    told = project.run(CHECKED, expect=1)
    assert f"end them with `scancel {job.id}`, and run again." in told
    dry = project.run(CHECKED, "-n")
    assert "scancel" not in dry, "a dry run writes nothing"
    cluster.told("scancel", "--full", job.id)
    cluster.wait_for(lambda: not cluster.told("squeue", "-h", "-o%A", "-j", job.id), "the job doesn't end", 30)
    project.run(CHECKED)
    assert (project.folder / CHECKED).exists() and len(project.jobs("check_slide")) == 2


def test_ctrl_c_takes_the_jobs_along(project):
    run = project.start(CHECKED)
    project.wait_for("check_slide")
    os.kill(run.pid, signal.SIGINT)
    finish(run, expect=1)
    cluster.wait_for(lambda: not cluster.told("squeue", "-h", "-o%A"), "jobs are left", 30)
    assert [job.state for job in project.jobs("check_slide")] == ["CANCELLED"]
    assert not (project.folder / CHECKED).exists()
