"""The spots where a method and its reference are farthest apart, as pictures: where a reader looks for the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import zarr
from PIL import Image

from nephrospot.files import read_json, whole
from nephrospot.omezarr import open_masks
from nephrospot.pairs import Pairs
from nephrospot.report.overlay import draw_outline, read_mask
from nephrospot.slide import Slide, open_slide

MOST = 20
CROP_UM, CROP_MPP = 110.0, 0.5
COLUMNS = ["method", "tissue", "reference", "rank", "slide", "barcode", "x_px", "y_px", "predicted", "observed", "off"]


def choose_worst(cohort: Iterable[Pairs], most: int = MOST) -> pd.DataFrame:
    """The worst spots of every method and comparison, over all slides.

    Against a pathologist, who says the same quantity, the worst are farthest in percentage points; against a share of
    mRNA those farthest from the straight line through all spots, in standard deviations.

    Parameters
    ----------
    cohort
        Of `nephrospot.pairs.gather_pairs`, with places in level-0 pixels.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``rank`` from 1, ``off`` as said, above 0 where the method sees more than expected.
    """
    named = sorted(((method, pairs) for pairs in cohort for method in pairs.methods), key=_name)
    rows = [row for method, pairs in named for row in _list_worst(pairs, method, most)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _name(item: tuple[str, Pairs]) -> tuple[str, str, str]:
    method, pairs = item
    return method, pairs.tissue, pairs.reference


def _list_worst(pairs: Pairs, method: str, most: int) -> list[dict]:
    """Rows of one method and comparison, slide by slide in memory."""
    measure = _measure_off(pairs, method)
    found: list[tuple[float, int, int, float]] = []
    for place, number in enumerate(pairs.by_name if measure else ()):
        off = measure(*_sides(pairs, number, method))
        size = np.nan_to_num(np.abs(off).round(9), nan=-1.0)
        # Of equal ones the first by name, so that the order of the rows is no information.
        first = [index for index in np.argsort(-size, kind="stable")[:most] if size[index] >= 0]
        found += [(-size[index], place, int(index), float(off[index])) for index in first]
        found = sorted(found)[:most]
    rows = []
    for rank, (_, place, index, off) in enumerate(found, start=1):
        number = pairs.by_name[place]
        x, y = _sides(pairs, number, method)
        row = {"method": method, **pairs.key, "rank": rank, "slide": pairs.slides[number], "off": off}
        row |= {"barcode": pairs.barcodes(number)[index], "predicted": x[index], "observed": y[index]}
        rows.append(row | dict(zip(("x_px", "y_px"), pairs.places(number)[index], strict=True)))
    return rows


def _sides(pairs: Pairs, number: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed of a slide's rows, NaN where the method lacks the spot."""
    return pairs.predicted(number, [method])[:, 0], pairs.observed(number)


def _measure_off(pairs: Pairs, method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """How far a spot is off, as a function of predicted and observed; None where a side is constant."""
    if pairs.reference == "pathologist":
        return lambda x, y: x - y
    n, sums, products = 0, np.zeros(2), np.zeros((2, 2))
    ends = []
    for number in pairs.by_name:
        values = np.stack(_sides(pairs, number, method))
        values = values[:, np.isfinite(values).all(axis=0)]
        if values.shape[1]:
            n, sums, products = n + values.shape[1], sums + values.sum(axis=1), products + values @ values.T
            ends.append([values.min(axis=1), values.max(axis=1)])
    if not n or (np.ptp(ends, axis=(0, 1)) == 0).any():
        return None
    x, y = sums / n
    (xx, xy), (_, yy) = products / n - np.outer(sums, sums) / n**2
    slope = xy / yy
    spread = np.sqrt(max(xx - slope * xy, 0.0))
    return lambda predicted, observed: (predicted - (x + slope * (observed - y))) / spread


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
    """Draw every row of `choose_worst` into ``folder``, each slide opened once; it is there whole or not at all.

    Parameters
    ----------
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
                    crop = draw_worst(opened, mpp, label, row.x_px, row.y_px, diameter_um, colours[row.tissue])
                    write_crop(crop, crop_path(temporary, row))


def crop_path(folder: str | Path, row) -> str:
    """Where the crop of a row of `choose_worst` is."""
    return str(Path(folder) / f"{row.method}.{row.tissue}.{row.reference}" / f"{row.rank:02d}.jpg")


def list_worst(
    table: pd.DataFrame, pictures: Mapping[str, str], folder: str | Path, transcripts: Mapping[tuple, float]
) -> dict[tuple[str, str, str], list[dict]]:
    """What the page shows, by (method, tissue, reference): each spot's picture and words.

    Parameters
    ----------
    table
        Of `choose_worst`.
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
    """RCTD's percent in the spots of `choose_worst`, by slide, barcode and tissue.

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
