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

from nephrospot.blocks import FEWEST_BLOCKS, REPLICATES, choose_block_um, draw_blocks
from nephrospot.fisher import FEWEST, fisher_interval
from nephrospot.pairs import Pairs
from nephrospot.spatial import Covariances, equal_edges, measure_covariances
from nephrospot.spool import Parts
from nephrospot.studentised import Errors, Resampled, quantile_of_r, reach_of_r, resample

SIDES = {"half": 0.5, "double": 2.0}  # of the blocks' own, to show what it does
ENDS = [f"{name}{end}" for name in ("", "fisher_", "boot_", "half_", "double_") for end in ("lo", "hi")]
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
    _resampled: dict = field(default_factory=dict, repr=False, compare=False)

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

    def resample(self, seed: int, replicates: int = REPLICATES) -> Resampled:
        """Blocks drawn again."""
        if (seed, replicates) not in self._resampled:
            self._resampled[seed, replicates] = self._resample(1, seed, replicates)
        return self._resampled[seed, replicates]

    def measure_errors(self, factor: float, seed: int) -> Resampled:
        """Variances from blocks of ``factor`` times the side, without replicates."""
        return self._resample(factor, seed, 0)

    def _resample(self, factor: float, seed: int, replicates: int) -> Resampled:
        side = factor * self.block_um
        return resample(draw_blocks(self.places, self.predicted, self.observed, side, seed, replicates))


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
    drawn = stack.resample(seed, replicates)
    sizes = np.array(stack.sizes)
    by_side = {"boot": drawn} | {name: stack.measure_errors(factor, seed) for name, factor in SIDES.items()}
    rows = []
    for level, (covariances, which) in levels.items():
        found = {name: _at(own, level, which) for name, own in by_side.items()}
        errors, n_blocks = found["boot"], int(np.min(drawn.n_blocks[which]))
        n_spots = np.sum(sizes[which])
        for place, method in enumerate(stack.methods):
            r = errors.r[place] if n_spots >= 3 else np.nan
            n_eff = covariances.effective_size(place, -1)
            row = {"method": method, "level": level, "n_eff": n_eff, "block_um": stack.block_um, "n_blocks": n_blocks}
            quantile, reason = quantile_of_r(errors, place)
            ends = {"fisher": fisher_interval(r, n_eff)}
            for name, own in found.items():
                ends[name] = reach_of_r(r, np.sqrt(own.variance[place]), quantile)
            row |= _choose(r, n_eff, ends, reason, n_blocks)
            rows.append([row[name] for name in COLUMNS])  # a quarter of the memory
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


def _choose(r: float, n_eff: float, ends: dict[str, tuple[float, float]], reason: str, n_blocks: int) -> dict:
    """The ends of all intervals, and the words; ``reason``: why blocks give none."""
    row = {f"{name}_{end}": value for name, both in ends.items() for end, value in zip(("lo", "hi"), both, strict=True)}
    if not np.isfinite(r):
        return row | {"lo": np.nan, "hi": np.nan, "interval": ""}
    known = {name: ends[name] for name in ("fisher", "boot") if np.isfinite(ends[name]).all()}
    told = []
    if "fisher" not in known:
        told.append(f"effective number not estimable ({n_eff:.1f}, needs more than {FEWEST:g})")
    if reason:
        told.append(f"no interval from blocks: {reason}")
    elif n_blocks < FEWEST_BLOCKS:
        told.append(f"too few blocks: {n_blocks} on a slide, {FEWEST_BLOCKS} needed")
    if not known:
        return row | {"lo": np.nan, "hi": np.nan, "interval": "; ".join(told)}
    wider = max(known, key=lambda name: np.ptp(known[name]))
    told.insert(0, {"fisher": "Fisher's z with n_eff", "boot": "blocks drawn again"}[wider])
    return row | dict(zip(("lo", "hi"), known[wider], strict=True)) | {"interval": "; ".join(told)}


def _at(found: Resampled, level: str, which: int | slice) -> Errors:
    return found.slides[which] if level.startswith("slide:") else getattr(found, level)


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
