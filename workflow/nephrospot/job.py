"""What every script of the workflow does around its one call: log, tell mistakes in sentences, no traceback."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nephrospot.errors import InputError, PassingError
from nephrospot.refusals import find_refused, write_note

MARK = "nephrospot can't go on: "


class _LogFile(logging.FileHandler):
    """A log whose disk may be full: the terminal has the sentence then, and logging's own traceback helps nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        pass


@contextlib.contextmanager
def job(snakemake, can_leave_out: bool = False) -> Iterator[dict[str, list[str]]]:
    """Run a script's body: messages go to its log and to the terminal, an `InputError` ends it.

    In a step of one slide it ends with notes in the place of the outputs (`nephrospot.refusals`) and exit code 0, so
    that the other slides' tables are made; everywhere else, and where the input isn't to blame, with exit code 1.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    can_leave_out
        Whether the script does without slides that can't be used; where it doesn't, one is an `InputError`.

    Yields
    ------
    {slide: why it can't be used}, of the slides among the inputs.
    """
    started = time.monotonic()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[logging.StreamHandler()], force=True)
    log = logging.getLogger("nephrospot")
    log.setLevel(logging.INFO)
    try:
        path = Path(snakemake.log[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().addHandler(_LogFile(path, mode="w", encoding="utf-8"))
        refused = find_refused(snakemake.input, _results(snakemake), snakemake.input.get("verdicts"))
        if refused and not can_leave_out:
            raise InputError("\n".join(sentence for sentences in refused.values() for sentence in sentences))
        yield refused
    except InputError as error:
        sentences = str(error).splitlines()
        for sentence in sentences:
            log.error("%s%s", MARK, sentence)
        if isinstance(error, PassingError) or not _is_of_one_slide(snakemake):
            sys.exit(1)
        write_note(snakemake.output, sentences)
        sys.exit(0)
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


def _results(snakemake) -> Path:
    return Path(snakemake.config.get("results", "results"))


def _is_of_one_slide(snakemake) -> bool:
    """Whether all that the job writes lies in the folder of one slide's results."""
    slide = snakemake.wildcards.get("slide")
    return bool(slide) and all(Path(path).is_relative_to(_results(snakemake) / slide) for path in snakemake.output)


def collect_sentences(logs: str | Path, since: float) -> list[str]:
    """The sentences that jobs which failed since a time (seconds of the epoch) left in their logs."""
    sentences: list[str] = []
    for path in sorted(Path(logs).rglob("*.log")):
        if path.stat().st_mtime >= since:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            sentences += [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return list(dict.fromkeys(sentences))
