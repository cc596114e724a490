"""The demonstration at a small size, in a working folder of its own, run as people run it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
SMALL = {
    "demo": {"simulation": {"section": {"width_um": 1000, "height_um": 1000}, "genes": {"number": 1000}}},
    "deconvolution": {"min_common_genes": 100},
}


def merge(base, changes):
    for key, value in changes.items():
        base[key] = merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return base


class Project:
    """A working folder with the repository's rules and a configuration of its own."""

    def __init__(self, folder, root):
        self.folder = folder
        for name in ("Snakefile", "rules", "scripts", "workflow", "profiles", "slurm", "envs"):
            (folder / name).symlink_to(root / name)
        shutil.copytree(root / "config", folder / "config")
        self.configure(SMALL)
        self.write_sheet("K1", "K4")

    def configure(self, changes):
        path = self.folder / "config/config.yaml"
        path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changes), sort_keys=False))

    def write_sheet(self, *slides, **columns):
        rows = []
        for slide in slides:
            row = {"slide": slide, "image": f"demo/{slide}/slide.tiff", "visium": f"demo/{slide}/outs"}
            row |= {"scores": f"demo/{slide}/scores.csv", "species": "mouse", "stain": "H&E", "group": "simulated"}
            row |= {"visium_scale": "2", "visium_x_px": "0", "visium_y_px": "0"} if slide == "K4" else {}
            rows.append(row | columns)
        pd.DataFrame(rows).to_csv(self.folder / "config/slides.tsv", sep="\t", index=False)

    def run(self, *arguments, expect=0):
        done = subprocess.run([SNAKEMAKE, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=900)
        told = done.stdout + done.stderr
        assert done.returncode == expect, told[-4000:]
        return told

    def planned(self, *arguments):
        """{rule: jobs} of a dry run."""
        told = self.run("--quiet", "rules", "-n", *arguments)
        return {
            name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", told, re.MULTILINE) if name != "total"
        }
