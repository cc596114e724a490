"""Do our intervals hold the truth as often as they say: the design's simulation, repeated with our own code.

    python tests/benchmarks/intervals.py --cohorts 200

Four sections of 676 spots on Visium's lattice, exponential covariance of scale φ with 10 % of nugget; a reference and
two methods whose true r are known, smooth (as tubules) or clipped so that 10 % of the spots are above 0 (as glomeruli).
Every figure is a share of cohorts, with a standard error of about 1.5 points at 200 cohorts.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from nephrospot.certainty import measure_certainty, stack_methods
from nephrospot.differences import compare_methods
from nephrospot.pairs import Pairs, gather_pairs
from spots_by_hand import hexagons, make_pairs, smooth_maps

SLIDES, SIDE = 4, 26
METHODS = {"a": 0.75, "b": 0.70}  # true r of a smooth map
POSITIVE = 0.1
SETTINGS = [(30, False), (150, False), (300, False), (30, True), (150, True)]


def draw_cohort(seed: int, scale_um: float, clipped: bool, equal: bool = False) -> Pairs:
    """A cohort; with ``equal`` both methods have the first one's true r."""
    maps = {}
    for slide in range(SLIDES):
        place = hexagons(SIDE, SIDE)
        own = smooth_maps(place, scale_um, 4, SLIDES * seed + slide, nugget=0.1)
        predicted = {}
        for at, (method, r) in enumerate(METHODS.items(), start=1):
            r = METHODS["a"] if equal else r
            # Methods share some of their error, as they do in life.
            noise = (own[:, at] + own[:, 3]) / np.sqrt(2)
            predicted[method] = r * own[:, 0] + np.sqrt(1 - r**2) * noise
        if clipped:
            # One threshold for all slides: the section's own would fix how much each has of it.
            cut = 1.2816
            own[:, 0] = np.clip(own[:, 0] - cut, 0, None)
            predicted = {method: np.clip(values - cut, 0, None) for method, values in predicted.items()}
        maps[f"K{slide}"] = (place, predicted, own[:, 0])
    (pairs,) = gather_pairs([make_pairs(maps)], [{"tissue": "PT", "reference": "rctd"}], list(METHODS))
    return pairs


def find_truth(clipped: bool, draws: int = 4_000_000) -> dict[str, float]:
    """r of each method over ever so many independent spots."""
    if not clipped:
        return dict(METHODS)
    rng, truth = np.random.default_rng(0), {}
    for method, r in METHODS.items():
        y, noise = rng.normal(size=(2, draws))
        x = r * y + np.sqrt(1 - r**2) * noise
        truth[method] = np.corrcoef(np.clip(x - 1.2816, 0, None), np.clip(y - 1.2816, 0, None))[0, 1]
    return truth


def measure(scale_um: float, clipped: bool, cohorts: int, replicates: int) -> dict[str, float]:
    """Shares of cohorts in percent."""
    truth, seen = find_truth(clipped), []
    for seed in tqdm(range(cohorts), desc=f"φ {scale_um:g} µm", file=sys.stderr, disable=not sys.stderr.isatty()):
        pairs = draw_cohort(seed, scale_um, clipped)
        (stack,) = stack_methods(pairs, list(METHODS))
        row = measure_certainty(stack, seed, replicates).set_index(["method", "level"]).loc[("a", "pooled")]
        apart = compare_methods([pairs], list(METHODS), seed, replicates=replicates).iloc[0]
        sign = 1 if apart["method_a"] == "a" else -1
        difference = sign * (truth["a"] - truth["b"])
        alike = draw_cohort(seed + cohorts, scale_um, clipped, equal=True)
        same = compare_methods([alike], list(METHODS), seed, replicates=replicates).iloc[0]
        seen.append(
            {
                "n_eff": row["n_eff"],
                "r, ours": row["lo"] <= truth["a"] <= row["hi"],
                "r, Fisher's z with n_eff": row["fisher_lo"] <= truth["a"] <= row["fisher_hi"],
                "r, blocks": row["boot_lo"] <= truth["a"] <= row["boot_hi"],
                "difference, ours": apart["lo"] <= difference <= apart["hi"],
                "difference, Zou with n_eff": apart["zou_lo"] <= difference <= apart["zou_hi"],
                "difference, blocks": apart["boot_lo"] <= difference <= apart["boot_hi"],
                "false alarms of a better than b": bool(same["separable"]),
            }
        )
    table = pd.DataFrame(seen)
    return {"n_eff": table.pop("n_eff").median(), **(100 * table.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=1000)
    arguments = parser.parse_args()
    started, columns = time.monotonic(), {}
    for scale_um, clipped in SETTINGS:
        name = f"{'10 % above 0' if clipped else 'smooth'}, φ {scale_um} µm"
        columns[name] = measure(scale_um, clipped, arguments.cohorts, arguments.replicates)
        print(f"{name}: done after {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(pd.DataFrame(columns).round(0).astype(int).to_string())
    told = f"Percent of {arguments.cohorts} cohorts of {SLIDES} × {SIDE**2} spots"
    print(f"{told}; median n_eff; nominal 95, and 5 for alarms.")


if __name__ == "__main__":
    main()
