"""Loops compiled by numba, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable

import numba


def compile_loops(function: Callable) -> Callable:
    """Compile a function of arrays and numbers.

    It lets go of the interpreter, sums may be contracted (a product and a sum rounded once), and dividing by zero
    answers as NumPy does. What was compiled is kept where there is a folder for it.
    """
    options = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside the module nor at home, as in some containers
        return numba.njit(**options)(function)


@compile_loops
def _load() -> None:
    """Nothing: numba imports half of itself with the first function that is called."""


_load()  # with the other imports, and before processes fork off, which then share it
