"""The page's tables on counts and deconvolution."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from nephrospot.report.wording import tell_value


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


def count_used(table: pd.DataFrame) -> int:
    """Spots with proportions: RCTD's where it ran, else the baseline's."""
    main = table[table["deconvolution"] == ("rctd" if (table["deconvolution"] == "rctd").any() else "nnls")]
    return int((main["status"] == "used").sum())


def _tell_part(n: int | None, total: int) -> str:
    return f"{n:,} ({100 * n / total:.1f} %)" if n else "0"
