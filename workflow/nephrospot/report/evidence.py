"""The spots behind each column of Table II: joined, drawn, and counted where they are lacking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from nephrospot.join import join_spots
from nephrospot.report.figures import draw_scatter
from nephrospot.report.maps import Panel, draw_maps, round_up
from nephrospot.report.pictures import embed_svg
from nephrospot.report.wording import tell_value

AREA = "% of the spot's area"
SHARE = "% of the spot's mRNA"
SHORT = {"pathologist": "pathologist", "rctd": "RCTD", "nnls": "NNLS"}


def join_comparison(
    comparison: Mapping[str, str],
    keys: Iterable[tuple[str, str]],
    spots: Mapping[tuple[str, str], pd.DataFrame],
    scores: Mapping[str, pd.DataFrame],
    proportions: Mapping[str, pd.DataFrame],
) -> dict[tuple[str, str], pd.DataFrame]:
    """`nephrospot.join.join_spots` of some slides and methods, by (slide, method)."""
    return {
        (slide, method): join_spots(
            slide, method, spots[slide, method], [comparison], scores.get(slide), proportions.get(slide)
        )
        for slide, method in keys
    }


def show_comparison(
    comparison: Mapping[str, str],
    joined: Mapping[tuple[str, str], pd.DataFrame],
    correlations: pd.DataFrame,
    labels: Mapping[str, str],
    mpps: Mapping[str, float | None],
) -> dict:
    """Scatters (one a method) and maps (one a slide) of one column of Table II, for the template."""
    tissue, reference = comparison["tissue"], comparison["reference"]
    same_unit = reference == "pathologist"
    complete = {key: pairs[pairs["dropped"] == ""] for key, pairs in joined.items()}
    slides = list(dict.fromkeys(slide for slide, _ in joined))
    observed = [pairs["observed"].max() for pairs in joined.values() if len(pairs)]
    top = 100.0 if same_unit else round_up(float(np.nanmax(observed)) if np.isfinite(observed).any() else np.nan)
    y_label = f"{tissue}, {AREA if same_unit else SHARE} ({SHORT.get(reference, reference)})"
    scatters = []
    for method, label in labels.items():
        mine = [complete[slide, method] for slide in slides if (slide, method) in complete]
        if not mine or not sum(map(len, mine)):
            continue
        pooled = _find(correlations, method, tissue, reference, "pooled")
        numbers = {slide: _numbers(correlations, method, tissue, reference, slide, complete) for slide in slides}
        svg = draw_scatter(pd.concat(mine), numbers, f"{tissue}, {AREA} ({label})", y_label, same_unit, top)
        told = f"r = {tell_value(pooled['r'], 3)}, n = {int(pooled['n']):,}" if pooled is not None else ""
        scatters.append({"method": method, "label": label, "source": embed_svg(svg), "told": told})
    maps = []
    for slide in slides:
        table, panels = _panels(slide, joined, labels, tissue, reference, top)
        if len(table) and any(np.isfinite(panel.values).any() for panel in panels):
            maps.append({"slide": slide, "source": embed_svg(draw_maps(table, panels, mpps.get(slide)))})
    return {"tissue": tissue, "reference": reference, "same_unit": same_unit, "scatters": scatters, "maps": maps}


def _find(correlations: pd.DataFrame, method: str, tissue: str, reference: str, level: str) -> pd.Series | None:
    wanted = {"method": method, "tissue": tissue, "reference": reference, "level": level}
    found = correlations[np.logical_and.reduce([correlations[name] == value for name, value in wanted.items()])]
    return found.iloc[0] if len(found) else None


def _numbers(correlations, method, tissue, reference, slide, complete) -> tuple[float, int]:
    row = _find(correlations, method, tissue, reference, f"slide:{slide}")
    if row is not None:
        return float(row["r"]), int(row["n"])
    return float("nan"), len(complete.get((slide, method), ()))


def _panels(slide, joined, labels, tissue, reference, top) -> tuple[pd.DataFrame, list[Panel]]:
    """Places of one slide's spots, and the reference's panel followed by one for each method."""
    mine = {method: joined[slide, method].set_index("barcode") for method in labels if (slide, method) in joined}
    if not mine:
        return pd.DataFrame(), []
    first = next(iter(mine.values()))
    unit = AREA if reference == "pathologist" else SHARE
    panels = [Panel(f"{tissue}, {SHORT.get(reference, reference)}", first["observed"].to_numpy(float), top, unit)]
    for method, pairs in mine.items():
        values = pairs["predicted"].reindex(first.index).to_numpy(float)
        panels.append(Panel(labels[method], values, 100.0, AREA))
    return first, panels
