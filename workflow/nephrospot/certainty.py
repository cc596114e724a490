"""How sure an r over neighbouring spots is: the wider of two intervals, neither of which is right for every map.

Fisher's z with as many spots as there is independent information suits smooth maps (tubules); blocks of spots drawn
again suit maps that are 0 almost everywhere (glomeruli, vessels). Both speak of these slides; of new animals only the
slides' own correlations do (`nephrospot.differences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nephrospot.blocks import FEWEST_BLOCKS, REPLICATES, Replicates, choose_block_um, draw_blocks, percentile_interval
from nephrospot.fisher import FEWEST, fisher_interval
from nephrospot.spatial import Covariances, equal_edges, measure_covariances

SIZES = {"boot": 1.0, "half": 0.5, "double": 2.0}  # of the blocks, to show what their side does
ENDS = ["lo", "hi", "fisher_lo", "fisher_hi", *(f"{name}_{end}" for name in SIZES for end in ("lo", "hi"))]
NUMBERS = ["n_eff", *ENDS, "block_um", "n_blocks"]
COLUMNS = ["method", "level", *NUMBERS, "interval"]
FEWEST_SPOTS = 10


@dataclass(frozen=True)
class Stack:
    """The spots of one comparison that are complete for several methods.

    Attributes
    ----------
    methods, slides : list of str
    places : list of (spots, 2), µm, a slide each
    predicted : list of (spots, methods), percent
    observed : list of (spots,), percent
    """

    methods: list[str]
    slides: list[str]
    places: list[np.ndarray]
    predicted: list[np.ndarray]
    observed: list[np.ndarray]

    def __len__(self) -> int:
        return sum(map(len, self.places))

    def only(self, slide: str) -> Stack:
        """One slide of it."""
        at = self.slides.index(slide)
        parts = {name: [getattr(self, name)[at]] for name in ("slides", "places", "predicted", "observed")}
        return replace(self, **parts)

    def measure_covariances(self) -> list[Covariances]:
        """Of every method and, last, the reference, slide by slide."""
        edges = equal_edges(self.places)
        return [
            measure_covariances(place, np.column_stack([x, y]), edges)
            for place, x, y in zip(self.places, self.predicted, self.observed, strict=True)
        ]

    def choose_block_um(self) -> float:
        """Side of the blocks for the smoothest of its maps."""
        values = [np.column_stack([x, y]) for x, y in zip(self.predicted, self.observed, strict=True)]
        return choose_block_um(self.places, values)

    def draw(self, block_um: float, seed: int, replicates: int = REPLICATES) -> Replicates:
        """Draw its blocks again."""
        return draw_blocks(self.places, self.predicted, self.observed, block_um, seed, replicates)


def stack_methods(pairs: pd.DataFrame, methods: Sequence[str]) -> list[Stack]:
    """Methods with the same complete spots together, in the order of ``methods``.

    Parameters
    ----------
    pairs
        Of `nephrospot.correlate.join_spots`, one comparison, all slides.
    """
    table = _pivot(pairs, methods)
    groups: dict[bytes, list[str]] = {}
    for method in methods:
        if method in table and table[method].notna().any():
            groups.setdefault(table[method].notna().to_numpy().tobytes(), []).append(method)
    return [_stack(table[table[group[0]].notna()], group) for group in groups.values()]


def stack_common(pairs: pd.DataFrame, methods: Sequence[str]) -> Stack | None:
    """The spots that are complete for every method that has any; None where there are none."""
    table = _pivot(pairs, methods)
    having = [method for method in methods if method in table and table[method].notna().any()]
    table = table.dropna(subset=having)
    return _stack(table, having) if having and len(table) else None


def measure_certainty(stack: Stack, seed: int, replicates: int = REPLICATES) -> pd.DataFrame:
    """Effective number and intervals of every method's r: pooled, within slides, and of each slide.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``level`` as in `nephrospot.correlate.correlate`; ``n_eff`` spots' worth; ``lo``, ``hi`` of the
        wider interval; ``fisher_*`` of Fisher's z; ``boot_*`` of blocks of side ``block_um`` (µm), ``half_*`` and
        ``double_*`` of half and twice the side; ``n_blocks`` the fewest blocks of a slide; ``interval`` which is the
        wider, and what is wrong with either.
    """
    rows = []
    if len(stack) >= FEWEST_SPOTS and min(map(len, stack.places)) > 2:
        parts = stack.measure_covariances()
        block_um = stack.choose_block_um()
        drawn = {name: stack.draw(factor * block_um, seed, replicates) for name, factor in SIZES.items()}
        named = enumerate(zip(stack.slides, parts, strict=True))
        levels = dict.fromkeys(("pooled", "within"), (sum(parts[1:], parts[0]), slice(None)))
        levels |= {f"slide:{slide}": (part, at) for at, (slide, part) in named}
        for level, (covariances, which) in levels.items():
            n_blocks = int(np.min(drawn["boot"].n_blocks[which]))
            for place, method in enumerate(stack.methods):
                values = {name: _at(replicate, level, which)[:, place] for name, replicate in drawn.items()}
                r = _correlate(stack, level, which, place)
                n_eff = covariances.effective_size(place, -1)
                row = {"method": method, "level": level, "n_eff": n_eff, "block_um": block_um, "n_blocks": n_blocks}
                rows.append(row | _choose(r, n_eff, values, n_blocks))
    return pd.DataFrame(rows, columns=COLUMNS)


def add_certainty(
    correlations: pd.DataFrame, pairs: pd.DataFrame, seed: int, replicates: int = REPLICATES
) -> pd.DataFrame:
    """The table of `nephrospot.correlate.correlate` with the columns of `measure_certainty`.

    Parameters
    ----------
    pairs
        What it was made of: all slides, methods and comparisons of `nephrospot.correlate.join_spots`, with ``x_um`` and
        ``y_um``.
    """
    keys, found = ["tissue", "reference"], []
    for names in correlations[keys].drop_duplicates().itertuples(index=False):
        mine = pairs[(pairs["tissue"] == names.tissue) & (pairs["reference"] == names.reference)]
        for stack in stack_methods(mine, list(correlations["method"].unique())):
            found.append(measure_certainty(stack, seed, replicates).assign(**names._asdict()))
    table = pd.concat(found) if found else pd.DataFrame(columns=[*keys, *COLUMNS])
    joined = correlations.merge(table, on=["method", *keys, "level"], how="left")
    return joined.astype(dict.fromkeys(NUMBERS, float)).fillna({"interval": ""})


def _choose(r: float, n_eff: float, values: dict[str, np.ndarray], n_blocks: int) -> dict:
    """The ends of all intervals, and the words."""
    row = dict(zip(("fisher_lo", "fisher_hi"), fisher_interval(r, n_eff), strict=True))
    reasons = {}
    for name, replicates in values.items():
        row[f"{name}_lo"], row[f"{name}_hi"], reasons[name] = percentile_interval(replicates)
    if not np.isfinite(r):
        return row | {"lo": np.nan, "hi": np.nan, "interval": ""}
    widths = {name: row[f"{name}_hi"] - row[f"{name}_lo"] for name in ("fisher", "boot")}
    known = {name: width for name, width in widths.items() if np.isfinite(width)}
    told = []
    if not np.isfinite(widths["fisher"]):
        told.append(f"effective number not estimable ({n_eff:.1f}, needs more than {FEWEST:g})")
    if reasons["boot"]:
        told.append(f"no interval from blocks: {reasons['boot']}")
    elif n_blocks < FEWEST_BLOCKS:
        told.append(f"too few blocks: {n_blocks} on a slide, {FEWEST_BLOCKS} needed")
    if not known:
        return row | {"lo": np.nan, "hi": np.nan, "interval": "; ".join(told)}
    wider = max(known, key=known.get)
    told.insert(0, {"fisher": "Fisher's z with n_eff", "boot": "blocks drawn again"}[wider])
    return row | {"lo": row[f"{wider}_lo"], "hi": row[f"{wider}_hi"], "interval": "; ".join(told)}


def _at(drawn: Replicates, level: str, which: int | slice) -> np.ndarray:
    return drawn.slides[which] if level.startswith("slide:") else getattr(drawn, level)


def _correlate(stack: Stack, level: str, which: int | slice, place: int) -> float:
    x, y = ([part[:, place] for part in stack.predicted], stack.observed)
    if isinstance(which, int):
        x, y = [x[which]], [y[which]]
    if level == "within":
        x, y = ([part - part.mean() for part in side] for side in (x, y))
    x, y = np.concatenate(x), np.concatenate(y)
    if min(np.ptp(x), np.ptp(y)) <= 1e-9:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1])


def _pivot(pairs: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """A row a slide and barcode that is complete for some method; its place, the reference, a column a method."""
    complete = pairs[(pairs["dropped"] == "") & pairs["method"].isin(methods)]
    keys = ["slide", "barcode"]
    known = complete.drop_duplicates(keys).set_index(keys)[["x_um", "y_um", "observed"]].sort_index()
    return known.join(complete.pivot(index=keys, columns="method", values="predicted"))


def _stack(table: pd.DataFrame, methods: list[str]) -> Stack:
    parts = {slide: part for slide, part in table.groupby(level="slide", sort=True)}
    wanted = (["x_um", "y_um"], methods, "observed")
    places, predicted, observed = ([part[names].to_numpy(float) for part in parts.values()] for names in wanted)
    return Stack(methods, list(parts), places, predicted, observed)
