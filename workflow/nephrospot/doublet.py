"""RCTD's doublet mode: one or two cell types a spot, and no share where RCTD isn't sure which."""

from __future__ import annotations

from collections.abc import Iterable

import anndata as ad
import numpy as np
import pandas as pd

# Classes of spots whose types are all sure; R's own conversion to shares takes these alone.
SURE = ("singlet", "doublet_certain")
WORDS = ("spot_class", "first_type", "second_type")
# Why a spot that RCTD fitted has no share.
UNSURE = {
    "doublet_uncertain": "left out by rctd (not sure of its second cell type)",
    "reject": "left out by rctd (more than two cell types)",
}


def read_pairs(out: ad.AnnData) -> pd.DataFrame:
    """Class, types and weights of each spot from the program's output.

    Returns
    -------
    DataFrame
        ``spot_class, first_type, second_type`` (empty where RCTD left the spot out), ``first_weight`` and
        ``second_weight`` (adding up to 1; NaN there), index the barcode.
    """
    words = {name: out.obs[f"rctd_{name}"].astype(str).replace("filtered", "") for name in WORDS}
    first, second = out.obsm["rctd_weights_doublet"].astype(float).T
    return pd.DataFrame(words | {"first_weight": first, "second_weight": second}, index=out.obs_names)


def spread_pairs(pairs: pd.DataFrame, types: Iterable[str]) -> pd.DataFrame:
    """Weights over all cell types.

    Parameters
    ----------
    pairs : DataFrame
        Of `read_pairs`.
    types : iterable of str
        Every cell type.

    Returns
    -------
    DataFrame, spots x cell types
        A singlet is its first type alone, a certain doublet both; NaN where RCTD isn't sure of the second type, rejects
        the spot or left it out.
    """
    types = pd.Index(types)
    sure = pairs["spot_class"].isin(SURE).to_numpy()
    second = np.where(pairs["spot_class"] == "doublet_certain", pairs["second_weight"], 0.0)
    weights = np.where(sure[:, None], np.zeros(len(types)), np.nan)
    rows = np.flatnonzero(sure)
    for name, weight in (("first_type", 1 - second), ("second_type", second)):
        weights[rows, types.get_indexer(pairs[name].to_numpy()[rows])] += weight[rows]
    return pd.DataFrame(weights, index=pairs.index, columns=types)


def add_pairs(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """RCTD's rows of proportions.parquet with each spot's words, and a reason where a fitted one has no share."""
    own = pairs[list(WORDS)].reindex(table["barcode"]).fillna("").reset_index(drop=True)
    unsure = own["spot_class"].map(UNSURE)
    return pd.concat([table.assign(status=unsure.fillna(table["status"])), own], axis=1)


def sum_up_classes(pairs: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """{class: spots}, and a sentence where most spots have no share."""
    classes = pairs.loc[pairs["spot_class"] != "", "spot_class"]
    unsure = int((~classes.isin(SURE)).sum())
    notes = []
    if unsure > 0.5 * len(classes):
        notes.append(
            f"RCTD's doublet mode isn't sure of {unsure} of {len(classes)} spots, which have no share; it is for one "
            "or two cells a spot, and Visium's spots hold more (deconvolution.mode: full)."
        )
    return classes.value_counts().to_dict(), notes
