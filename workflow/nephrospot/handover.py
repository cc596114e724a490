"""All of one slide in files that other tools read: an AnnData of its spots, and a SpatialData with image and masks.

Positions are µm from the slide's outer corner, in a coordinate system called "um".
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import zarr

from nephrospot import __version__
from nephrospot.files import whole
from nephrospot.neighbours import find_edge
from nephrospot.omezarr import open_masks, open_plane, read_place
from nephrospot.quality import summarise_spots
from nephrospot.slide import Slide
from nephrospot.sources import resample_mask

SYSTEM = "um"
IMAGE_MPP = 2.0
LABEL_MPP = 2.0
STARTS = ("type:", "tissue:")


def build_anndata(
    slide: str,
    manifest: Mapping,
    spots: Mapping[str, pd.DataFrame],
    counts: ad.AnnData | None = None,
    proportions: pd.DataFrame | None = None,
    scores: pd.DataFrame | None = None,
) -> ad.AnnData:
    """The spots on tissue with all that is known of them.

    Parameters
    ----------
    slide, manifest
        Name, and content of slide.json.
    spots
        {method: spots.parquet}; the first method's percentages are ``pct_{tissue}``, the others'
        ``pct_{tissue}.{method}``.
    counts
        Raw counts by barcode, for X; without, there are no genes.
    proportions
        proportions.parquet.
    scores
        Of `nephrospot.scores.read_scores`, as ``score_{tissue}``.

    Returns
    -------
    AnnData
        obs: array_row, array_col, x_um, y_um, slide, ``pct_…``, ``score_…``; n_umi, n_genes, mt_percent and edge where
        there are counts, and status where deconvolved. obsm: spatial (µm), proportions (a DataFrame by cell type; RCTD,
        NaN where a spot has none), proportions_nnls, tissue_shares. uns["nephrospot"]: version, method, mpp and
        diameter in words.
    """
    first = next(iter(spots))
    table = spots[first].set_index("barcode")
    obs = table[["array_row", "array_col"]].assign(slide=slide)
    obs["x_um"], obs["y_um"] = ((table[name] + 0.5) * manifest["mpp"] for name in ("x_px", "y_px"))
    for method, own in spots.items():
        own = own.set_index("barcode").reindex(obs.index)
        for name in own.columns[own.columns.str.endswith("_percent")]:
            tissue = name.removesuffix("_percent")
            obs[f"pct_{tissue}" if method == first else f"pct_{tissue}.{method}"] = own[name].astype(float)
    if scores is not None:
        for tissue in scores.columns.drop("barcode"):
            obs[f"score_{tissue}"] = scores.set_index("barcode")[tissue].reindex(obs.index)
    if counts is None:
        data = ad.AnnData(np.zeros((len(obs), 0), np.float32), obs=obs)
    else:
        at = counts.obs_names.get_indexer(obs.index)
        kept = at >= 0  # a spot without any count isn't in the matrix
        matrix = counts.X[np.where(kept, at, 0)].copy()
        matrix = matrix.multiply(kept[:, None]).tocsr() if not kept.all() else matrix
        numbers = summarise_spots(counts).set_index("barcode").reindex(obs.index)
        data = ad.AnnData(matrix, obs=obs.join(numbers).assign(edge=find_edge(obs)), var=counts.var.copy())
    data.obsm["spatial"] = obs[["x_um", "y_um"]].to_numpy(float)
    if proportions is not None:
        _add_proportions(data, proportions)
    data.uns["nephrospot"] = {"version": __version__, "slide": slide, "mpp": float(manifest["mpp"]), "method": first}
    return data


def _add_proportions(data: ad.AnnData, proportions: pd.DataFrame) -> None:
    for name, own in proportions.groupby("deconvolution"):
        own = own.set_index("barcode").reindex(data.obs_names)
        types, tissues = (own.filter(regex=f"^{start}") for start in STARTS)
        types, tissues = (part.rename(columns=lambda name: name.split(":", 1)[1]) for part in (types, tissues))
        data.obsm["proportions" if name == "rctd" else f"proportions_{name}"] = types.astype(float)
        if name == "rctd":
            data.obsm["tissue_shares"] = tissues.astype(float)
            data.obs["status"] = own["status"]


def write_anndata(data: ad.AnnData, path: str | Path) -> None:
    """Write ``.h5ad``, whole or not at all."""
    with whole(path) as temporary:
        data.write_h5ad(temporary)


def write_spatialdata(
    data: ad.AnnData, slide: Slide, mpp: float, masks: Mapping[str, str | Path], diameter_um: float, path: str | Path
) -> None:
    """Write a SpatialData zarr: image and masks at 2 µm per pixel, the spots as circles, the table.

    Parameters
    ----------
    data
        Of `build_anndata`.
    slide, mpp
        The open slide and its µm per level-0 pixel.
    masks
        {method: masks.ome.zarr}; a label for each tissue, ``{method}_{tissue}``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import spatialdata as sd
        from spatialdata.models import Image2DModel, Labels2DModel, ShapesModel, TableModel
        from spatialdata.transformations import Identity, Scale, Sequence, Translation

        def lie(step: float, corner: tuple[float, float] = (0.0, 0.0)) -> dict:
            moves = [Scale([step, step], axes=("y", "x")), Translation(list(corner), axes=("y", "x"))]
            return {SYSTEM: Sequence(moves)}

        overview = slide.read_overview(mpp, IMAGE_MPP)
        image = Image2DModel.parse(
            np.moveaxis(overview, 2, 0), dims=("c", "y", "x"), c_coords=["r", "g", "b"], scale_factors=[2, 2],
            transformations=lie(IMAGE_MPP),
        )  # fmt: skip
        labels = {}
        for method, store in masks.items():
            groups = open_masks(store)
            for tissue in [name for name in groups if name != "merged"]:
                plane, corner = _read_label(groups[tissue])
                parsed = Labels2DModel.parse(plane, dims=("y", "x"), transformations=lie(LABEL_MPP, corner))
                labels[f"{method}_{tissue}"] = parsed
        shapes = ShapesModel.parse(
            data.obsm["spatial"], geometry=0, radius=diameter_um / 2, index=np.arange(data.n_obs),
            transformations={SYSTEM: Identity()},
        )  # fmt: skip
        table = data.copy()
        table.obs["region"] = pd.Categorical(["spots"] * data.n_obs)
        table.obs["spot"] = np.arange(data.n_obs)
        table = TableModel.parse(table, region="spots", region_key="region", instance_key="spot")
        held = sd.SpatialData(images={"slide": image}, labels=labels, shapes={"spots": shapes}, tables={"table": table})
        with whole(path) as temporary:
            held.write(temporary)


def _read_label(label: zarr.Group) -> tuple[np.ndarray, tuple[float, float]]:
    """A tissue's mask at 2 µm per pixel, uint8, and its corner (y, x) in µm."""
    plane = open_plane(label)
    (mpp, _), corner = read_place(label)
    rows, columns = (max(1, round(size * mpp / LABEL_MPP)) for size in plane.shape)
    source = plane.shape, mpp, lambda y, x: (plane[y, x] != 0).astype(np.uint8)
    return resample_mask(source, slice(0, rows), slice(0, columns), LABEL_MPP), corner
