"""The page's tables on how sure a value is: intervals, agreement, differences between methods, slide by slide."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nephrospot.report.tables import order_rows
from nephrospot.report.wording import tell_reference, tell_signed, tell_value


def list_certainty(correlations: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """One row a comparison and method: r with its interval, n and its worth, within slides, the slides' range."""
    head = ["comparison", "method", "n", "worth (n_eff)", "r pooled", "95 % interval, and from what",
            "blocks of half and twice the side", "r within", "r by slide", "Moran's I", "remarks"]  # fmt: skip
    rows = []
    for row in order_rows(correlations, labels, "pooled"):
        same = _same(correlations, row)
        within = same[same["level"] == "within"]
        by_slide = same.loc[same["level"].str.startswith("slide:"), "r"].dropna()
        spread = f"{tell_value(by_slide.min(), 2)} to {tell_value(by_slide.max(), 2)}" if len(by_slide) else "–"
        source, *remarks = row["interval"].split("; ") if isinstance(row.get("interval"), str) else [""]
        side = tell_value(row.get("block_um"), 0)
        rows.append(
            [
                *_name(row, labels),
                f"{int(row['n']):,}",
                tell_value(row.get("n_eff"), 0),
                tell_value(row["r"], 3),
                f"{_interval(row, 'lo', 'hi')}\n{source}",
                f"{_interval(row, 'half_lo', 'half_hi')}\n{_interval(row, 'double_lo', 'double_hi')}",
                tell_value(within["r"].iloc[0], 3) if len(within) else "–",
                spread,
                tell_value(row["moran_i"], 2),
                "; ".join([f"blocks of {side} µm", *remarks]) if side != "–" else "; ".join(remarks),
            ]
        )
    return {"head": head, "rows": rows, "numeric": [2, 3, 4, 5, 6, 7, 8, 9]}


def list_agreement(correlations: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """One row a comparison and method: what r doesn't see."""
    head = ["comparison", "method", "Spearman's ρ", "r where there is any", "AUROC of any", "CCC", "mean error, pp",
            "mean absolute error, pp"]  # fmt: skip
    rows = [
        [
            *_name(row, labels),
            *(tell_value(row[name], 3) for name in ("rho", "r_positive", "auroc", "ccc")),
            tell_signed(row["mean_error_pp"], 1),
            tell_value(row["mae_pp"], 1),
        ]
        for row in order_rows(correlations, labels, "pooled")
    ]
    return {"head": head, "rows": rows, "numeric": [2, 3, 4, 5, 6, 7]}


def list_differences(differences: pd.DataFrame | None, labels: Mapping[str, str]) -> dict:
    """One row a comparison of the best method with another: on these slides, and in new animals."""
    head = ["comparison", "best", "against", "difference in r", "95 % interval", "p, Holm", "on these slides",
            "difference in z between animals", "95 % interval", "p", "animals"]  # fmt: skip
    rows = []
    chosen = differences[differences["with_best"]].to_dict("records") if differences is not None else []
    for row in chosen:
        known = np.isfinite(row["p"])
        verdict = "better" if row["separable"] else "can't be told apart" if known else row["reason"]
        rows.append(
            [
                f"{row['tissue']} against {tell_reference(row['reference'])}",
                *(labels.get(row[name], row[name]) for name in ("method_a", "method_b")),
                tell_signed(row["diff"], 3),
                _interval(row, "lo", "hi"),
                _tell_p(row["p_holm"]),
                verdict,
                tell_signed(row["t_diff"], 2),
                _interval(row, "t_lo", "t_hi", 2),
                _tell_p(row["t_p"]),
                f"{int(row['t_slides'])}",
            ]
        )
    return {"head": head, "rows": rows, "numeric": [3, 4, 5, 7, 8, 9, 10]}


def list_by_slide(correlations: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """One row a comparison, method and slide, with the reason where r is lacking."""
    head = ["comparison", "method", "slide", "n", "worth (n_eff)", "r", "95 % interval", "Spearman's ρ", "CCC",
            "mean error, pp", "Moran's I", "why there is no r"]  # fmt: skip
    rows = [
        [
            *_name(row, labels),
            row["level"].removeprefix("slide:"),
            f"{int(row['n']):,}",
            tell_value(row.get("n_eff"), 0),
            tell_value(row["r"], 3),
            _interval(row, "lo", "hi"),
            tell_value(row["rho"], 3),
            tell_value(row["ccc"], 3),
            tell_signed(row["mean_error_pp"], 1),
            tell_value(row["moran_i"], 2),
            row["reason"] if isinstance(row["reason"], str) else "",
        ]
        for row in order_rows(correlations, labels, "slide:")
    ]
    return {"head": head, "rows": rows, "numeric": [3, 4, 5, 6, 7, 8, 9, 10]}


def _name(row: pd.Series, labels: Mapping[str, str]) -> list[str]:
    return [f"{row['tissue']} against {tell_reference(row['reference'])}", labels.get(row["method"], row["method"])]


def _interval(row: Mapping, lo: str, hi: str, digits: int = 3) -> str:
    ends = [row.get(lo, np.nan), row.get(hi, np.nan)]
    return " to ".join(tell_value(end, digits) for end in ends) if np.isfinite(ends).all() else "–"


def _tell_p(p: float) -> str:
    return "–" if not np.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _same(correlations: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    keys = ("method", "tissue", "reference")
    return correlations[np.logical_and.reduce([correlations[key] == row[key] for key in keys])]


def list_readers(readers: pd.DataFrame | None) -> dict:
    """One row a tissue and group of readers, or of one reader's readings."""
    head = ["tissue", "who", "spots", "above 0", "ICC(A,1)", "95 % interval", "ceiling √ICC", "mean difference, pp",
            "limits of agreement, pp", "κ, quadratic", "what is missing"]  # fmt: skip
    rows = []
    for row in [] if readers is None else readers.to_dict("records"):
        who = f"{row['who']}, read again" if row["kind"] == "within" else row["who"]
        rows.append(
            [
                row["tissue"],
                who or "–",
                f"{int(row['n']):,}",
                f"{int(row['n_positive']):,}",
                tell_value(row["icc"], 3),
                _interval(row, "lo", "hi"),
                tell_value(row["ceiling"], 3),
                tell_signed(row["mean_difference_pp"], 1),
                _interval(row, "limit_lo_pp", "limit_hi_pp", 1),
                tell_value(row["kappa"], 2),
                row["reason"] if isinstance(row["reason"], str) else "",
            ]
        )
    return {"head": head, "rows": rows, "numeric": [2, 3, 4, 5, 6, 7, 8, 9]}
