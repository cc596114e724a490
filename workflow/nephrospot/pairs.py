"""What each method predicts in every spot of a cohort, and what the reference says: one slide in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from nephrospot.spool import Spool

PLACE_UM = ("x_um", "y_um")


class Pairs:
    """All spots of one comparison that are complete for some method.

    Attributes
    ----------
    tissue, reference : str
    methods : list of str
        In the order wanted.
    slides : list of str
        Those that have spots, complete or not, in the order in which they came.
    stacks : dict
        By methods, what `nephrospot.certainty` has made of them.
    """

    def __init__(self, tissue: str, reference: str, methods: Sequence[str]) -> None:
        self.tissue, self.reference, self.methods = tissue, reference, list(methods)
        self.slides: list[str] = []
        self.stacks: dict = {}
        self._lacking: list[dict[str, Counter]] = []
        self._rows, self._barcodes = Spool(), Spool()
        self._last: tuple[int, np.ndarray] = -1, np.empty((0, 0))

    @property
    def key(self) -> dict[str, str]:
        """Tissue and reference, as the configuration has a comparison."""
        return {"tissue": self.tissue, "reference": self.reference}

    @property
    def by_name(self) -> list[int]:
        """Numbers of the slides in the order of their names: sums must not depend on the order given."""
        return sorted(range(len(self.slides)), key=self.slides.__getitem__)

    def add(self, slide: str, tables: Mapping[str, pd.DataFrame], place: Sequence[str]) -> None:
        """Add a slide: `nephrospot.join.join_spots` of each method, this comparison alone."""
        dropped = {name: table["dropped"].to_numpy() for name, table in tables.items()}
        complete = {name: own == "" for name, own in dropped.items()}
        named = {name: table["barcode"].to_numpy()[complete[name]] for name, table in tables.items()}
        barcodes = pd.Index(sorted(set().union(*named.values())), dtype=object)
        rows = np.full((len(barcodes), 3 + len(self.methods)), np.nan)
        for method, table in tables.items():
            at, known = barcodes.get_indexer(named[method]), complete[method]
            for column, name in enumerate([*place, "observed"]):
                rows[at, column] = table[name].to_numpy(float)[known]
            rows[at, 3 + self.methods.index(method)] = table["predicted"].to_numpy(float)[known]
        self.slides.append(slide)
        self._lacking.append({name: Counter(own[~complete[name]]) for name, own in dropped.items()})
        self._rows.append(rows.tobytes())
        self._barcodes.append("\n".join(barcodes).encode())

    def lacking(self, number: int, method: str) -> Counter | None:
        """How many spots of a slide a method goes without, by reason; None where the method has no spots there."""
        return self._lacking[number].get(method)

    def barcodes(self, number: int) -> list[str]:
        """Of a slide's rows, in alphabetical order."""
        content = self._barcodes.read(number).decode()
        return content.split("\n") if content else []

    def complete(self, number: int, methods: Sequence[str]) -> np.ndarray:
        """(spots, methods): whether a method has a spot, bool."""
        return np.isfinite(self.predicted(number, methods))

    def places(self, number: int) -> np.ndarray:
        """(spots, 2): x and y in the unit that they were given in."""
        return self._read(number)[:, :2]

    def observed(self, number: int) -> np.ndarray:
        """(spots,) in percent."""
        return self._read(number)[:, 2]

    def predicted(self, number: int, methods: Sequence[str]) -> np.ndarray:
        """(spots, methods) in percent, NaN where a method lacks a spot."""
        return self._read(number)[:, [3 + self.methods.index(method) for method in methods]]

    def _read(self, number: int) -> np.ndarray:
        if number != self._last[0]:  # its places and its values are mostly asked for one after the other
            self._last = number, np.frombuffer(self._rows.read(number)).reshape(-1, 3 + len(self.methods))
        return self._last[1]


def gather_pairs(
    tables: Iterable[pd.DataFrame],
    comparisons: Sequence[Mapping[str, str]],
    methods: Sequence[str],
    place: Sequence[str] = PLACE_UM,
) -> list[Pairs]:
    """Sort the joined tables of a cohort by comparison, on disk.

    Parameters
    ----------
    tables : iterable of DataFrame
        `nephrospot.join.join_spots`, slide by slide: the tables of one slide follow one another.
    comparisons : list of mappings
        ``{"tissue", "reference"}``, in the order wanted.
    methods : list of str
        In the order wanted.
    place : two columns
        Where the spots lie.
    """
    found = [Pairs(comparison["tissue"], comparison["reference"], methods) for comparison in comparisons]
    for slide, of_slide in groupby(_split(tables), key=lambda part: part[0]):
        parts: dict[tuple, list[pd.DataFrame]] = {}
        for _, key, table in of_slide:
            parts.setdefault(key, []).append(table)
        for pairs in found:
            held = {method: parts.get((pairs.tissue, pairs.reference, method)) for method in methods}
            held = {name: own[0] if len(own) == 1 else pd.concat(own) for name, own in held.items() if own}
            if held:
                pairs.add(slide, held, place)
    return found


def _split(tables: Iterable[pd.DataFrame]) -> Iterable[tuple[str, tuple[str, str, str], pd.DataFrame]]:
    """Slide, then tissue, reference and method, and the rows that are theirs."""
    keys = ["tissue", "reference", "method"]
    for table in tables:
        firsts = [_find_only(table[name].to_numpy()) for name in ("slide", *keys)]
        if None not in firsts:  # as they mostly come: nothing to sort out, nothing to copy
            yield firsts[0], tuple(firsts[1:]), table
            continue
        for slide, of_slide in table.groupby("slide", sort=False):
            for key, own in of_slide.groupby(keys, sort=False):
                yield slide, key, own


def _find_only(names: np.ndarray) -> str | None:
    """The one name that stands in all rows; None where there are several, or no rows."""
    return names[0] if len(names) and (names == names[0]).all() else None
