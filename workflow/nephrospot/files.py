"""Outputs that are either whole or absent: written beside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import parquet

from nephrospot.errors import PassingError

GZIP_MOST = 1032  # bytes that one packed byte can hold


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling of ``path`` to write a file or folder to; rename it on success.

    A crash, a kill or a full disk leaves nothing under ``path``: what stood there
    before stays until the new output is complete.

    Raises
    ------
    PassingError
        When the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers apart; the suffix is kept since writers go by it.
    temporary = path.with_name(f".{path.stem}.tmp{os.getpid()}{path.suffix}")
    remove(temporary)
    try:
        with telling_full_disk(path):
            yield temporary
            if path.is_dir():
                remove(path)
            temporary.replace(path)
    finally:
        remove(temporary)


@contextlib.contextmanager
def telling_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, or of a quota that is used up, into a sentence about ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PassingError(
                f"{path}: the disk is full; free some space and run again (finished steps are kept)."
            ) from error
        raise


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def find_kind(path: str | Path) -> str:
    """ "file", "folder", or "" where there is neither, or no such path can be: too long, or with signs in it that no
    name has."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (pathlib lets some of these errors through)
    except (OSError, ValueError):
        return ""
    return "folder" if stat.S_ISDIR(mode) else "file"


def write_json(path: str | Path, content: dict) -> None:
    """Write ``content`` as indented UTF-8 JSON; NaN becomes null, numpy scalars become numbers."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict:
    """Read a JSON file that this project wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """JSON from elsewhere.

    Raises
    ------
    ValueError
        When it isn't JSON, or is nested too deeply to be anything that is expected here.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def unpack(path: str | Path, most_bytes: int) -> bytes:
    """Content of a file from elsewhere, gzipped where its name ends in .gz.

    A gzipped file doesn't say truly how large its content is: what could be too large is read through once, a block
    at a time, before it is kept.

    Raises
    ------
    ValueError
        When there is more than ``most_bytes`` of it.
    OSError, EOFError, zlib.error
        When it can't be read.
    """
    path = Path(path)
    packed = path.suffix == ".gz"
    too_large = ValueError(f"it holds more than {most_bytes >> 20} MB")
    size = path.stat().st_size
    if not packed:
        if size > most_bytes:
            raise too_large
        return path.read_bytes()
    if size * GZIP_MOST > most_bytes:
        with gzip.open(path) as file:
            length = 0
            while block := file.read(1 << 20):
                length += len(block)
                if length > most_bytes:
                    raise too_large
    with gzip.open(path) as file:
        return file.read()


def write_parquet(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table without its index."""
    with whole(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_columns(path: str | Path, wanted: Callable[[str], bool] = lambda _: True) -> pd.DataFrame:
    """A table's columns whose names are wanted, all by default: most tables are read for a few of theirs."""
    # Reading ahead leaves some bytes of every file allocated (Arrow 26), each of which holds on to pages of memory.
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        names = [name for name in file.schema_arrow.names if wanted(name)]
        return file.read(columns=names, use_threads=False).to_pandas(use_threads=False)


def list_paths(paths: str | Path | Iterable[str | Path]) -> list[str]:
    """One path, or several, as a list of texts."""
    return [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def sha256(paths: str | Path | Iterable[str | Path]) -> str:
    """Hex SHA-256 of a file, read in blocks; of several files that of their own hex digests, a line each, in order."""
    digests = []
    for path in list_paths(paths):
        digest = hashlib.sha256()
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digests.append(digest.hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
