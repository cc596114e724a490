"""What every script of the workflow does around its one call: log, tell mistakes in sentences, no traceback."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nephrospot.errors import InputError

MARK = "nephrospot can't go on: "


@contextlib.contextmanager
def job(snakemake) -> Iterator[None]:
    """Run a script's body: messages go to its log and to the terminal, an `InputError` ends it with exit code 1.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    handlers: list[logging.Handler] = [
        logging.FileHandler(path, mode="w", encoding="utf-8"),
        logging.StreamHandler(sys.stderr),
    ]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    log = logging.getLogger("nephrospot")
    log.setLevel(logging.INFO)
    try:
        yield
    except InputError as error:
        for sentence in str(error).splitlines():
            log.error("%s%s", MARK, sentence)
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
