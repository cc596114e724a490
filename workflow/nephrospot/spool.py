"""Tables of many slides on disk: written once, read slide by slide, so that memory doesn't grow with the cohort."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np


class Spool:
    """One piece of bytes a slide, in a file without a name that goes with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        self._ends = array("q", [0])  # a list's whole numbers would take five times as much

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, content: bytes) -> None:
        """Add a slide's piece."""
        self._file.write(content)
        self._file.flush()  # it is read past the buffer
        self._ends.append(self._ends[-1] + len(content))

    def read(self, index: int) -> bytes:
        """A slide's piece."""
        start, end = self._ends[index : index + 2]
        return os.pread(self._file.fileno(), end - start, start)


class Parts(Sequence):
    """An array of each of some slides, made when it is asked for.

    Parameters
    ----------
    make : function
        Of a slide's number.
    numbers : list of int
        The slides' numbers.
    """

    def __init__(self, make: Callable[[int], np.ndarray], numbers: Iterable[int]) -> None:
        self._make, self._numbers = make, list(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._make(self._numbers[index])
