"""What jobs find in their environment is what the C library knows."""

import os
import subprocess
from pathlib import Path

import pytest

from nephrospot.environment import JOB_ENVIRONMENT, MALLOC

LOADER = Path("/lib64/ld-linux-x86-64.so.2")


@pytest.mark.skipif(not LOADER.exists(), reason="a system without glibc")
def test_glibc_knows_every_setting_and_takes_its_value():
    done = subprocess.run(
        [LOADER, "--list-tunables"], env=os.environ | JOB_ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("a glibc that doesn't tell its settings")
    told = dict(line.split(" (")[0].split(": ") for line in done.stdout.splitlines() if " (" in line)
    # `hugetlb` came with glibc 2.35; an older one takes no notice of it.
    known = {name: int(told[f"glibc.malloc.{name}"], 16) for name in MALLOC if f"glibc.malloc.{name}" in told}
    assert known.items() <= MALLOC.items() and len(known) >= 3
