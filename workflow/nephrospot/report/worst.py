"""The spots where a method and its reference are farthest apart, as pictures: where a reader looks for the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import zarr
from PIL import Image

from nephrospot.files import read_json, whole
from nephrospot.omezarr import open_masks
from nephrospot.report.overlay import draw_outline, read_mask
from nephrospot.slide import Slide, open_slide

CROP_UM, CROP_MPP = 110.0, 0.5


def draw_worst(
    slide: Slide, mpp: float, label: zarr.Group, x_px: float, y_px: float, diameter_um: float, colour: str
) -> np.ndarray:
    """A spot's surroundings with the mask's outline and the spot's rim; uint8 RGB, 110 µm at 0.5 µm per pixel."""
    side = round(CROP_UM / CROP_MPP)
    x_um, y_um = ((position + 0.5) * mpp - CROP_UM / 2 for position in (x_px, y_px))
    crop = slide.read_window(x_um / mpp, y_um / mpp, CROP_MPP / mpp, side, side)
    # A window's mask begins at the slide's corner at the earliest.
    left, top = (max(0, round(-at / CROP_MPP)) for at in (x_um, y_um))
    mask = np.zeros((side, side), np.uint8)
    mask[top:, left:] = read_mask(label, max(x_um, 0), max(y_um, 0), CROP_MPP, side - left, side - top)
    draw_outline(crop, mask, colour)
    cv2.circle(crop, (side // 2, side // 2), round(diameter_um / 2 / CROP_MPP), (255, 255, 255), 1, cv2.LINE_AA)
    return crop


def write_crop(crop: np.ndarray, path: str | Path) -> None:
    """As JPEG."""
    with whole(path) as temporary:
        Image.fromarray(crop).save(temporary, format="JPEG", quality=80)


def draw_all(
    worst: pd.DataFrame,
    results: str | Path,
    images: Mapping[str, str],
    colours: Mapping[str, str],
    diameter_um: float,
    folder: str | Path,
) -> None:
    """Draw every row into ``folder``, each slide opened once; it is there whole or not at all.

    Parameters
    ----------
    worst
        Of `nephrospot.worst.choose_worst`.
    results
        Folder with ``{slide}/slide.json`` and ``{slide}/{method}/masks.ome.zarr``.
    images
        {slide: path of its image}.
    """
    with whole(folder) as temporary:
        temporary.mkdir()
        for slide, own in worst.groupby("slide"):
            mpp = read_json(Path(results, slide, "slide.json"))["mpp"]
            with open_slide(images[slide]) as opened:
                for row in own.itertuples():
                    label = open_masks(Path(results, slide, row.method, "masks.ome.zarr"))[row.tissue]
                    place = row.x_um / mpp, row.y_um / mpp
                    crop = draw_worst(opened, mpp, label, *place, diameter_um, colours[row.tissue])
                    write_crop(crop, crop_path(temporary, row))


def crop_path(folder: str | Path, row) -> str:
    """Where the crop of a row of `nephrospot.worst.choose_worst` is."""
    return str(Path(folder) / f"{row.method}.{row.tissue}.{row.reference}" / f"{row.rank:02d}.jpg")


def list_worst(
    table: pd.DataFrame, pictures: Mapping[str, str], folder: str | Path, transcripts: Mapping[tuple, float]
) -> dict[tuple[str, str, str], list[dict]]:
    """What the page shows, by (method, tissue, reference): each spot's picture and words.

    Parameters
    ----------
    table
        Of `nephrospot.worst.choose_worst`.
    pictures
        {path: address} of those that fit into the page.
    folder
        Of the crops.
    transcripts
        {(slide, barcode, tissue): RCTD's percent}, said beside the pathologist's.
    """
    found: dict[tuple[str, str, str], list[dict]] = {}
    for row in table.itertuples():
        address = pictures.get(crop_path(folder, row))
        if address is None:
            continue
        words = [f"{row.slide} {row.barcode}", f"mask {row.predicted:.0f} %"]
        words.append(f"{'RCTD' if row.reference == 'rctd' else row.reference} {row.observed:.0f} %")
        share = transcripts.get((row.slide, row.barcode, row.tissue), np.nan)
        if row.reference == "pathologist" and np.isfinite(share):
            words.append(f"RCTD {share:.0f} %")
        key = (row.method, row.tissue, row.reference)
        found.setdefault(key, []).append({"source": address, "told": ", ".join(words)})
    return found


def list_shares(
    table: pd.DataFrame, proportions: Mapping[str, pd.DataFrame], tissues: Iterable[str]
) -> dict[tuple[str, str, str], float]:
    """RCTD's percent in the spots of `nephrospot.worst.choose_worst`, by slide, barcode and tissue.

    Parameters
    ----------
    proportions
        {slide: proportions.parquet}.
    tissues
        Those that are compared with RCTD.
    """
    found = {}
    for slide, own in table.groupby("slide"):
        if slide not in proportions:
            continue
        shares = proportions[slide]
        shares = shares[(shares["deconvolution"] == "rctd") & shares["barcode"].isin(own["barcode"])]
        for tissue in tissues:
            if f"tissue:{tissue}" in shares:
                named = zip(shares["barcode"], 100 * shares[f"tissue:{tissue}"], strict=True)
                found |= {(slide, barcode, tissue): share for barcode, share in named}
    return found
