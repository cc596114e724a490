"""The page's plain tables: heads and rows of text, in the order of the sheet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nephrospot.report.omics import count_used
from nephrospot.report.wording import join_words, name_slides, tell_reference, tell_value

NO_BREAK = "\N{NO-BREAK SPACE}"
WITNESSES = {"tag": "file", "override": "sheet", "pitch": "spot pitch", "fiducial": "fiducials"}


def list_slides(manifests: Mapping[str, Mapping], proportions: Mapping[str, pd.DataFrame], diameter_um: float) -> dict:
    """What every slide is, and how sure its µm per pixel are."""
    head = ["slide", "species", "stain", "group", "size", "µm per pixel", "witnesses",
            "spots on tissue", "used by RCTD", "scored", "Visium layout", "Space Ranger's picture"]  # fmt: skip
    rows = []
    for slide, facts in manifests.items():
        mpp, width, height = facts.get("mpp"), facts.get("width_px"), facts.get("height_px")
        sized = bool(mpp and width and height)
        table = proportions.get(slide)
        used = "–" if table is None else f"{count_used(table):,}"
        witnesses = facts.get("mpp_witnesses") or {}
        rows.append(
            [
                slide,
                facts.get("species") or "–",
                facts.get("stain") or "–",
                facts.get("group") or "–",
                _tell_size(width, height, mpp) if sized else "–",
                f"{mpp:.4g}" if mpp else "–",
                "\n".join(f"{WITNESSES.get(name, name)} {value:.4g}".replace(" ", NO_BREAK)
                          for name, value in witnesses.items() if value is not None) or "–",
                f"{facts.get('spots_in_tissue') or 0:,} of {facts.get('spots_total') or 0:,}",
                used,
                f"{facts.get('n_scores') or 0:,}",
                facts.get("visium_layout") or "–",
                _tell_registration(facts.get("registration")),
            ]
        )  # fmt: skip
    return {"head": head, "rows": rows, "numeric": [5, 7, 8, 9], "diameter_um": f"{diameter_um:g}"}


def _tell_size(width_px: int, height_px: int, mpp: float) -> str:
    wide, high = (size * mpp / 1000 for size in (width_px, height_px))
    return f"{width_px:,} × {height_px:,} px\n{wide:.1f} × {high:.1f} mm".replace(" ", NO_BREAK)


def _tell_registration(facts: Mapping | None) -> str:
    if not facts or facts.get("correlation") is None or not np.isfinite(facts["correlation"]):
        return "not compared"
    text = f"r = {tell_value(facts['correlation'], 2)}"
    shift = float(np.hypot(facts.get("shift_x_um") or 0, facts.get("shift_y_um") or 0))
    text += f", fits best {shift:.0f} µm away" if shift >= 1 else ", fits best where it lies"
    return text if facts.get("sure", True) else text + " (too faint to be sure)"


def list_notes(sentences: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """(slides, sentence) pairs; slides with the same sentence share one, and none is named twice."""
    told: dict[str, list[str]] = {}
    for slide, own in sentences.items():
        for sentence in own:
            told.setdefault(sentence.removeprefix(f"slide {slide}: "), []).append(slide)
    return [(name_slides(slides), sentence[0].upper() + sentence[1:]) for sentence, slides in told.items() if sentence]


def list_dropped(correlations: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """Spots that a pooled value of Table II goes without, with reasons and counts."""
    rows = []
    for row in order_rows(correlations, labels, "pooled"):
        told = "; ".join(text for text in (row["reason"], row.get("dropped")) if isinstance(text, str) and text)
        if told:
            comparison = f"{row['tissue']} against {tell_reference(row['reference'])}"
            rows.append([comparison, labels.get(row["method"], row["method"]), f"{int(row['n']):,}", told])
    return {"head": ["comparison", "method", "spots used", "spots left out, and why"], "rows": rows, "numeric": [2]}


def list_refused_tissues(predictions: Mapping[tuple[str, str], Mapping], labels: Mapping[str, str]) -> list[str]:
    """Sentences on tissues that a method didn't read; slides with the same reason share one."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for (slide, method), facts in predictions.items():
        refused = facts.get("refused") or {}
        for tissue, reason in refused.items():
            told.setdefault((method, tissue, reason), []).append(slide)
    return [
        f"{labels.get(method, method)} didn't read {tissue} on {name_slides(slides)}: {reason}."
        for (method, tissue, reason), slides in told.items()
    ]


def list_predictions(predictions: Mapping[tuple[str, str], Mapping], labels: Mapping[str, str]) -> dict:
    """Where and how every slide was read."""
    rows = []
    for (slide, method), facts in predictions.items():
        tiles = [f"{count:,} at {name.removesuffix('x')}×" for name, count in (facts.get("tiles") or {}).items()]
        shares = (facts.get("foreground_percent_of_tiles") or {}).items()
        rows.append(
            [
                slide,
                labels.get(method, method),
                facts.get("device") or "–",
                facts.get("precision") or "–",
                join_words(tiles) or "–",
                join_words([f"{tissue} at {how}" for tissue, how in (facts.get("readings") or {}).items()], "; ")
                or "–",
                join_words([f"{tissue} {tell_value(share, 1)}" for tissue, share in shares]) or "–",
                tell_value(facts.get("seconds"), 0),
            ]
        )
    head = ["slide", "method", "device", "number format", "tiles", "tissues read", "% of the tiles' area", "seconds"]
    return {"head": head, "rows": rows, "numeric": [7]}


def list_other_weights(
    predictions: Mapping[tuple[str, str], Mapping], weights: Mapping[str, Mapping], labels: Mapping[str, str]
) -> list[str]:
    """Sentences on masks that were made with other weights than the ones the report names."""
    told: dict[tuple[str, str], list[str]] = {}
    for (slide, method), facts in predictions.items():
        used, named = facts.get("weights_sha256"), (weights.get(method) or {}).get("sha256")
        if used and named and used != named:
            told.setdefault((method, used), []).append(slide)
    return [
        f"{labels.get(method, method)}: the masks of {name_slides(slides)} were made with other weights "
        f"(SHA-256 {used}); run the workflow again."
        for (method, used), slides in told.items()
    ]


def order_rows(correlations: pd.DataFrame, labels: Mapping[str, str], level: str) -> list[pd.Series]:
    """Rows of a level, comparison by comparison, methods in the order of the configuration."""
    chosen = correlations[correlations["level"].str.startswith(level)]
    comparisons = list(dict.fromkeys(zip(chosen["tissue"], chosen["reference"], strict=True)))
    methods = list(labels)
    rank = [
        (comparisons.index((t, r)), methods.index(m) if m in methods else len(methods), place)
        for place, (t, r, m) in enumerate(zip(chosen["tissue"], chosen["reference"], chosen["method"], strict=True))
    ]
    return [chosen.iloc[place] for *_, place in sorted(rank)]
