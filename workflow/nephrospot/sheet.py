"""The sample sheet: one row a slide, every mistake of every row told at once.

A row's number counts the slides from 1, without header, comments and blank lines.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError, Problems, did_you_mean
from nephrospot.files import find_kind
from nephrospot.settings import read_schema

TRANSFORM = ("visium_scale", "visium_x_px", "visium_y_px")
# What the workflow makes beside the slides' folders, in results and in the demonstration (tests/test_trust.py).
TAKEN = frozenset((
    "ablation.parquet", "ablation_differences.parquet", "ahead", "ahead.json", "check.txt",
    "correlations.parquet", "costs.tsv", "differences.parquet", "evaluation.parquet", "evaluation.tsv", "fastq",
    "fastqc", "fig10.svg", "fig10.tsv", "fig4.svg", "fig8.svg", "logs", "nephrospot_methods_mqc.json",
    "nephrospot_slides_mqc.json", "patches.parquet", "postprocessing.tsv", "provenance", "readers.tsv",
    "reference.h5ad", "report.html", "scoring", "sensitivity.tsv", "spaceranger", "table1.html", "table1.parquet",
    "table1.tsv", "table2.html", "table2.tex", "table2.tsv", "table3.html", "table3.tsv", "training", "training.html",
    "verdicts.json", "worst", "worst.parquet",
))  # fmt: skip
SLIDE = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?"  # the schema's, and no dot at the end
PATHS = {"image": "file", "visium": "folder", "scores": "file"}


def read_sheet(
    path: str | Path, settings: dict, generated: Iterable[str | Path] = (), look_for_files: bool = True
) -> pd.DataFrame:
    """Read and check the sample sheet.

    Parameters
    ----------
    path
        Tab-separated UTF-8 text. A byte-order mark, Windows line ends and blanks around cells are tolerated.
    settings
        From `nephrospot.settings.read_settings`; its species are the ones allowed.
    generated
        Folders that the workflow fills itself: files below them needn't exist yet.
    look_for_files
        Whether files must exist; a job of a workflow that was checked once needn't look again.

    Returns
    -------
    DataFrame
        One row a slide in the sheet's order, excluded ones included. Columns slide, image, visium,
        scores, species, stain, group, exclude (str, "" where empty), mpp (float, NaN where empty),
        visium_scale, visium_x_px, visium_y_px (float; 1, 0, 0 where empty).

    Raises
    ------
    InputError
        One sentence for each mistake: file, row, column, value, remedy.
    """
    path = Path(path)
    columns = read_schema("slides")["properties"]
    rows = _read_rows(path, columns)
    problems = Problems()
    checked = []
    for number, row in enumerate(rows, start=1):
        where = f"{path.name}, row {number}" + (f" ({row['slide']})" if row["slide"] else "")
        if look_for_files and not row["exclude"]:
            _check_paths(row, list(generated), where, problems)
        checked.append(_check_row(row, columns, settings, where, problems))
    _check_doubles([row["slide"] for row in checked], path.name, problems)
    if not rows:
        problems.add(f"{path.name}: there is no slide in the sheet; add a row.")
    elif all(row["exclude"] for row in checked):
        problems.add(
            f"{path.name}: every slide is excluded, so there is nothing to do; clear a cell of column exclude."
        )
    problems.raise_if_any()
    return pd.DataFrame(checked, columns=list(columns))


def _read_rows(path: Path, columns: dict) -> list[dict[str, str]]:
    """The sheet's cells as text, with every known column; raises for what makes rows unreadable."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such sheet; correct the key sheet of the configuration.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: this is a folder; give the sheet's file as key sheet.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path.name}, line {line}: the text isn't UTF-8; save the sheet as UTF-8.") from error
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path.name}: the sheet is empty; start from config/slides.tsv.")
    header = [name.strip() for name in lines[0].rstrip().split("\t")]
    problems = Problems()
    if len(header) == 1 and (used := [sign for sign in ",;| " if sign in header[0]]):
        raise InputError(
            f"{path.name}: the columns are separated by {used[0]!r}; save the sheet with tabs between the columns."
        )
    for name in header:
        if name not in columns:
            problems.add(f"{path.name}: there is no column {name!r}; {did_you_mean(name, columns)}")
    for name in dict.fromkeys(name for name in header if header.count(name) > 1):
        problems.add(f"{path.name}: column {name!r} stands there twice; take one out.")
    for name in ("slide", "image", "species"):
        if name not in header:
            problems.add(
                f"{path.name}: column {name!r} is missing; add it ({columns[name]['description'].rstrip('.')})."
            )
    rows = []
    for number, line in enumerate(lines[1:], start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if any(cells[len(header) :]):
            problems.add(
                f"{path.name}, row {number} ({cells[0]}): {len(cells)} cells under {len(header)} columns; "
                "check the tabs between the cells."
            )
        if len(cells) == 1 and len(header) > 1:
            problems.add(f"{path.name}, row {number}: there is no tab in {cells[0]!r}; separate the cells by tabs.")
        if quoted := [cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"']:
            problems.add(f"{path.name}, row {number} ({cells[0]}): {quoted[0]} is quoted; take the quotes out.")
        given = dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))
        rows.append({name: given.get(name, "") for name in columns})
    problems.raise_if_any()
    return rows


def _check_row(row: dict[str, str], columns: dict, settings: dict, where: str, problems: Problems) -> dict:
    """One row in its types; what is wrong with it goes to ``problems``."""
    for name in ("slide", "image", "species"):
        if not row[name]:
            problems.add(f"{where}: {name} is empty; {columns[name]['description'][0].lower()}"
                         f"{columns[name]['description'][1:].rstrip('.')} is needed.")  # fmt: skip
    if row["slide"] and not re.fullmatch(SLIDE, row["slide"]):
        problems.add(
            f"{where}: slide {row['slide']!r} can't name a folder; use letters, digits, dot, underscore and hyphen, "
            "beginning with a letter or digit."
        )
    if row["slide"].lower() in TAKEN:
        problems.add(f"{where}: the results have a {row['slide']!r} of their own; give the slide another name.")
    if row["species"] and row["species"] not in settings["species"]:
        problems.add(f"{where}: species is {row['species']!r}; {did_you_mean(row['species'], settings['species'])}")
    if row["scores"] and not row["visium"]:
        problems.add(f"{where}: scores are given but visium is empty, so they belong to no spot; give both or neither.")
    given = [name for name in TRANSFORM if row[name]]
    if given and len(given) < len(TRANSFORM):
        missing = [name for name in TRANSFORM if name not in given]
        problems.add(
            f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty but {', '.join(given)} given; "
            "give all three or none."
        )
    if given and not row["visium"]:
        problems.add(f"{where}: {', '.join(given)} given but visium is empty; give the Visium folder or clear them.")
    numbers = {
        name: _read_number(row[name], name, part, where, problems)
        for name, part in columns.items()
        if "minimum" in part or isinstance(part.get("default"), int)
    }
    return {**row, **numbers}


def _read_number(text: str, name: str, part: dict, where: str, problems: Problems) -> float:
    if not text:
        return math.nan if part["default"] is None else float(part["default"])
    try:
        value = float(text)
    except ValueError:
        remedy = f"write {text.replace(',', '.')}" if re.fullmatch(r"-?\d+,\d+", text) else "give a number"
        problems.add(f"{where}: {name} is {text!r}; {remedy}.")
        return math.nan
    if not math.isfinite(value) or "_" in text:
        problems.add(f"{where}: {name} is {text!r}; give a finite number.")
        return math.nan
    low, high = part.get("minimum", part.get("exclusiveMinimum", -math.inf)), part.get("maximum", math.inf)
    if name == "mpp" and value > high:
        problems.add(
            f"{where}: mpp is {text}, which isn't a microscope's; give µm per pixel, not a magnification (40× is 0.25)."
        )
    elif name == "mpp" and value < low:
        problems.add(f"{where}: mpp is {text}; give µm per pixel, such as 0.25.")
    elif value < low or ("exclusiveMinimum" in part and value <= low):
        problems.add(f"{where}: {name} is {text}; give a positive number.")
    return value


def _check_paths(row: dict[str, str], generated: list, where: str, problems: Problems) -> None:
    for name, kind in PATHS.items():
        text = row[name]
        if not text or any(is_below(text, folder) for folder in generated):
            continue
        found = find_kind(text)
        if kind == "file" and found == "folder":
            problems.add(f"{where}: {name} {text!r} is a folder; give the file.")
        elif kind == "folder" and found == "file":
            problems.add(f"{where}: {name} {text!r} is a file; give Space Ranger's folder outs.")
        elif not found:
            remedy = "write the path without ~" if text.startswith("~") else f"paths start from {Path.cwd()}"
            problems.add(f"{where}: {name} {text!r} doesn't exist; correct it ({remedy}).")


def is_below(path: str, folder: str | Path) -> bool:
    path, folder = os.path.abspath(path), os.path.abspath(folder)  # noqa: PTH100 (links aren't followed)
    return os.path.commonpath([path, folder]) == folder


def _check_doubles(slides: list[str], name: str, problems: Problems) -> None:
    first: dict[str, int] = {}
    for number, slide in enumerate(slides, start=1):
        earlier = first.setdefault(slide.lower(), number)
        if slide and earlier != number:
            what = "the name stands in" if slide == slides[earlier - 1] else "differs in case alone from"
            problems.add(f"{name}, row {number} ({slide}): {what} row {earlier} too; give every slide its own name.")


def require_slides(names: list[str], sheet: pd.DataFrame, key: str) -> None:
    """Refuse slides that a key of the configuration names and the sheet hasn't, or has excluded.

    Raises
    ------
    InputError
        One sentence for each.
    """
    problems = Problems()
    included = sheet.loc[sheet["exclude"] == "", "slide"].tolist()
    for name in names:
        if name in sheet["slide"].tolist() and name not in included:
            problems.add(f"config, {key}: {name} is excluded in the sheet; take it out of one of them.")
        elif name not in included:
            problems.add(f"config, {key}: {name!r} isn't in the sheet; {did_you_mean(name, included)}")
    problems.raise_if_any()
