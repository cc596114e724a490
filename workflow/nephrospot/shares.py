"""Weights of cell types → shares of a spot's mRNA, by type and by tissue; and of its cells, or of their area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from nephrospot.errors import Problems, did_you_mean


def proportions_table(
    weights: pd.DataFrame, spots: pd.DataFrame, tissues: Mapping[str, list[str]], deconvolution: str
) -> pd.DataFrame:
    """Normalised proportions with every spot in tissue, NaN where a spot was not used.

    A proportion is a share of the spot's mRNA, not of its cells (spacexr issue 159).

    Parameters
    ----------
    weights : DataFrame, spots x cell types
        Index the barcode.
    spots : DataFrame
        From `nephrospot.quality.judge_spots`.
    tissues : mapping
        {tissue: [cell types]}.
    deconvolution : str
        "rctd" or "nnls".

    Returns
    -------
    DataFrame
        ``barcode, deconvolution, n_umi, n_genes, mt_percent, edge, status, weight_sum``, a ``type:`` column a cell
        type (0 to 1, adding up to 1 in each row) and a ``tissue:`` column a tissue.
    """
    positive = weights.clip(lower=0).sort_index(axis=1)
    total = positive.sum(axis=1, min_count=positive.shape[1])
    shares = positive.div(total.where(total > 0), axis=0).add_prefix("type:").reindex(spots["barcode"])
    table = spots.assign(deconvolution=deconvolution, weight_sum=total.reindex(spots["barcode"]).to_numpy())
    unfitted = (table["status"] == "used") & shares.isna().any(axis=1).to_numpy()
    table.loc[unfitted, "status"] = f"left out by {deconvolution} (too few counts in its genes)"
    head = ["barcode", "deconvolution", "n_umi", "n_genes", "mt_percent", "edge", "status", "weight_sum"]
    return pd.concat([table[head], _add_tissues(shares, tissues).reset_index(drop=True)], axis=1)


def convert_shares(
    proportions: pd.DataFrame, factors: Mapping[str, float], tissues: Mapping[str, list[str]], name: str
) -> pd.DataFrame:
    """RCTD's shares of mRNA as shares of something else: each type's by its factor, made to add up to 1 again.

    One over a cell's mRNA gives shares of cells; a cell's area over its mRNA gives shares of the cells' area.

    Parameters
    ----------
    proportions : DataFrame
        Of `proportions_table`; its rows of RCTD are taken.
    factors : mapping
        {cell type: factor}, for every type of the table.
    tissues : mapping
        {tissue: [cell types]}.
    name : str
        What to call the result in column ``deconvolution``.

    Returns
    -------
    DataFrame
        As ``proportions``; NaN where it is.
    """
    held = proportions[proportions["deconvolution"] == "rctd"]
    types = held.filter(regex="^type:")
    weights = types * pd.Series({f"type:{key}": factor for key, factor in factors.items()}).reindex(types.columns)
    shares = _add_tissues(weights.div(weights.sum(axis=1, min_count=1), axis=0), tissues)
    kept = held.columns[~held.columns.str.startswith(("type:", "tissue:"))]
    return pd.concat([held[kept].assign(deconvolution=name), shares], axis=1)


def list_factors(
    umi_per_cell: Mapping[str, float], cell_umi: Mapping[str, float], cell_area_um2: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Factors of `convert_shares` for each conversion that the configuration allows.

    Parameters
    ----------
    umi_per_cell : mapping
        {cell type: mean UMI of a cell in the reference}.
    cell_umi : mapping
        {cell type: UMI of a cell} from the configuration, which go before the reference's.
    cell_area_um2 : mapping
        {cell type: area of a cell in the section (µm²)} from the configuration, of every type or of none.

    Returns
    -------
    dict
        ``rctd_cells``, and ``rctd_area`` where there are areas.

    Raises
    ------
    InputError
        As `check_factors`.
    """
    check_factors(umi_per_cell, cell_umi, cell_area_um2)
    umi = {**umi_per_cell, **cell_umi}
    factors = {"rctd_cells": {name: 1 / value for name, value in umi.items()}}
    if cell_area_um2:
        factors["rctd_area"] = {name: cell_area_um2[name] / value for name, value in umi.items()}
    return factors


def check_factors(types: Iterable[str], cell_umi: Mapping[str, float], cell_area_um2: Mapping[str, float]) -> None:
    """Refuse factors of cell types that the reference hasn't, and areas of some types alone.

    Raises
    ------
    InputError
        One sentence for each.
    """
    problems, types = Problems(), list(types)
    for key, given in (("cell_umi", cell_umi), ("cell_area_um2", cell_area_um2)):
        for name in given:
            if name not in types:
                problems.add(
                    f"config, deconvolution.{key}: the reference has no cell type {name!r}; {did_you_mean(name, types)}"
                )
    lacking = [name for name in types if name not in cell_area_um2]
    if cell_area_um2 and lacking:
        problems.add(
            f"config, deconvolution.cell_area_um2: {', '.join(lacking)} have no area; give that of every cell type, "
            "or none."
        )
    problems.raise_if_any()


def _add_tissues(shares: pd.DataFrame, tissues: Mapping[str, list[str]]) -> pd.DataFrame:
    summed = {
        f"tissue:{tissue}": shares[[f"type:{name}" for name in types]].sum(axis=1, min_count=len(types))
        for tissue, types in tissues.items()
    }
    return shares.assign(**summed)
