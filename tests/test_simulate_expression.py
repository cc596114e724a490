"""Counts: integer, with known shares, recoverable when noise is off."""

import numpy as np
import pytest
from scipy.optimize import nnls

from nephrospot.errors import InputError
from nephrospot.simulate.expression import CountSettings, draw_reference, draw_spots, make_profiles

QUIET = CountSettings(umi_median=1e7, umi_sd=0, mrna_sd=0, platform_sd=0, spot_gene_sd=0, nb_phi=0, bleed=0, ambient=0)


@pytest.fixture(scope="module")
def profiles():
    return make_profiles(1, n_genes=600)


def draw_cells(profiles, n, seed=0):
    return np.random.default_rng(seed).poisson(0.9, (n, len(profiles.types)))


def lattice(n):
    column, row = np.arange(n) % 8, np.arange(n) // 8
    return np.stack([100.0 * column + 50 * (row % 2), 86.6 * row], axis=1)


def test_profiles_are_distributions_with_markers(profiles):
    assert np.allclose(profiles.mean.sum(axis=1), 1)
    assert len(set(profiles.genes)) == 600
    assert sum(g.startswith("mt-") for g in profiles.genes) == 13
    fold = np.log(profiles.mean / np.median(profiles.mean, axis=0))
    assert fold[profiles.markers].mean() > 1.0, "markers are well above the other types"
    types = list(profiles.types)
    own, kin, other = (types.index(t) for t in ("PT-S1", "PT-S2", "SMC"))
    shared = [(profiles.markers[own] & profiles.markers[k]).sum() for k in (kin, other)]
    assert shared[0] > 3 * shared[1], "PT segments share markers"
    mt = np.array([g.startswith("mt-") for g in profiles.genes])
    assert profiles.mean[own, mt].sum() > 2 * profiles.mean[other, mt].sum(), "PT is rich in mitochondria"


def test_shares_come_back_without_noise(profiles):
    cells = draw_cells(profiles, 40)
    counts, truth = draw_spots(profiles, cells, lattice(40), 3, QUIET)
    for spot in range(0, 40, 7):
        weights, _ = nnls(profiles.mean.T, counts[spot] / counts[spot].sum())
        expected = cells[spot] * profiles.mrna_content
        expected = expected / expected.sum()
        assert np.abs(weights / weights.sum() - expected).max() < 0.02, "NNLS must find the mRNA shares"
        assert np.allclose(truth["rna_share"].iloc[spot], expected)


def test_truth_shares_sum_to_one_and_weigh_large_cells_more(profiles):
    cells = draw_cells(profiles, 60)
    _, truth = draw_spots(profiles, cells, lattice(60), 3)
    for name in ("cell_share", "rna_share"):
        assert np.allclose(truth[name].sum(axis=1), 1), f"{name} sums to 1"
    assert (truth["cells"].to_numpy() == cells).all()
    pt = ["PT-S1", "PT-S2", "PT-S3"]
    gain = truth["rna_share"][pt].sum(axis=1) - truth["cell_share"][pt].sum(axis=1)
    assert gain.mean() > 0.05, "proximal cells hold more mRNA than their number says"


def test_spot_without_cells_has_no_share_and_only_its_neighbours_counts(profiles):
    cells = draw_cells(profiles, 24)
    cells[9] = 0
    counts, truth = draw_spots(profiles, cells, lattice(24), 3)
    assert truth["rna_share"].iloc[9].isna().all()
    assert 0 < counts[9].sum() < 0.5 * np.median(counts.sum(axis=1)), "what it has bled from its neighbours"


def test_bleeding_moves_a_sixth_of_its_share_to_each_neighbour(profiles):
    position = lattice(64)
    cells = np.zeros((64, 13), int)
    cells[27, 0] = 10
    settings = CountSettings(**{**QUIET.__dict__, "bleed": 0.3})
    counts, _ = draw_spots(profiles, cells, position, 1, settings)
    total = counts.sum(axis=1) / counts.sum()
    distance = np.hypot(*(position - position[27]).T)
    near = (distance > 0) & (distance < 110)
    assert near.sum() == 6
    assert total[27] == pytest.approx(0.7, abs=0.01) and total[near] == pytest.approx(0.05, abs=0.005)
    assert total[distance > 110].sum() == 0


def test_counts_are_integers_of_the_asked_depth(profiles):
    counts, _ = draw_spots(profiles, draw_cells(profiles, 64), lattice(64), 3)
    assert counts.dtype == np.int32 and (counts >= 0).all()
    median = np.median(counts.sum(axis=1))
    assert 6_000 < median < 14_000, f"median of {median} counts a spot"


def test_reference_is_raw_counts_of_all_types(profiles):
    cells = draw_reference(profiles, 4, cells_per_type=30)
    assert cells.shape == (390, 600)
    assert np.issubdtype(cells.X.dtype, np.integer)
    assert (cells.obs["cell_type"].value_counts() == 30).all() and cells.obs["donor"].nunique() == 3
    depth = cells.obs.assign(n=np.asarray(cells.X.sum(axis=1)).ravel()).groupby("cell_type", observed=True)["n"].mean()
    assert depth["PT-S1"] > 2.5 * depth["Endo"], "a cell's counts go with its mRNA"
    mean = np.vstack([np.asarray(cells[cells.obs["cell_type"] == t].X.mean(axis=0)) for t in profiles.types])
    mean = mean / mean.sum(axis=1, keepdims=True)
    r = np.corrcoef(np.log(mean + 1e-5).ravel(), np.log(profiles.mean + 1e-5).ravel())[0, 1]
    assert 0.9 < r < 0.999, f"the reference resembles the truth ({r:.3f}) and isn't it"


def test_seeds(profiles):
    cells = draw_cells(profiles, 8)
    one, again, other = (draw_spots(profiles, cells, lattice(8), seed)[0] for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any()
    assert (make_profiles(1, 300).mean == make_profiles(1, 300).mean).all()
    assert (make_profiles(1, 300).mean != make_profiles(2, 300).mean).any()


def test_too_few_genes_is_told():
    with pytest.raises(InputError, match="at least 200"):
        make_profiles(1, 20)
