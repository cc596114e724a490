"""`make plan`: what planning costs for cohorts of 1 to 5,000 slides, before any of them is computed.

    python tests/benchmarks/plan.py --slides 1 100 1000 5000 --table results/plan.tsv

Every cohort is a sheet with two networks and Visium, scores and cell types on every slide; the files that the sheet
names are empty, since a plan doesn't read them. Nothing is computed. "one job" is what each job of a cluster does
before it starts its script: read the Snakefile, the configuration and the sheet, and plan itself.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
LINKED = ("Snakefile", "rules", "scripts", "workflow", "profiles", "envs")
COLUMNS = ["slides", "jobs", "plan_s", "plan_cpu_s", "plan_mb", "one_job_s", "one_job_cpu_s", "one_job_mb"]
STORE = re.compile(r"\.zarr$|/worst$")


def make_project(folder: Path, n: int) -> None:
    """A project of n slides by two networks, of empty files."""
    for name in LINKED:
        (folder / name).symlink_to(PROJECT / name)
    config = yaml.safe_load((PROJECT / "config/config.yaml").read_text())
    del config["methods"]["perfect"], config["evaluation"]
    config["published"] = str(PROJECT / "config/published.tsv")
    config["demo"] = {"folder": "simulated"}  # not demo/: these slides are nobody's to simulate
    config["deconvolution"] |= {"reference": "given/reference.h5ad", "tables": "given/tables.npz"}
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    (folder / "given/outs").mkdir(parents=True)
    for name in ("reference.h5ad", "tables.npz", "scores.csv", "slide.tiff"):
        (folder / "given" / name).touch()
    lines = ["slide\timage\tvisium\tscores\tspecies"]
    for number in range(1, n + 1):
        own = folder / f"slides/S{number:04d}"
        own.mkdir(parents=True)
        for name in ("slide.tiff", "outs", "scores.csv"):
            (own / name).symlink_to(folder / "given" / name)
        place = own.relative_to(folder)
        lines.append(f"{own.name}\t{place}/slide.tiff\t{place}/outs\t{place}/scores.csv\tmouse")
    (folder / "config/slides.tsv").write_text("\n".join(lines) + "\n")


def run(folder: Path, *arguments: str) -> tuple[list[float], str]:
    """Wall seconds, processor seconds and largest resident memory in MB, and what Snakemake said."""
    started = time.perf_counter()
    with subprocess.Popen(
        [SNAKEMAKE, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"snakemake {' '.join(arguments)} failed:\n{told[-3000:]}")
    return [time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], told


def count_jobs(told: str) -> int:
    """The total of Snakemake's table of jobs."""
    return int(re.search(r"^total +(\d+)$", told, re.MULTILINE)[1])


def count_files(folder: Path) -> dict[str, int]:
    """Files of the project's first slide by kind, as Snakemake lists them in a dry run."""
    _, told = run(folder, "-n")
    found: dict[str, set[str]] = {"output": set(), "log": set(), "benchmark": set()}
    for kind, paths in re.findall(r"^    (output|log|benchmark): (.+)$", told, re.MULTILINE):
        found[kind] |= {path for path in re.split(r", | \(", paths) if "S0001" in path}
    stores = {path for path in found["output"] if STORE.search(path)}
    counted = {f"{kind}s": len(paths - stores) for kind, paths in found.items()}
    return counted | {"files": sum(counted.values()), "zarr stores": len(stores)}


def measure(n: int) -> dict[str, float]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_project(folder, n)
        plan, told = run(folder, "-n", "--quiet", "rules")
        # As the Slurm plugin calls it, but for -n.
        one = ("-n", "--quiet", "all", "--mode", "remote", "--target-jobs", "check_slide:slide=S0001")
        job, _ = run(folder, *one, "--allowed-rules", "check_slide", "--force", "--nolock")
    return dict(zip(COLUMNS, (n, count_jobs(told), *plan, *job), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, nargs="+", default=[1, 100, 1000, 5000])
    parser.add_argument("--table", type=Path, default=PROJECT / "results/plan.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        make_project(Path(temporary), 1)
        print("a slide by two networks:", ", ".join(f"{n} {kind}" for kind, n in count_files(Path(temporary)).items()))
    lines = ["\t".join(COLUMNS)]
    for n in arguments.slides:
        row = measure(n)
        lines.append("\t".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()))
        print(lines[0] if len(lines) == 2 else "", lines[-1], sep="\n" if len(lines) == 2 else "", flush=True)
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    arguments.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
