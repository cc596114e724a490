"""Raw reads: the FASTQ files of a sample, and FastQC's verdicts on them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError
from nephrospot.files import whole

# As bcl2fastq and mkfastq name them: sample, number, lane, read, part.
NAME = re.compile(r"(?P<sample>.+)_S\d+(_L\d+)?_(?P<read>[RI][12])_\d+\.fastq(\.gz)?")
COLUMNS = ["file", "module", "verdict"]


def list_fastqs(folders: Iterable[str | Path], sample: str) -> list[Path]:
    """The FASTQ files of a sample, at any depth below some folders, in the order of their names.

    Raises
    ------
    InputError
        A folder that isn't there, no file of the sample, or a first read without its second.
    """
    found: list[Path] = []
    samples: set[str] = set()
    folders = [Path(folder) for folder in folders]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder of FASTQ files; correct fastqs.")
        for path in folder.rglob("*.fastq*"):
            if match := NAME.fullmatch(path.name):
                samples.add(match["sample"])
                found += [path] if match["sample"] == sample else []
    where = ", ".join(map(str, folders))
    if not found:
        held = ", ".join(sorted(samples)) or "no file that is called like SAMPLE_S1_L001_R1_001.fastq.gz"
        raise InputError(f"{where}: no FASTQ file of sample {sample!r} (there is {held}); correct fastqs or sample.")
    names = {path.name for path in found}
    for path in found:
        if (second := path.name.replace("_R1_", "_R2_")) not in names:
            raise InputError(f"{path}: its second read {second} is lacking; copy both, genes are in the second.")
    return sorted(found)


def run_fastqc(paths: list[Path], folder: str | Path, table: str | Path, threads: int = 1) -> None:
    """Run the installed program ``fastqc`` and sum its verdicts up.

    Parameters
    ----------
    paths
        FASTQ files.
    folder
        Where its HTML page and zip for each file go.
    table
        Tab-separated text: ``file``, ``module``, ``verdict`` (PASS, WARN or FAIL).
    threads
        Files at once.

    Raises
    ------
    InputError
        When the program is lacking or fails.
    """
    program = shutil.which("fastqc")
    if program is None:
        raise InputError("The program fastqc is not installed; install it (apt install fastqc) and try again.")
    with whole(folder) as temporary, tempfile.TemporaryDirectory(prefix="nephrospot_fastqc_") as scratch:
        temporary.mkdir()
        command = [program, "--quiet", "--threads", str(threads), "--dir", scratch, "--outdir", temporary, *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        zips = sorted(temporary.glob("*_fastqc.zip"))
        # A file that is cut short is reported on as far as it goes, with exit status 0.
        broken = re.findall(r"^\S*(?:Exception|Error)\b.*$", done.stderr, re.MULTILINE)
        if done.returncode or broken or len(zips) != len(paths):
            said = broken or (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
            raise InputError(
                f"fastqc failed on {len(paths)} files that begin with {paths[0]}: {said[0]}; one is cut short or "
                "no FASTQ (gzip --test tells which), copy it again."
            )
        verdicts = pd.concat([_read_verdicts(path) for path in zips], ignore_index=True)
    with whole(table) as temporary:
        verdicts.to_csv(temporary, sep="\t", index=False)


def _read_verdicts(path: Path) -> pd.DataFrame:
    with zipfile.ZipFile(path) as held:
        lines = held.read(f"{path.stem}/summary.txt").decode().splitlines()
    rows = [line.split("\t") for line in lines]
    return pd.DataFrame([(file, module, verdict) for verdict, module, file in rows], columns=COLUMNS)
