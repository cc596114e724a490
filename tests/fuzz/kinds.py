"""The kinds of input: their undamaged files, what may be changed in them and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import seed_models
import seed_slides
import seed_tables
from damage_bytes import BLIND, with_gzip
from damage_hdf5 import HDF5
from damage_headers import PNG, SAFETENSORS, TIFF
from damage_text import JSON, MTX, TABLE


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    seeds
        Functions (folder, shared material) that write an undamaged input; False where the material isn't there.
    targets
        Patterns of the files that are damaged.
    aware, blind
        Changes (path, random numbers) → what was done; with and without an understanding of the format.
    untouched
        What becomes of an undamaged input.
    """

    seeds: tuple[Callable, ...]
    targets: tuple[str, ...]
    aware: tuple[Callable, ...] = ()
    blind: tuple[Callable[[Path, object], str], ...] = BLIND
    untouched: str = "read"


KINDS = {
    "tiff": Kind(seed_slides.TIFFS, ("slide.tiff",), TIFF),
    "svs": Kind(seed_slides.SVSS, ("slide.svs",), TIFF),
    "h5": Kind(seed_slides.MATRICES, ("*.h5",), HDF5),
    "mtx": Kind(seed_slides.MTXS, ("matrix.mtx*", "*.tsv*"), with_gzip(MTX), with_gzip(BLIND)),
    "json": Kind((seed_slides.write_visium,), ("scalefactors_json.json",), JSON),
    "positions csv": Kind((seed_slides.write_visium, seed_slides.write_old_visium), ("tissue_positions*.csv",), TABLE),
    "positions parquet": Kind((seed_slides.write_parquet_visium,), ("*.parquet",)),
    "scores csv": Kind((seed_tables.write_scores, seed_tables.write_readers_scores), ("scores.csv",), TABLE),
    "scoring sheet": Kind((seed_tables.write_scoring_sheet,), ("sheet.csv", "key.csv"), TABLE),
    "patches csv": Kind((seed_tables.write_patches,), ("list.csv", "*.png"), (*TABLE, *PNG)),
    "sheet tsv": Kind((seed_tables.write_sheet,), ("slides.tsv",), TABLE),
    "published tsv": Kind((seed_tables.write_published,), ("published.tsv",), TABLE),
    "config": Kind((seed_tables.write_config,), ("config.json",), JSON, JSON),
    "zarr": Kind(
        (seed_models.write_zarr3, seed_models.write_zarr2), ("zarr.json", ".zarray", ".zattrs", ".zgroup", "0"), JSON
    ),
    "safetensors": Kind((seed_models.write_safetensors,), ("weights.safetensors",), SAFETENSORS),
    "checkpoint": Kind((seed_models.write_checkpoint,), ("weights.pth",), untouched="refused"),  # of a smaller network
    "h5ad": Kind(seed_models.REFERENCES, ("reference.h5ad",), HDF5),
    "reference folder": Kind((seed_models.write_reference_folder,), ("matrix.mtx", "genes.txt", "cells.csv"), MTX),
    "geojson": Kind(seed_models.GEOJSONS, ("masks.geojson*",), with_gzip(JSON), with_gzip(BLIND)),
    "png": Kind((seed_models.write_masks, seed_slides.write_visium), ("*.png",), PNG),
}
