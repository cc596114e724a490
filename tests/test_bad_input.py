"""Bad input through the whole workflow: sentences with a remedy, no traceback, nothing half-written."""

import copy
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import tifffile

from nephrospot.models import build
from nephrospot.models.weights import save_weights
from nephrospot.prerequisites import check_prerequisites
from nephrospot.settings import read_settings
from small_project import LEFT_OUT, SNAKEMAKE, Project, expect, summary

GLASS = np.full((600, 600, 3), 245, np.uint8)


@pytest.fixture(scope="module")
def project(tmp_path_factory, root) -> Project:
    return Project(tmp_path_factory.mktemp("project"), root)


@pytest.fixture(autouse=True)
def _fresh_results(project):
    shutil.rmtree(project.folder / "results", ignore_errors=True)


def copy_outs(project: Project, name: str) -> str:
    """A Space Ranger folder like K1's, to be spoilt."""
    shutil.copytree(project.folder / "demo" / "K1" / "outs", project.folder / "bad" / name, dirs_exist_ok=True)
    return f"bad/{name}"


def change_reference(project: Project, name: str, change) -> dict:
    """The configuration with a reference that ``change`` spoilt."""
    cells = ad.read_h5ad(project.folder / "demo" / "reference.h5ad")
    (project.folder / "bad").mkdir(exist_ok=True)
    change(cells).write_h5ad(project.folder / "bad" / name)
    config = copy.deepcopy(project.config)
    config["deconvolution"]["reference"] = f"bad/{name}"
    return config


def test_mistakes_in_the_configuration(project):
    config = copy.deepcopy(project.config)
    config["spots"] = {"diametre_um": 55}
    config["species"]["mouze"] = config["species"].pop("mouse")
    config["segmentation"]["window_px"] = "wide"
    config["deconvolution"]["cell_min"] = 2.5
    printed = project.refuse("check", [project.row("K1")], config)
    told = [line[line.index("config, ") :] for line in printed.splitlines() if "config, " in line]
    expect(
        told,
        [
            ("config, spots.diametre_um", "did you mean 'diameter_um'"),
            ("config, species.mouze", "did you mean 'mouse'"),
            ("config, segmentation.window_px", "'wide'", "give a whole number"),
            ("config, deconvolution.cell_min", "2.5", "give a whole number"),
        ],
    )
    assert not (project.folder / "results").exists()


def test_mistakes_in_the_sheet(project):
    rows = [
        project.row("K1"),
        project.row("K1", like="K2"),
        project.row("K2", species="muose"),
        project.row("K3", mpp="0,5"),
        project.row("K4", image="demo/K4/slide.tiff"),
        project.row("a/b"),
    ]
    printed = project.refuse("check", rows)
    told = [line[line.index("slides.tsv") :] for line in printed.splitlines() if "slides.tsv, row" in line]
    expect(
        told,
        [
            ("row 2 (K1)", "stands in row 1 too", "its own name"),
            ("row 3 (K2)", "species is 'muose'", "did you mean 'mouse'"),
            ("row 4 (K3)", "mpp is '0,5'", "write 0.5"),
            ("row 5 (K4)", "image 'demo/K4/slide.tiff' doesn't exist", "correct it"),
            ("row 6 (a/b)", "slide 'a/b' can't name a folder", "use letters"),
        ],
    )


def test_files_that_the_configuration_names(project):
    config = copy.deepcopy(project.config)
    config["deconvolution"]["reference"] = "cells.h5ad"
    config["methods"]["omni-seg"]["weights"] = "weights/omniseg.safetensors"
    config["methods"]["perfect"]["masks"] = "expert/{slide}/{tissue}.png"
    printed = project.refuse("check", [project.row("K1")], config)
    told = [line[line.index("config, ") :] for line in printed.splitlines() if "config, " in line]
    expect(
        told,
        [
            ("deconvolution.reference", "'cells.h5ad' doesn't exist", "correct the path"),
            ("methods.omni-seg.weights", "'weights/omniseg.safetensors' doesn't exist", "correct the path"),
            ("methods.perfect.masks", "'expert/K1' doesn't exist", "masks of slide K1"),
        ],
    )


@pytest.mark.long
def test_every_slide_that_cannot_be_used_at_once(project):
    bad = project.folder / "bad"
    bad.mkdir(exist_ok=True)
    slide = project.folder / "demo" / "K1" / "slide.tiff"
    (bad / "cut.tiff").write_bytes(slide.read_bytes()[: slide.stat().st_size // 2])
    (bad / "text.svs").write_text("no slide at all")
    tifffile.imwrite(bad / "bare.tiff", GLASS, photometric="rgb")
    hd, other = copy_outs(project, "hd"), copy_outs(project, "other")
    (bad / "hd" / "binned_outputs").mkdir(exist_ok=True)
    positions = next((bad / "other" / "spatial").glob("tissue_positions*"))
    positions.write_text(positions.read_text().replace("-1,", "-9,"))
    barcodes = pd.read_csv(project.folder / "demo" / "K1" / "scores.csv")["barcode"]
    scores = ["barcode,CAP", f"{barcodes[0]},many", f"{barcodes[1]},5", f"{barcodes[1]},6", "AAAA-1,7"]
    (bad / "scores.csv").write_text("\n".join(scores))
    plain = {"visium": "", "scores": ""}
    rows = [
        project.row("cut", image="bad/cut.tiff", **plain),
        project.row("text", image="bad/text.svs", **plain),
        project.row("bare", image="bad/bare.tiff", **plain),
        project.row("coarse", mpp="0.25"),
        project.row("mixed", visium="demo/K2/outs", scores=""),
        project.row("hd", visium=hd, scores=""),
        project.row("other", visium=other, scores=""),
        project.row("scored", scores="bad/scores.csv"),
        project.row("good"),
    ]
    config = change_reference(project, "bare.h5ad", lambda cells: ad.AnnData(cells.X, var=cells.var))
    save_weights(build("multi-unet", width=4), bad / "w.safetensors", {"options": {"width": 8}})
    config["methods"]["omni-seg"]["weights"] = "bad/w.safetensors"
    config["methods"]["perfect"]["masks"] = "simulated/{slide}/{tissue}.png"
    printed = project.refuse("check", rows, config)
    told = summary(printed)
    for sentence in told:
        assert printed.count(f"nephrospot can't go on: {sentence}") == 1, "told where it happens, and in the end"
    expect(
        told,
        [
            ("slide cut:", "bad/cut.tiff", "copy"),
            ("slide text:", "bad/text.svs", "isn't a slide", "export it"),
            ("slide bare:", "nothing says how large a pixel is", "in column mpp"),
            ("slide coarse:", "mpp is 0.25 but the file's tag says 0.5", "set mpp to 0.5"),
            ("slide mixed:", "don't show the same tissue", "check columns image and visium"),
            ("slide hd:", "Visium HD", "give the folder of"),
            ("slide other:", "spots on tissue have no counts in bad/other", "copy both from one Space Ranger run"),
            ("slide scored, scores.csv", "CAP is 'many'", "give a number"),
            ("slide scored, scores.csv", f"{barcodes[1]} is scored twice", "keep one row"),
            ("slide scored, scores.csv", "AAAA-1 is not on this slide", "correct them"),
            ("bad/bare.h5ad", "no column 'cell_type'", "deconvolution.label_column"),
            ("methods.omni-seg", "correct network or weights", "bad/w.safetensors", "aren't weights of omni-seg"),
        ],
    )
    assert not (project.folder / "results" / "check.txt").exists()


def test_a_normalised_reference_and_broken_weights(project):
    def normalise(cells):
        cells.X = np.log1p(cells.X)
        return cells

    config = change_reference(project, "normalised.h5ad", normalise)
    (project.folder / "bad" / "cut.safetensors").write_bytes(b"cut short")
    config["methods"]["omni-seg"]["weights"] = "bad/cut.safetensors"
    printed = project.refuse("all", [project.row("K1")], config)
    expect(
        summary(printed),
        [
            ("bad/normalised.h5ad", "no raw counts", "Store the counts before normalisation"),
            ("methods.omni-seg", "bad/cut.safetensors", "can't be read", "copy the file again"),
        ],
    )
    assert [path.name for path in (project.folder / "results" / "K1").iterdir()] == ["slide.json"]


def test_a_reference_without_a_cell_type(project):
    config = change_reference(project, "lacking.h5ad", lambda cells: cells[cells.obs["cell_type"] != "Podo"].copy())
    printed = project.refuse("all", [project.row("K1")], config)
    expect(summary(printed), [("bad/lacking.h5ad", "gives cell type 'Podo' to a tissue, but the reference has none")])
    assert [path.name for path in (project.folder / "results" / "K1").iterdir()] == ["slide.json"]


def test_what_only_meets_in_later_steps_is_told_by_the_check(project, monkeypatch):
    """A reference of another species, a tissue that no network knows, damaged counts, broken published numbers."""

    def write_in_capitals(cells):
        cells.var_names = cells.var_names.str.upper()
        return cells

    config = change_reference(project, "human.h5ad", write_in_capitals)
    config["tissues"]["FAT"] = {"name": "fat", "colour": "#000000"}
    config["species"]["mouse"]["FAT"] = {"magnification": 10, "scale_code": 10}
    del config["methods"]["multi-unet"]
    config["published"] = "bad/published.tsv"
    monkeypatch.chdir(project.folder)
    cut = copy_outs(project, "cut_counts")
    counts = Path(cut) / "filtered_feature_bc_matrix.h5"
    counts.write_bytes(counts.read_bytes()[:-5000])
    Path(config["published"]).write_text("method\ttissue\nX\tPT\nX\tPT\tmore\tand more\n")
    slides = {"K1": "demo/K1/outs", "K2": cut}
    manifests = [{"slide": s, "visium": v, "species": "mouse", "problems": []} for s, v in slides.items()]
    _, problems, of_slides = check_prerequisites(manifests, read_settings(config))
    assert list(of_slides) == ["K1", "K2"], "counts are a slide's own matter"
    expect(
        problems + of_slides["K1"] + of_slides["K2"],
        [
            ("bad/published.tsv", "can't be read as a table", "mend the file"),
            ("config, methods.omni-seg", "no network knows tissue 'FAT'", "the options are"),
            ("slide K1:", "0 genes in common with the reference", "Same species?"),
            ("slide K2:", str(counts), "can't be read", "copy it again"),
        ],
    )


def test_a_second_reference_and_factors_that_do_not_go_together(project, monkeypatch):
    """Checked like the first one, with its own labels and cell types."""
    config = copy.deepcopy(project.config)
    (project.folder / "bad").mkdir(exist_ok=True)
    cells = ad.read_h5ad(project.folder / "demo" / "reference.h5ad")
    cells.obs = cells.obs.rename(columns={"cell_type": "label"})
    cells.var_names = cells.var_names.str.upper()
    cells.write_h5ad(project.folder / "bad" / "second.h5ad")
    second = {"reference": "bad/second.h5ad", "label_column": "label", "cell_types": {"PT": ["PT"]}}
    config["deconvolution"] |= {"methods": ["rctd", "nnls"], "second": second, "cell_umi": {"Pdo": 3000}}
    monkeypatch.chdir(project.folder)
    manifest = {"slide": "K1", "visium": "demo/K1/outs", "species": "mouse", "problems": []}
    _, problems, of_slides = check_prerequisites([manifest], read_settings(config))
    problems = problems + [sentence for told in of_slides.values() for sentence in told]
    factors = ("config, deconvolution.cell_umi", "no cell type 'Pdo'", "did you mean 'Podo'")
    expect(problems, [factors, ("bad/second.h5ad", "gives cell type 'PT' to a tissue", "the reference has none")])
    config["deconvolution"]["second"]["cell_types"], config["deconvolution"]["cell_umi"] = {}, {}
    _, problems, of_slides = check_prerequisites([manifest], read_settings(config))
    problems = problems + [sentence for told in of_slides.values() for sentence in told]
    expect(problems, [("slide K1, second reference:", "0 genes in common with the reference", "Same species?")])


def test_a_slide_without_tissue(project):
    image = project.folder / "glass.tiff"
    tifffile.imwrite(
        image, GLASS, photometric="rgb", tile=(256, 256), resolution=(20_000, 20_000), resolutionunit="CENTIMETER"
    )
    config = project.config | {"methods": {"omni-seg": project.config["methods"]["omni-seg"]}, "evaluation": {}}
    row = project.row("glass", image="glass.tiff", visium="", scores="")
    printed = project.refuse("results/glass/omni-seg/predict.json", [row], config)
    expect(summary(printed, LEFT_OUT), [("slide glass:", "no tissue was found", "lower segmentation → tissue")])
    assert [path.name for path in (project.folder / "results" / "glass").iterdir()] == ["slide.json"]


def test_a_full_disk(project):
    """A file system of a few pages in a mount namespace of its own, so that nothing stays mounted."""
    apart = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    (project.folder / "results").mkdir()
    mount = "mount -t tmpfs -o size=64k tmpfs results"
    if (
        not shutil.which("unshare")
        or subprocess.run([*apart, mount], cwd=project.folder, capture_output=True).returncode
    ):
        pytest.skip("a small file system can't be mounted here (unshare isn't there or isn't allowed to)")
    # 16 pages: the check's six files, the log and half a table; the last page is left for the log's sentence.
    rows = [project.row("K1", visium="", scores="")]
    script = f"""{mount}
        "$@" results/check.txt > /dev/null 2>&1
        dd if=/dev/zero of=results/fill bs=4096 2> /dev/null || true
        truncate -s -4096 results/fill
        "$@" results/K1/tiles.parquet && exit 0
        find results -not -name '*.log' -type f
        exit 1"""
    project.command("all", rows)
    done = subprocess.run(
        [*apart, script, "sh", str(SNAKEMAKE), "--cores", "1"],
        cwd=project.folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in printed, printed
    expect(summary(printed), [("results/K1/tiles.parquet", "the disk is full", "free some space and run again")])
    left = sorted(line for line in done.stdout.splitlines() if line.startswith("results/"))
    whole = ["results/K1/slide.json", "results/check.txt", "results/fill", "results/verdicts.json"]
    assert left == whole, "nothing half-written"
