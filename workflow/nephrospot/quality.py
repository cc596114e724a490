"""Quality of the spots on tissue: which are used, and what each limit removes."""

from __future__ import annotations

import anndata as ad
import pandas as pd
import scanpy as sc

from nephrospot.counts import is_mitochondrial
from nephrospot.errors import InputError

LIMITS = ("min_umi", "min_genes", "max_mt_percent", "drop_edge")


def summarise_spots(counts: ad.AnnData) -> pd.DataFrame:
    """Number of UMI and genes and the mitochondrial share of every barcode.

    Parameters
    ----------
    counts : AnnData, spots x genes
        Raw counts.

    Returns
    -------
    DataFrame
        ``barcode``, ``n_umi``, ``n_genes``, ``mt_percent`` (0 to 100; NaN without any UMI).
    """
    bare = ad.AnnData(counts.X, var=pd.DataFrame({"mt": is_mitochondrial(counts.var_names)}, index=counts.var_names))
    quality, _ = sc.pp.calculate_qc_metrics(bare, qc_vars=["mt"], percent_top=None, log1p=False)
    return pd.DataFrame(
        {
            "barcode": counts.obs_names.astype(str),
            "n_umi": quality["total_counts"].to_numpy(float),
            "n_genes": quality["n_genes_by_counts"].to_numpy(float),
            "mt_percent": quality["pct_counts_mt"].to_numpy(float),
        }
    )


def judge_spots(summary: pd.DataFrame, in_tissue: pd.DataFrame, **limits: float) -> pd.DataFrame:
    """Which spots on tissue are used, and why not the others.

    Parameters
    ----------
    summary : DataFrame
        From `summarise_spots`.
    in_tissue : DataFrame
        The spots that matter: ``barcode`` and ``edge`` (bool, from `nephrospot.neighbours.find_edge`); a barcode
        without counts is kept with its reason.
    limits
        Of `find_failing`; the first one that a spot fails is its reason.

    Returns
    -------
    DataFrame
        One row a barcode on tissue, in the order given: the columns of ``summary``, ``edge`` and ``status``
        ("used" or the reason).

    Raises
    ------
    InputError
        When no barcode on tissue has counts.
    """
    wanted = in_tissue[["barcode", "edge"]].drop_duplicates("barcode", ignore_index=True)
    spots = wanted.merge(summary, on="barcode", how="left", validate="one_to_one")
    if spots["n_umi"].notna().sum() == 0:
        given = ", ".join(map(str, wanted["barcode"][:1])) or "none"
        held = ", ".join(map(str, summary["barcode"][:1])) or "none"
        raise InputError(
            f"No barcode in tissue occurs among the counts (spot positions have {given}, counts have {held}); "
            "take positions and counts from the same Space Ranger run."
        )
    failing = find_failing(spots, **limits)
    return spots.assign(status=failing.idxmax(axis=1).where(failing.any(axis=1), "used"))


def find_failing(
    spots: pd.DataFrame,
    min_umi: float = 500,
    min_genes: float = 250,
    max_mt_percent: float = 50,
    drop_edge: bool = False,
) -> pd.DataFrame:
    """Which limits each spot fails; it may be several.

    Proximal tubules are rich in mitochondria: limits of 5 to 20 % as for blood would remove them.

    Parameters
    ----------
    spots : DataFrame
        ``n_umi, n_genes, mt_percent`` (NaN where a spot isn't among the counts) and ``edge``.
    min_umi, min_genes, max_mt_percent : float
        Limits.
    drop_edge : bool
        Whether spots at the edge are removed, too.

    Returns
    -------
    DataFrame of bool, one column a limit, named as `judge_spots` gives it as a reason
    """
    failing = {
        "not among the counts": spots["n_umi"].isna(),
        f"fewer than {min_umi:g} UMI": spots["n_umi"] < min_umi,
        f"fewer than {min_genes:g} genes": spots["n_genes"] < min_genes,
        f"more than {max_mt_percent:g} % mitochondrial": spots["mt_percent"] > max_mt_percent,
    }
    return pd.DataFrame(failing | ({"at the tissue's edge": spots["edge"]} if drop_edge else {}))


def sum_up_quality(spots: pd.DataFrame, **limits: float) -> dict:
    """A slide's medians and what each limit removes from it.

    Parameters
    ----------
    spots : DataFrame
        From `judge_spots`.
    limits
        As given to it.

    Returns
    -------
    dict
        ``median_umi, median_genes, median_mt_percent`` over the spots on tissue that have counts, used or not,
        ``n_edge``, and ``limits``, a list with the ``limit`` in words, ``n_failing`` spots, ``n_removed`` (those that
        fail none of the limits before it) and ``share_removed`` (of all spots on tissue, 0 to 1).
    """
    reasons = spots["status"].value_counts()
    return {
        "median_umi": spots["n_umi"].median(),
        "median_genes": spots["n_genes"].median(),
        "median_mt_percent": spots["mt_percent"].median(),
        "n_edge": int(spots["edge"].sum()),
        "limits": [
            {
                "limit": limit,
                "n_failing": int(failing.sum()),
                "n_removed": int(reasons.get(limit, 0)),
                "share_removed": reasons.get(limit, 0) / len(spots),
            }
            for limit, failing in find_failing(spots, **limits).items()
        ],
    }
