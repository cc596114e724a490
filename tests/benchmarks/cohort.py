"""`make scale`: the cohort's steps (correlations, Table II, worst spots, readers, report) over 10 to 1,000 slides.

    python tests/benchmarks/cohort.py --slides 10 100 1000 --table results/scale.tsv

Every slide's outputs are simulated (`simulated_outputs.py`): smooth and sparse maps on Visium's lattice, 300 to 4,992
spots on tissue, two methods, scores by a pathologist (by two readers on a tenth of the slides) and proportions by RCTD
and NNLS. The steps are the workflow's own scripts, each in a process of its own. The crops of the worst spots aren't
drawn, since their number doesn't depend on the cohort's.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from meter import children_mb, cpu_seconds, peak_mb
from simulated_outputs import COMPARISONS, METHODS, TISSUES, make_settings, write_cohort

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
STEPS = ("correlate_spots", "measure_sensitivity", "measure_readers", "write_table2", "draw_worst", "write_report")
COLUMNS = [
    "slides",
    "spots",
    *(f"{step}_{unit}" for step in STEPS for unit in ("s", "cpu_s", "mb")),
    "report_mb",
    "all_s",
    "all_cpu_s",
]


class Names(dict):
    """Snakemake's lists of named things: by name as a key or an attribute."""

    __getattr__ = dict.__getitem__


def describe(step: str, folder: Path) -> Names:
    """What Snakemake would tell the script of a step."""
    results, settings = folder / "results", make_settings()
    sheet = pd.read_csv(folder / "sheet.tsv", sep="\t", keep_default_na=False)
    given = sheet.set_index("slide")[["image", "visium", "scores"]].to_dict("index")
    manifests = [str(results / slide / "slide.json") for slide in given]
    statistics = {"seed": 1, "replicates": 2000}
    shared = {
        "results": str(results), "slides": given, "deconvolved": list(given), "methods": list(METHODS),
        "comparisons": COMPARISONS, "tissues": list(TISSUES), "statistics": statistics, "ceilings": [],
        "looked_at": list(METHODS), "images": {},
        "colours": {name: tissue["colour"] for name, tissue in TISSUES.items()}, "diameter_um": 55.0,
    }  # fmt: skip
    if step == "measure_sensitivity":
        kinds = {name: tissue["cell_types"] for name, tissue in TISSUES.items()}
        shared |= {"slides": list(given), "second": False, "cell_types": kinds, "tissues": ["PT"],
                   "factors": {"cell_umi": {}, "cell_area_um2": {}}}  # fmt: skip
    if step == "write_table2":
        shared["methods"] = settings["methods"]
    if step == "write_report":
        shared = {"settings": settings | {"results": str(results)}, "sheet": sheet.to_dict("records")}
    outputs = {
        "correlate_spots": {
            "table": "correlations.parquet",
            "differences": "differences.parquet",
            "worst": "worst.parquet",
        },
        "measure_sensitivity": {"table": "sensitivity.tsv"},
        "write_table2": {"tsv": "table2.tsv", "html": "table2.html", "latex": "table2.tex"},
        "draw_worst": {"crops": "worst"},
        "measure_readers": {"table": "readers.tsv"},
        "write_report": {"page": "report.html"},
    }[step]
    inputs = {"correlations": "correlations.parquet", "differences": "differences.parquet"}
    inputs = {name: str(results / path) for name, path in inputs.items()}
    if step == "draw_worst":
        inputs["table"] = str(results / "worst.parquet")
    return Names(
        input=Names(inputs, manifests=manifests, published=str(PROJECT / "config/published.tsv")),
        output=Names({name: str(results / path) for name, path in outputs.items()}),
        params=Names(shared), log=[str(results / f"logs/{step}.log")], wildcards=Names(), rule=step, threads=2,
        config={},
    )  # fmt: skip


def run_step(step: str, folder: Path) -> None:
    """Run a step's script in this process; its cost as JSON on the last line."""
    started = time.perf_counter()
    if step == "draw_worst":
        from nephrospot.report import worst

        worst.draw_all = lambda table, *_: write_crops(table, folder / "results/worst")
    runpy.run_path(str(PROJECT / f"scripts/{step}.py"), init_globals={"snakemake": describe(step, folder)})
    print(json.dumps({"s": time.perf_counter() - started, "cpu_s": cpu_seconds(), "mb": max(peak_mb(), children_mb())}))


def write_crops(table: pd.DataFrame, folder: Path) -> None:
    """A picture for each row, without its slide."""
    from simulated_outputs import draw_noise

    from nephrospot.report.worst import crop_path

    for row in table.itertuples():
        draw_noise(crop_path(folder, row), 220, 220, row.rank)


def measure(n: int, work: Path) -> dict:
    """One row of the table."""
    folder = work / str(n)
    spots = write_cohort(folder, n)
    row: dict = {"slides": n, "spots": spots}
    clean = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{PROJECT / 'workflow'}", "OPENBLAS_NUM_THREADS": "1"}
    for step in STEPS:
        command = [sys.executable, str(HERE / "cohort.py"), "--step", step, "--folder", str(folder)]
        done = subprocess.run(command, env=clean, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{step} failed:\n{done.stderr[-3000:]}")
        cost = json.loads(done.stdout.splitlines()[-1])
        row |= {f"{step}_{unit}": value for unit, value in cost.items()}
        print(f"{n} slides, {step}: {cost['s']:.1f} s, {cost['mb']:.0f} MB", file=sys.stderr, flush=True)
    row["report_mb"] = (folder / "results/report.html").stat().st_size / 1e6
    return row | {f"all_{unit}": sum(row[f"{step}_{unit}"] for step in STEPS) for unit in ("s", "cpu_s")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--table", type=Path, default=PROJECT / "results/scale.tsv")
    parser.add_argument("--work", type=Path, help="where the simulated outputs stay; else they are deleted")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        return run_step(arguments.step, arguments.folder)
    with tempfile.TemporaryDirectory() as temporary:
        rows = [measure(n, arguments.work or Path(temporary)) for n in arguments.slides]
    table = pd.DataFrame(rows)[COLUMNS].round(1)
    print(table.T.to_string(header=False))
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.table, sep="\t", index=False)


if __name__ == "__main__":
    main()
