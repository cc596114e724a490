"""Undamaged tables and settings, a small folder each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pictures import paint
from visium_folder import make_positions

PROJECT = Path(__file__).resolve().parents[2]
SHEET = """
slide	image	visium	scores	species	mpp	visium_scale	visium_x_px	visium_y_px	stain	group	exclude
K1	a.tiff	outs	scores.csv	mouse	0.5	1	0	0	PAS	young	
K2	a.tiff			human					H&E		
K3	a.tiff	outs		mouse	0.25						blurred
"""


def write_scores(folder: Path, shared: Path) -> None:
    barcodes = make_positions(rows=18, columns=20)["barcode"][:60]
    pd.DataFrame({"barcode": barcodes, "CAP": range(60), "PT": 80.5, "note": ""}).to_csv(
        folder / "scores.csv", index=False
    )


def write_readers_scores(folder: Path, shared: Path) -> None:
    barcodes = make_positions(rows=18, columns=20)["barcode"][:30]
    one = pd.DataFrame({"barcode": barcodes, "reader": "A", "reading": 1, "CAP": 10, "PT": 5})
    both = pd.concat([one, one.assign(reader="B"), one.assign(reading=2)])
    both.to_csv(folder / "scores.csv", index=False, sep=";")


def write_scoring_sheet(folder: Path, shared: Path) -> None:
    from nephrospot.scoring import KEY_COLUMNS

    key = pd.DataFrame({"number": range(1, 21), "slide": ["S1", "S2"] * 10, "barcode": [f"B{n}" for n in range(20)],
                        "x_px": 5.0, "y_px": 6.0, "reading": 1, "kit": "0123abcd"})  # fmt: skip
    assert list(key.columns) == [*KEY_COLUMNS, "kit"]
    key.to_csv(folder / "key.csv", index=False)
    key[["number"]].assign(CAP=50, note="", kit="0123abcd").to_csv(folder / "sheet.csv", index=False)


def write_patches(folder: Path, shared: Path) -> None:
    rows = []
    for number in range(4):
        image, mask = folder / f"im_{number}_0.png", folder / f"im_{number}_0_mask.png"
        cv2.imwrite(str(image), paint(64, 64))
        cv2.imwrite(str(mask), (paint(64, 64)[..., 0] > 99).astype(np.uint8) * 255)
        rows.append((image.name, mask.name, image.stem, number % 6, 1, "", "", "pas", "1.0"))
    names = ["image_path", "label_path", "name", "task_id", "scale_id", "roi", "patient", "stain", "mpp"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "list.csv", index=False)


def write_sheet(folder: Path, shared: Path) -> None:
    (folder / "a.tiff").touch()
    (folder / "outs").mkdir()
    (folder / "scores.csv").touch()
    (folder / "slides.tsv").write_text(SHEET.lstrip())


def write_published(folder: Path, shared: Path) -> None:
    shutil.copyfile(PROJECT / "config" / "published.tsv", folder / "published.tsv")


def write_config(folder: Path, shared: Path) -> None:
    import yaml

    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config))
