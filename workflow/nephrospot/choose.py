"""The smallest size of a real object, chosen on slides that have a truth and aren't reported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.components import find_components
from nephrospot.errors import InputError
from nephrospot.evaluate import detection, open_label
from nephrospot.files import whole
from nephrospot.instances import BLOCK_PX, find_overlaps, match_objects, regrid
from nephrospot.omezarr import list_labels, open_masks

COLUMNS = ["min_area_um2", "n_slides", "tp", "fp", "fn", "precision", "recall", "f1", "chosen"]


def choose_sizes(
    masks_paths: Iterable[str | Path],
    truth_paths: Iterable[str | Path],
    tissue: str,
    candidates_um2: Iterable[float],
    min_area_um2: float = 0,
    iou: float = 0.5,
) -> pd.DataFrame:
    """What each minimum size of predicted objects would make of precision, recall and F1 (convention ours).

    Parameters
    ----------
    masks_paths, truth_paths
        ``masks.ome.zarr`` of a method and of the truth, slide by slide; objects are found once.
    tissue
        The tissue whose objects these are.
    candidates_um2
        Sizes to try: smaller predicted objects are dropped.
    min_area_um2
        Smallest object of the evaluation, on both sides, so that the F1 here is the one that will be reported.
    iou
        As of `nephrospot.evaluate.evaluate_slide`.

    Returns
    -------
    DataFrame
        `COLUMNS`, a row a candidate from small to large. ``chosen`` marks the best F1, of equal ones the smallest
        size; none where no size finds anything.

    Raises
    ------
    InputError
        When no slide has masks of the tissue from both.
    """
    slides = []
    for masks_path, truth_path in zip(masks_paths, truth_paths, strict=True):
        found, expected = open_masks(masks_path), open_masks(truth_path)
        if tissue in list_labels(found) and tissue in list_labels(expected):
            truth = open_label(expected[tissue])
            predicted = regrid(open_label(found[tissue]), *truth[:2])
            components = (find_components(source, block_px=BLOCK_PX) for source in (truth, predicted))
            slides.append((find_overlaps(*components), truth[1] ** 2))
    if not slides:
        raise InputError(
            f"{tissue}: no validation slide has masks of it both from the method and from the truth; correct "
            "evaluation.validation or evaluation.tissues."
        )
    rows = []
    for size in sorted({float(candidate) for candidate in candidates_um2}):
        smallest = max(size, min_area_um2)
        matches = [match_objects(o, iou, min_area_um2 / area, smallest / area) for o, area in slides]
        tp, fp, fn = (sum(getattr(match, name) for match in matches) for name in ("tp", "fp", "fn"))
        rows.append({"min_area_um2": size, "n_slides": len(slides), "tp": tp, "fp": fp, "fn": fn})
        rows[-1] |= detection(tp, fp, fn)
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    best = table["f1"].max()
    first = int(np.argmax(table["f1"] == best)) if best > 0 else -1
    return table.assign(chosen=np.arange(len(table)) == first)


def choose_postprocessing(
    results: str | Path,
    truth: str,
    methods: Iterable[str],
    slides: list[str],
    tissues: Iterable[str],
    candidates_um2: Iterable[float],
    min_area_um2: dict[str, float],
    iou: float = 0.5,
) -> tuple[pd.DataFrame, list[str]]:
    """`choose_sizes` for every method and tissue of a results folder.

    Parameters
    ----------
    results
        The folder with ``{slide}/{method}/masks.ome.zarr``.
    truth
        The method that is the truth; it isn't compared with itself.
    slides
        The validation slides.

    Returns
    -------
    table : DataFrame
        method, tissue, and the columns of `choose_sizes`.
    sentences : list of str
        What to write into the configuration, and what not to report.
    """
    tables, sentences = [], []
    for method in methods:
        for tissue in tissues:
            paths = ([f"{results}/{slide}/{name}/masks.ome.zarr" for slide in slides] for name in (method, truth))
            try:
                table = choose_sizes(*paths, tissue, candidates_um2, min_area_um2.get(tissue, 0), iou)
            except InputError as error:
                sentences.append(f"{method}: {error}")
                continue
            tables.append(table.assign(method=method, tissue=tissue)[["method", "tissue", *COLUMNS]])
            sentences.append(_tell_choice(method, tissue, table))
    sentences.append(
        f"The sizes were chosen on {', '.join(slides)}: what is said of them isn't a test, so report the other slides."
    )
    return pd.concat(tables) if tables else pd.DataFrame(columns=["method", "tissue", *COLUMNS]), sentences


def write_postprocessing(path: str | Path, table: pd.DataFrame, sentences: list[str]) -> None:
    """Write the table as tab-separated text below the sentences, which begin with #."""
    lines = "".join(f"# {sentence}\n" for sentence in sentences)
    with whole(path) as temporary:
        temporary.write_text(lines + table.to_csv(sep="\t", index=False), encoding="utf-8")


def _tell_choice(method: str, tissue: str, table: pd.DataFrame) -> str:
    if not table["chosen"].any():
        return f"{method}, {tissue}: no true object is found whatever the size, so that none can be chosen."
    first, best = table.iloc[0], table[table["chosen"]].iloc[0]
    if best["min_area_um2"] == first["min_area_um2"]:
        return f"{method}, {tissue}: no size is better than {first['min_area_um2']:g} µm² (F1 {first['f1']:.3f})."
    return (
        f"{method}, {tissue}: write under postprocess: {tissue}: {{min_area_um2: {best['min_area_um2']:g}}} (F1 "
        f"{best['f1']:.3f} instead of {first['f1']:.3f} at {first['min_area_um2']:g} µm²)."
    )
