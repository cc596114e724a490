"""The pathologists' scores: percent of each tissue under a spot, by one or more readers, once or again."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, Problems, did_you_mean

WHOSE = ["reader", "reading"]
OTHERS = {*WHOSE, "note"}
MIN_POSITIVE_TO_DOUBT = 3  # so many scores, all at most 1, are fractions and not percent


def read_scores(path: str | Path, tissues: Iterable[str], barcodes: Collection[str], where: str) -> pd.DataFrame:
    """One slide's scores, a row a spot: the mean of the readers, each of whom is the mean of their readings.

    Parameters, errors
        Of `read_readings`.

    Returns
    -------
    DataFrame
        barcode, in the file's order, then one float column (percent, NaN where not scored) for each tissue in the file.
    """
    readings = read_readings(path, tissues, barcodes, where)
    scored = readings.columns.drop(["barcode", *WHOSE])
    if not readings["barcode"].duplicated().any():  # as it mostly is: each is its own mean
        return readings.drop(columns=WHOSE)
    by_reader = readings.groupby(["barcode", "reader"], sort=False)[list(scored)].mean()
    return by_reader.groupby("barcode", sort=False).mean().reset_index()


def read_readings(path: str | Path, tissues: Iterable[str], barcodes: Collection[str], where: str) -> pd.DataFrame:
    """Read one slide's scores and check them against its spots.

    Parameters
    ----------
    path
        CSV with a column ``barcode`` and one column a tissue, separated by commas, semicolons or tabs. A column
        ``reader`` tells several readers apart, ``reading`` (1, 2, …) the times that one saw a spot; ``note`` is
        ignored. An empty cell is a spot not scored.
    tissues
        The tissues of the configuration.
    barcodes
        All barcodes of the slide.
    where
        How messages name the slide.

    Returns
    -------
    DataFrame
        barcode, reader and reading (text; "" and "1" where the file doesn't say), then one float column (percent, NaN
        where not scored) for each tissue in the file.

    Raises
    ------
    InputError
        One sentence for each kind of mistake, with an example.
    """
    place, tissues = f"{where}, {Path(path).name}", list(tissues)
    header, rows = read_cells(Path(path), place)
    problems = Problems()
    if "barcode" not in header:
        near = next((name for name in header if name.lower().strip() in ("barcodes", "barcode", "spot", "")), header[0])
        raise InputError(f"{place}: there is no column 'barcode'; name the spots' column so, perhaps {near!r}.")
    for name in header:
        if header.count(name) > 1:
            problems.add(f"{place}: column {name!r} stands there twice; take one out.")
        if name not in {"barcode", *OTHERS, *tissues}:
            problems.add(f"{place}: column {name!r} is no tissue of the configuration; {did_you_mean(name, tissues)}")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    problems.raise_if_any()
    scored = [tissue for tissue in tissues if tissue in header]
    if not scored:
        problems.add(f"{place}: there is no column of a tissue; add one or more of {', '.join(tissues)}.")
    if table.empty:
        problems.add(f"{place}: there is no spot in it; add rows, or clear column scores of the sheet.")
    _check_barcodes(table, barcodes, place, problems)
    result = pd.DataFrame({"barcode": table["barcode"], "reader": table.get("reader", ""), "reading": "1"})
    if "reading" in table:
        result["reading"] = table["reading"].replace("", "1")
    for tissue in scored:
        result[tissue] = read_percent(table["barcode"], table[tissue], tissue, place, problems)
    values = result[scored].to_numpy(float)
    if (values > 0).sum() >= MIN_POSITIVE_TO_DOUBT and np.nanmax(values) <= 1:
        problems.add(f"{place}: no score is above 1, which looks like fractions; multiply them by 100.")
    problems.raise_if_any()
    return result


def count_scored(path: str | Path, tissues: Iterable[str], where: str) -> int:
    """How many spots of a file that was checked before have a score."""
    header, rows = read_cells(Path(path), f"{where}, {Path(path).name}")
    columns = [header.index(tissue) for tissue in tissues if tissue in header]
    barcode = header.index("barcode")
    return len({row[barcode] for row in rows if any(row[column] for column in columns)})


def read_cells(path: Path, place: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the CSV, all of one length."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{place}: there is no such file {str(path)!r}; correct column scores of the sheet."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: the text isn't UTF-8; save it as CSV in UTF-8.") from error
    lines = [line for line in text.splitlines() if line.strip(" ,;\t")]
    if not lines:
        raise InputError(f"{place}: the file is empty; add scores, or clear column scores of the sheet.")
    sign = max(",;\t", key=lines[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=sign)]
    header = rows[0]
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            remedy = "write decimals with a point" if sign == "," and len(row) > len(header) else "mend the row"
            raise InputError(
                f"{place}, row {number} ({row[0]}): {len(row)} cells under {len(header)} columns; {remedy}."
            )
    return header, rows[1:]


def _check_barcodes(table: pd.DataFrame, barcodes: Collection[str], place: str, problems: Problems) -> None:
    given = table["barcode"]
    if (given == "").any():
        problems.add(f"{place}: {int((given == '').sum())} rows have no barcode; fill them in or take the rows out.")
    same = table.duplicated(["barcode", *(name for name in WHOSE if name in table)])
    if doubles := list(dict.fromkeys(given[same & (given != "")])):
        remedy = (
            "number that reader's readings in a column reading" if "reader" in table else "name them in a column reader"
        )
        problems.add(
            f"{place}: {_some(doubles)} scored twice; keep one row a spot, or, if two people saw it, {remedy}."
        )
    known = set(barcodes)
    unknown = [barcode for barcode in dict.fromkeys(given) if barcode and barcode not in known]
    if not unknown:
        return
    stems = {barcode.rsplit("-", 1)[0] for barcode in known}
    if all(f"{barcode}-1" in known for barcode in unknown):
        remedy = "the suffix is lacking, write -1 behind each"
    elif all(barcode.rsplit("-", 1)[0] in stems for barcode in unknown):
        example = next(iter(known))
        remedy = f"the suffix differs, write the barcodes as Space Ranger does (such as {example})"
    elif len(unknown) == given[given != ""].nunique():
        remedy = "none of the file's barcodes is, so it belongs to another slide: check columns visium and scores"
    else:
        remedy = "correct them or take their rows out"
    problems.add(f"{place}: {_some(unknown)} not on this slide; {remedy}.")


def read_percent(barcodes: pd.Series, cells: pd.Series, tissue: str, place: str, problems: Problems) -> np.ndarray:
    codes, cells_once = pd.factorize(cells)  # a handful of different scores, on thousands of spots
    plain = pd.Series(cells_once, dtype=object).str.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?").to_numpy(bool)
    numbers = pd.to_numeric(pd.Series(cells_once, dtype=object).where(plain), errors="coerce").to_numpy(float)
    plain, values = plain[codes], numbers[codes]
    bad = cells[~plain & (cells != "")]
    for index, cell in bad.head(3).items():
        if re.fullmatch(r"-?\d+,\d+", cell):
            remedy = f"write decimals with a point ({cell.replace(',', '.')})"
        elif cell.endswith("%"):
            remedy = f"write {cell.rstrip('% ')} without the sign"
        else:
            remedy = "give a number from 0 to 100, or leave the cell empty where the spot isn't scored"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        problems.add(f"{place}, {barcodes[index]}: {tissue} is {cell!r}{more}; {remedy}.")
    outside = np.flatnonzero((values < 0) | (values > 100))
    if len(outside):
        more = f" (and {len(outside) - 1} more)" if len(outside) > 1 else ""
        problems.add(
            f"{place}, {barcodes.iloc[outside[0]]}: {tissue} is {values[outside[0]]:g}{more}; "
            "give percent from 0 to 100."
        )
    return values


def _some(names: list[str]) -> str:
    """'AAC-1 is', or '5 barcodes such as AAC-1, CCA-1 are'."""
    return f"{names[0]} is" if len(names) == 1 else f"{len(names)} barcodes such as {', '.join(names[:3])} are"
