"""What every script of the workflow does around its one call: log, tell mistakes in sentences, no traceback."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nephrospot.errors import InputError

MARK = "nephrospot can't go on: "


class _LogFile(logging.FileHandler):
    """A log whose disk may be full: the terminal has the sentence then, and logging's own traceback helps nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        pass


@contextlib.contextmanager
def job(snakemake) -> Iterator[None]:
    """Run a script's body: messages go to its log and to the terminal, an `InputError` ends it with exit code 1.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    """
    started = time.monotonic()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[logging.StreamHandler()], force=True)
    log = logging.getLogger("nephrospot")
    log.setLevel(logging.INFO)
    try:
        path = Path(snakemake.log[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().addHandler(_LogFile(path, mode="w", encoding="utf-8"))
        yield
    except InputError as error:
        for sentence in str(error).splitlines():
            log.error("%s%s", MARK, sentence)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.error("%s%s: the disk is full; free some space and run again.", MARK, error.filename or snakemake.rule)
        sys.exit(1)
    except MemoryError:
        log.error("%sout of memory; give the rule %s more mem_mb in the profile.", MARK, snakemake.rule)
        sys.exit(1)
    wildcards = ", ".join(str(value) for value in snakemake.wildcards)
    log.info("%s %s: done in %.1f s", snakemake.rule, wildcards, time.monotonic() - started)


def collect_sentences(logs: str | Path, since: float) -> list[str]:
    """The sentences that jobs which failed since a time (seconds of the epoch) left in their logs."""
    sentences: list[str] = []
    for path in sorted(Path(logs).rglob("*.log")):
        if path.stat().st_mtime >= since:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            sentences += [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return list(dict.fromkeys(sentences))
