"""Maps of one slide's spots as SVG written by hand: a dot takes a dozen bytes, so a cohort fits on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from scipy.spatial import cKDTree

INK, UNKNOWN = "#1c2328", "#e2e5e7"
SHADES = 25
PANEL_PX, GAP_PX, TITLE_PX, FOOT_PX = 230, 18, 34, 48
COLUMNS = 4
DOT_SHARE = 0.85  # of the pitch: larger than the true 55 %, so that a map reads as a picture


@dataclass(frozen=True)
class Panel:
    """One map: values in the order of the spots (NaN where unknown), coloured from 0 to ``top``."""

    title: str
    values: np.ndarray
    top: float
    unit: str


def draw_maps(spots: pd.DataFrame, panels: Sequence[Panel], mpp: float | None) -> str:
    """The spots of one slide where they lie, once for each panel, in shades that the colour-blind can tell.

    Parameters
    ----------
    spots : DataFrame
        ``x_px, y_px`` (level 0).
    panels
        Side by side, four in a row.
    mpp
        µm per level-0 pixel, for the scale bar; None draws none.

    Returns
    -------
    str, SVG
    """
    x, y = spots["x_px"].to_numpy(float), spots["y_px"].to_numpy(float)
    pitch = _pitch(x, y)
    extent_x, extent_y = float(np.ptp(x)) + 2 * pitch, float(np.ptp(y)) + 2 * pitch
    scale = min(PANEL_PX / extent_x, 1.6 * PANEL_PX / extent_y)
    x, y = (x - x.min() + pitch) * scale, (y - y.min() + pitch) * scale
    high = extent_y * scale
    columns = min(COLUMNS, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    cell_x, cell_y = PANEL_PX + GAP_PX, TITLE_PX + high + FOOT_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * cell_x} {rows * cell_y:.0f}" '
        f'width="{columns * cell_x}" height="{rows * cell_y:.0f}" font-family="system-ui,sans-serif" font-size="12" '
        f'fill="{INK}"><defs><linearGradient id="shades">{_stops()}</linearGradient></defs>'
    ]
    for index, panel in enumerate(panels):
        left, top = (index % columns) * cell_x, (index // columns) * cell_y
        parts.append(
            f'<g transform="translate({left} {top:.0f})">{_titles(panel)}<g transform="translate(0 {TITLE_PX})">'
        )
        parts.append(_dots(x, y, panel, DOT_SHARE * pitch * scale))
        parts.append(f"</g>{_colour_bar(panel, TITLE_PX + high + 8)}</g>")
    if mpp:
        parts.append(_scale_bar(extent_x, scale, mpp, TITLE_PX + high))
    return "".join(parts) + "</svg>"


def round_up(value: float, step: float = 10.0) -> float:
    """The next multiple of ``step``, at least one; 100 for nothing finite."""
    return max(step, float(np.ceil(value / step) * step)) if np.isfinite(value) else 100.0


def _pitch(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2:
        return 1.0
    distances, _ = cKDTree(np.c_[x, y]).query(np.c_[x, y], k=2)
    return float(np.median(distances[:, 1])) or 1.0


def _shade(index: int) -> str:
    return to_hex(matplotlib.colormaps["cividis"](index / (SHADES - 1)))


def _stops() -> str:
    return "".join(f'<stop offset="{i / (SHADES - 1):.3g}" stop-color="{_shade(i)}"/>' for i in range(SHADES))


def _dots(x: np.ndarray, y: np.ndarray, panel: Panel, width: float) -> str:
    """One path a shade; every dot is a stroke without length and with round ends."""
    known = np.isfinite(panel.values)
    bins = np.full(len(x), -1)
    bins[known] = np.clip(np.rint(panel.values[known] / panel.top * (SHADES - 1)), 0, SHADES - 1).astype(int)
    paths = []
    for shade in np.unique(bins):
        chosen = np.flatnonzero(bins == shade)
        line = "".join(f"M{x[i]:.1f} {y[i]:.1f}h.01" for i in chosen)
        paths.append(f'<path d="{line}" stroke="{UNKNOWN if shade < 0 else _shade(shade)}"/>')
    return f'<g fill="none" stroke-linecap="round" stroke-width="{width:.2f}">{"".join(paths)}</g>'


def _titles(panel: Panel) -> str:
    n, unknown = int(np.isfinite(panel.values).sum()), int((~np.isfinite(panel.values)).sum())
    told = f"n = {n:,}" + (f", {unknown:,} without a value (grey)" if unknown else "")
    title = panel.title if len(panel.title) <= 32 else panel.title[:31] + "…"
    return f'<text y="12" font-weight="600">{escape(title)}</text><text y="27" font-size="11">{told}</text>'


def _colour_bar(panel: Panel, top: float) -> str:
    marks = "".join(
        f'<text x="{share * (PANEL_PX - 30) + 6:.0f}" y="{top + 20:.0f}" text-anchor="middle" font-size="10">'
        f"{share * panel.top:g}</text>"
        for share in (0, 0.5, 1)
    )
    return (
        f'<rect x="4" y="{top:.0f}" width="{PANEL_PX - 30}" height="8" fill="url(#shades)"/>{marks}'
        f'<text x="4" y="{top + 34:.0f}" font-size="10">{escape(panel.unit)}</text>'
    )


def _scale_bar(extent_x: float, scale: float, mpp: float, bottom: float) -> str:
    length_um = next((um for um in (1000, 500, 200, 100) if um / mpp <= 0.5 * extent_x), 100)
    length = length_um / mpp * scale
    words = "1 mm" if length_um == 1000 else f"{length_um} µm"
    return (
        f'<path d="M4 {bottom:.1f}h{length:.1f}" stroke="{INK}" stroke-width="2"/>'
        f'<text x="{length + 9:.0f}" y="{bottom + 4:.0f}" font-size="10">{words}</text>'
    )
