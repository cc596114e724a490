"""Jobs that failed for good, each in one sentence: which slide, which rule, why, and where to read on.

Snakemake logs an event for every job that starts, fails or finishes (the interface of its logger plugins); the handler
here keeps what is needed of them. A job that the system kills leaves no sentence of its own, so Slurm's log is read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nephrospot.job import MARK

TAIL_BYTES = 20_000
# What Slurm writes into a job's log, or says of its state, in the versions from 22.05 on.
CAUSES = {
    "memory": r"OUT_OF_MEMORY|exceeded memory limit|oom[-_ ]kill|Out Of Memory|Exceeded job memory",
    "time": r"TIMEOUT|DUE TO TIME LIMIT",
    "node": r"NODE_FAIL|DUE TO NODE FAILURE|BOOT_FAIL",
    "cancelled": r"'CANCELLED|CANCELLED AT",
    "not taken": r"sbatch failed",
}


@dataclass
class Failure:
    """A job, or a group that Slurm ran as one job, and how often it was tried in vain."""

    rules: list[str]
    wildcards: Mapping[str, str]
    asked: Mapping
    logs: list[str]
    message: str
    attempts: int = 1

    def why(self) -> str:
        """One of `CAUSES`, or "error"."""
        said = self.message + "".join(read_tail(path) for path in self.logs)
        return next((cause for cause, pattern in CAUSES.items() if re.search(pattern, said)), "error")

    def tell(self) -> str:
        """The sentence."""
        others = ", ".join(str(value) for name, value in self.wildcards.items() if name != "slide")
        who = f"slide {self.wildcards['slide']}, " if "slide" in self.wildcards else ""
        who += f"rule{'s' if len(self.rules) > 1 else ''} {', '.join(self.rules)}" + (f" ({others})" if others else "")
        what = "it" if len(self.rules) == 1 else "them"
        memory = f"the {self.asked['mem_mb']} MB" if "mem_mb" in self.asked else "the memory"
        time = f"the {self.asked['runtime']} minutes" if "runtime" in self.asked else "the time"
        happened = {
            "memory": f"killed above {memory} that it asked for; give {what} more mem_mb in the profile",
            "time": f"stopped after {time} that it asked for; give {what} more runtime in the profile",
            "node": "its node failed; run the same command again",
            "cancelled": "cancelled from outside; run the same command again",
            "not taken": f"Slurm didn't take the job ({_quote(self.message)}); correct what the profile asks for",
            "error": "it ended with an error, and its log says which",
        }[self.why()]
        tries = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{who}: {happened}{tries}; see {' and '.join(map(_shorten, self.logs)) or 'the log of Snakemake'}."


class FailureRecorder(logging.Handler):
    """Listens to Snakemake's log: what failed and wasn't mended by another attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[int, logging.LogRecord] = {}
        self.failed: dict[int, Failure] = {}
        self.leader: dict[int, int] = {}  # of a job in a group: the job that stands for the group

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event; lines that are none are passed over."""
        event = str(getattr(record, "event", ""))
        if event == "job_info":
            self.started[record.jobid] = record
        elif event == "job_error" and not record.indent:  # indented ones repeat the group's
            self._note([record.jobid], [record.rule_name], record.log, record.rule_msg)
        elif event == "group_error":
            members = record.job_error_info
            said = "".join(map(read_tail, record.aux_logs))
            named = [job for job in members if f"Error in rule {job['rule_name']}:" in said] or members
            logs = [*(path for job in named for path in job["log"]), *record.aux_logs]
            self._note([job["jobid"] for job in members], [job["rule_name"] for job in named], logs, "")
        elif event == "job_finished":
            self.failed.pop(self.leader.get(record.job_id, record.job_id), None)

    def tell(self) -> list[str]:
        """A sentence for each job that failed for good, but for those that told it themselves (`nephrospot.job`)."""
        return [failure.tell() for failure in self.failed.values() if MARK not in "".join(map(read_tail, failure.logs))]

    def _note(self, jobs: list[int], rules: list[str], logs: list[str], message: str | None) -> None:
        leader = min(jobs)
        self.leader |= dict.fromkeys(jobs, leader)
        started = [self.started[job] for job in jobs if job in self.started]
        wildcards = set.intersection(*(set(dict(record.wildcards).items()) for record in started)) if started else set()
        # Of a group the sums aren't told.
        asked = started[0].resources if len(jobs) == len(started) == 1 else {}
        asked = {name: asked.get(name) for name in ("mem_mb", "runtime") if asked.get(name)}
        attempts = self.failed[leader].attempts + 1 if leader in self.failed else 1
        rules = list(dict.fromkeys(rules))
        self.failed[leader] = Failure(rules, dict(sorted(wildcards)), asked, list(logs), message or "", attempts)


def read_tail(path: str | Path) -> str:
    """The last lines of a log; nothing where there is none."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, Path(path).stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _shorten(path: str) -> str:
    """The path from here, where the file is below."""
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else str(path)


def _quote(message: str) -> str:
    found = re.search(r"error message was '(.*?)'", message, re.DOTALL)
    return " ".join((found[1] if found else message).split())
