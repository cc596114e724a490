"""RCTD's likelihood tables from their definition."""

import numpy as np
import pytest
from scipy import integrate, stats

from nephrospot import likelihood


def quadrature(count: int, rate: float, sigma: float) -> float:
    """The plain rule with every one of the 10,001 points, point by point from scipy's Poisson."""
    y = np.linspace(-20, 20, 10001)
    terms = stats.poisson.pmf(count, rate * np.exp(y)) * likelihood.heavy_tailed_density(y / sigma) / sigma
    return float(np.log(terms.sum() * 4e-3))


def test_density_is_a_density_with_heavy_tails():
    density = likelihood.heavy_tailed_density
    mass = 2 * (integrate.quad(density, 0, 3)[0] + integrate.quad(density, 3, np.inf)[0])
    assert mass == pytest.approx(1, abs=1e-9), "The density must integrate to one."
    assert density(3 - 1e-9) == pytest.approx(density(3 + 1e-9), rel=1e-6), "No jump where core and tail meet."
    inside, outside = (density(3.0) - density(3 - 1e-6), density(3 + 1e-6) - density(3.0))
    assert inside == pytest.approx(outside, rel=1e-4), "No kink where core and tail meet."
    assert density(10.0) > 1e10 * stats.norm.pdf(10), "Tails must be far heavier than a normal's."
    assert density(-4.0) == density(4.0)


def test_rate_grid():
    grid = likelihood.rate_grid()
    assert grid.shape == (439,) and grid.dtype == np.float64
    assert grid[0] == pytest.approx(1e-4) and grid[-1] == 1600
    assert (np.diff(grid) > 0).all()
    assert np.allclose(grid[:38], (np.arange(10, 48) / 1000) ** 2), "Near zero every thousandth's square is a node."
    assert np.diff(grid).max() < 20, "Steps stay within half of the Poisson's own width, 40 at the end."


def test_tables_equal_the_plain_rule():
    rng = np.random.default_rng(4)
    counts = np.array([0, 1, 2, 7, 40, 250, 999, 1002])
    rates = np.r_[1e-4, np.sort(rng.uniform(0.01, 1600, 3)), 1600.0]
    sigmas = np.array([10, 35, 200])
    table = likelihood.likelihood_tables(counts, rates, sigmas)
    expected = np.array([[[quadrature(k, x, s / 100) for x in rates] for k in counts] for s in sigmas])
    assert table.shape == expected.shape
    assert np.abs(table - expected).max() < 1e-9, "Leaving out negligible terms must not show."


@pytest.mark.parametrize(("count", "rate", "sigma"), [(0, 0.3, 0.5), (3, 2.0, 0.84), (60, 45.0, 0.35)])
def test_tables_equal_the_integral(count, rate, sigma):
    def integrand(y):
        return stats.poisson.pmf(count, rate * np.exp(y)) * likelihood.heavy_tailed_density(np.array(y / sigma)) / sigma

    cuts = [-3 * sigma, np.log(max(count, 1) / rate), 3 * sigma]
    integral, _ = integrate.quad(integrand, -20, 20, points=sorted(cuts), limit=500, epsabs=0, epsrel=1e-11)
    table = likelihood.likelihood_tables([count], [rate], [round(100 * sigma)])
    assert table.item() == pytest.approx(np.log(integral), abs=1e-6)


def test_without_noise_it_is_the_poisson():
    table = likelihood.likelihood_tables(np.arange(30), np.array([5.0]), np.array([1]))
    assert np.abs(np.exp(table[0, :, 0]) - stats.poisson.pmf(np.arange(30), 5)).max() < 0.01
    wide = likelihood.likelihood_tables(np.arange(400), np.array([5.0]), np.array([40]))
    assert np.exp(wide).sum() == pytest.approx(1, abs=0.01), "Probabilities over all counts add up to one."


def test_blocks_do_not_matter():
    rates, sigmas = np.array([0.5, 90.0]), np.array([50])
    whole = likelihood.likelihood_tables(np.arange(60), rates, sigmas)
    single = np.concatenate([likelihood.likelihood_tables([k], rates, sigmas) for k in range(60)], axis=1)
    assert np.abs(whole - single).max() < 1e-10


def test_file_is_what_rctd_reads(tmp_path):
    shares = []
    likelihood.write_likelihood_tables(tmp_path / "tables.npz", max_count=2, progress=shares.append)
    with np.load(tmp_path / "tables.npz") as file:
        assert set(file.files) == {"X_vals"} | {f"Q_{s}" for s in [*range(10, 71), *range(72, 201, 2)]}
        assert len(file.files) == 127
        assert file["X_vals"].shape == (439,)
        assert file["Q_84"].shape == (5, 439) and file["Q_84"].dtype == np.float64
        assert file["Q_84"][3, 100] == pytest.approx(quadrature(3, file["X_vals"][100], 0.84), abs=1e-9)
    assert shares[-1] == 1 and shares == sorted(shares)
    assert [path.name for path in tmp_path.iterdir()] == ["tables.npz"]
    first = (tmp_path / "tables.npz").read_bytes()
    likelihood.write_likelihood_tables(tmp_path / "tables.npz", max_count=2)
    assert (tmp_path / "tables.npz").read_bytes() == first, "Same inputs, same bytes."
