"""Would the spots fit better if they lay elsewhere: r as a function of a trial shift, a cheap look at registration.

With perfect masks a shift of 10, 20, 30 µm caps r at about .97, .87, .72. Where r is highest off zero, spots and image
are likely apart by as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from nephrospot.blocks import about_means, choose_block_um, correlate_sums, draw_blocks
from nephrospot.peaks import find_highest

REACH_UM, STEP_UM = 50.0, 10.0
REPLICATES = 400
CERTAIN = 0.95  # share of the replicates that must agree
SUSPICIOUS_UM = 10.0
FEWEST_SPOTS = 50
COLUMNS = ["dx_um", "dy_um", "n", "r"]


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
    x, y, r = find_highest(table["r"].to_numpy().reshape(side, side), STEP_UM)
    block_um = choose_block_um([place_um], [observed[:, None]])
    draws = draw_blocks([place_um], [percent], [observed], block_um, seed, replicates)
    drawn = np.concatenate([correlate_sums(*about_means(draw.sums[0]))[1:] for draw in draws])
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    peaks = np.array([find_highest(values.reshape(side, side), STEP_UM)[:2] for values in drawn])
    along = peaks @ np.array([x, y]) / max(np.hypot(x, y), 1e-9) if len(peaks) else np.zeros(1)
    here = float(table.loc[(table["dx_um"] == 0) & (table["dy_um"] == 0), "r"].iloc[0])
    at_edge = max(abs(x), abs(y)) >= shifts.max() - 1e-6
    return table, Peak(x, y, r, here, float((along >= SUSPICIOUS_UM / 2).mean()), bool(at_edge))


def tell_peak(slide: str, comparison: str, method: str, peak: Mapping) -> str:
    """The suspicion as a sentence; ``peak`` of `describe_peak`."""
    where = ", the end of what was tried" if peak["at_edge"] else ""
    return (
        f"{slide}: {comparison}, {method} fits best with the spots moved by {peak['distance_um']:.0f} µm (x "
        f"{peak['x_um']:+.0f}, y {peak['y_um']:+.0f} µm on the slide{where}), with r {peak['r']:.3f} instead of "
        f"{peak['r_here']:.3f}; check the slide's registration (visium_x_px, visium_y_px, visium_scale)."
    )


def describe_peak(peak: Peak) -> dict:
    """All of it, rounded, for trials.json."""
    facts = asdict(peak) | {"distance_um": peak.distance_um, "suspicious": peak.suspicious}
    return {name: round(value, 4) if isinstance(value, float) else bool(value) for name, value in facts.items()}
