"""Neighbours on Visium's hexagonal lattice, by squidpy."""

from __future__ import annotations

import contextlib
import logging
import warnings

import anndata as ad
import numpy as np
import pandas as pd

FULL_RING = 6  # neighbours of a spot with tissue all round


def find_edge(spots: pd.DataFrame) -> np.ndarray:
    """Which spots on tissue have fewer than six neighbours on tissue.

    There the tissue ends, or the capture area does. Neighbours are counted on the lattice, so that neither a turned
    slide nor a stray position matters.

    Parameters
    ----------
    spots : DataFrame
        The spots on tissue: ``array_row``, ``array_col``.

    Returns
    -------
    bool array (spots,)
    """
    if not len(spots):
        return np.zeros(0, bool)
    # In pitches: two steps of array_col are one, and rows lie √3/2 apart.
    place = np.column_stack([spots["array_col"] / 2, spots["array_row"] * np.sqrt(3) / 2])
    held = ad.AnnData(np.zeros((len(spots), 1), np.float32), obsm={"spatial": place})
    with quiet_squidpy() as sq:
        graph, *_ = sq.gr.spatial_neighbors_radius(held, radius=1.2, copy=True)
    return np.asarray(graph.astype(bool).sum(axis=1)).ravel() < FULL_RING


@contextlib.contextmanager
def quiet_squidpy():
    """Import squidpy (some seconds, so only here), without its line for each graph and its docstring warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=SyntaxWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        import squidpy as sq

        log = logging.getLogger("spatialdata._logging")
        level = log.level
        log.setLevel(logging.WARNING)
        try:
            yield sq
        finally:
            log.setLevel(level)
