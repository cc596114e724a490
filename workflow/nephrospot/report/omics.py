"""The page's tables on counts and deconvolution."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from nephrospot.report.wording import tell_value
from nephrospot.sensitivity import ITSELF

# Every share under its own name: RCTD's is of the mRNA, not of cells.
SHARE_WORDS = {
    "rctd": "share of mRNA, RCTD",
    "rctd_cells": "share of cells, converted",
    "rctd_area": "share of the cells' area, converted",
    "nnls": "share of mRNA, NNLS",
    "rctd_second": "share of mRNA, RCTD with the second reference",
}


def list_quality(notes: Mapping[str, Mapping], proportions: Mapping[str, pd.DataFrame]) -> dict:
    """One row a slide: medians over its spots on tissue, and how many spots each limit removed."""
    limits = dict.fromkeys(part["limit"] for facts in notes.values() for part in facts["quality"]["limits"])
    head = ["slide", "spots on tissue", "median UMI", "median genes", "median mitochondrial, %", "at the edge",
            *limits, "left out by the fit", "used"]  # fmt: skip
    rows = []
    for slide, facts in notes.items():
        quality, total = facts["quality"], facts["n_spots"]
        removed = {part["limit"]: part["n_removed"] for part in quality["limits"]}
        used = count_used(proportions[slide])
        unfitted = total - sum(removed.values()) - used
        rows.append(
            [
                slide,
                f"{total:,}",
                *(tell_value(quality[name], 0) for name in ("median_umi", "median_genes")),
                tell_value(quality["median_mt_percent"], 1),
                *(_tell_part(n, total) for n in (quality["n_edge"], *map(removed.get, limits), unfitted, used)),
            ]
        )
    return {"head": head, "rows": rows, "numeric": list(range(1, len(head)))}


def list_deconvolutions(notes: Mapping[str, Mapping], tissues: list[str]) -> dict:
    """RCTD's facts for every slide, with the baseline's agreement."""
    told = [tissue for tissue in tissues if any(tissue in (facts.get("r_rctd_nnls") or {}) for facts in notes.values())]
    head = ["slide", "spots on tissue", "used", "genes shared", "genes in the fit", "σ (leftover noise)",
            *(f"{tissue}: r of RCTD with NNLS" for tissue in told)]  # fmt: skip
    rows = [
        [
            slide,
            _count(facts.get("n_spots")),
            _count(facts.get("n_used")),
            _count(facts.get("n_common_genes")),
            _count(facts.get("n_reg_genes")),
            _tell_sigma(facts),
            *(tell_value((facts.get("r_rctd_nnls") or {}).get(tissue), 2) for tissue in told),
        ]
        for slide, facts in notes.items()
    ]
    return {"head": head, "rows": rows, "numeric": list(range(1, len(head)))}


def _tell_sigma(facts: Mapping) -> str:
    return tell_value(facts.get("sigma"), 2) + (" (the least it can find)" if facts.get("sigma_at_floor") else "")


def _count(value) -> str:
    return "–" if value is None else f"{int(value):,}"


def list_sensitivity(sensitivity: pd.DataFrame | None, labels: Mapping[str, str]) -> dict:
    """One row a tissue and method: r × 100, with its n, against each share; the first share itself comes last."""
    if sensitivity is None or not len(sensitivity):
        return {"head": [], "rows": [], "numeric": []}
    pooled = sensitivity[sensitivity["level"] == "pooled"]
    references = [name for name in SHARE_WORDS if (pooled["reference"] == name).any()]
    labels = dict(labels) | {ITSELF: f"({SHARE_WORDS[references[0]]})"}
    rows = []
    for tissue in dict.fromkeys(pooled["tissue"]):
        for method, label in labels.items():
            mine = pooled[(pooled["tissue"] == tissue) & (pooled["method"] == method)].set_index("reference")
            told = [_tell_r(mine.loc[name]) if name in mine.index else "–" for name in references]
            rows += [[tissue, label, *told]] if len(mine) else []
    head = ["tissue", "method", *(SHARE_WORDS[name] for name in references)]
    return {"head": head, "rows": rows, "numeric": list(range(2, len(head)))}


def _tell_r(row: pd.Series) -> str:
    return f"{tell_value(100 * row['r'], 2)} (n = {int(row['n']):,})"


def count_used(table: pd.DataFrame) -> int:
    """Spots with proportions: RCTD's where it ran, else the baseline's."""
    main = table[table["deconvolution"] == ("rctd" if (table["deconvolution"] == "rctd").any() else "nnls")]
    return int((main["status"] == "used").sum())


def _tell_part(n: int | None, total: int) -> str:
    return f"{n:,} ({100 * n / total:.1f} %)" if n else "0"
