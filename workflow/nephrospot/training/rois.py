"""Regions of interest (ROIs): the fields at 40× that patches were cut from, most of whose tissue nobody labelled.

``root/{stain}/im_{roi}.png``, or ``im_{roi}_{part}.png`` where a region has several images. ``root/rois.csv`` (image,
mpp, and if wanted roi, stain, patient) says how large their pixels are; without it they are at 40×, 0.25 µm per pixel.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from nephrospot.errors import InputError, Problems, tell_cause
from nephrospot.mpp import magnification_to_mpp
from nephrospot.pictures import read_picture

ROI_MPP = magnification_to_mpp(40)
COLUMNS = ["image", "roi", "stain", "patient", "mpp"]
IMAGE = re.compile(r"im_(\w+?)(?:_\d+)?$")


def list_rois(folder: str | Path) -> pd.DataFrame:
    """Every region of a folder.

    Returns
    -------
    Columns image (path), roi (the name that patches of the region have as theirs), stain, patient ("" where unknown),
    mpp (µm per pixel); sorted by path.

    Raises
    ------
    InputError
        When there is no region, a name isn't like im_12.png, or rois.csv is at odds with the folder; all at once.
    """
    folder, problems = Path(folder), Problems()
    images = sorted(folder.glob("*/im_*.png"))
    if not images:
        raise InputError(f"{folder}: no regions were found; they belong in files such as pas/im_12.png.")
    told = _read_table(folder / "rois.csv", problems) if (folder / "rois.csv").exists() else None
    rows = []
    for image in images:
        key, name = image.relative_to(folder).as_posix(), IMAGE.match(image.stem)
        row = {} if told is None else told.pop(key, None)
        if row is None:
            problems.add(f"{folder / 'rois.csv'}: {key} has no row; add one with its µm per pixel.")
            continue
        if not row.get("roi") and not name:
            problems.add(f"{image}: no region can be read from this name; call it im_12.png or give a column roi.")
            continue
        roi, stain = row.get("roi") or name[1], row.get("stain") or image.parent.name
        rows.append((image, roi, stain, row.get("patient", ""), row.get("mpp", ROI_MPP)))
    for key in told or {}:
        problems.add(f"{folder / 'rois.csv'}: there is no image {key}; delete its row or copy the image.")
    problems.raise_if_any()
    return pd.DataFrame(rows, columns=COLUMNS)


def read_roi(image: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3) of a region."""
    return read_picture(image, cv2.IMREAD_COLOR_RGB)


def write_roi(folder: Path, stain: str, name: str, roi: str, image: np.ndarray, mpp: float) -> None:
    """Add a region (uint8 RGB) to a folder and its row to rois.csv."""
    table = folder / "rois.csv"
    (folder / stain).mkdir(parents=True, exist_ok=True)
    if not table.exists():
        table.write_text("image,mpp,roi\n")
    if not cv2.imwrite(str(folder / stain / f"{name}.png"), image[..., ::-1]):
        raise InputError(f"{folder / stain / name}.png can't be written; look at the disk and the folder's rights.")
    with table.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([f"{stain}/{name}.png", mpp, roi])


def _read_table(path: Path, problems: Problems) -> dict[str, dict]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors and wrong encodings are all ValueErrors
        raise InputError(f"{path}: this isn't a CSV with a header ({tell_cause(error)}); save it again.") from error
    missing = [column for column in ("image", "mpp") if column not in table]
    if missing:
        raise InputError(f"{path}: columns {', '.join(missing)} are missing; it needs image and mpp.")
    rows = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            row["mpp"] = float(row["mpp"])
        except ValueError:
            row["mpp"] = float("nan")
        if not 0 < row["mpp"] < float("inf"):
            problems.add(f"{path}, row {number} ({row['image']}): mpp must be µm per pixel, such as 0.25.")
        rows[row["image"]] = row
    return rows
