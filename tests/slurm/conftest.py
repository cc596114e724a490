"""The local Slurm and a small cohort on it; without that Slurm every test here is left out."""

import pytest

import cluster
from slurm_project import SlurmProject


@pytest.fixture(scope="session", autouse=True)
def slurm():
    """The Slurm of cluster.py, and no other: tests here make nodes fail."""
    if f"= {cluster.CLUSTER}\n" not in cluster.told("scontrol", "show", "config"):
        pytest.skip("the tests' own Slurm isn't running here; `make test-slurm` starts it")
    return cluster


@pytest.fixture
def project(tmp_path, root):
    """Two small simulated slides, nothing computed yet."""
    return SlurmProject(tmp_path, root)
