"""A short hash of the code behind a script, so that editing a module reruns what depends on it, and only that.

Snakemake's own trigger goes by file dates, which a git pull changes for a whole cohort, and it doesn't
see imported modules at all.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_version(script: str | Path) -> str:
    """Hash of a script and of every nephrospot module that it imports, directly or not.

    Comments, blank lines and formatting don't count; docstrings do.

    Returns
    -------
    12 hexadecimal digits
    """
    waiting, seen = [Path(script).resolve()], set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imports(path)
    digest = hashlib.sha256()
    for path in sorted(seen, key=lambda p: p.parts[-2:]):
        digest.update(path.name.encode() + _normalised(path))
    return digest.hexdigest()[:12]


def files_version(folder: str | Path) -> str:
    """Hash of the files in a folder, such as a page's template; 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _normalised(path: Path) -> bytes:
    return ast.unparse(_parsed(path)).encode()


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imports(path: Path) -> list[Path]:
    names: set[str] = set()
    for node in _statements(_parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files: list[Path] = []
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE.name and len(parts) > 1:  # the root's __init__ holds the version alone
            target = PACKAGE.joinpath(*parts[1:])
            files += [file for file in (target.with_suffix(".py"), target / "__init__.py") if file.is_file()]
    return files


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements at any depth; looking into expressions, where no import can be, would take most of the time."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()) or ():
            yield inner
            yield from _statements(inner)
