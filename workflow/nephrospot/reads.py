"""What is asked of raw reads, looked at before any work: an hour of Space Ranger mustn't end in a wrong path."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nephrospot.errors import Problems, did_you_mean
from nephrospot.fastq import list_fastqs
from nephrospot.settings import NAME
from nephrospot.sheet import is_below
from nephrospot.spaceranger import CYTASSIST_VERSION, find_spaceranger, tell_version

SERIAL = re.compile(r"V\d\d[A-Z]\d\d-\d{3}")
PICTURES = (".tif", ".tiff", ".btf", ".jpg", ".jpeg", ".qptiff")


def fastq_folder(results: str | Path, flowcell: str) -> str:
    """Where the FASTQ files of a flow cell go."""
    return f"{results}/fastq/{flowcell}"


def outs_folder(results: str | Path, slide: str) -> str:
    """Where Space Ranger's folder of a slide goes, for column visium of the sheet."""
    return f"{results}/spaceranger/{slide}/outs"


def list_folders(fastqs: str | list[str]) -> list[str]:
    """One folder, or several, as a list."""
    return [fastqs] if isinstance(fastqs, str) else list(fastqs)


def picture_of(own: Mapping, image: str) -> str:
    """The brightfield picture that Space Ranger sees: its own, or the sheet's."""
    return own["image"] or image


def check_reads(settings: Mapping, included: pd.DataFrame) -> None:
    """Refuse what ``spaceranger`` would stumble on, for slides and flow cells that aren't finished.

    Parameters
    ----------
    settings
        From `nephrospot.settings.read_settings`.
    included
        Rows of the sheet that aren't excluded, index the slide.

    Raises
    ------
    InputError
        One sentence for each thing wrong.
    """
    reads, results, problems = settings["reads"], settings["results"], Problems()
    for slide in reads["slides"]:
        if slide not in included.index:
            remedy = did_you_mean(slide, included.index)
            problems.add(f"{NAME}, reads.slides.{slide}: there is no such slide in the sheet; {remedy}")
    for slide, row in included.iterrows():
        folder, made = row["visium"], Path(outs_folder(results, slide))
        absent = folder and is_below(folder, made.parents[1]) and not Path(folder).exists()
        if absent and (slide not in reads["slides"] or Path(folder) != made):
            problems.add(
                f"slide {slide}: visium {folder!r} doesn't exist, and nothing makes it; give {made} there, and "
                f"{NAME}, reads.slides.{slide}."
            )
    known = [slide for slide in reads["slides"] if slide in included.index]
    uncounted = [slide for slide in known if not Path(outs_folder(results, slide)).exists()]
    undone = [name for name in reads["flowcells"] if not Path(fastq_folder(results, name)).exists()]
    found = None
    if uncounted or undone:
        found = problems.catch(find_spaceranger, reads["spaceranger"], reads["min_version"])
    if uncounted:
        _check_reference(reads, problems)
    for slide in uncounted:
        own, where = reads["slides"][slide], f"{NAME}, reads.slides.{slide}"
        _check_slide(own, where, included.at[slide, "image"], found, problems)
        made = [fastq_folder(results, name) for name in undone]
        folders = [folder for folder in list_folders(own["fastqs"]) if folder not in made]
        told = Problems()
        if folders:
            told.catch(list_fastqs, folders, own["sample"] or slide)
        for sentence in told.sentences:
            problems.add(f"{where}: {sentence}")
    for name in undone:
        _check_flowcell(reads["flowcells"][name], f"{NAME}, reads.flowcells.{name}", problems)
    if undone and found:
        _check_mkfastq(found[0], problems)
    problems.raise_if_any()


def _check_reference(reads: Mapping, problems: Problems) -> None:
    folder = Path(reads["transcriptome"])
    if not reads["transcriptome"] or not (folder / "reference.json").is_file():
        problems.add(
            f"{NAME}, reads.transcriptome: {reads['transcriptome']!r} holds no reference.json; give the folder of a "
            "reference for Space Ranger, such as refdata-gex-mm10-2020-A."
        )
    if reads["probe_set"] and not Path(reads["probe_set"]).is_file():
        problems.add(f"{NAME}, reads.probe_set: {reads['probe_set']!r} doesn't exist; correct the path.")


def _check_slide(own: Mapping, where: str, image: str, found: tuple | None, problems: Problems) -> None:
    unknown = any(argument.startswith("--unknown-slide") for argument in own["arguments"])
    if own["serial"] and not SERIAL.fullmatch(own["serial"]):
        problems.add(
            f"{where}.serial: {own['serial']!r} isn't a Visium slide's; give it as printed, such as V19J01-123."
        )
    if not unknown and not (own["serial"] and own["area"]):
        problems.add(
            f"{where}: serial and area are needed to know where the spots lie; give both as printed on the slide, or "
            "--unknown-slide under arguments."
        )
    picture = picture_of(own, image)
    if not Path(picture).is_file():
        problems.add(f"{where}.image: {picture!r} doesn't exist; correct the path.")
    elif not picture.lower().endswith(PICTURES):
        problems.add(
            f"{where}.image: Space Ranger can't read {picture!r}; give the slide as TIFF or JPEG here, and its scale "
            "under visium_scale in the sheet."
        )
    for key in ("cytaimage", "alignment"):
        if own[key] and not Path(own[key]).is_file():
            problems.add(f"{where}.{key}: {own[key]!r} doesn't exist; correct the path.")
    if own["cytaimage"] and found and found[1] < CYTASSIST_VERSION:
        problems.add(
            f"{where}.cytaimage: {found[0]} is version {tell_version(found[1])}, which doesn't know CytAssist; install "
            f"{tell_version(CYTASSIST_VERSION)} or newer."
        )


def _check_flowcell(own: Mapping, where: str, problems: Problems) -> None:
    if not Path(own["bcl"]).is_dir():
        problems.add(f"{where}.bcl: there is no folder {own['bcl']!r}; give the sequencer's run folder.")
    if bool(own["csv"]) == bool(own["samplesheet"]):
        problems.add(f"{where}: give csv (lane, sample, index) or samplesheet (Illumina's), one of them.")
    for key in ("csv", "samplesheet"):
        if own[key] and not Path(own[key]).is_file():
            problems.add(f"{where}.{key}: {own[key]!r} doesn't exist; correct the path.")


def _check_mkfastq(program: str, problems: Problems) -> None:
    if shutil.which("bcl2fastq") is None:
        problems.add(
            f"{NAME}, reads.flowcells: spaceranger mkfastq needs the program bcl2fastq, which isn't in PATH; install "
            "it from Illumina, or give FASTQ files under reads.slides."
        )
    if subprocess.run([program, "mkfastq", "--help"], capture_output=True, timeout=120, check=False).returncode:
        problems.add(
            f"{NAME}, reads.flowcells: {program} has no mkfastq; make FASTQ files by Illumina's own programs and give "
            "them under reads.slides."
        )
