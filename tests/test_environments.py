"""pip, conda and the container install the same things: every one of them by envs/constraints.txt."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_pins(path):
    """{package: version} of a file of pins."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    assert all("==" in line for line in lines if line), "every line pins"
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines if line)}


def requirements(project, *extras):
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    return {canonicalize_name(required.name): required for required in map(Requirement, texts)}


@pytest.mark.parametrize(("file", "extras"), [("constraints.txt", ("rctd", "slurm", "test")), ("kpis.txt", ("kpis",))])
def test_whatever_the_project_asks_for_is_pinned_at_a_version_that_it_takes(root, project, file, extras):
    pins = read_pins(root / "envs/constraints.txt") | read_pins(root / "envs" / file)
    wanted = requirements(project, *extras)
    assert {"snakemake", "torch"} <= wanted.keys(), "the project's list was read"
    assert wanted.keys() <= pins.keys(), f"not pinned: {wanted.keys() - pins.keys()}"
    wrong = [str(required) for name, required in wanted.items() if pins[name] not in required.specifier]
    assert not wrong, f"the pins aren't what pyproject.toml asks for: {wrong}"


def test_what_this_environment_has_is_what_the_extras_share(root):
    both = read_pins(root / "envs/constraints.txt"), read_pins(root / "envs/kpis.txt")
    twice = {name for name in both[0].keys() & both[1].keys() if both[0][name] != both[1][name]}
    assert not twice, f"constraints.txt and kpis.txt pin {twice} at different versions"


def test_conda_takes_python_from_conda_and_all_else_by_the_pins(root, project):
    environment = yaml.safe_load((root / "envs/nephrospot.yaml").read_text(encoding="utf-8"))
    *plain, by_pip = environment["dependencies"]
    python = next(text.split("=")[1] for text in plain if text.startswith("python="))
    assert python in Requirement(f"python{project['requires-python']}").specifier
    assert plain == [f"python={python}", "pip"], "another package from conda would be at another version"
    # Paths in the file start from the file.
    assert by_pip["pip"] == ["--constraint constraints.txt", "--editable ..[rctd,slurm]"]


def test_every_rule_has_this_environment(root):
    for path in (root / "rules").glob("*.smk"):
        assert set(re.findall(r'conda:\n\s+"(.*)"', path.read_text(encoding="utf-8"))) <= {"../envs/nephrospot.yaml"}


def test_the_container_installs_the_same(root):
    recipe = (root / "envs/Containerfile").read_text(encoding="utf-8")
    assert "--constraint /opt/nephrospot/envs/constraints.txt '/opt/nephrospot[rctd,slurm]'" in recipe
    # Debian 12 has the Python of the conda environment.
    assert "FROM debian:12-slim" in recipe and "python=3.11" in (root / "envs/nephrospot.yaml").read_text()
    ignored = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".venv*", "results*", "demo", "resources", ".git"} <= set(ignored), "these belong in no image"
