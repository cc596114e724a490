"""A slide that a step can't use: for the rest of the run a note stands in the place of the step's files.

So the steps that follow pass the note on, the cohort's tables are made from the other slides and say whom they lack,
and nothing of a slide that was read in part gets into them. The notes end with the run (`take_back`), so that the next
one tries again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from nephrospot.errors import InputError, Problems
from nephrospot.files import read_json, remove, whole

KEY = "refused"
START = b'{"refused":'
IN_FOLDER = "refused.json"


def write_note(outputs: Iterable[str | Path], sentences: list[str]) -> None:
    """Write the note in the place of each output; a Zarr store becomes a folder with nothing else in it."""
    for output in map(Path, outputs):
        with whole(output) as temporary:
            note = temporary
            if output.suffix == ".zarr":
                temporary.mkdir()
                note = temporary / IN_FOLDER
            note.write_text(json.dumps({KEY: sentences}, ensure_ascii=False), encoding="utf-8")


def read_note(path: str | Path) -> list[str]:
    """The sentences of a note, or the problems of a slide.json; none for any other file or folder."""
    path = Path(path)
    if path.name == "slide.json":
        return read_json(path)["problems"]
    note = path / IN_FOLDER if path.is_dir() else path
    if not note.is_file():
        return []
    with note.open("rb") as file:
        if file.read(len(START)) != START:
            return []
    return read_json(note)[KEY]


def find_refused(
    paths: Iterable[str | Path], results: str | Path, verdicts: str | Path | None = None
) -> dict[str, list[str]]:
    """{slide: why it can't be used}, from what the workflow made of the slides.

    Parameters
    ----------
    paths
        Such as ``results/K1/omni-seg/spots.parquet``, which may be a note; files outside ``results`` are passed over.
    results
        The folder of results.
    verdicts
        ``verdicts.json`` of the check, where the step goes by it.

    Raises
    ------
    InputError
        Where the check found something wrong with what all slides share.
    """
    told: dict[str, Problems] = {}
    for path in map(Path, paths):
        for sentence in read_note(path) if path.is_relative_to(results) else ():
            told.setdefault(path.relative_to(results).parts[0], Problems()).add(sentence)
    checked = read_json(verdicts) if verdicts else {"problems": [], "slides": {}}
    if checked["problems"]:
        raise InputError("\n".join(checked["problems"]))
    for slide, sentences in checked["slides"].items():
        for sentence in sentences:
            told.setdefault(slide, Problems()).add(sentence)
    return {slide: problems.sentences for slide, problems in told.items()}


def leave_out(slides: Mapping[str, Mapping] | list[str], refused: Iterable[str]) -> Mapping[str, Mapping] | list[str]:
    """Those of the slides that can be used, in the form given: a dictionary by slide, or a list of names.

    Raises
    ------
    InputError
        Where none is left of some.
    """
    kept = [slide for slide in slides if slide not in refused]
    if slides and not kept:
        raise InputError(
            f"none of the slides can be used, so there is nothing to make a table of: {', '.join(slides)}."
        )
    return {slide: slides[slide] for slide in kept} if isinstance(slides, Mapping) else kept


def take_back(slides: Iterable[str], results: str | Path) -> dict[str, list[str]]:
    """Delete every note in the slides' folders and in those of their methods, so that the next run tries again.

    Returns
    -------
    {slide: its sentences}, without those of slide.json, which stays.
    """
    folders = [Path(results, slide) for slide in slides]
    candidates = [path for folder in folders for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern))]
    notes = [path for path in candidates if path.name not in ("slide.json", IN_FOLDER) and read_note(path)]
    told = find_refused(notes, results)
    for note in notes:
        remove(note)
        with contextlib.suppress(OSError):  # the method's folder has other files
            note.parent.rmdir()
    return told
