"""By which functions nephrospot reads each kind of input, down to what later steps take from it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from nephrospot.errors import InputError

TISSUES = ["CAP", "PT"]
COLOURS = {"CAP": "#e69f00", "PT": "#009e73"}
REGISTRATION = {"min_correlation": 0.2, "max_shift_um": 1000, "note_shift_um": 60, "min_gain": 0.1}
ROW = {"slide": "S1", "visium": "", "species": "mouse", "mpp": float("nan"), "visium_scale": 1.0, "visium_x_px": 0.0,
       "visium_y_px": 0.0}  # fmt: skip


def read_slide(case: Path) -> None:
    """The check of a slide; then windows at several magnifications and the tissue, as later steps read them."""
    from nephrospot.check import check_slide
    from nephrospot.slide import open_slide
    from nephrospot.tissue import find_tissue

    path = next(case.glob("slide.*"))
    manifest = check_slide(ROW | {"image": str(path)}, REGISTRATION)
    if manifest["problems"]:
        raise InputError("\n".join(manifest["problems"]))
    with open_slide(path) as slide:
        find_tissue(slide, manifest["mpp"], "slide S1")
        for scale in (0.7, 1, 4):
            slide.read_window(-10, slide.height_px / 2, scale, 256, 256)
        slide.thumbnail(1000)


def read_visium(case: Path) -> None:
    """The check of a slide with its Space Ranger folder, the positions once more, and the report's words."""
    from nephrospot.check import check_slide
    from nephrospot.judge import report_check
    from nephrospot.visium import read_barcodes

    manifest = check_slide(ROW | {"image": str(case / "slide.tiff"), "visium": str(case / "outs")}, REGISTRATION)
    report_check([manifest])
    json.dumps(manifest, default=float)
    if manifest["problems"]:
        raise InputError("\n".join(manifest["problems"]))
    read_barcodes(case / "outs")


def read_matrix(case: Path) -> None:
    from nephrospot.barcodes import read_count_barcodes
    from nephrospot.counts import read_counts_if_any
    from nephrospot.quality import summarise_spots

    read_count_barcodes(case)
    counts = read_counts_if_any(case)
    if counts is not None:
        summarise_spots(counts)
        counts[:, counts.var_names[::2]].X.sum(axis=1)


def read_reference(case: Path) -> None:
    from nephrospot.reference import read_reference as read

    path = case / "reference.h5ad"
    cells = read(path if path.exists() else case, "cell_type", ["PT"], cell_min=5)
    cells[:, cells.var_names[::2]].X.sum(axis=0)


def read_scores(case: Path) -> None:
    from nephrospot.scores import count_scored
    from nephrospot.scores import read_scores as read
    from visium_folder import make_positions

    barcodes = set(make_positions(rows=18, columns=20)["barcode"])
    read(case / "scores.csv", TISSUES, barcodes, "slide S1")
    count_scored(case / "scores.csv", TISSUES, "slide S1")


def read_scoring_sheet(case: Path) -> None:
    from nephrospot.scoring import import_sheet

    import_sheet(case / "sheet.csv", case / "key.csv", ["CAP"], "A")


def read_patches(case: Path) -> None:
    from nephrospot.training.patches import list_patches, read_patch

    patches = list_patches(case / "list.csv", side_px=32)
    for image, mask in patches[["image", "mask"]].itertuples(index=False):
        read_patch(image, mask, 32)


def read_sheet(case: Path) -> None:
    from nephrospot.sheet import read_sheet as read

    os.chdir(case)
    read("slides.tsv", {"species": {"mouse": {}, "human": {}}})


def read_published(case: Path) -> None:
    from nephrospot.table2 import read_published as read

    read(case / "published.tsv")


def read_config(case: Path) -> None:
    from nephrospot.given import look_for_files
    from nephrospot.readings import expand_sweep
    from nephrospot.settings import read_settings
    from nephrospot.training.runs import list_runs

    try:
        config = json.loads((case / "config.json").read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError("Snakemake reads the configuration, and tells itself what isn't YAML.") from error
    settings = read_settings(config)
    os.chdir(case.parent)
    list_runs(settings["training"])
    expand_sweep(settings["methods"], settings["segmentation"]["sweep"])
    generated = ["/", settings["demo"]["folder"], settings["results"]]
    look_for_files(settings, ["K1"], generated=generated)


def read_zarr(case: Path) -> None:
    """Spots, outlines, objects and pictures are made from masks."""
    import pandas as pd

    from nephrospot.geojson import write_geojson
    from nephrospot.omezarr import list_labels, open_masks
    from nephrospot.registration import Transform
    from nephrospot.report.overlay import read_mask
    from nephrospot.spots import measure_spots
    from nephrospot.visium import VisiumGrid

    masks = case / "masks.ome.zarr"
    labels = open_masks(masks)
    for tissue in list_labels(labels):
        read_mask(labels[tissue], 10.0, 10.0, 2.0, 50, 50)
    table = pd.DataFrame({"barcode": ["A", "B"], "in_tissue": True, "array_row": 0, "array_col": [0, 2],
                          "x_px": [200.0, 400.0], "y_px": [180.0, 300.0]})  # fmt: skip
    grid = VisiumGrid(table, {}, None, "parquet", "here")
    measure_spots(masks, grid, Transform(), 0.5, 55.0, TISSUES)
    with tempfile.TemporaryDirectory() as folder:
        write_geojson(Path(folder) / "a.geojson.gz", masks, 0.5, COLOURS, {}, "S1/m")


def read_weights(case: Path) -> None:
    from nephrospot.models.ensemble import load_ensemble
    from nephrospot.models.weights import read_card

    path = next(case.glob("weights.*"))
    read_card(path)
    load_ensemble("multi-unet" if path.suffix == ".safetensors" else "omni-seg", str(path))


def read_masks(case: Path) -> None:
    """Drop-in masks through to the OME-Zarr, beside which nothing may be written; or Space Ranger's picture."""
    if (case / "outs").is_dir():
        return read_visium(case)
    from nephrospot.masks import open_drop_in
    from nephrospot.slide import open_slide
    from nephrospot.stitch import write_masks

    found = [path.name for path in case.glob("masks.geojson*")]
    template = str(case / (found[0] if found else "masks/{tissue}.png"))
    with open_slide(case / "slide.tiff") as slide, tempfile.TemporaryDirectory() as folder:
        sources = open_drop_in(template, "S1", slide, 0.5)
        write_masks(Path(folder) / "m" / "masks.ome.zarr", sources, slide, 0.5, COLOURS)
        beside = [*Path(folder).iterdir(), *Path(folder, "m").iterdir()]
        if [path.name for path in beside] != ["m", "masks.ome.zarr"]:
            raise AssertionError(f"written outside the store: {beside}")
        labels = {path.name for path in Path(folder, "m", "masks.ome.zarr", "labels").iterdir() if path.is_dir()}
        if labels != {*sources, "merged"}:
            raise AssertionError(f"the labels {sorted(labels)} aren't those of {sorted(sources)}")
    return None


READERS = {
    "tiff": read_slide,
    "svs": read_slide,
    "h5": read_matrix,
    "mtx": read_matrix,
    "json": read_visium,
    "positions csv": read_visium,
    "positions parquet": read_visium,
    "scores csv": read_scores,
    "scoring sheet": read_scoring_sheet,
    "patches csv": read_patches,
    "sheet tsv": read_sheet,
    "published tsv": read_published,
    "config": read_config,
    "zarr": read_zarr,
    "safetensors": read_weights,
    "checkpoint": read_weights,
    "h5ad": read_reference,
    "reference folder": read_reference,
    "geojson": read_masks,
    "png": read_masks,
}
