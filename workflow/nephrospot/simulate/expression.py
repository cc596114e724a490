"""Simulated counts with a known truth: cell-type profiles, a reference of single cells, Visium spots.

Gene names are simulated ("Sim0001") save for the thirteen mitochondrial ones, so that a filter on
``mt-`` has something to find. The reference's cells and the spots' cells differ: donors shift the
one, the platform shifts the other, and both carry noise that no deconvolution assumes exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree

from nephrospot.errors import InputError
from nephrospot.simulate.structures import CELL_TYPES

# mRNA of a cell relative to the others'; it goes with the cell's volume.
MRNA_CONTENT = {
    "PT-S1": 2.2, "PT-S2": 2.0, "PT-S3": 1.8, "TAL": 1.3, "DCT": 1.3, "CD-PC": 0.9, "CD-IC": 0.9, "Podo": 1.1,
    "Mesangial": 0.55, "Endo": 0.45, "SMC": 0.6, "Fib": 0.5, "Macro": 0.6,
}  # fmt: skip
RELATED = (("PT-S1", "PT-S2", "PT-S3"), ("TAL", "DCT"), ("CD-PC", "CD-IC"))
MITOCHONDRIAL = ("Nd1", "Nd2", "Co1", "Co2", "Atp8", "Atp6", "Co3", "Nd3", "Nd4l", "Nd4", "Nd5", "Nd6", "Cytb")
# Share of a cell's mRNA that is mitochondrial; tubules that pump are full of mitochondria.
MITOCHONDRIAL_SHARE = {"PT-S1": 0.28, "PT-S2": 0.28, "PT-S3": 0.24, "TAL": 0.24, "DCT": 0.24}


@dataclass(frozen=True)
class Profiles:
    """Mean expression of cell types.

    ``mean``: (types, genes) float64, rows sum to 1. ``mrna_content``: (types,) relative mRNA of a cell.
    ``markers``: (types, genes) bool.
    """

    types: tuple[str, ...]
    genes: tuple[str, ...]
    mean: np.ndarray
    mrna_content: np.ndarray
    markers: np.ndarray


@dataclass(frozen=True)
class CountSettings:
    """How spots turn into counts; "sd" are standard deviations of natural logarithms."""

    umi_median: float = 10_000.0  # counts of a spot with a median amount of mRNA
    umi_sd: float = 0.45
    mrna_sd: float = 0.25  # of cells of one type
    platform_sd: float = 0.6  # per gene and slide, between the reference and the spots
    spot_gene_sd: float = 0.35
    nb_phi: float = 0.15  # negative binomial: variance = mean + phi * mean²
    bleed: float = 0.15  # share of a spot's mRNA that is caught by its six neighbours
    ambient: float = 0.0  # share that comes from the mean of the slide
    pitch_um: float = 100.0  # centre to centre


@dataclass(frozen=True)
class ReferenceSettings:
    """How single cells of the reference are drawn."""

    cells_per_type: int = 100
    donors: int = 3
    donor_sd: float = 0.2  # per gene and donor
    umi: float = 2_500.0  # mean counts of a cell with mRNA content 1
    umi_sd: float = 0.35
    nb_phi: float = 0.3


def make_profiles(seed: int, n_genes: int = 2000) -> Profiles:
    """Draw profiles of the 13 cell types: a common base, markers of each type and of related types.

    Raises
    ------
    InputError
        For fewer than 200 genes, which can't hold markers of 13 types.
    """
    if n_genes < 200:
        raise InputError(f"The simulation has {n_genes} genes; give at least 200, 2000 is usual.")
    rng = np.random.default_rng([seed, 200])
    n_simulated = n_genes - len(MITOCHONDRIAL)
    genes = tuple(f"Sim{k:04d}" for k in range(1, n_simulated + 1)) + tuple(f"mt-{g}" for g in MITOCHONDRIAL)
    log_mean = np.tile(1.3 * rng.normal(size=n_simulated), (len(CELL_TYPES), 1))
    markers = np.zeros((len(CELL_TYPES), n_genes), bool)
    n_markers = round(0.06 * n_simulated)

    def mark(rows, n):
        picked = rng.choice(n_simulated, n, replace=False)
        change = rng.normal(1.6, 0.7, n)
        for row in rows:
            log_mean[row, picked] += change
            markers[row, picked] = True

    groups = [[CELL_TYPES.index(name) for name in group] for group in RELATED]
    for group in groups:
        mark(group, n_markers // 2)
    for row in range(len(CELL_TYPES)):
        mark([row], n_markers // 2 if any(row in group for group in groups) else n_markers)
    mean = np.exp(log_mean)
    share = np.array([MITOCHONDRIAL_SHARE.get(name, 0.08) for name in CELL_TYPES])[:, None]
    mt = rng.dirichlet(np.full(len(MITOCHONDRIAL), 3.0))[None, :]
    mean = np.hstack([(1 - share) * mean / mean.sum(axis=1, keepdims=True), share * mt])
    content = np.array([MRNA_CONTENT[name] for name in CELL_TYPES])
    return Profiles(CELL_TYPES, genes, mean, content, markers)


def draw_reference(
    profiles: Profiles, seed: int, cells_per_type: int = 100, settings: ReferenceSettings | None = None
) -> anndata.AnnData:
    """Single cells with integer counts; obs has ``cell_type`` and ``donor``.

    ``settings``, where given, decides everything, ``cells_per_type`` included.
    """
    settings = settings or ReferenceSettings(cells_per_type=cells_per_type)
    rng = np.random.default_rng([seed, 201])
    n_types, n_genes = profiles.mean.shape
    shifts = np.exp(settings.donor_sd * rng.normal(size=(settings.donors, n_genes)))
    kind = np.repeat(np.arange(n_types), settings.cells_per_type)
    donor = rng.integers(settings.donors, size=len(kind))
    library = settings.umi * profiles.mrna_content[kind] * _lognormal(rng, settings.umi_sd, len(kind))
    expected = profiles.mean[kind] * shifts[donor]
    expected *= (library / expected.sum(axis=1))[:, None]
    counts = _negative_binomial(rng, expected, settings.nb_phi)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kind, profiles.types),
            "donor": pd.Categorical([f"donor{d + 1}" for d in donor]),
        },
        index=[f"cell{k:05d}" for k in range(len(kind))],
    )
    cells = anndata.AnnData(sparse.csr_matrix(counts.astype(np.int32)), obs, pd.DataFrame(index=list(profiles.genes)))
    cells.uns["simulated"] = "nephrospot.simulate: no real cells"
    return cells


def draw_spots(
    profiles: Profiles,
    cells: np.ndarray,
    positions_um: np.ndarray,
    seed: int,
    settings: CountSettings | None = None,
) -> tuple[np.ndarray, dict[str, pd.DataFrame]]:
    """Counts of spots from the cells that lie in them.

    Parameters
    ----------
    cells
        (spots, types) int, numbers of cells in the order of ``profiles.types``.
    positions_um
        (spots, 2) x and y; spots within 1.25 pitches are neighbours.

    Returns
    -------
    counts
        (spots, genes) int32.
    truth
        Tables of one row a spot and one column a type, in the order given: ``cells`` (numbers),
        ``cell_share``, ``rna`` (relative amount) and ``rna_share``; shares are NaN where a spot
        has no cell. mRNA is what the spot's own cells hold, before bleeding.
    """
    settings = settings or CountSettings()
    rng = np.random.default_rng([seed, 202])
    cells = np.asarray(cells)
    n_spots, n_types = cells.shape
    spot, kind = np.divmod(np.repeat(np.arange(cells.size), cells.ravel()), n_types)
    each = profiles.mrna_content[kind] * _lognormal(rng, settings.mrna_sd, len(kind))
    rna = np.bincount(spot * n_types + kind, weights=each, minlength=cells.size).reshape(cells.shape)
    total = rna.sum(axis=1)
    usual = np.median(total[total > 0]) if (total > 0).any() else 1.0
    library = settings.umi_median * total / usual * np.exp(settings.umi_sd * rng.normal(size=n_spots))
    shape = rna / np.where(total > 0, total, 1)[:, None] @ profiles.mean
    shape *= np.exp(settings.platform_sd * rng.normal(size=len(profiles.genes)))
    shape /= np.where(total > 0, shape.sum(axis=1), 1)[:, None]
    expected = library[:, None] * shape
    expected = _bleed(expected, np.asarray(positions_um, float), settings)
    if settings.ambient > 0:
        soup = expected.sum(axis=0) / max(expected.sum(), 1e-12)
        level = expected.sum(axis=1, keepdims=True)
        expected = (1 - settings.ambient) * expected + settings.ambient * level * soup
    expected *= _lognormal(rng, settings.spot_gene_sd, expected.shape)
    counts = _negative_binomial(rng, expected, settings.nb_phi).astype(np.int32)
    columns = list(profiles.types)
    tables = {"cells": cells, "cell_share": _shares(cells), "rna": rna, "rna_share": _shares(rna)}
    return counts, {name: pd.DataFrame(table, columns=columns) for name, table in tables.items()}


def _bleed(expected, positions_um, settings):
    """Each spot loses a share of its mRNA evenly to six places, a neighbour or bare glass."""
    if settings.bleed <= 0 or len(expected) < 2:
        return (1 - settings.bleed) * expected
    pairs = cKDTree(positions_um).query_pairs(1.25 * settings.pitch_um, output_type="ndarray")
    n = len(expected)
    near = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    return (1 - settings.bleed) * expected + settings.bleed / 6 * ((near + near.T) @ expected)


def _lognormal(rng, sd, size):
    """Factors with a mean of 1."""
    return np.exp(sd * rng.normal(size=size) - 0.5 * sd**2)


def _negative_binomial(rng, expected, phi):
    rate = expected * rng.gamma(1 / phi, phi, expected.shape) if phi > 0 else expected
    return rng.poisson(rate)


def _shares(table):
    total = table.sum(axis=1, keepdims=True).astype(float)
    return np.where(total > 0, table / np.where(total > 0, total, 1), np.nan)
