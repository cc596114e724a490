"""What an earlier run may have left in a folder: Slurm jobs that still write there, and Snakemake's lock.

Snakemake never takes its jobs up again. After a SIGKILL or a closed terminal they run on, and a new run would write the
same files beside them, with exit code 0.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def find_jobs(folder: str | Path) -> list[str]:
    """Ids of one's own Slurm jobs whose working directory is the folder, but for the job that asks.

    None are found where there is no Slurm, or where it doesn't answer within half a minute.
    """
    try:
        told = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%A|%Z"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.strip().split("|", 1) for line in told.stdout.splitlines() if "|" in line]
    here, own = os.path.realpath(folder), os.environ.get("SLURM_JOB_ID")
    return [job for job, where in rows if os.path.realpath(where) == here and job != own]


def tell_jobs(jobs: list[str]) -> str:
    """The sentence for jobs that `find_jobs` found."""
    listed = " ".join(jobs)
    return (
        f"Slurm still has {len(jobs)} job{'s' if len(jobs) > 1 else ''} of an earlier run in this folder, which would "
        f"write the same files as this one: wait until they have ended, or end them with `scancel {listed}`, and run "
        "again."
    )


def is_locked(folder: str | Path) -> bool:
    """Whether a run of Snakemake works in the folder, or was killed there."""
    return any(Path(folder, ".snakemake", "locks").glob("*"))


def tell_lock() -> str:
    """The sentence for a folder that `is_locked`."""
    return (
        "Another run works in this folder, or one was killed here: if none does, give `snakemake --unlock` and the "
        "same command again."
    )
