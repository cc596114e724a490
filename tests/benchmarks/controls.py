"""Controls on a finished run: shuffled scores, a method that reads half, spots moved by 30 µm, the time.

    python tests/benchmarks/controls.py --configfile config/config.yaml

Shuffled, no method may be better than another, and the interval of r must cover 0 as often as it says; a method that
reads half of everything keeps its r and shows a bias; spots moved by 30 µm are found to be; and eight methods on 6,400
spots must take seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from nephrospot.certainty import add_certainty, measure_certainty, stack_methods
from nephrospot.cohort import join_cohort
from nephrospot.correlate import correlate
from nephrospot.differences import compare_methods
from nephrospot.files import read_json
from nephrospot.pairs import gather_pairs
from nephrospot.settings import read_settings
from nephrospot.sheet import read_sheet
from nephrospot.trials import try_spots
from spots_by_hand import hexagons, make_pairs, smooth_maps


def read_pairs(configfile: str) -> tuple[pd.DataFrame, dict]:
    """Pairs of the run that a configuration describes."""
    settings = read_settings(yaml.safe_load(Path(configfile).read_text(encoding="utf-8")))
    sheet = read_sheet(settings["sheet"], settings, generated=[settings["demo"]["folder"]], look_for_files=False)
    used = sheet[(sheet["exclude"] == "") & (sheet["visium"] != "")].set_index("slide")
    deconvolved = list(used.index) if settings["deconvolution"]["reference"] else []
    slides = used[["visium", "scores"]].to_dict("index")
    tables = join_cohort(
        settings["results"], slides, deconvolved, list(settings["methods"]), settings["comparisons"],
        list(settings["tissues"]),
    )  # fmt: skip
    return pd.concat(tables), settings


def shuffle_within(pairs: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Every slide's reference in another order over its spots, the same for all methods."""
    shuffled = pairs[pairs["dropped"] == ""].copy()
    for _, own in shuffled.groupby(["slide", "tissue", "reference"]):
        spots = own.drop_duplicates("barcode").set_index("barcode")["observed"]
        moved = pd.Series(rng.permutation(spots.to_numpy()), index=spots.index)
        shuffled.loc[own.index, "observed"] = own["barcode"].map(moved).to_numpy()
    return shuffled


def control_shuffled(pairs: pd.DataFrame, settings: dict, shuffles: int, replicates: int) -> None:
    """Print how often 0 is covered, and how often a method is called better."""
    pairs = pairs.reset_index(drop=True)
    ceilings = [name for name, method in settings["methods"].items() if method["ceiling"]]
    covered, better = [], []
    for seed in tqdm(range(shuffles), desc="shuffles", file=sys.stderr, disable=not sys.stderr.isatty()):
        mixed = shuffle_within(pairs, np.random.default_rng(seed))
        methods = list(settings["methods"])
        for mine in gather_pairs([mixed], settings["comparisons"], methods):
            for stack in stack_methods(mine, methods):
                table = measure_certainty(stack, seed, replicates)
                # Within slides, since a slide's mean isn't shuffled.
                within = table[(table["level"] == "within") & table["lo"].notna()]
                covered += ((within["lo"] <= 0) & (within["hi"] >= 0)).tolist()
            found = compare_methods([mine], methods, seed, ceilings, replicates)
            better.append(bool(found["separable"].any()))
    told = f"{shuffles} shuffles within slides: the interval of r within covers 0 in {100 * np.mean(covered):.1f} % of"
    told += f" {len(covered)} (nominal 95); some method is called better in {100 * np.mean(better):.1f} % of"
    print(f"{told} {len(better)} comparisons (nominal 5).")


def control_half(pairs: pd.DataFrame, settings: dict) -> None:
    """Print what a method that reads half of every glomerulus looks like."""
    scored = [c for c in settings["comparisons"] if c["reference"] == "pathologist"]
    if not scored:
        return
    first = next(iter(settings["methods"]))
    own = pairs[(pairs["method"] == first) & (pairs["reference"] == "pathologist")]
    half = own.assign(method="half", predicted=own["observed"] / 2)
    row = correlate(gather_pairs([half], scored, ["half"]), ["half"], moran=False).query("level == 'pooled'").iloc[0]
    print(f"A method that reads half of what the pathologist sees: r {row['r']:.3f}, CCC {row['ccc']:.3f}, mean error "
          f"{row['mean_error_pp']:+.1f} percentage points over {int(row['n']):,} spots.")  # fmt: skip


def control_moved(pairs: pd.DataFrame, settings: dict, moved_um: float = 30.0) -> None:
    """Print where the shift plot finds the spots of each slide, after they were moved to the right."""
    results = Path(settings["results"])
    for slide, own in pairs[pairs["reference"] == "pathologist"].groupby("slide"):
        mpp = read_json(results / slide / "slide.json")["mpp"]
        for method, spots in own.groupby("method", sort=False):
            masks = {method: results / slide / method / "masks.ome.zarr"}
            diameter_um, seed = settings["spots"]["diameter_um"], settings["statistics"]["seed"]
            for told, step in (("as they are", 0.0), (f"moved by {moved_um:.0f} µm in x", moved_um / mpp)):
                elsewhere = {method: spots.assign(x_px=spots["x_px"] + step)}
                _, peaks, _ = try_spots(elsewhere, masks, mpp, diameter_um, seed)
                for peak in peaks:
                    found = "suspicious" if peak["suspicious"] else "not suspicious"
                    print(
                        f"{slide}, {method}, {peak['tissue']}, spots {told}: fits best {peak['x_um']:+.0f} µm in x, "
                        f"{peak['y_um']:+.0f} in y (r {peak['r_here']:.2f} → {peak['r']:.2f}), {found}."
                    )


def time_statistics() -> None:
    """Print the seconds of 8 methods × 2 tissues × 6,400 spots × 2,000 replicates."""
    place, tables = hexagons(40, 40), []
    for at, tissue in enumerate(("PT", "CAP")):
        maps = {}
        for slide in range(4):
            own = smooth_maps(place, 150, 9, seed=10 * slide + at)
            predicted = {f"m{k}": own[:, 0] + 0.5 * own[:, k + 1] for k in range(8)}
            maps[f"K{slide}"] = (place, predicted, own[:, 0])
        tables.append(make_pairs(maps, tissue))
    pairs, methods = pd.concat(tables), [f"m{k}" for k in range(8)]
    comparisons = [{"tissue": tissue, "reference": "rctd"} for tissue in ("PT", "CAP")]
    began, cpu = time.monotonic(), time.process_time()
    cohort = gather_pairs([pairs], comparisons, methods)
    add_certainty(correlate(cohort, methods, moran=False), cohort, seed=1)
    compare_methods(cohort, methods, seed=1)
    spent = time.monotonic() - began
    print(f"Statistics of 8 methods × 2 tissues × 6,400 spots × 2,000 replicates: {spent:.1f} s, "
          f"{time.process_time() - cpu:.1f} CPU-s (target 20 s on 2 cores).")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", default="config/config.yaml")
    parser.add_argument("--shuffles", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=500)
    arguments = parser.parse_args()
    time_statistics()
    pairs, settings = read_pairs(arguments.configfile)
    control_half(pairs, settings)
    control_moved(pairs, settings)
    control_shuffled(pairs, settings, arguments.shuffles, arguments.replicates)


if __name__ == "__main__":
    main()
