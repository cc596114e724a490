"""A method's masks against the truth: overlap on the slide and in patches, and objects found, missed and made up.

High Dice in patches says little of a slide (KPIs 2024: a model with patch Dice 94.28 had a slide F1 of 35.01, one
with 93.23 had 86.81): patches without truth don't count, and small false objects weigh nothing. So all of them
stand in one row. Conventions of the object counts: `ours` in nephrospot.instances, `kpis-task2` in nephrospot.kpis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from nephrospot.components import find_components
from nephrospot.errors import InputError
from nephrospot.files import whole, write_parquet
from nephrospot.instances import BLOCK_PX, find_overlaps, match_objects, regrid
from nephrospot.kpis import KPIS_MPP, read_contours, score_contours
from nephrospot.omezarr import blocks, list_labels, open_masks, open_plane, read_place
from nephrospot.sources import MaskSource, unite_masks

COUNTS = [
    "tp_px", "fp_px", "fn_px", "n_patches", "n_patches_false",
    "ours_n_truth", "ours_n_predicted", "ours_tp", "ours_fp", "ours_fn",
    "kpis_task2_n_truth", "kpis_task2_n_predicted", "kpis_task2_tp", "kpis_task2_fp", "kpis_task2_fn",
]  # fmt: skip
FIGURES = [
    "truth_mpp", "dice", "patch_um", "patch_dice", "ours_min_area_um2", "ours_iou",
    "ours_precision", "ours_recall", "ours_f1", "ours_mean_iou", "kpis_task2_mpp", "kpis_task2_dice",
    "kpis_task2_precision", "kpis_task2_recall", "kpis_task2_f1", "kpis_task2_f1_aliased", "kpis_task2_mean_iou",
]  # fmt: skip
COLUMNS = ["tissue", *COUNTS, *FIGURES, "reason"]
LONG_COLUMNS = ["slide", "method", "use", *COLUMNS]
POOLED_COLUMNS = [
    "method", "tissue", "use", "slides", "n_slides", "n_undefined", "dice", "dice_mean", "patch_dice", "n_patches",
    "n_patches_false", "ours_n_truth", "ours_n_predicted", "ours_precision", "ours_recall", "ours_f1", "ours_f1_mean",
    "ours_mean_iou", "kpis_task2_n_slides", "kpis_task2_n_truth", "kpis_task2_n_predicted", "kpis_task2_dice",
    "kpis_task2_precision", "kpis_task2_recall", "kpis_task2_f1", "kpis_task2_f1_aliased", "kpis_task2_mean_iou",
]  # fmt: skip


def open_label(label: zarr.Group) -> MaskSource:
    """Shape, µm per pixel and block reader of one tissue's finest level."""
    plane = open_plane(label)
    return plane.shape, read_place(label)[0][0], lambda rows, columns: plane[rows, columns]


def evaluate_slide(
    masks_path: str | Path,
    truth_path: str | Path,
    tissues: list[str],
    min_area_um2: dict[str, float],
    iou: float = 0.5,
    patch_um: float = 512.0,
    kpis_mpp: float = KPIS_MPP,
    unions: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Compare one method's masks of a slide with the truth's, tissue by tissue.

    Parameters
    ----------
    masks_path, truth_path
        ``masks.ome.zarr`` of the method and of the truth; the method's is read on the truth's grid.
    tissues
        The tissues to compare; each has its row, whether there are masks or not.
    min_area_um2
        {tissue: smallest object of the convention ours, on both sides}; 0 where a tissue isn't in it.
    iou
        The convention ours takes an object as found where the intersection over union is *more than* this.
    patch_um
        Side of the patches, squares from the slide's top left corner; those at the right and bottom may be cut.
    kpis_mpp
        µm per pixel at which the convention kpis-task2 counts its pixels.
    unions
        {tissue: the tissues that make it up}, for a truth that draws fewer lines, such as {"TUBULE": ["PT", "DT"]};
        they are taken together where a method has no mask of the tissue itself.

    Returns
    -------
    DataFrame
        `COLUMNS`: whole numbers (Int64), shares from 0 to 1, and the reason for what is undefined.
    """
    found, expected = open_masks(masks_path), open_masks(truth_path)
    rows = []
    for tissue in tissues:
        row = {"tissue": tissue, "patch_um": patch_um, "ours_iou": iou, "kpis_task2_mpp": kpis_mpp}
        row |= {"ours_min_area_um2": float(min_area_um2.get(tissue, 0)), "reason": ""}
        parts = [tissue] if tissue in list_labels(found) else (unions or {}).get(tissue, [tissue])
        if tissue not in list_labels(expected):
            row["reason"] = f"the truth has no mask of {tissue}: nobody marked it, or there is none on the slide"
        elif missing := [part for part in parts if part not in list_labels(found)]:
            row["reason"] = f"the method has no mask of {', '.join(missing)}: it wasn't read"
        else:
            truth = open_label(expected[tissue])
            predicted = unite_masks([open_label(found[part]) for part in parts])
            row |= compare_masks(predicted, truth, row["ours_min_area_um2"], iou, patch_um, kpis_mpp)
        rows.append(row)
    return _type_columns(pd.DataFrame(rows, columns=COLUMNS))


def compare_masks(
    predicted: MaskSource,
    truth: MaskSource,
    min_area_um2: float = 0,
    iou: float = 0.5,
    patch_um: float = 512.0,
    kpis_mpp: float = KPIS_MPP,
    block_px: int = BLOCK_PX,
) -> dict:
    """The figures of `evaluate_slide` for one tissue; ``block_px`` changes none of them."""
    shape, mpp, _ = truth
    on_grid = regrid(predicted, shape, mpp)
    counts, patches = count_pixels(on_grid, truth, patch_um, block_px)
    n_px = dict(zip(("tp_px", "fp_px", "fn_px"), map(int, counts), strict=True))
    marked = patches[:, 0] + patches[:, 2] > 0
    row = n_px | {
        "truth_mpp": mpp,
        "dice": _dice(*counts),
        "patch_dice": float(np.mean([_dice(*patch) for patch in patches[marked]])) if marked.any() else np.nan,
        "n_patches": int(marked.sum()),
        "n_patches_false": int((~marked & (patches[:, 1] > 0)).sum()),
    }
    overlaps = find_overlaps(
        find_components(truth, block_px=block_px), find_components(on_grid, block_px=block_px), block_px
    )
    min_px = min_area_um2 / mpp**2
    matches = match_objects(overlaps, iou, min_px, min_px)
    row |= {"ours_n_truth": matches.n_truth, "ours_n_predicted": matches.n_predicted}
    row |= {"ours_tp": matches.tp, "ours_fp": matches.fp, "ours_fn": matches.fn}
    row |= {f"ours_{name}": value for name, value in detection(matches.tp, matches.fp, matches.fn).items()}
    row["ours_mean_iou"] = float(matches.iou.mean()) if matches.tp else np.nan
    reasons = [_why_undefined(row)]
    try:
        row |= _score_kpis(predicted, truth, kpis_mpp)
    except InputError as error:
        reasons.append(str(error))
    return row | {"reason": " ".join(filter(None, reasons))}


def count_pixels(
    predicted: MaskSource, truth: MaskSource, patch_um: float, block_px: int = BLOCK_PX
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in both masks, in the prediction alone, and in the truth alone.

    Parameters
    ----------
    predicted, truth
        Masks on the same grid, read block by block.
    patch_um
        Side of the patches; a pixel belongs to the one that its centre lies in.

    Returns
    -------
    slide : int64 (3,)
        TP, FP, FN of the whole slide.
    patches : int64 (patches, 3)
        The same of each patch, row by row.
    """
    shape, mpp, read = truth
    places = [((np.arange(size) + 0.5) * mpp / patch_um).astype(int) for size in shape]
    patches = np.zeros((places[0][-1] + 1, places[1][-1] + 1, 3), np.int64)
    for rows, columns in blocks(shape, block_px):
        true, found = read(rows, columns) > 0, predicted[2](rows, columns) > 0
        if not (true.any() or found.any()):
            continue
        (i, top), (j, left) = (
            np.unique(place[axis], return_index=True) for place, axis in zip(places, (rows, columns), strict=True)
        )
        for index, pixels in enumerate((true & found, found & ~true, true & ~found)):
            sums = np.add.reduceat(np.add.reduceat(pixels, top, axis=0, dtype=np.int32), left, axis=1, dtype=np.int64)
            patches[i[0] : i[-1] + 1, j[0] : j[-1] + 1, index] += sums
    return patches.sum(axis=(0, 1)), patches.reshape(-1, 3)


def detection(tp: int, fp: int, fn: int) -> dict[str, float]:
    """Precision, recall and F1 of object counts; NaN where there is nothing to divide by."""
    return {
        "precision": tp / (tp + fp) if tp + fp else np.nan,
        "recall": tp / (tp + fn) if tp + fn else np.nan,
        "f1": _dice(tp, fp, fn),
    }


def pool_evaluations(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One row a method, tissue and use from rows of `evaluate_slide` with ``slide``, ``method`` and ``use`` added.

    ``use`` keeps slides that something was chosen on (validation) apart from those to report (test).

    Returns
    -------
    DataFrame
        `POOLED_COLUMNS`. Areas, patches and objects (ours) are added up over the slides before a ratio is taken;
        ``*_mean`` and everything of kpis-task2 are means over slides, as in the challenge. Slides without a figure
        are left out of it, and ``n_undefined`` counts those without a Dice.
    """
    table = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    rows = []
    for (method, tissue, use), group in table.groupby(["method", "tissue", "use"], sort=False):
        sums = group[COUNTS].sum()
        # Slides may have been marked at different resolutions: areas are added, not pixels.
        areas = [(group[name].astype(float) * group["truth_mpp"] ** 2).sum() for name in ("tp_px", "fp_px", "fn_px")]
        defined = group["kpis_task2_f1"].notna()
        kpis = [name for name in POOLED_COLUMNS if name.startswith("kpis_task2") and name in FIGURES]
        rows.append(
            {"method": method, "tissue": tissue, "use": use, "slides": ", ".join(group["slide"])}
            | {"n_slides": len(group), "n_undefined": int(group["dice"].isna().sum())}
            | {"dice": _dice(*areas), "dice_mean": group["dice"].mean()}
            | {"patch_dice": _weighted_mean(group["patch_dice"], group["n_patches"])}
            | {name: int(sums[name]) for name in COUNTS if name in POOLED_COLUMNS}
            | {f"ours_{k}": v for k, v in detection(sums["ours_tp"], sums["ours_fp"], sums["ours_fn"]).items()}
            | {"ours_f1_mean": group["ours_f1"].mean()}
            | {"ours_mean_iou": _weighted_mean(group["ours_mean_iou"], group["ours_tp"])}
            | {"kpis_task2_n_slides": int(defined.sum()), **group[kpis].mean()}
        )
    return pd.DataFrame(rows, columns=POOLED_COLUMNS)


def write_evaluation(
    frames: Iterable[pd.DataFrame], validation: Iterable[str], long: str | Path, pooled: str | Path
) -> None:
    """Write the rows of all slides as Parquet and those of `pool_evaluations` as tab-separated text.

    Parameters
    ----------
    frames
        Tables of `evaluate_slide` with ``slide`` and ``method``.
    validation
        Slides that something was chosen on.
    """
    table = pd.concat(frames, ignore_index=True)
    table["use"] = np.where(table["slide"].isin(list(validation)), "validation", "test")
    write_parquet(long, table[LONG_COLUMNS])
    with whole(pooled) as temporary:
        pool_evaluations([table]).to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def _score_kpis(predicted: MaskSource, truth: MaskSource, mpp: float) -> dict:
    contours = read_contours(predicted, truth, mpp)
    score = score_contours(*contours[:2])
    aliased = score_contours(*contours[:2], fix_aliasing=False)
    named = {"n_truth": score.n_truth, "n_predicted": score.tp + score.fp, "tp": score.tp, "fp": score.fp}
    named |= {"fn": score.fn, "dice": contours[2], "precision": score.precision, "recall": score.recall}
    named |= {"f1": score.f1, "f1_aliased": aliased.f1, "mean_iou": score.mean_iou}
    return {f"kpis_task2_{name}": value for name, value in named.items()}


def _dice(tp: float, fp: float, fn: float) -> float:
    total = 2 * tp + fp + fn
    return float(2 * tp / total) if total else np.nan


def _weighted_mean(values: pd.Series, weights: pd.Series) -> float:
    known = values.notna()
    weights = weights[known].astype(float)
    return float((values[known] * weights).sum() / weights.sum()) if weights.sum() else np.nan


def _why_undefined(row: dict) -> str:
    if row["tp_px"] + row["fp_px"] + row["fn_px"] == 0:
        return "truth and prediction are empty"
    if row["tp_px"] + row["fn_px"] == 0:
        return "the truth is empty"
    if row["ours_n_truth"] == 0 or row["ours_n_predicted"] == 0:
        side = "truth" if row["ours_n_truth"] == 0 else "prediction"
        return f"the {side} has no object of the smallest size"
    return ""


def _type_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "Int64" for name in COUNTS} | {name: "float64" for name in FIGURES})
