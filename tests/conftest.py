"""What several tests share."""

import os
from pathlib import Path

import pytest

# OpenMP threads that spin while they wait slow everything down on a busy machine; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public test material beside the checkout, which the repository doesn't carry."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the public test material is not at {folder} (see docs/tutorial.md)")
    return folder
