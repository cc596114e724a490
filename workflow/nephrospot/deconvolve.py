"""Cell-type proportions of every spot: RCTD as a program of its own, and a least-squares baseline.

In: counts of a slide, a labelled reference. Out: one row a spot and deconvolution, NaN kept with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from nephrospot.counts import is_mitochondrial, read_counts
from nephrospot.doublet import add_pairs, spread_pairs
from nephrospot.errors import InputError
from nephrospot.fits import DEFAULTS
from nephrospot.neighbours import find_edge
from nephrospot.nnls import deconvolve_nnls
from nephrospot.quality import LIMITS, judge_spots, sum_up_quality, summarise_spots
from nephrospot.rctd import deconvolve_rctd
from nephrospot.reference import read_reference
from nephrospot.shares import proportions_table


def deconvolve_slide(
    visium_folder: str | Path,
    in_tissue: pd.DataFrame,
    reference_path: str | Path,
    tables_path: str | Path,
    settings: Mapping,
    threads: int = 1,
) -> tuple[pd.DataFrame, dict]:
    """Deconvolve one slide by each method of the settings.

    Slides are done one by one, since the platform effect is a slide's own. Mitochondrial genes are
    removed from spots and reference before UMI are summed: nuclei have next to none.

    Parameters
    ----------
    visium_folder, reference_path, tables_path : path
        See `read_counts`, `read_reference` and `write_likelihood_tables`.
    in_tissue : DataFrame
        The spots on tissue: ``barcode, array_row, array_col``.
    settings : mapping
        ``tissues`` ({tissue: [cell types]}, required), and what differs from `nephrospot.fits.DEFAULTS`.
    threads : int
        Threads of RCTD.

    Returns
    -------
    DataFrame
        See `proportions_table`; the methods one below the other.
    dict
        ``n_spots``, ``n_used``, ``quality`` (of `nephrospot.quality.sum_up_quality`), ``n_common_genes``,
        ``umi_per_cell`` ({cell type: mean of the reference's cells, without mitochondrial genes}), RCTD's facts (of
        `deconvolve_rctd`), ``r_rctd_nnls`` ({tissue: r}), ``other_cell_types`` and ``notes`` (sentences).

    Raises
    ------
    InputError
        For anything wrong with counts, reference, tables, settings or the program.
    """
    settings = {**DEFAULTS, **settings}
    label_column, tissues = settings["label_column"], _cell_types(settings)
    required = [name for types in tissues.values() for name in types]
    reference = prepare_reference(reference_path, settings)
    in_tissue = in_tissue.assign(edge=find_edge(in_tissue))
    counts, spots, n_common = prepare_spots(visium_folder, in_tissue, reference, settings)
    notes = [*counts.uns["notes"], *reference.uns["notes"]]
    other = sorted(set(reference.obs[label_column]) - set(required))
    if other:
        notes.append(f"Cell types that belong to no tissue of the configuration: {', '.join(other)}.")

    facts = {"n_spots": len(spots), "n_used": counts.n_obs, "n_common_genes": n_common, "other_cell_types": other}
    facts["umi_per_cell"] = _measure_cells(reference, label_column)
    facts["quality"] = sum_up_quality(spots, **{name: settings[name] for name in LIMITS})
    tables = {}
    for method in settings["methods"]:
        if method == "rctd":
            tables[method], rctd_facts = _fit_rctd(counts, reference, spots, tables_path, settings, threads)
            notes += rctd_facts.pop("notes")
            facts |= rctd_facts
        elif method == "nnls":
            weights = deconvolve_nnls(counts, reference, label_column)
            tables[method] = proportions_table(weights, spots, tissues, method)
        else:
            raise InputError(f"Settings: unknown deconvolution {method!r}; the options are rctd, nnls.")
    if len(tables) == 2:
        facts["r_rctd_nnls"] = {tissue: _agreement(tables, f"tissue:{tissue}") for tissue in tissues}
        notes += [
            f"{tissue}: RCTD and the least-squares baseline agree poorly (r = {r:.2f}); look at the reference."
            for tissue, r in facts["r_rctd_nnls"].items()
            if not r >= 0.9
        ]
    return pd.concat(tables.values(), ignore_index=True), {**facts, "notes": notes}


def _fit_rctd(counts, reference, spots, tables_path, settings, threads) -> tuple[pd.DataFrame, dict]:
    weights, facts, pairs = deconvolve_rctd(
        counts, reference, tables_path, threads, settings["label_column"], settings["cell_min"], settings["mode"]
    )
    if pairs is None:
        return proportions_table(weights, spots, _cell_types(settings), "rctd"), facts
    weights = spread_pairs(pairs, weights.columns)
    return add_pairs(proportions_table(weights, spots, _cell_types(settings), "rctd"), pairs), facts


def prepare_reference(path: str | Path, settings: Mapping) -> ad.AnnData:
    """Read the reference that the settings of `deconvolve_slide` ask for.

    Raises
    ------
    InputError
        A tissue without cell types, or anything wrong with the reference.
    """
    settings = {**DEFAULTS, **settings}
    required = [name for types in _cell_types(settings).values() for name in types]
    return read_reference(
        path, settings["label_column"], required, settings["leave_out"] or [], cell_min=settings["cell_min"]
    )


def prepare_spots(
    visium_folder: str | Path, in_tissue: pd.DataFrame, reference: ad.AnnData, settings: Mapping
) -> tuple[ad.AnnData, pd.DataFrame, int]:
    """Read one slide's counts and make sure that they go with the reference.

    Parameters
    ----------
    in_tissue : DataFrame
        The spots on tissue: ``barcode``, and ``edge`` as `nephrospot.neighbours.find_edge` gives it.

    Returns
    -------
    counts : AnnData, spots used x genes without mitochondrial ones
    spots : DataFrame, every spot in tissue with its status, see `judge_spots`
    n_common : int, genes in common with the reference

    Raises
    ------
    InputError
        Damaged counts, hardly a spot fit for use, or too few genes in common.
    """
    settings = {**DEFAULTS, **settings}
    counts = read_counts(visium_folder)
    spots = judge_spots(summarise_spots(counts), in_tissue, **{name: settings[name] for name in LIMITS})
    used = spots.loc[spots["status"] == "used", "barcode"]
    if len(used) < 2:
        worst = spots["status"].value_counts().index[0]
        raise InputError(
            f"{visium_folder}: {len(used)} of {len(spots)} spots in tissue are fit for use (mostly: {worst}); lower "
            "min_umi or min_genes, raise max_mt_percent or leave drop_edge out under deconvolution, or leave the slide "
            "out."
        )
    counts = counts[used, ~is_mitochondrial(counts.var_names)].copy()
    limits = settings["min_common_genes"], settings["min_common_share"]
    return counts, spots, check_overlap(visium_folder, counts.var_names, reference.var_names, *limits)


def _cell_types(settings: Mapping) -> dict[str, list[str]]:
    tissues = {tissue: [str(name) for name in types or []] for tissue, types in settings["tissues"].items()}
    for tissue, types in tissues.items():
        if not types:
            raise InputError(f"Settings: tissue {tissue} has no cell types; list them, or leave the tissue out.")
    return tissues


def check_overlap(
    where: str | Path, spot_genes: pd.Index, reference_genes: pd.Index, min_genes: int, min_share: float
) -> int:
    """Number of genes common to spots and reference; RCTD itself goes on with almost none.

    Raises
    ------
    InputError
        Fewer than ``min_genes``, or a lower share than ``min_share`` of the smaller of the two lists.
    """
    common = len(spot_genes.intersection(reference_genes))
    needed = max(min_genes, round(min_share * min(len(spot_genes), len(reference_genes))))
    if common < needed:
        raise InputError(
            f"{where}: {common} genes in common with the reference, but {needed} are needed (spots have "
            f"{len(spot_genes)} such as {spot_genes[0]}, the reference has {len(reference_genes)} such as "
            f"{reference_genes[0]}). Same species? Gene symbols in both? If both are as they should be, lower "
            "min_common_genes or min_common_share."
        )
    return common


def _measure_cells(reference: ad.AnnData, label_column: str) -> dict[str, float]:
    """Mean UMI of a cell of each type."""
    umi = pd.Series(np.asarray(reference.X.sum(axis=1), float).ravel(), reference.obs[label_column].to_numpy())
    return umi.groupby(level=0).mean().to_dict()


def _agreement(tables: Mapping[str, pd.DataFrame], column: str) -> float:
    pair = pd.concat([table[column].reset_index(drop=True) for table in tables.values()], axis=1).dropna()
    if len(pair) < 3 or (pair.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(pair.to_numpy().T)[0, 1])
