"""Would the spots fit better if they lay elsewhere: r as a function of a trial shift, a cheap look at registration.

With perfect masks a shift of 10, 20, 30 µm caps r at about .97, .87, .72. Where r is highest off zero, spots and image
are likely apart by as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import zarr

from nephrospot.blocks import choose_block_um, draw_blocks
from nephrospot.omezarr import blocks, open_masks, read_place
from nephrospot.spots import cover_cells

MAP_MPP = 5.0  # µm per pixel of the maps that discs are laid on
REACH_UM, STEP_UM = 50.0, 10.0
REPLICATES = 400
CERTAIN = 0.95  # share of the replicates that must agree
SUSPICIOUS_UM = 10.0
FEWEST_SPOTS = 50
COLUMNS = ["method", "tissue", "reference", "dx_um", "dy_um", "n", "r"]


@dataclass(frozen=True)
class Peak:
    """Where r is highest.

    Attributes
    ----------
    x_um, y_um : float
        From where the spots are now to where they fit best, on the slide; NaN where r has no peak.
    r, r_here : float
        There, and without a shift.
    certainty : float
        Share of the replicates (blocks of spots drawn again) whose own peak is on this side and 5 µm or farther off.
    at_edge : bool
        The peak lies at the end of the shifts tried, so the true one may be farther.
    """

    x_um: float
    y_um: float
    r: float
    r_here: float
    certainty: float
    at_edge: bool

    @property
    def distance_um(self) -> float:
        return float(np.hypot(self.x_um, self.y_um))

    @property
    def suspicious(self) -> bool:
        """Farther than 10 µm off, and not by chance."""
        return self.distance_um >= SUSPICIOUS_UM and self.certainty >= CERTAIN


def list_shifts(reach_um: float = REACH_UM, step_um: float = STEP_UM) -> np.ndarray:
    """(shifts, 2): every (x, y) of a square grid, in µm."""
    steps = np.arange(-reach_um, reach_um + step_um / 2, step_um)
    return np.array([(x, y) for y in steps for x in steps])


def make_coverage(label: zarr.Group, map_mpp: float = MAP_MPP) -> np.ndarray:
    """Share of each 5 µm pixel that a tissue covers; float32 (rows, columns) from the slide's corner."""
    plane = label["0"]
    (mpp_y, mpp_x), (corner_y, corner_x) = read_place(label)
    places = [
        ((np.arange(size) + 0.5) * mpp + corner) / map_mpp
        for size, mpp, corner in zip(plane.shape, (mpp_y, mpp_x), (corner_y, corner_x), strict=True)
    ]
    rows, columns = (np.maximum(place.astype(int), 0) for place in places)
    sums, counts = (np.zeros((rows[-1] + 1, columns[-1] + 1), np.float32) for _ in range(2))
    for across, along in blocks(plane.shape):
        parts = ((rows, across), (columns, along))
        (i, top), (j, left) = (np.unique(place[part], return_index=True) for place, part in parts)
        inside = np.asarray(plane[across, along]) != 0
        added = np.add.reduceat(np.add.reduceat(inside, top, axis=0, dtype=np.int32), left, axis=1)
        sums[i[0] : i[-1] + 1, j[0] : j[-1] + 1] += added
        heights, widths = (np.diff([*first, part.stop - part.start]) for first, part in ((top, across), (left, along)))
        counts[i[0] : i[-1] + 1, j[0] : j[-1] + 1] += np.multiply.outer(heights, widths)
    return sums / np.maximum(counts, 1)


def measure_shifted(
    coverage: np.ndarray, x_um: np.ndarray, y_um: np.ndarray, diameter_um: float, shifts: np.ndarray,
    map_mpp: float = MAP_MPP,
) -> np.ndarray:  # fmt: skip
    """Percentage under the disc of every spot, for every shift.

    Parameters
    ----------
    coverage
        Of `make_coverage`.
    x_um, y_um
        (spots,) centres on the slide.
    shifts
        (shifts, 2) x and y in µm.

    Returns
    -------
    float (spots, shifts); NaN where the disc would leave the map. Within about a percentage point of
    `nephrospot.spots.measure_discs`, since the mask is known to 5 µm alone.
    """
    radius = diameter_um / 2 / map_mpp
    half = int(np.ceil(radius + 0.5))
    edges = (np.arange(2 * half + 2) - half - 0.5) / radius
    kernel = cover_cells(edges, edges).astype(np.float32)
    discs = cv2.filter2D(coverage, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT)
    # A pixel's value stands at its centre.
    x, y = ((np.add.outer(at, shifts[:, axis]) / map_mpp - 0.5) for axis, at in enumerate((x_um, y_um)))
    percent = 100 * cv2.remap(discs, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR).clip(0, 1)
    rows, columns = coverage.shape
    inside = (np.minimum(x, y) >= radius - 0.5) & (x <= columns - radius - 0.5) & (y <= rows - radius - 0.5)
    return np.where(inside, percent, np.nan)


def find_peak(
    place_um: np.ndarray, percent: np.ndarray, observed: np.ndarray, shifts: np.ndarray, seed: int,
    replicates: int = REPLICATES,
) -> tuple[pd.DataFrame, Peak | None]:  # fmt: skip
    """r of every shift, and its peak.

    Parameters
    ----------
    place_um : (spots, 2)
    percent : (spots, shifts)
    observed : (spots,)

    Returns
    -------
    table : DataFrame
        dx_um, dy_um, n, r; only spots that stay on the map under every shift.
    peak : Peak, or None with fewer than fifty such spots or where a side is constant
    """
    whole = np.isfinite(percent).all(axis=1) & np.isfinite(observed)
    place_um, percent, observed = place_um[whole], percent[whole], observed[whole]
    table = pd.DataFrame({"dx_um": shifts[:, 0], "dy_um": shifts[:, 1], "n": int(whole.sum()), "r": np.nan})
    if len(observed) < FEWEST_SPOTS or np.ptp(observed) == 0 or (np.ptp(percent, axis=0) == 0).any():
        return table, None
    table["r"] = [np.corrcoef(values, observed)[0, 1] for values in percent.T]
    side = len(np.unique(shifts[:, 0]))
    x, y, r = _peak_of(table["r"].to_numpy().reshape(side, side))
    block_um = choose_block_um([place_um], [observed[:, None]])
    drawn = draw_blocks([place_um], [percent], [observed], block_um, seed, replicates).pooled
    peaks = np.array([_peak_of(values.reshape(side, side))[:2] for values in drawn if np.isfinite(values).all()])
    along = peaks @ np.array([x, y]) / max(np.hypot(x, y), 1e-9) if len(peaks) else np.zeros(1)
    here = float(table.loc[(table["dx_um"] == 0) & (table["dy_um"] == 0), "r"].iloc[0])
    at_edge = max(abs(x), abs(y)) >= shifts.max() - 1e-6
    return table, Peak(x, y, r, here, float((along >= SUSPICIOUS_UM / 2).mean()), bool(at_edge))


def _peak_of(values: np.ndarray, step_um: float = STEP_UM) -> tuple[float, float, float]:
    """(x, y, r) of the highest point of a (y, x) grid around zero, by a parabola along each axis."""
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    middle = len(values) // 2
    found, top = [], values[row, column]
    for at, line in ((column, values[row]), (row, values[:, column])):
        offset = 0.0
        if 0 < at < len(line) - 1:
            before, after = line[at - 1], line[at + 1]
            bend = before - 2 * line[at] + after
            if bend < 0:
                offset = 0.5 * (before - after) / bend
                top = max(top, line[at] - 0.25 * (before - after) * offset)
        found.append((at + offset - middle) * step_um)
    return found[0], found[1], float(top)


def tell_peak(slide: str, comparison: str, method: str, peak: Mapping) -> str:
    """The suspicion as a sentence; ``peak`` of `describe_peak`."""
    where = ", the end of what was tried" if peak["at_edge"] else ""
    return (
        f"{slide}: {comparison}, {method} fits best with the spots moved by {peak['distance_um']:.0f} µm (x "
        f"{peak['x_um']:+.0f}, y {peak['y_um']:+.0f} µm on the slide{where}), with r {peak['r']:.3f} instead of "
        f"{peak['r_here']:.3f}; check the slide's registration (visium_x_px, visium_y_px, visium_scale)."
    )


def describe_peak(peak: Peak) -> dict:
    """All of it, rounded, for shifts.json."""
    facts = asdict(peak) | {"distance_um": peak.distance_um, "suspicious": peak.suspicious}
    return {name: round(value, 4) if isinstance(value, float) else bool(value) for name, value in facts.items()}


def try_shifts(
    pairs: Mapping[str, pd.DataFrame],
    masks: Mapping[str, str | Path],
    mpp: float,
    diameter_um: float,
    seed: int,
) -> tuple[pd.DataFrame, list[dict]]:
    """Every comparison of every method of one slide under every trial shift.

    Parameters
    ----------
    pairs
        {method: `nephrospot.correlate.join_spots` of the slide}.
    masks
        {method: its masks.ome.zarr}.
    mpp
        µm per level-0 pixel.

    Returns
    -------
    table : DataFrame
        `COLUMNS`.
    peaks : list of dict
        method, tissue, reference, and `describe_peak`; none where there is no peak.
    """
    tables, peaks, shifts = [], [], list_shifts()
    for method, joined in pairs.items():
        labels = open_masks(masks[method])
        complete = joined[joined["dropped"] == ""]
        for (tissue, reference), spots in complete.groupby(["tissue", "reference"], sort=False):
            # Positions are indices of pixels: the disc's centre is the middle of that pixel.
            place = (spots[["x_px", "y_px"]].to_numpy() + 0.5) * mpp
            percent = measure_shifted(make_coverage(labels[tissue]), *place.T, diameter_um, shifts)
            table, peak = find_peak(place, percent, spots["observed"].to_numpy(), shifts, seed)
            named = {"method": method, "tissue": tissue, "reference": reference}
            tables.append(table.assign(**named)[COLUMNS])
            if peak is not None:
                peaks.append(named | describe_peak(peak))
    return pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS), peaks
