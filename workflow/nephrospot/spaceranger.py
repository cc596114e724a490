"""Space Ranger from raw reads, by the user's own installation: 10x's licence lets nobody else bring it along."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from nephrospot.errors import InputError
from nephrospot.files import read_json, remove, write_json

CYTASSIST_VERSION = (2, 0)  # the first that knows CytAssist's picture
CHOOSES_BAM = (3, 0)  # from here on whether to make a BAM must be said, in other words than before


def find_spaceranger(program: str, least: str) -> tuple[str, tuple[int, ...]]:
    """Path and version of the user's Space Ranger.

    Parameters
    ----------
    program
        A name in ``PATH``, or a path.
    least
        Least version, such as "1.3".

    Raises
    ------
    InputError
        When it isn't there, doesn't start, or is older.
    """
    path = shutil.which(program)
    if path is None:
        raise InputError(
            f"config, reads.spaceranger: there is no program {program!r}; install Space Ranger from 10x Genomics and "
            "give its path, or give finished folders in column visium of the sheet."
        )
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=120, check=False)
        said = (done.stdout + done.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    found = re.search(r"spaceranger\D*(\d+)\.(\d+)(?:\.(\d+))?", said)
    if found is None:
        raise InputError(
            f"config, reads.spaceranger: {path} tells no version ({said[:80]!r}); give the path of Space Ranger itself."
        )
    version = tuple(int(part) for part in found.groups() if part)
    if version < tuple(map(int, least.split("."))):
        raise InputError(
            f"config, reads.spaceranger: {path} is version {tell_version(version)}, and {least} or newer is needed; "
            "install that, or lower reads.min_version."
        )
    return path, version


def tell_version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def count_command(
    program: str,
    version: tuple[int, ...],
    slide: str,
    own: Mapping,
    transcriptome: str,
    probe_set: str,
    image: str,
    fastqs: list[str],
    threads: int,
    mem_mb: int,
) -> list[str]:
    """The command line of ``spaceranger count``; paths are made absolute, since it runs in a folder of its own.

    Parameters
    ----------
    program, version
        Of `find_spaceranger`.
    slide
        Name of the slide.
    own
        The slide's part of the configuration, ``reads.slides.{slide}``.
    transcriptome, probe_set, image, fastqs
        Paths: folder of the reference, probe set or "", brightfield picture, folders of FASTQ files.
    threads, mem_mb
        What it may use.
    """
    given = {
        "transcriptome": transcriptome,
        "fastqs": ",".join(str(Path(folder).absolute()) for folder in fastqs),
        "sample": own["sample"] or slide,
        "image": image,
        "cytaimage": own["cytaimage"],
        "loupe-alignment": own["alignment"],
        "probe-set": probe_set,
        "slide": own["serial"],
        "area": own["area"],
    }
    paths = {"transcriptome", "image", "cytaimage", "loupe-alignment", "probe-set"}
    told = {key: str(Path(value).absolute()) if key in paths else value for key, value in given.items() if value}
    bam = "--create-bam=false" if version >= CHOOSES_BAM else "--no-bam"
    most = [f"--localcores={threads}", f"--localmem={max(1, int(0.9 * mem_mb / 1000))}"]
    options = [f"--{key}={value}" for key, value in told.items()]
    return [program, "count", f"--id={make_id(slide)}", *options, bam, *most, "--disable-ui", *own["arguments"]]


def mkfastq_command(program: str, flowcell: str, given: Mapping, folder: Path, threads: int, mem_mb: int) -> list[str]:
    """The command line of ``spaceranger mkfastq``.

    Parameters
    ----------
    given
        Of the configuration: ``bcl`` and ``csv``, or ``samplesheet``.
    folder
        Where the FASTQ files go.
    """
    kind = "csv" if given["csv"] else "samplesheet"
    paths = {"run": given["bcl"], kind: given[kind], "output-dir": folder}
    options = [f"--{key}={Path(value).absolute()}" for key, value in paths.items()]
    most = [f"--localcores={threads}", f"--localmem={max(1, int(0.9 * mem_mb / 1000))}"]
    return [program, "mkfastq", f"--id={make_id(flowcell)}", *options, *most, "--disable-ui"]


def make_id(name: str) -> str:
    """A name in the signs that Space Ranger allows."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def run_pipeline(command: list[str], folder: str | Path) -> float:
    """Run Space Ranger in a folder of its own; seconds that it took.

    What is there from an earlier try goes on where it stopped, if the command is the same; else it goes.

    Parameters
    ----------
    command
        Of `count_command` or `mkfastq_command`.
    folder
        Stays when it fails, with all that Space Ranger said in ``said.txt``.

    Raises
    ------
    InputError
        With Space Ranger's last words.
    """
    folder, started = Path(folder), time.monotonic()
    asked = folder / "command.json"
    # Threads and memory may differ from one try to the next.
    wanted = {"command": [part for part in command if not part.startswith("--local")]}
    if folder.exists() and not (asked.exists() and read_json(asked) == wanted):
        remove(folder)
    write_json(asked, wanted)
    for lock in folder.glob("*/_lock"):  # of a process that was killed: Snakemake starts no two
        lock.unlink()
    said = folder / "said.txt"
    with said.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise InputError(
            f"{Path(command[0]).name} {command[1]} failed: {last} (all that it said is in {said}; run the workflow "
            "again and it goes on from there)."
        )
    return time.monotonic() - started


def count_slide(command: list[str], version: tuple[int, ...], outs: str | Path, facts: str | Path) -> None:
    """Run ``spaceranger count`` and keep its ``outs``.

    Parameters
    ----------
    outs
        Where the folder goes, whole or not at all.
    facts
        JSON with ``version``, ``command`` and ``seconds``.

    Raises
    ------
    InputError
        As `run_pipeline`, or when it ends well without a Visium folder.
    """
    outs = Path(outs)
    folder = outs.parent.with_name(f"{outs.parent.name}.unfinished")
    seconds = run_pipeline(command, folder)
    made = next(folder.glob("*/outs"), None)
    if made is None or not (made / "spatial").is_dir():
        raise InputError(f"{folder}: spaceranger count ended without a folder outs/spatial; look at said.txt there.")
    remove(outs)
    outs.parent.mkdir(parents=True, exist_ok=True)
    made.replace(outs)
    write_json(facts, {"version": tell_version(version), "command": command, "seconds": round(seconds)})
    remove(folder)


def make_fastqs(command: list[str], made: Path, folder: str | Path) -> None:
    """Run ``spaceranger mkfastq`` and keep its FASTQ files.

    Parameters
    ----------
    made
        The ``output-dir`` of the command.
    folder
        Where they go, whole or not at all.

    Raises
    ------
    InputError
        As `run_pipeline`, or when it ends well without FASTQ files.
    """
    run_pipeline(command, made.parent)
    if not any(made.rglob("*.fastq*")):
        raise InputError(f"{made}: spaceranger mkfastq ended without a FASTQ file; look at said.txt beside it.")
    remove(Path(folder))
    made.replace(folder)
    remove(made.parent)
