"""Jobs and locks of an earlier run."""

import pytest

from nephrospot.leftover import find_jobs, is_locked, tell_jobs


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that prints what it is told to."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def say(*lines):
        program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        program.chmod(0o755)

    return say


def test_jobs_in_this_folder_are_found_and_others_are_not(squeue, tmp_path, monkeypatch):
    here, there = tmp_path / "a | b", tmp_path / "other"
    here.mkdir()
    (tmp_path / "link").symlink_to(here)
    squeue(f"12|{here}", f"13|{there}", f"14|{tmp_path / 'link'}")
    assert find_jobs(here) == find_jobs(tmp_path / "link") == ["12", "14"]
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert find_jobs(here) == ["14"], "a run that is itself a job isn't in its own way"


def test_nothing_is_found_where_there_is_no_slurm_or_no_answer(squeue, tmp_path, monkeypatch):
    squeue("slurm_load_jobs error: Unable to contact slurm controller")
    assert find_jobs(tmp_path) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_jobs(tmp_path) == []


def test_the_sentence_has_the_command(tmp_path):
    assert "`scancel 12 14`" in tell_jobs(["12", "14"]) and "2 jobs of an earlier run" in tell_jobs(["12", "14"])


def test_a_lock_is_seen(tmp_path):
    assert not is_locked(tmp_path)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    assert not is_locked(tmp_path), "an empty folder is left behind by every run"
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    assert is_locked(tmp_path)
