"""Pictures of what a method saw: outlines of its masks on the slide, as a whole and in three close-ups.

The whole slide is read block by block and every label at the level nearest to what is drawn, so memory
goes with the picture and not with the slide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import zarr
from PIL import Image, ImageDraw

from nephrospot.files import whole
from nephrospot.omezarr import list_labels, open_masks, open_plane, read_metadata
from nephrospot.report.lettering import INK, SMALL, load_font, paste_legend, put_label, put_scale_bar
from nephrospot.slide import Slide

JPEG_QUALITY = 82
SEARCH_MPP = 8.0  # coarse enough to look at a whole slide, fine enough to see a glomerulus
REGION_MPP = 0.5  # 20×: one pixel on the screen is half a micrometre
GAP_PX = 8


@dataclass(frozen=True)
class Region:
    """A square on the slide worth a close look; ``x_um, y_um`` is its top left corner."""

    why: str
    x_um: float
    y_um: float


def draw_overlay(
    slide: Slide,
    mpp: float,
    masks_path: str | Path,
    colours: Mapping[str, str],
    output_jpg: str | Path,
    max_px: int = 1600,
) -> None:
    """Draw the outlines of every tissue on the whole slide, with a scale bar and a legend.

    Parameters
    ----------
    slide, mpp
        The open slide and its µm per level-0 pixel.
    masks_path
        ``masks.ome.zarr``.
    colours
        {tissue: "#rrggbb"}; the legend keeps this order.
    output_jpg
        Where the JPEG goes.
    max_px
        Longest side of the picture without its legend.

    Raises
    ------
    InputError
        When the masks aren't an OME-Zarr with labels, or the slide can't be decoded.
    """
    labels = open_masks(masks_path)
    tissues = _order(labels, colours)
    target_mpp = max(mpp, mpp * max(slide.width_px, slide.height_px) / max_px)
    picture = slide.read_overview(mpp, target_mpp)
    height, width = picture.shape[:2]
    for tissue in tissues:
        draw_outline(picture, read_mask(labels[tissue], 0, 0, target_mpp, width, height), colours.get(tissue))
    image = Image.fromarray(picture)
    put_scale_bar(image, target_mpp)
    _save(paste_legend(image, {tissue: colours.get(tissue, "#ffff00") for tissue in tissues}), output_jpg)


def draw_regions(
    slide: Slide,
    mpp: float,
    masks_path: str | Path,
    colours: Mapping[str, str],
    output_jpg: str | Path,
    side_um: float = 300.0,
) -> list[Region]:
    """Draw the places that show most, each plain beside outlined, at 20× or the slide's own pixels.

    Parameters
    ----------
    slide, mpp, masks_path, colours, output_jpg
        See `draw_overlay`.
    side_um
        Side of the squares, 256 to 400 µm.

    Returns
    -------
    list of Region
        What was drawn, from the top; fewer than three where the slide is small or the masks are bare.

    Raises
    ------
    InputError
        As `draw_overlay`.
    """
    labels = open_masks(masks_path)
    tissues = _order(labels, colours)
    size_um = (slide.width_px * mpp, slide.height_px * mpp)
    side_um = min(side_um, *size_um)
    regions = choose_regions(labels, tissues, size_um, side_um)
    region_mpp = max(mpp, REGION_MPP)
    side_px = int(side_um / region_mpp)
    caption_px = SMALL + 10
    sheet = Image.new("RGB", (2 * side_px + GAP_PX, len(regions) * (side_px + caption_px + GAP_PX)), "white")
    for index, region in enumerate(regions):
        plain = slide.read_window(region.x_um / mpp, region.y_um / mpp, region_mpp / mpp, side_px, side_px)
        outlined = plain.copy()
        for tissue in tissues:
            mask = read_mask(labels[tissue], region.x_um, region.y_um, region_mpp, side_px, side_px)
            draw_outline(outlined, mask, colours.get(tissue), thickness=2)
        top = index * (side_px + caption_px + GAP_PX)
        place = f"{region.why}; corner at x {region.x_um / mpp:.0f}, y {region.y_um / mpp:.0f} px"
        ImageDraw.Draw(sheet).text((0, top + 3), place, font=load_font(SMALL), fill=INK)
        for left, square in ((0, plain), (side_px + GAP_PX, outlined)):
            tile = Image.fromarray(square)
            put_scale_bar(tile, region_mpp)
            sheet.paste(tile, (left, top + caption_px))
    if not regions:
        sheet = Image.new("RGB", (640, 60), "white")
        put_label(sheet, (10, 18), "No tissue was found by this method.")
    _save(paste_legend(sheet, {tissue: colours.get(tissue, "#ffff00") for tissue in tissues}), output_jpg)
    return regions


def choose_regions(
    labels: zarr.Group, tissues: list[str], size_um: tuple[float, float], side_um: float
) -> list[Region]:
    """Up to three squares that don't overlap: densest in CAP, densest in PT, and with most tissues mixed.

    Where CAP or PT has no mask, the tissues that cover most take their place. Squares lie on a fixed
    grid of half their side, and the first of equals is taken, so the same masks give the same places.
    """
    shares = {tissue: _grid_shares(labels[tissue], size_um, side_um) for tissue in tissues}
    shares = {tissue: share for tissue, share in shares.items() if share.any()}
    if not shares:
        return []
    by_cover = sorted(shares, key=lambda tissue: (-shares[tissue].sum(), tissue))
    wanted = [tissue for tissue in ("CAP", "PT") if tissue in shares]
    wanted += [tissue for tissue in by_cover if tissue not in wanted][: 2 - len(wanted)]
    maps = [(f"most {tissue}", shares[tissue]) for tissue in wanted]
    if len(shares) > 1:
        maps.append(("most tissues together", _mixture(list(shares.values()))))
    step = side_um / 2
    free = np.ones(next(iter(shares.values())).shape, bool)
    regions = []
    for why, density in maps:
        candidates = np.where(free, density, -1.0)
        row, column = np.unravel_index(np.argmax(candidates), candidates.shape)
        if candidates[row, column] <= 0:
            continue
        free[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = False
        regions.append(Region(why, float(column * step), float(row * step)))
    return regions


def read_mask(label: zarr.Group, x_um: float, y_um: float, mpp: float, width: int, height: int) -> np.ndarray:
    """A window of a label at any µm per pixel, from the level nearest to it.

    Returns
    -------
    uint8 (height, width), 0 or 1; 0 beyond the label's edge.
    """
    datasets = read_metadata(label)["multiscales"][0]["datasets"]
    scales = [_scale(dataset) for dataset in datasets]
    # Not coarser than √2 times what is wanted, so that outlines keep their shape; else the finest.
    index = max((i for i, scale in enumerate(scales) if scale <= mpp * 1.5), default=0)
    array, level_mpp = open_plane(label, datasets[index]["path"]), scales[index]
    columns = ((x_um + (np.arange(width) + 0.5) * mpp) / level_mpp).astype(int)
    rows = ((y_um + (np.arange(height) + 0.5) * mpp) / level_mpp).astype(int)
    inside_rows, inside_columns = rows < array.shape[0], columns < array.shape[1]
    window = np.zeros((height, width), np.uint8)
    if not inside_rows.any() or not inside_columns.any():
        return window
    rows, columns = rows[inside_rows], columns[inside_columns]
    block = array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    window[np.ix_(inside_rows, inside_columns)] = block[np.ix_(rows - rows[0], columns - columns[0])] != 0
    return window


def _grid_shares(label: zarr.Group, size_um: tuple[float, float], side_um: float) -> np.ndarray:
    """Share of a tissue in squares of ``side_um`` whose corners lie half a side apart; float (rows, columns)."""
    width, height = (max(1, int(size / SEARCH_MPP)) for size in size_um)
    mask = read_mask(label, 0, 0, SEARCH_MPP, width, height)
    sums = cv2.integral(mask).astype(float)
    side = max(1, int(side_um / SEARCH_MPP))
    rows, columns = (
        np.minimum((_corners(size, side_um) / SEARCH_MPP).astype(int), limit - 1)
        for size, limit in zip(size_um[::-1], (height, width), strict=True)
    )
    below, right = np.minimum(rows + side, height), np.minimum(columns + side, width)
    area = (
        sums[np.ix_(below, right)]
        - sums[np.ix_(rows, right)]
        - sums[np.ix_(below, columns)]
        + sums[np.ix_(rows, columns)]
    )
    return area / side**2


def _corners(size_um: float, side_um: float) -> np.ndarray:
    return np.arange(1 + max(0, int((size_um - side_um) / (side_um / 2)))) * side_um / 2


def _mixture(shares: list[np.ndarray]) -> np.ndarray:
    """Entropy of the tissues' shares, times the share covered: high where several are well represented."""
    stack = np.stack(shares)
    total = stack.sum(axis=0)
    part = stack / np.where(total > 0, total, 1)
    entropy = -(part * np.log(np.where(part > 0, part, 1))).sum(axis=0)
    return entropy * np.minimum(total, 1)


def draw_outline(picture: np.ndarray, mask: np.ndarray, colour: str | None, thickness: int = 1) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    colour = (colour or "#ffff00").lstrip("#")
    rgb = tuple(int(colour[i : i + 2], 16) for i in (0, 2, 4))
    cv2.drawContours(picture, contours, -1, rgb, thickness, cv2.LINE_AA)


def _order(labels: zarr.Group, colours: Mapping[str, str]) -> list[str]:
    present = list_labels(labels)
    return [tissue for tissue in colours if tissue in present] + sorted(set(present) - set(colours))


def _scale(dataset: dict) -> float:
    return float(next(t["scale"][-1] for t in dataset["coordinateTransformations"] if t["type"] == "scale"))


def _save(image: Image.Image, path: str | Path) -> None:
    with whole(path) as temporary:
        image.save(temporary, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
