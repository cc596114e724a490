"""Undamaged masks, weights and references, a small folder each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import anndata as ad
import cv2
import numpy as np
import pandas as pd
from scipy import io, sparse

from pictures import paint, write_tiff
from seed_slides import GENES, draw_counts


def _slide(folder: Path) -> Path:
    return write_tiff(folder / "slide.tiff", paint(), tile=(256, 256), compression="deflate", pyramid=False)


def _write_zarr(folder: Path, ngff: str) -> None:
    from label_files import discs, source_of
    from nephrospot.slide import open_slide
    from nephrospot.stitch import write_masks as write

    masks = {"CAP": discs((300, 400), [(90, 100), (200, 300)], 40), "PT": discs((300, 400), [(150, 200)], 60)}
    with open_slide(_slide(folder)) as slide:
        sources = {tissue: source_of(mask, 1.0) for tissue, mask in masks.items()}
        write(folder / "masks.ome.zarr", sources, slide, 0.5, dict.fromkeys(masks, "#e69f00"), ngff=ngff)


def write_zarr3(folder: Path, shared: Path) -> None:
    _write_zarr(folder, "0.5")


def write_zarr2(folder: Path, shared: Path) -> None:
    _write_zarr(folder, "0.4")


ZARRS = (write_zarr3, write_zarr2)


def _geojson(packed: bool, bare: bool):
    def write(folder: Path, shared: Path) -> None:
        ring = [[100.5, 100.5], [300, 110], [280.25, 300], [110, 280], [100.5, 100.5]]
        hole = [[150, 150], [180, 150], [180, 180], [150, 150]]
        shapes = {"CAP": ("Polygon", [ring, hole]), "PT": ("MultiPolygon", [[ring], [hole]])}
        features = [
            {"type": "Feature", "id": name, "geometry": {"type": kind, "coordinates": places},
             "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}}
            for name, (kind, places) in shapes.items()
        ]  # fmt: skip
        text = json.dumps(features if bare else {"type": "FeatureCollection", "features": features})
        _slide(folder)
        if packed:
            (folder / "masks.geojson.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / "masks.geojson").write_text(text)

    return write


GEOJSONS = (_geojson(False, False), _geojson(True, True))


def write_masks(folder: Path, shared: Path) -> None:
    _slide(folder)
    (folder / "masks").mkdir()
    disc = (cv2.circle(np.zeros((600, 800), np.uint8), (300, 250), 100, 1, -1) * 255).astype(np.uint8)
    cv2.imwrite(str(folder / "masks" / "CAP.png"), disc)
    cv2.imwrite(str(folder / "masks" / "PT.png"), np.dstack([disc, disc * 0, disc, disc]))


def write_safetensors(folder: Path, shared: Path) -> None:
    from nephrospot.models import build
    from nephrospot.models.weights import save_weights

    card = {"options": {"width": 4}, "network": "multi-unet", "epochs": 1}
    save_weights(build("multi-unet", width=4), folder / "weights.safetensors", card)


def write_checkpoint(folder: Path, shared: Path) -> None:
    import torch

    from nephrospot.models import build

    torch.save({"state_dict": build("omni-seg", width=4).state_dict()}, folder / "weights.pth")


def _reference(where: str):
    def write(folder: Path, shared: Path) -> None:
        cells = _cells()
        if where == "dense":
            cells.X = cells.X.toarray()
        elif where == "csc":
            cells.X = cells.X.tocsc()
        elif where == "raw":
            cells.raw = cells.copy()
            cells.layers["counts"] = cells.X.copy()
            cells.X = np.log1p(cells.X.toarray())
        cells.write_h5ad(folder / "reference.h5ad", compression="gzip" if where == "csc" else None)

    return write


REFERENCES = tuple(map(_reference, ("csr", "csc", "dense", "raw")))


def write_reference_folder(folder: Path, shared: Path) -> None:
    cells = _cells()
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(cells.X.T.astype(int)), field="integer")
    (folder / "genes.txt").write_text("".join(f"{gene}\n" for gene in cells.var_names))
    cells.obs.assign(nUMI=cells.X.sum(axis=1).A1).to_csv(folder / "cells.csv")


def _cells() -> ad.AnnData:
    """60 cells of two types."""
    obs = pd.DataFrame({"cell_type": pd.Categorical(["PT", "Podo"] * 30)}, index=[f"c{n}" for n in range(60)])
    return ad.AnnData(
        sparse.csr_matrix(draw_counts(60).astype(np.float32)), obs=obs, var=pd.DataFrame(index=list(GENES))
    )
