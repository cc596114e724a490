"""The page's tables on masks as masks: against the truth where there is one, and the single objects in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nephrospot.report.wording import tell_value


def list_evaluation(evaluation: pd.DataFrame | None, labels: Mapping[str, str]) -> dict:
    """Every method against the truth: one row a method, tissue and use.

    Parameters
    ----------
    evaluation : evaluation.tsv, from `nephrospot.evaluate.pool_evaluations`; None without a truth
    """
    head = ["method", "tissue", "slides", "Dice, whole slides", "Dice, patches", "patches with a false positive",
            "objects, truth", "objects, method", "precision", "recall", "F1", "F1, KPIs task 2"]  # fmt: skip
    rows = []
    for row in [] if evaluation is None else evaluation.to_dict("records"):
        slides = f"{int(row['n_slides'])}" + (" for validation" if row["use"] == "validation" else "")
        rows.append(
            [
                labels.get(row["method"], row["method"]),
                row["tissue"],
                slides,
                *(tell_value(100 * row[name], 1) for name in ("dice", "patch_dice")),
                tell_value(row["n_patches_false"], 0),
                *(tell_value(row[name], 0) for name in ("ours_n_truth", "ours_n_predicted")),
                *(tell_value(100 * row[f"ours_{name}"], 1) for name in ("precision", "recall", "f1")),
                tell_value(100 * row["kpis_task2_f1"], 1),
            ]
        )
    return {"head": head, "rows": rows, "numeric": list(range(3, 12))}


def list_objects(objects: Mapping[tuple[str, str], pd.DataFrame], labels: Mapping[str, str]) -> dict:
    """How many objects each method finds on each slide, how large and how round."""
    head = ["slide", "method", "tissue", "objects", "median area, µm²", "median circularity", "median tuft share, %",
            "centre under a spot", "touching a spot"]  # fmt: skip
    rows = []
    for (slide, method), table in objects.items():
        for tissue, found in table.groupby("tissue", sort=False):
            tuft = found["tuft_fraction"].dropna()
            rows.append(
                [
                    slide,
                    labels.get(method, method),
                    tissue,
                    f"{len(found):,}",
                    tell_value(found["area_um2"].median(), 0),
                    tell_value(found["circularity"].median(), 2),
                    tell_value(100 * tuft.median() if len(tuft) else np.nan, 0),
                    f"{int((found['barcode'] != '').sum()):,}",
                    f"{int((found['spots_touched'] > 0).sum()):,}",
                ]
            )
    return {"head": head, "rows": rows, "numeric": list(range(3, 9))}
