"""Files from elsewhere are data: nothing in them is run, leaves its folder, or takes memory by what it declares."""

import ast
import gzip
import json
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from label_files import write_labels
from nephrospot import settings, sheet
from nephrospot.counts import read_counts
from nephrospot.errors import InputError, Problems, make_printable
from nephrospot.geojson import write_geojson
from nephrospot.masks import open_drop_in
from nephrospot.models.weights import load_weights
from nephrospot.report.page import make_environment
from nephrospot.scoring import import_sheet
from nephrospot.slide import open_slide
from nephrospot.stitch import write_masks
from pictures import paint, write_tiff
from visium_folder import make_positions, write_outs

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [*sorted((ROOT / "workflow").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
NASTY = '</script><b onload="x">\'&\u2028 µ 🫘'


@pytest.fixture
def slide(tmp_path):
    with open_slide(write_tiff(tmp_path / "slide.tiff", paint(), tile=(256, 256))) as opened:
        yield opened


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


class TestNothingIsRun:
    def test_weights_are_never_unpickled(self, tmp_path):
        torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap(tmp_path / "sprung")}, tmp_path / "w.pth")
        (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": Trap(tmp_path / "sprung")}))
        (tmp_path / "w.safetensors").write_bytes(pickle.dumps({"a": Trap(tmp_path / "sprung")}))
        for path in [*sorted(tmp_path.glob("w.*")), tmp_path / "old.pth"]:
            with pytest.raises(InputError, match=r"tensors alone|can't be read"):
                load_weights("multi-unet", path)
        assert not (tmp_path / "sprung").exists()
        pickle.loads((tmp_path / "old.pth").read_bytes())
        assert (tmp_path / "sprung").exists(), "the trap would have sprung"

    def test_no_code_from_the_configuration(self, tmp_path):
        trap = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{tmp_path / 'sprung'}]]"
        with pytest.raises(yaml.constructor.ConstructorError):
            yaml.load(f"sheet: {trap}", Loader=settings.LOADER)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
    def test_nothing_in_the_library_could(self, path):
        """Calls that run what they are given, or that do unless they are told otherwise."""
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            name, given = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert name not in (
                "eval",
                "exec",
                "os.system",
                "os.popen",
                "pickle.load",
                "pickle.loads",
                "yaml.unsafe_load",
            )
            assert name != "torch.load" or given.get("weights_only") == "True", f"{path.name} unpickles"
            assert name != "yaml.load" or given.get("Loader") == "LOADER", f"{path.name} loads YAML that can run code"
            assert not name.startswith("subprocess.") or given.get("shell") in (None, "False"), f"{path.name}: a shell"
            assert name != "np.load" or given.get("allow_pickle") in (None, "False"), f"{path.name} unpickles"


class TestNothingLeavesItsFolder:
    @pytest.mark.parametrize(
        "name", ["..", "../K1", "a/b", "/tmp/x", ".hidden", "K1.", "a\\b", "<b>", "K 1", "µ", "x" * 101]
    )
    def test_a_slide_names_a_folder(self, tmp_path, name):
        (tmp_path / "slides.tsv").write_text(f"slide\timage\tspecies\n{name}\ta.tiff\tmouse\n", encoding="utf-8")
        with pytest.raises(InputError, match="can't name a folder"):
            sheet.read_sheet(tmp_path / "slides.tsv", {"species": {"mouse": {}}}, look_for_files=False)

    @pytest.mark.parametrize("name", ["logs", "Worst", "training", "table2.tsv"])
    def test_a_slide_takes_no_folder_of_the_cohorts(self, tmp_path, name):
        (tmp_path / "slides.tsv").write_text(f"slide\timage\tspecies\n{name}\ta.tiff\tmouse\n")
        with pytest.raises(InputError, match=r"of their own; give the slide another name"):
            sheet.read_sheet(tmp_path / "slides.tsv", {"species": {"mouse": {}}}, look_for_files=False)

    def test_the_names_that_are_taken_are_those_of_the_rules(self):
        text = "".join(path.read_text("utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))
        first = set(re.findall(r"<(?:results|demo)>/([^/\"{]+)[/\"]", text)) | {"logs"}
        below = set(re.findall(r"<results>/\{slide\}/([^/\"{]+)[/\"]", text))
        assert len(first) > 20 and "report.html" in first and first - sheet.TAKEN == set()
        assert len(below) > 8 and below - settings.TAKEN == set()

    def test_scores_are_written_under_slides_names_alone(self, tmp_path):
        key = {"number": [1], "slide": ["../../K1"], "barcode": ["A"], "x_px": 1, "y_px": 1, "reading": 1, "kit": "k"}
        pd.DataFrame(key).to_csv(tmp_path / "key.csv", index=False)
        (tmp_path / "sheet.csv").write_text("number,CAP,kit\n1,50,k\n")
        with pytest.raises(InputError, match=r"slide '\.\./\.\./K1' can't name a file"):
            import_sheet(tmp_path / "sheet.csv", tmp_path / "key.csv", ["CAP"], "A")

    @pytest.mark.parametrize(
        "name", ["..", "../CAP", "a/b", ".zattrs", "zarr.json", "__c", "merged", "", "x\x00", 5, None]
    )
    def test_a_class_of_geojson_names_a_label(self, tmp_path, slide, name):
        write_ring(tmp_path / "S1.geojson", name)
        with pytest.raises(InputError, match=r"can't name a label|isn't GeoJSON"):
            open_drop_in(str(tmp_path / "{slide}.geojson"), "S1", slide, 0.5)

    @pytest.mark.parametrize(
        "name", ["CAP", "Region*", "Immune cells", "Tumor: µ", NASTY.replace("/", "").replace("\u2028", "")]
    )
    def test_what_can_name_one_does(self, tmp_path, slide, name):
        write_ring(tmp_path / "S1.geojson", name)
        sources = open_drop_in(str(tmp_path / "{slide}.geojson"), "S1", slide, 0.5)
        write_masks(tmp_path / "m" / "masks.ome.zarr", sources, slide, 0.5, {})
        labels = tmp_path / "m" / "masks.ome.zarr" / "labels"
        assert {path.name for path in labels.iterdir() if path.is_dir()} == {name, "merged"}
        assert [path.name for path in (tmp_path / "m").iterdir()] == ["masks.ome.zarr"]

    def test_a_matrix_lies_in_its_own_file(self, tmp_path):
        outs = write_outs(tmp_path, make_positions())
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "w") as file:
            file["matrix/shape"] = [1, 1]
            file["matrix"].create_dataset("data", (8,), "u1", external=[("/etc/passwd", 0, 8)])
        with pytest.raises(InputError, match="matrix/data is said to lie in another file"):
            read_counts(outs)
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "w") as file:
            file["matrix/data"] = h5py.ExternalLink("/tmp/other.h5", "/data")
        with pytest.raises(InputError, match="matrix/data is said to lie in another file"):
            read_counts(outs)


def write_ring(path, name):
    ring = {"type": "Polygon", "coordinates": [[[10, 10], [200, 10], [100, 200], [10, 10]]]}
    feature = {"type": "Feature", "geometry": ring, "properties": {"classification": {"name": name}}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


class TestNamesAreEscaped:
    def test_in_pages(self):
        page = make_environment().get_template("scoring.html.jinja").render(spots=[], tissues=[NASTY])
        assert "<b " not in page and "</script><b" not in page and "&lt;b onload=" in page

    def test_no_template_switches_it_off(self):
        templates = sorted((ROOT / "workflow/nephrospot/report/templates").rglob("*.jinja"))
        assert templates
        for path in templates:
            assert not re.search(r"\|\s*safe|autoescape", path.read_text("utf-8")), path.name

    def test_in_geojson(self, tmp_path):
        masks = write_labels(tmp_path / "m.ome.zarr", {"CAP": np.pad(np.ones((9, 9), bool), 5)})
        write_geojson(tmp_path / "m.geojson.gz", masks, 0.5, {}, {"CAP": NASTY}, NASTY)
        content = json.loads(gzip.decompress((tmp_path / "m.geojson.gz").read_bytes()))
        assert content["features"][0]["properties"]["name"] == f"{NASTY} 1"

    def test_on_terminals(self):
        assert str(InputError("a\x1b[31mb\x00.\nc\u2028d.")) == "a\\x1b[31mb\\x00.\nc\\u2028d."
        problems = Problems()
        problems.add("red \x1b[31m.")
        assert problems.sentences == ["red \\x1b[31m."]
        assert len(make_printable("x" * 10_000 + " end.")) < 1000 and make_printable("x" * 10_000 + " end.").endswith(
            "end."
        )
