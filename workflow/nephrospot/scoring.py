"""A blinded set of spots for a pathologist to score: shuffled, some twice, nothing on them that tells which slide.

The reader gets the pictures and sheet.csv. key.csv, which says what each number is, stays behind until the sheet is
filled in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from nephrospot.errors import InputError, Problems, tell_cause
from nephrospot.files import whole
from nephrospot.report.page import make_environment
from nephrospot.report.pictures import embed_jpegs
from nephrospot.scores import read_cells, read_percent
from nephrospot.sheet import SLIDE
from nephrospot.slide import Slide, open_slide

KEY_COLUMNS = ["number", "slide", "barcode", "x_px", "y_px", "reading"]
CROP_MPP = 0.25
PAGE_BYTES = 9_000_000
RING = (255, 255, 255)


def choose_spots(
    spots: Mapping[str, pd.DataFrame], n: int, positive_share: float, repeats: float, seed: int
) -> pd.DataFrame:
    """Draw spots for scoring and put them, and some of them once more, in a random order.

    Parameters
    ----------
    spots
        {slide: barcode, x_px, y_px, positive}: whether the spot is thought to hold some of the tissue; where too few
        do, more of the others are taken, and the other way round.
    n
        How many different spots.
    positive_share
        The share of them to be positive, since most spots hold nothing of a glomerulus.
    repeats
        The share of them to be shown twice, as far apart as half of the set.

    Returns
    -------
    DataFrame
        `KEY_COLUMNS`: ``number`` from 1 in the order shown; ``reading`` 1, or 2 where the spot comes again.

    Raises
    ------
    InputError
        When there are fewer spots than asked for.
    """
    table = pd.concat([own.assign(slide=slide) for slide, own in spots.items()], ignore_index=True)
    if len(table) < n:
        raise InputError(f"scoring.spots: {n} spots are asked for and there are {len(table)}; ask for fewer.")
    rng = np.random.default_rng(seed)
    groups = [table[table["positive"]], table[~table["positive"]]]
    wanted = round(n * positive_share)
    wanted = min(max(wanted, n - len(groups[1])), len(groups[0]))
    parts = [own.iloc[rng.permutation(len(own))[:size]] for own, size in zip(groups, (wanted, n - wanted), strict=True)]
    once = pd.concat(parts).assign(reading=1)
    once = once.iloc[rng.permutation(n)].reset_index(drop=True)
    # Those that come again are of the first half, and come again in the second.
    again = once.iloc[rng.permutation(n // 2)[: round(n * repeats)]].assign(reading=2)
    places = np.concatenate([np.arange(n), n // 2 + rng.uniform(0, n - n // 2, len(again))])
    key = pd.concat([once, again]).iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    return key.assign(number=np.arange(1, len(key) + 1))[KEY_COLUMNS]


def draw_crop(slide: Slide, mpp: float, x_px: float, y_px: float, crop_um: float, diameter_um: float) -> np.ndarray:
    """A square of the slide about a spot with the spot's rim; uint8 RGB at 0.25 µm per pixel."""
    side = round(crop_um / CROP_MPP)
    scale = CROP_MPP / mpp
    corner = (position + 0.5 - side * scale / 2 for position in (x_px, y_px))
    crop = slide.read_window(*corner, scale, side, side)
    centre, radius = (side // 2, side // 2), round(diameter_um / 2 / CROP_MPP)
    cv2.circle(crop, centre, radius + 1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.circle(crop, centre, radius + 1, RING, 1, cv2.LINE_AA)
    return crop


def draw_crops(
    key: pd.DataFrame, images: Mapping[str, str], mpps: Mapping[str, float], crop_um: float, diameter_um: float
) -> list[np.ndarray]:
    """`draw_crop` of every row of the key; ``images`` and ``mpps`` by slide."""
    with ExitStack() as stack:
        slides = {slide: stack.enter_context(open_slide(images[slide])) for slide in key["slide"].unique()}
        return [
            draw_crop(slides[row.slide], mpps[row.slide], row.x_px, row.y_px, crop_um, diameter_um)
            for row in key.itertuples()
        ]


def write_kit(folder: str | Path, key: pd.DataFrame, crops: Sequence[np.ndarray], tissues: Sequence[str]) -> None:
    """Write sheet.csv, key.csv, the crops by number, and a page with all of them.

    Parameters
    ----------
    crops
        Of the rows of ``key``, in their order.
    tissues
        Columns for the reader to fill in.
    """
    folder = Path(folder)
    paths = [folder / f"crops/{number:04d}.jpg" for number in key["number"]]
    with whole(folder / "crops") as temporary:
        temporary.mkdir()
        for path, crop in zip(paths, crops, strict=True):
            Image.fromarray(crop).save(temporary / path.name, format="JPEG", quality=90)
    kit = hashlib.sha256(key.to_csv(index=False).encode()).hexdigest()[:8]
    sheet = pd.DataFrame({"number": key["number"], **dict.fromkeys(tissues, ""), "note": "", "kit": kit})
    key = key.assign(kit=kit)
    pictures, _ = embed_jpegs(paths, PAGE_BYTES)
    named = zip(key["number"].tolist(), map(str, paths), strict=True)
    shown = [(number, pictures[path]) for number, path in named if path in pictures]
    page = make_environment().get_template("scoring.html.jinja").render(spots=shown, tissues=list(tissues))
    with whole(folder / "scoring.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    # The sheet comes last: what is given away has its key.
    for name, table in (("key.csv", key), ("sheet.csv", sheet)):
        with whole(folder / name) as temporary:
            table.to_csv(temporary, index=False)


def write_scores(folder: str | Path, scores: Mapping[str, pd.DataFrame]) -> None:
    """Write ``{slide}.csv`` of each slide of `import_sheet`; the folder is there whole or not at all."""
    with whole(folder) as temporary:
        temporary.mkdir()
        for slide, table in scores.items():
            table.to_csv(temporary / f"{slide}.csv", index=False)


def import_sheet(sheet: str | Path, key: str | Path, tissues: Sequence[str], reader: str) -> dict[str, pd.DataFrame]:
    """A filled-in sheet as scores that column scores of the sample sheet takes.

    Returns
    -------
    {slide: barcode, reader, reading, and a column of percent for each tissue}

    Raises
    ------
    InputError
        One sentence for each kind of mistake.
    """
    place, problems = Path(sheet).name, Problems()
    header, rows = read_cells(Path(sheet), place)
    if not Path(key).is_file():
        raise InputError(f"{key}: there is no key; run snakemake scoring_sheet, or put the key of this sheet there.")
    table, known = pd.DataFrame(rows, columns=header, dtype=str), _read_key(Path(key))
    for name in ("number", "kit", *tissues):
        if name not in header:
            problems.add(f"{place}: there is no column {name!r}; fill in sheet.csv as it was made.")
        elif header.count(name) > 1:
            problems.add(f"{place}: column {name!r} stands there twice; fill in sheet.csv as it was made.")
    problems.raise_if_any()
    kits = set(table["kit"]) - {""}
    if kits != set(known["kit"]):
        raise InputError(
            f"{place}: the sheet is of kit {', '.join(sorted(kits))}, and {key} of {known['kit'].iloc[0]}; give the "
            "key that was made with the sheet."
        )
    table["number"] = pd.to_numeric(table["number"], errors="coerce")
    strange = table[~table["number"].isin(known["number"])]
    if len(strange):
        problems.add(f"{place}: {len(strange)} rows have numbers that aren't in the key; take them out.")
    if table["number"].duplicated().any():
        twice = table.loc[table["number"].duplicated(), "number"].iloc[0]
        problems.add(f"{place}: number {twice:g} stands there twice; keep one row.")
    names = "number " + table["number"].astype(str)
    values = {tissue: read_percent(names, table[tissue], tissue, place, problems) for tissue in tissues}
    problems.raise_if_any()
    scores = known.merge(table[["number"]].assign(**values), on="number", how="inner").assign(reader=reader)
    scores = scores.dropna(subset=list(tissues), how="all")
    if scores.empty:
        raise InputError(f"{place}: no spot is scored; fill in percent, 0 where there is none.")
    columns = ["barcode", "reader", "reading", *tissues]
    return {slide: own[columns].reset_index(drop=True) for slide, own in scores.groupby("slide", sort=False)}


def _read_key(path: Path) -> pd.DataFrame:
    """The key of a kit: `KEY_COLUMNS` and kit, with whole numbers and slides that can name files."""
    remedy = "put the key of this sheet there as it was made"
    try:
        known = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as a table ({tell_cause(error)}); {remedy}.") from error
    lacking = [name for name in (*KEY_COLUMNS, "kit") if name not in known]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}; {remedy}.")
    if known.empty:
        raise InputError(f"{path}: there is no spot in it; {remedy}.")
    for name in ("number", "reading"):
        wrong = known.loc[~known[name].str.fullmatch("[0-9]{1,9}"), name]
        if len(wrong):
            raise InputError(f"{path}: {name} is {wrong.iloc[0]!r}, not a whole number; {remedy}.")
        known[name] = known[name].astype(int)
    strange = known.loc[~known["slide"].str.fullmatch(SLIDE), "slide"]
    if len(strange):
        raise InputError(f"{path}: slide {strange.iloc[0]!r} can't name a file; {remedy}.")
    return known
