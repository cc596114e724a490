"""Cohorts at their own size through Slurm: the demonstration as it ships, and twenty slides of which one is corrupt."""

import json
import shutil

import pandas as pd
import pytest

from slurm_project import SlurmProject, finish, run_locally, submit
from small_project import summary

pytestmark = [pytest.mark.slurm, pytest.mark.long]
TABLES = ["correlations.parquet", "differences.parquet", "evaluation.tsv", "table2.tsv", "table2.html"]
HOUR_S = 3600


def test_the_demonstration_gives_byte_for_byte_the_tables_of_a_local_run(tmp_path, root):
    for name in ("Snakefile", "rules", "scripts", "workflow", "profiles", "slurm", "envs"):
        (tmp_path / name).symlink_to(root / name)
    shutil.copytree(root / "config", tmp_path / "config")
    finish(submit(tmp_path), timeout=HOUR_S)
    there = {name: (tmp_path / "results" / name).read_bytes() for name in TABLES}
    for name in ("results", "demo", "resources"):
        shutil.move(tmp_path / name, tmp_path / f"{name}-of-slurm")
    run_locally(tmp_path, timeout=HOUR_S)
    assert {name: (tmp_path / "results" / name).read_bytes() for name in TABLES} == there


def test_of_twenty_slides_one_is_corrupt(tmp_path, root):
    project = SlurmProject(tmp_path, root)
    slide = tmp_path / "demo/K1/slide.tiff"
    (tmp_path / "cut.tiff").write_bytes(slide.read_bytes()[: slide.stat().st_size // 2])
    rows = [project.row(f"S{number:02d}", like=f"K{1 + number % 2}") for number in range(1, 21)]
    project.give(*rows[:6], rows[6] | {"image": "cut.tiff"}, *rows[7:])
    told = project.run(expect=1, timeout=HOUR_S)
    good = {row["slide"] for row in rows} - {"S07"}

    assert any("slide S07:" in sentence and "cut.tiff" in sentence for sentence in summary(told))
    verdicts = json.loads((tmp_path / "results/verdicts.json").read_text())
    assert verdicts["slides"].keys() == {"S07"}, "nothing else was wrong"
    table = pd.read_parquet(tmp_path / "results/correlations.parquet")
    assert set(table["left_out"]) == {"S07"}
    assert {level for level in table["level"] if level.startswith("slide:")} == {f"slide:{slide}" for slide in good}
    assert all((tmp_path / f"results/{slide}/omni-seg/masks.ome.zarr").is_dir() for slide in good)
    assert "S07" in (tmp_path / "results/report.html").read_text()
