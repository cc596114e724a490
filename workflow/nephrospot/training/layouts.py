"""The three layouts in which partially labelled patches come: folders as published, a list, the KPIs challenge's."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError, Problems, tell_cause
from nephrospot.files import find_kind
from nephrospot.models import SCALE_CODES, TISSUES, scale_id, tissue_id
from nephrospot.mpp import KPIS_MPP, magnification_to_mpp

COLUMNS = ["image", "mask", "tissue", "tissue_id", "scale_id", "stain", "roi", "patient", "mpp", "side_px"]
FOLDER = re.compile(r"(\d)_(\d)_\w+$")
IMAGE = re.compile(r"im_(\w+?)_(\d+)$")
LIST_COLUMNS = ("image_path", "label_path", "name", "task_id", "scale_id")
STAINS = ("he", "pas", "sil", "tri")
# A mouse's number comes first in a case of the challenge (08_373_01, 12-116); sections of one mouse stay together.
MOUSE = re.compile(r"(\d+[-_]\d+)")


def read_published(root: Path) -> pd.DataFrame:
    """``root/{task}_{scale}_{name}/{stain}/im_{roi}_{k}.png`` beside ``im_{roi}_{k}_mask_{word}.png``.

    See `nephrospot.training.patches.list_patches`.
    """
    problems, rows = Problems(), []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        match = FOLDER.match(folder.name)
        if not match:
            continue
        task, scale = int(match[1]), int(match[2])
        if not _check_ids(task, scale, str(folder), problems):
            continue
        for image in sorted(folder.glob("*/im_*.png")):
            name = IMAGE.match(image.stem)
            if not name:  # a mask
                continue
            masks = sorted(image.parent.glob(f"{image.stem}_mask_*.png"))
            if len(masks) != 1:
                problems.add(
                    f"{image}: {len(masks)} masks stand beside it; there must be one, {image.stem}_mask_….png."
                )
                continue
            rows.append(_row(image, masks[0], task, scale, image.parent.name, name[1]))
    return _table(rows, root, problems)


def read_list(path: Path) -> pd.DataFrame:
    """A CSV of image_path, label_path, name, task_id and scale_id, and if wanted roi, patient, stain and mpp.

    Paths are relative to the list's folder; the region comes from names such as im_12_0 where no column says it.
    See `nephrospot.training.patches.list_patches`.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors and wrong encodings are all ValueErrors
        raise InputError(
            f"{path}: this isn't a CSV with a header ({tell_cause(error)}); save it as one again."
        ) from error
    missing = [column for column in LIST_COLUMNS if column not in table]
    if missing:
        raise InputError(f"{path}: columns {', '.join(missing)} are missing; a list has {', '.join(LIST_COLUMNS)}.")
    problems, rows = Problems(), []
    for number, row in enumerate(table.to_dict("records"), start=2):
        where = f"{path}, row {number}"
        image, mask = path.parent / row["image_path"], path.parent / row["label_path"]
        for file, column in ((image, "image_path"), (mask, "label_path")):
            if find_kind(file) != "file":
                problems.add(f"{where}: there is no file {file}; correct {column}.")
        try:
            task, scale = int(row["task_id"]), int(row["scale_id"])
            mpp = float(row["mpp"]) if row.get("mpp") else None
        except (ValueError, OverflowError):
            problems.add(f"{where}: task_id and scale_id must be whole numbers, and mpp a number or empty.")
            continue
        if not _check_ids(task, scale, where, problems):
            continue
        if mpp is not None and not 0 < mpp < math.inf:
            problems.add(f"{where}: mpp is {row['mpp']}; give µm per pixel, such as 1.0, or leave it empty.")
        roi, patient = row.get("roi", ""), row.get("patient", "")
        name = IMAGE.match(Path(row["name"]).stem) or IMAGE.match(image.stem)
        if not roi and not name and not patient:
            problems.add(
                f"{where}: no region can be read from the name {row['name']!r}, which isn't like im_12_0; "
                "add a column roi (or patient), so that patches of one region stay together."
            )
            continue
        folder = image.parent.name.lower()
        stain = row.get("stain") or (folder if folder in STAINS else "")
        rows.append(_row(image, mask, task, scale, stain, roi or (name[1] if name else patient), patient, mpp))
    return _table(rows, path, problems)


def read_kpis(root: Path, tissue: str = "CAP", scale_code: int = 5, mpp: float = KPIS_MPP) -> pd.DataFrame:
    """``root/…/{group}/{case}/img/{name}_img.jpg`` and ``…/mask/{name}_mask.jpg`` of the KPIs challenge 2024, task 1.

    Parameters
    ----------
    tissue, scale_code
        What the masks show, and what the network is told: glomeruli, with the code of human ones at 5×, whose size
        in pixels a mouse's has at 20×.
    mpp
        µm per pixel of the patches; the organisers say 20× without µm.

    Notes
    -----
    A region is a case (a slide), a patient a mouse. See `nephrospot.training.patches.list_patches`.
    """
    problems, rows = Problems(), []
    for image in find_kpis_images(root):
        mask = image.parents[1] / "mask" / image.name.replace("_img.", "_mask.")
        case, group = image.parents[1].name, image.parents[2].name
        if not mask.is_file():
            problems.add(f"{image}: its mask {mask} is missing; copy it again.")
            continue
        mouse = MOUSE.match(case)
        patient = f"{group}/{(mouse[1] if mouse else case).replace('-', '_')}"
        rows.append(_row(image, mask, tissue_id(tissue), scale_id(scale_code), "pas", f"{group}/{case}", patient, mpp))
    return _table(rows, root, problems)


def find_kpis_images(root: Path) -> list[Path]:
    """The images of the challenge's patches below a folder, sorted."""
    return sorted(path for path in root.rglob("*_img.*") if path.parent.name == "img")


def _row(image, mask, task, scale, stain, roi, patient="", mpp=None) -> tuple:
    mpp = mpp or magnification_to_mpp(SCALE_CODES[scale])
    return (image, mask, TISSUES[task], task, scale, stain, roi, patient, float(mpp), 0)


def _check_ids(task: int, scale: int, where: str, problems: Problems) -> bool:
    fine = 0 <= task < len(TISSUES) and 0 <= scale < len(SCALE_CODES)
    if not fine:
        problems.add(f"{where}: task {task} and scale {scale} must be below {len(TISSUES)} and {len(SCALE_CODES)}.")
    return fine


def _table(rows: list[tuple], source: Path, problems: Problems) -> pd.DataFrame:
    if not rows and not problems.sentences:
        problems.add(
            f"{source}: no patches were found; they belong in folders such as 1_1_pt/pas/im_12_0.png, in a CSV, "
            "or, as in the KPIs challenge, in {group}/{case}/img."
        )
    problems.raise_if_any()
    return pd.DataFrame(rows, columns=COLUMNS)
