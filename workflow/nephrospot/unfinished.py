"""Long work that survives a kill: a folder that grows beside its final place, with a journal of what is whole in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nephrospot.errors import PassingError
from nephrospot.files import remove, telling_full_disk

JOURNAL = "journal.jsonl"


class Unfinished:
    """A folder under way.

    Attributes
    ----------
    folder : Path
    done : dict
        Facts of each piece that is whole, by name, in the order of their making.
    """

    def __init__(self, folder: Path, key: str, journal: IO[str]) -> None:
        self.folder, self._journal = folder, journal
        lines = _read_lines(journal)
        if not lines or lines[0] != {"key": key}:
            # Begun with other weights, readings or code: nothing of it can stay.
            for path in folder.iterdir():
                if path.name != JOURNAL:
                    remove(path)
            journal.seek(0)
            journal.truncate()
            self._write({"key": key})
            lines = [{"key": key}]
        self.done: dict[str, dict] = {line["piece"]: line["facts"] for line in lines[1:]}

    def add(self, piece: str, facts: dict, file: Path | None = None) -> None:
        """Note that a piece is whole; ``file`` reaches the disk before the note does."""
        if file is not None and file.exists():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        self._write({"piece": piece, "facts": facts})
        self.done[piece] = facts

    def _write(self, line: dict) -> None:
        self._journal.seek(0, os.SEEK_END)
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())


@contextlib.contextmanager
def resumable(output: str | Path, key: str) -> Iterator[Unfinished]:
    """Go on with an output where an earlier process stopped, or begin it.

    Parameters
    ----------
    output
        The folder to make. It appears, renamed in one step, when the body has ended without an error;
        until then the work is in a hidden folder beside it.
    key
        Whatever decides the output's bytes. Work begun under another key is thrown away.

    Raises
    ------
    PassingError
        When another process is at work on the same output, or the disk is full.
    """
    output = Path(output)
    folder = output.with_name(f".{output.stem}.unfinished{output.suffix}")
    with telling_full_disk(output):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / JOURNAL).open("a+", encoding="utf-8") as journal:
            _lock(journal, output)
            yield Unfinished(folder, key, journal)
        remove(output)
        folder.replace(output)
        (output / JOURNAL).unlink()


def _lock(journal: IO[str], output: Path) -> None:
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PassingError(
            f"{output}: another process is at work on it; wait for that one, or end it, and run again."
        ) from error
    except OSError:
        pass  # some network file systems have no locks; Snakemake's own lock is then the only one


def _read_lines(journal: IO[str]) -> list[dict]:
    """The whole lines; the last one is cut off where a process was killed while it wrote it."""
    journal.seek(0)
    lines, end = [], 0
    while (line := journal.readline()).endswith("\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:  # a power cut can leave a block of zeros
            break
        end = journal.tell()
    journal.seek(end)
    journal.truncate()
    return lines
