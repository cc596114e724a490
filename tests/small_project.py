"""A small project in a folder of its own, to run Snakemake in as a user does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from nephrospot.models import build
from nephrospot.models.weights import save_weights
from nephrospot.simulate.demo import write_demo_reference, write_demo_slide

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
COLUMNS = ["slide", "image", "visium", "scores", "species", "mpp"]
STOPPED, LEFT_OUT = "What stopped the run:", "What went wrong:"


class Project:
    """A project folder with two small simulated slides, and Snakemake to run in it."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "rules", "scripts", "workflow"):
            (folder / name).symlink_to(root / name)
        shutil.copytree(root / "config", folder / "config")
        config = yaml.safe_load((folder / "config" / "config.yaml").read_text(encoding="utf-8"))
        small = {
            "section": {"width_um": 700, "height_um": 700, "mpp": 0.5, "outline": "full"},
            "genes": {"number": 600},
        }
        config["demo"] = {"folder": "simulated", "seed": 1, "simulation": small}  # not demo/: made here, not by rules
        config["deconvolution"] |= {"reference": "demo/reference.h5ad", "min_common_genes": 100, "methods": ["nnls"]}
        config["comparisons"] = [{"tissue": "PT", "reference": "nnls"}, {"tissue": "CAP", "reference": "pathologist"}]
        config["methods"]["omni-seg"]["weights"] = "weights/omni-seg.safetensors"
        config["methods"]["multi-unet"]["weights"] = "weights/multi-unet.safetensors"
        self.config = config
        for slide in ("K1", "K2"):
            write_demo_slide(folder / "demo" / slide, slide, config["demo"])
        write_demo_reference(folder / "demo" / "reference.h5ad", config["demo"])
        for name, width in (("omni-seg", 8), ("multi-unet", 4)):
            path = folder / "weights" / f"{name}.safetensors"
            save_weights(build(name, width=width), path, {"options": {"width": width}})

    def simplify(self) -> None:
        """One network and no truth, which is enough to go through every rule; NNLS doesn't read RCTD's tables."""
        self.config["methods"] = {"omni-seg": self.config["methods"]["omni-seg"]}
        self.config["evaluation"] = {}
        (self.folder / "resources").mkdir()
        (self.folder / "resources/rctd_likelihood.npz").touch()

    def row(self, slide: str, like: str = "K1", **changes: str) -> dict[str, str]:
        """A row of the sheet; what isn't given is as for a good slide."""
        good = {"image": "slide.tiff", "visium": "outs", "scores": "scores.csv"}
        row = {"slide": slide} | {name: f"demo/{like}/{file}" for name, file in good.items()} | {"species": "mouse"}
        return row | changes

    def command(self, target: str, rows: list[dict[str, str]], config: dict | None = None) -> list[str]:
        """Write sheet and configuration; the command line that runs them."""
        pd.DataFrame(rows, columns=COLUMNS).to_csv(self.folder / "config" / "slides.tsv", sep="\t", index=False)
        text = yaml.safe_dump(config or self.config, sort_keys=False)
        (self.folder / "config" / "config.yaml").write_text(text, encoding="utf-8")
        # The check goes first by priority, so that on one core nothing else has been started when it fails.
        cores = "1" if target == "all" else "2"
        return [str(SNAKEMAKE), target, "--cores", cores, "--configfile", "config/config.yaml"]

    def refuse(self, target: str, rows: list[dict[str, str]], config: dict | None = None) -> str:
        """Run Snakemake, which must fail without a traceback and without leftovers; what it printed."""
        done = subprocess.run(
            self.command(target, rows, config),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode != 0, f"bad input must fail:\n{printed}"
        assert "Traceback" not in printed, printed
        left = [path for path in self.folder.rglob(".*tmp*") if ".snakemake" not in path.parts]
        assert left == [], "nothing half-written is left behind"
        return printed


def summary(printed: str, heading: str = STOPPED) -> list[str]:
    """The sentences under the last heading: of a run that stopped, or of one that went on without some slides."""
    assert printed.count(heading) == 1, printed
    lines = printed.split(heading)[1].splitlines()[1:]
    return [line.strip() for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("  "))]]


def expect(sentences: list[str], expected: list[tuple[str, ...]]) -> None:
    """Each tuple of words stands in exactly one sentence, and no sentence is left over."""
    everything = "\n".join(sentences)
    for words in expected:
        found = [sentence for sentence in sentences if all(word in sentence for word in words)]
        assert len(found) == 1, f"{words} stands in {len(found)} sentences of:\n{everything}"
        sentences = [sentence for sentence in sentences if sentence != found[0]]
    assert sentences == [], "a mistake is told once, and what is right isn't told"
