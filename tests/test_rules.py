"""The rules as they are written: Snakemake's lint, what the cluster's profile knows of them, what scripts are."""

import re

import pytest

from demo_project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    return Project(tmp_path_factory.mktemp("project"), root)


def test_lint_finds_nothing(project):
    assert "good condition" in project.run("--lint")


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_slurm_profile_is_found_and_asks_for_more_with_each_attempt(project, attempt):
    forced = ["--forcerun", "predict_masks", "deconvolve_spots", "correlate_spots"]
    told = project.run("-n", "--profile", "slurm", "--attempt", str(attempt), *forced)
    for rule, memory, minutes in (
        ("predict_masks", 6000, 480),
        ("deconvolve_spots", 8000, 120),
        ("correlate_spots", 2500, 60),
    ):
        (asked,) = set(re.findall(rf"rule {rule}:.*?resources: (.*?)\n", told, re.DOTALL))
        assert f"mem_mb={memory * attempt}," in asked and asked.endswith(f"runtime={minutes * attempt}"), rule


def test_every_rule_that_asks_for_memory_stands_in_the_slurm_profile(root):
    """Or its retries would ask for the same again."""
    text = (root / "profiles/slurm/profile.yaml").read_text()
    rules = "".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    asking = [body.split(":")[0] for body in re.split(r"^rule ", rules, flags=re.MULTILINE)[1:] if "mem_mb=" in body]
    assert len(asking) > 5 and [rule for rule in asking if f"  {rule}:\n" not in text] == []


def test_no_rule_has_retries_of_its_own(root):
    for path in (root / "rules").glob("*.smk"):
        assert not re.search(r"^\s+retries:", path.read_text(), re.MULTILINE), "they'd repeat inside an allocation"


def test_scripts_only_bind(root):
    for path in (root / "scripts").glob("*.py"):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) <= 20, f"{path.name}: the library thinks, scripts bind"
