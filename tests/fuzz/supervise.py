"""A child process that reads cases, started again whenever one kills it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parents[1] / "workflow"
PATIENCE = 6  # times the processor time: a child that waits for something uses none
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Bounds:
    """What a case may use: processor time (s) and memory beyond that of the imported libraries (MB)."""

    seconds: float
    megabytes: int


class Reader:
    """Reads case after case in a child, whose ends it tells apart.

    Parameters
    ----------
    kind
        A key of `kinds.KINDS`.
    seed
        An undamaged input, which the child reads first so that everything it needs is imported.
    work
        Where the child's own output goes.
    """

    def __init__(self, kind: str, seed: Path, work: Path, bounds: Bounds) -> None:
        self.kind, self.seed, self.log, self.bounds = kind, seed, work / "child.log", bounds
        self._child: subprocess.Popen | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception) -> None:
        self._stop()

    def read(self, case: Path) -> dict:
        """What became of a case: ``end`` ("read", "refused" or "finding"), ``why``, ``seconds`` and ``mb``."""
        if self._child is None:
            self._start()
        started = time.monotonic()
        self._child.stdin.write(json.dumps(str(case)) + "\n")
        self._child.stdin.flush()
        if line := self._wait(PATIENCE * self.bounds.seconds):
            return json.loads(line)
        why = self._stop()
        return {"end": "finding", "why": why, "seconds": round(time.monotonic() - started, 1), "mb": 0.0}

    def _start(self) -> None:
        answers, end = os.pipe()
        arguments = [self.kind, str(self.seed), str(end), str(self.bounds.seconds), str(self.bounds.megabytes)]
        paths = os.pathsep.join([str(LIBRARY), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", str(HERE / "child.py"), *arguments],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[end], text=True,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": paths, "OMP_WAIT_POLICY": "PASSIVE"},
            )  # fmt: skip
        os.close(end)
        self._answers = os.fdopen(answers)
        if not self._wait(600):  # imports, on a busy machine
            raise RuntimeError(f"{self.kind}: the child can't begin.\n{self._stop()}")

    def _wait(self, seconds: float) -> str:
        """The child's next line; nothing where it died, or is silent for so long."""
        ready, _, _ = select.select([self._answers], [], [], seconds)
        return self._answers.readline() if ready else ""

    def _stop(self) -> str:
        """End the child, if there is one, and say how it ended."""
        if self._child is None:
            return ""
        child, self._child = self._child, None
        child.stdin.close()
        try:
            code = child.wait(timeout=5)
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            name = "no answer"
        self._answers.close()
        what = {"SIGXCPU": "hang: the processor time was used up", "no answer": "hang: no answer"}.get(name, "crash")
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-4000:]
        return f"{said}\n{what} ({name})"
