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
        """Add a slide: `nephrospot.correlate.join_spots` of each method, this comparison alone."""
        complete = {name: table[(table["dropped"] == "").to_numpy()] for name, table in tables.items()}
        barcodes = pd.Index(sorted(set().union(*(table["barcode"] for table in complete.values()))), dtype=object)
        rows = np.full((len(barcodes), 3 + len(self.methods)), np.nan)
        for method, table in complete.items():
            at = barcodes.get_indexer(table["barcode"])
            rows[at, :3] = table[[*place, "observed"]].to_numpy(float)
            rows[at, 3 + self.methods.index(method)] = table["predicted"].to_numpy(float)
        self.slides.append(slide)
        self._lacking.append(
            {name: Counter(table["dropped"][table["dropped"] != ""]) for name, table in tables.items()}
        )
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
        `nephrospot.correlate.join_spots`, slide by slide: the tables of one slide follow one another.
    comparisons : list of mappings
        ``{"tissue", "reference"}``, in the order wanted.
    methods : list of str
        In the order wanted.
    place : two columns
        Where the spots lie.
    """
    found = [Pairs(comparison["tissue"], comparison["reference"], methods) for comparison in comparisons]
    for slide, of_slide in groupby(_split_slides(tables), key=lambda part: part[0]):
        own = pd.concat([table for _, table in of_slide])
        parts = {key: table for key, table in own.groupby(["tissue", "reference", "method"], sort=False)}
        for pairs in found:
            held = {method: parts.get((pairs.tissue, pairs.reference, method)) for method in methods}
            held = {method: table for method, table in held.items() if table is not None}
            if held:
                pairs.add(slide, held, place)
    return found


def _split_slides(tables: Iterable[pd.DataFrame]) -> Iterable[tuple[str, pd.DataFrame]]:
    for table in tables:
        yield from table.groupby("slide", sort=False)
