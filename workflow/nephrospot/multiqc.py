"""Slides and methods as custom content of MultiQC, for groups whose other results meet there.

One file a table: https://docs.seqera.io/multiqc/custom_content ("plot_type": "table").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

ABOUT = "By nephrospot: how closely the segmentation follows the pathologist and the transcripts"


def tell_slides(
    manifests: Mapping[str, Mapping], deconvolutions: Mapping[str, Mapping], correlations: pd.DataFrame
) -> dict:
    """A row a slide: spots, pixel size, and r × 100 of every method and comparison on that slide alone.

    Parameters
    ----------
    manifests
        {slide: slide.json}.
    deconvolutions
        {slide: deconvolution.json}, where there is one.
    correlations
        correlations.parquet.
    """
    headers = {
        "spots": {"title": "Spots", "description": "Spots on tissue", "format": "{:,.0f}"},
        "used": {"title": "Deconvolved", "description": "Spots that were deconvolved", "format": "{:,.0f}"},
        "mpp": {"title": "µm/px", "description": "Micrometres per level-0 pixel", "format": "{:,.3f}"},
    }
    data: dict[str, dict] = {}
    for slide, facts in manifests.items():
        used = deconvolutions.get(slide, {}).get("n_used")
        known = {"spots": facts["spots_in_tissue"], "used": used, "mpp": facts["mpp"]}
        data[slide] = {name: value for name, value in known.items() if value is not None}
    own = correlations[correlations["level"].str.startswith("slide:")]
    _add_r(headers, data, own.assign(sample=own["level"].str.removeprefix("slide:")), by_method=True)
    return _content("nephrospot_slides", "nephrospot: slides", headers, data)


def tell_methods(correlations: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """A row a method: r × 100 over the spots of all slides, with its interval and n, for every comparison."""
    headers: dict[str, dict] = {}
    data: dict[str, dict] = {}
    pooled = correlations[correlations["level"] == "pooled"]
    _add_r(headers, data, pooled.assign(sample=pooled["method"].map(labels)), by_method=False)
    return _content("nephrospot_methods", "nephrospot: methods", headers, data)


def _add_r(headers: dict, data: dict, rows: pd.DataFrame, by_method: bool) -> None:
    """Columns of r × 100 in place; a value that isn't known is left out, which MultiQC shows as empty."""
    for row in rows.itertuples():
        named = f"{row.tissue}_{row.reference}" + (f"_{row.method}" if by_method else "")
        title = f"{row.tissue} vs {row.reference}" + (f", {row.method}" if by_method else "")
        whole = "this slide" if by_method else "all slides"
        told = f"Pearson's r × 100 over the spots of {whole}: {row.tissue} against {row.reference}"
        columns = {named: (100 * row.r, title, told, "{:,.2f}")}
        if not by_method:
            for name in ("lo", "hi"):
                columns[f"{named}_{name}"] = (100 * getattr(row, name), f"{title}, {name}", "95 % interval", "{:,.2f}")
            columns[f"{named}_n"] = (row.n, f"{title}, n", "Spots", "{:,.0f}")
        for name, (value, title_here, description, shown) in columns.items():
            headers.setdefault(name, {"title": title_here, "description": description, "format": shown})
            if np.isfinite(value):
                data.setdefault(row.sample, {})[name] = round(float(value), 4)


def _content(name: str, title: str, headers: dict, data: dict) -> dict:
    return {
        "id": name,
        "section_name": title,
        "description": ABOUT,
        "plot_type": "table",
        "pconfig": {"id": f"{name}_table", "title": title},
        "headers": headers,
        "data": data,
    }
