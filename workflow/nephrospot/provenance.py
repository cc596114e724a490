"""What made the results: versions, code, settings, sheet, and the SHA-256 of everything read and of every table.

A rerun from it gives the same tables: `write_state` writes the settings and the sheet as the two files that a run
begins with.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import yaml

from nephrospot.errors import InputError
from nephrospot.files import list_paths, read_json, sha256, whole
from nephrospot.fingerprint import code_version
from nephrospot.refusals import read_note
from nephrospot.visium import find_outs

COUNTS = "*feature_bc_matrix*"  # an HDF5 file, or a folder of three files


def hash_inputs(image: str, visium: str = "", scores: str = "") -> dict[str, dict]:
    """Size and SHA-256 of each file of a slide that the workflow reads.

    Of a Visium folder that is ``spatial/`` and the counts: what else Space Ranger left there (reads in a BAM, its own
    analysis) is neither read nor hashed.

    Returns
    -------
    {path: {"bytes": int, "sha256": 64 hexadecimal digits}}
        A path below ``visium`` begins with it.

    Raises
    ------
    InputError
        When a file isn't there.
    """
    paths = [Path(path) for path in (image, scores) if path]
    if visium:
        outs = find_outs(visium)
        paths += sorted((outs / "spatial").rglob("*"))
        paths += sorted([*outs.glob(COUNTS), *outs.glob(f"{COUNTS}/*")])
    return hash_files(paths)


def hash_files(paths: Iterable[str | Path]) -> dict[str, dict]:
    """`hash_inputs` of some files; what is no file is passed over, such as folders.

    Raises
    ------
    InputError
        When a path isn't there.
    """
    paths = [Path(path) for path in paths]
    lost = [path for path in paths if not path.exists()]
    if lost:
        raise InputError("\n".join(f"{path}: the file is gone; put it back and run again." for path in lost))
    return {str(path): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths if path.is_file()}


def gather_provenance(
    settings: Mapping, inputs: list[str], results: list[str], versions: Mapping[str, str], root: str | Path
) -> dict:
    """The content of ``provenance.json`` (docs/outputs.md).

    Parameters
    ----------
    settings
        As the workflow uses them, with all defaults.
    inputs
        inputs.json of each slide, or the note of one that can't be used.
    results
        The cohort's tables.
    versions
        {package: version}.
    root
        Of the checkout.
    """
    read: dict[str, dict] = {}
    for path in inputs:
        read |= {} if read_note(path) else read_json(path)
    methods = settings["methods"].values()
    files = {path for method in methods for path in list_paths(method.get("weights") or [])}
    deconvolution = settings["deconvolution"]
    files |= {path for path in (deconvolution["reference"], deconvolution["second"]["reference"]) if path}
    return {
        "checkout": describe_checkout(root),
        "versions": dict(versions),
        "system": {"machine": platform.machine(), "system": platform.platform()},
        "code": {path.stem: code_version(path) for path in sorted((Path(root) / "scripts").glob("*.py"))},
        "inputs": read | hash_files(sorted({*files, settings["published"]})),
        "results": hash_files(results),
    }


def write_state(settings: Mapping, sheet: pd.DataFrame, config_path: str | Path, sheet_path: str | Path) -> None:
    """The settings and the sheet as the two files that a run begins with.

    ``settings["sheet"]`` becomes ``sheet_path``, so that the first file alone is enough for a rerun.
    """
    state = dict(settings) | {"sheet": str(sheet_path)}
    with whole(sheet_path) as temporary:
        sheet.to_csv(temporary, sep="\t", index=False)
    with whole(config_path) as temporary:
        temporary.write_text(yaml.safe_dump(state, sort_keys=False, allow_unicode=True), encoding="utf-8")


def describe_checkout(root: str | Path) -> dict:
    """Commit of a checkout and which of its files differ from it; {"commit": ""} where that isn't known."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
    except (OSError, subprocess.SubprocessError):
        return {"commit": "", "changed": []}
    return {"commit": commit, "changed": [line[3:] for line in changed]}
