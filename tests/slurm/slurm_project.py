"""A small project that is run with `--profile slurm`, and what Slurm and its user see of it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import cluster
from small_project import SNAKEMAKE, Project

# Asking Slurm sooner and oftener than the profile, which is made for jobs of hours.
SOON = ["--slurm-init-seconds-before-status-checks", "2", "--max-status-checks-per-second", "2"]


class Job(NamedTuple):
    """A job as squeue tells of it."""

    id: str
    state: str
    node: str
    memory: str
    limit: str
    comment: str


def hear_ctrl_c() -> None:
    """Tests that a shell started in the background would have Snakemake ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class SlurmProject(Project):
    """Two small slides, and Snakemake as a user starts it."""

    def __init__(self, folder: Path, root: Path) -> None:
        super().__init__(folder, root)
        for name in ("profiles", "slurm", "envs"):
            (folder / name).symlink_to(root / name)
        self.simplify()
        self.give(self.row("K1"), self.row("K2", like="K2"))

    def give(self, *rows: dict[str, str]) -> None:
        """Write the sheet and the configuration."""
        self.command("all", list(rows))

    def start(self, *arguments: str) -> subprocess.Popen:
        """`snakemake --profile slurm` with more arguments, in the background."""
        return submit(self.folder, *arguments)

    def run(self, *arguments: str, expect: int = 0, timeout: float = 900) -> str:
        """The same, waited for; what it printed."""
        return finish(self.start(*arguments), expect, timeout)

    def run_locally(self, *arguments: str) -> None:
        """The same project without Slurm."""
        run_locally(self.folder, *arguments)

    def jobs(self, rule: str = "") -> list[Job]:
        """Slurm's jobs of this project, ended ones too, the oldest first; those of one rule or of all."""
        told = cluster.told("squeue", "-h", "-tall", "-o%A|%T|%N|%m|%l|%k|%Z")
        rows = [line.strip().split("|") for line in told.splitlines()]
        mine = [Job(*row[:6]) for row in rows if Path(row[6]) == self.folder.resolve()]
        return sorted((job for job in mine if job.comment.startswith(f"rule_{rule}")), key=lambda job: int(job.id))

    def wait_for(self, rule: str, state: str = "RUNNING", seconds: float = 90) -> Job:
        """A job of a rule, once it is in a state."""
        cluster.wait_for(lambda: any(job.state == state for job in self.jobs(rule)), f"{rule} isn't {state}", seconds)
        return next(job for job in self.jobs(rule) if job.state == state)


def submit(folder: Path, *arguments: str) -> subprocess.Popen:
    """`snakemake --profile slurm` with more arguments in a project's folder, in the background."""
    command = [str(SNAKEMAKE), *arguments, "--profile", "slurm", *SOON]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip


def run_locally(folder: Path, *arguments: str, timeout: float = 900) -> None:
    """The same without Slurm, waited for."""
    command = [SNAKEMAKE, "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def finish(process: subprocess.Popen, expect: int = 0, timeout: float = 900) -> str:
    """Wait for a run; what it printed, which is never a traceback."""
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=120)
        raise AssertionError(f"not done after {timeout} s:\n{printed[-4000:]}") from None
    assert process.returncode == expect, printed[-4000:]
    assert "Traceback" not in printed, printed[-4000:]
    return printed


def kill(process: subprocess.Popen) -> None:
    """As a login node that goes down: at once, with everything that the run had on this machine but for its jobs."""
    for pid in cluster.descendants([process.pid]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def wait_for_script(job: str, seconds: float = 60) -> list[int]:
    """Processes of a job's own script, once it has come so far (two Snakemakes start before it)."""
    found = []

    def look() -> bool:
        lines = cluster.command_lines()
        steps = [pid for pid, line in lines.items() if line.startswith(f"slurmstepd: [{job}.")]
        found[:] = [pid for pid in cluster.descendants(steps) if "/scripts/tmp" in lines.get(pid, "")]
        return bool(found)

    cluster.wait_for(look, f"the script of job {job} doesn't start", seconds)
    return found


def freeze(pids: list[int]) -> None:
    """Stop processes without ending them: a job that hangs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
