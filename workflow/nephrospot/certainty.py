"""How sure an r over neighbouring spots is: the wider of two intervals, neither of which is right for every map.

Fisher's z with as many spots as there is independent information suits smooth maps (tubules); blocks of spots drawn
again suit maps that are 0 almost everywhere (glomeruli, vessels). Both speak of these slides; of new animals only the
slides' own correlations do (`nephrospot.differences`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from nephrospot.blocks import FEWEST_BLOCKS, REPLICATES, Replicates, choose_block_um, draw_blocks, percentile_interval
from nephrospot.fisher import FEWEST, fisher_interval
from nephrospot.pairs import Pairs
from nephrospot.spatial import Covariances, equal_edges, measure_covariances
from nephrospot.spool import Parts

SIZES = {"boot": 1.0, "half": 0.5, "double": 2.0}  # of the blocks, to show what their side does
ENDS = ["lo", "hi", "fisher_lo", "fisher_hi", *(f"{name}_{end}" for name in SIZES for end in ("lo", "hi"))]
NUMBERS = ["n_eff", *ENDS, "block_um", "n_blocks"]
COLUMNS = ["method", "level", *NUMBERS, "interval"]
FEWEST_SPOTS = 10


@dataclass(frozen=True)
class Stack:
    """The spots of one comparison that are complete for several methods; a slide's are read when they are asked for.

    Attributes
    ----------
    methods, slides : list of str
    places : sequence of (spots, 2), µm, a slide each
    predicted : sequence of (spots, methods), percent
    observed : sequence of (spots,), percent
    sizes : list of int
        Spots of each slide.

    Notes
    -----
    What takes long is kept once it is known, since intervals and differences want the same of the same spots.
    """

    methods: list[str]
    slides: list[str]
    places: Sequence[np.ndarray]
    predicted: Sequence[np.ndarray]
    observed: Sequence[np.ndarray]
    sizes: list[int]
    _pooled: dict = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def values(self) -> Sequence[np.ndarray]:
        """(spots, methods + 1): what every method predicts and, last, the reference."""
        return Parts(lambda at: np.column_stack([self.predicted[at], self.observed[at]]), range(len(self.slides)))

    @functools.cached_property
    def covariances(self) -> list[Covariances]:
        """Of `values`, slide by slide."""
        edges = equal_edges(self.places)
        return [measure_covariances(place, own, edges) for place, own in zip(self.places, self.values, strict=True)]

    @functools.cached_property
    def block_um(self) -> float:
        """Side of the blocks for the smoothest of its maps."""
        return choose_block_um(self.places, self.values)

    def draw(self, factor: float, seed: int, replicates: int = REPLICATES) -> Replicates:
        """Draw blocks of ``factor`` times that side again."""
        drawn = draw_blocks(self.places, self.predicted, self.observed, factor * self.block_um, seed, replicates)
        if factor == 1:
            self._pooled[seed, replicates] = drawn.pooled, drawn.n_blocks
        return drawn

    def draw_pooled(self, seed: int, replicates: int = REPLICATES) -> tuple[np.ndarray, np.ndarray]:
        """``pooled`` and ``n_blocks`` of the blocks' own side."""
        if (seed, replicates) not in self._pooled:
            self.draw(1, seed, replicates)
        return self._pooled[seed, replicates]


def stack_methods(pairs: Pairs, methods: Sequence[str]) -> list[Stack]:
    """Methods with the same complete spots together, in the order of ``methods``."""
    groups = [list(methods)]
    for number in range(len(pairs.slides)):
        complete = pairs.complete(number, methods)
        found: dict[tuple[int, bytes], list[str]] = {}
        for at, group in enumerate(groups):
            for method in group:
                found.setdefault((at, complete[:, list(methods).index(method)].tobytes()), []).append(method)
        groups = list(found.values())
    stacks = [_stack(pairs, group) for group in sorted(groups, key=lambda group: list(methods).index(group[0]))]
    return [stack for stack in stacks if len(stack)]


def stack_common(pairs: Pairs, methods: Sequence[str]) -> Stack | None:
    """The spots that are complete for every method that has any; None where there are none."""
    numbers = range(len(pairs.slides))
    having = [method for method in methods if any(pairs.complete(number, [method]).any() for number in numbers)]
    stack = _stack(pairs, having) if having else None
    return stack if stack is not None and len(stack) else None


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
    if len(stack) < FEWEST_SPOTS:
        return pd.DataFrame(columns=COLUMNS)
    parts = stack.covariances
    levels = dict.fromkeys(("pooled", "within"), (sum(parts[1:], parts[0]), slice(None)))
    levels |= {f"slide:{stack.slides[at]}": (parts[at], at) for at in range(len(parts))}
    ends: dict[tuple[str, int], dict] = {}
    for name, factor in SIZES.items():
        drawn = stack.draw(factor, seed, replicates)
        for level, (_, which) in levels.items():
            for place, values in enumerate(_at(drawn, level, which).T):
                ends.setdefault((level, place), {})[name] = percentile_interval(values)
        if name == "boot":
            blocks = {level: int(np.min(drawn.n_blocks[which])) for level, (_, which) in levels.items()}
    rows = []
    for level, (covariances, which) in levels.items():
        for place, method in enumerate(stack.methods):
            r, n_eff = _correlate(stack, level, which, place), covariances.effective_size(place, -1)
            row = {
                "method": method,
                "level": level,
                "n_eff": n_eff,
                "block_um": stack.block_um,
                "n_blocks": blocks[level],
            }
            rows.append(row | _choose(r, n_eff, ends[level, place], blocks[level]))
    return pd.DataFrame(rows, columns=COLUMNS)


def add_certainty(
    correlations: pd.DataFrame, cohort: Iterable[Pairs], seed: int, replicates: int = REPLICATES
) -> pd.DataFrame:
    """The table of `nephrospot.correlate.correlate` with the columns of `measure_certainty`.

    Parameters
    ----------
    cohort
        What it was made of, with places in µm.
    """
    keys, found = ["tissue", "reference"], []
    for pairs in cohort:
        for stack in stack_methods(pairs, pairs.methods):
            found.append(measure_certainty(stack, seed, replicates).assign(**pairs.key))
    table = pd.concat(found) if found else pd.DataFrame(columns=[*keys, *COLUMNS])
    joined = correlations.merge(table, on=["method", *keys, "level"], how="left")
    return joined.astype(dict.fromkeys(NUMBERS, float)).fillna({"interval": ""})


def _choose(r: float, n_eff: float, ends: dict[str, tuple[float, float, str]], n_blocks: int) -> dict:
    """The ends of all intervals, and the words."""
    row = dict(zip(("fisher_lo", "fisher_hi"), fisher_interval(r, n_eff), strict=True))
    reasons = {}
    for name, found in ends.items():
        row[f"{name}_lo"], row[f"{name}_hi"], reasons[name] = found
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
    numbers = [which] if isinstance(which, int) else range(len(stack.slides))
    if isinstance(which, int) and stack.sizes[which] < 3:
        return np.nan
    x, y = [stack.predicted[at][:, place] for at in numbers], [stack.observed[at] for at in numbers]
    if level == "within":
        x, y = ([part - part.mean() for part in side] for side in (x, y))
    x, y = np.concatenate(x), np.concatenate(y)
    if min(np.ptp(x), np.ptp(y)) <= 1e-9:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1])


def _stack(pairs: Pairs, methods: list[str]) -> Stack:
    """The spots that are complete for all of some methods, slides by name, those without any left out; made once."""
    if tuple(methods) not in pairs.stacks:
        whole = {number: pairs.complete(number, methods).all(axis=1) for number in pairs.by_name}
        numbers = [number for number, known in whole.items() if known.any()]
        takes = (pairs.places, lambda number: pairs.predicted(number, methods), pairs.observed)
        rows = {number: slice(None) if known.all() else known for number, known in whole.items()}
        parts = [Parts(lambda number, take=take: take(number)[rows[number]], numbers) for take in takes]
        sizes = [int(whole[number].sum()) for number in numbers]
        pairs.stacks[tuple(methods)] = Stack(methods, [pairs.slides[number] for number in numbers], *parts, sizes)
    return pairs.stacks[tuple(methods)]
