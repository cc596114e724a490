"""The documents name what the code writes and says: files, columns, keys, sentences, links."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from nephrospot import (
    agree,
    certainty,
    choose,
    cost,
    diameters,
    differences,
    doublet,
    fastq,
    readers,
    sensitivity,
    shifts,
    table1,
    table3,
    worst,
)
from nephrospot.chunks import COSTS
from nephrospot.correlate import COLUMNS
from nephrospot.evaluate import LONG_COLUMNS, POOLED_COLUMNS
from nephrospot.join import PAIR_COLUMNS
from nephrospot.objects import DTYPES
from nephrospot.omezarr import create_plane, majority, write_multiscale
from nephrospot.quality import judge_spots
from nephrospot.registration import Transform
from nephrospot.report import fractions
from nephrospot.settings import read_schema
from nephrospot.shares import proportions_table
from nephrospot.simulate.cohort import write_slide
from nephrospot.spots import CUT_REASON, OUTSIDE_REASON, measure_spots
from nephrospot.table2 import make_table2
from nephrospot.tiles import Grid, list_tiles
from nephrospot.training import layouts
from nephrospot.training.runs import PARTS
from nephrospot.visium import VisiumGrid

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "workflow/nephrospot"
OUTPUTS = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
TROUBLES = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
ROW = {"method": "m", "tissue": "PT", "reference": "rctd", "level": "pooled"}
POOLED = pd.DataFrame([dict.fromkeys(COLUMNS, 0) | ROW])
UNPUBLISHED = pd.DataFrame(columns=["method", "tissue", "reference", "r_x100", "note"])
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def section(title):
    """The text of outputs.md below one heading."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", OUTPUTS, re.MULTILINE | re.DOTALL)
    assert found, f"outputs.md has no section {title!r}"
    return found[1]


def assert_named(names, title):
    """Every name stands in code marks in the section."""
    text, names = section(title), list(names)
    assert names, f"no name was found in the code for {title!r}"
    lacking = [name for name in names if f"`{name}`" not in text]
    assert not lacking, f"outputs.md, section {title!r}, doesn't name {lacking}"


def dictionary_keys(module, function):
    """Keys of the dictionaries written out in a function, without running it (which may need torch)."""
    tree = ast.parse((LIBRARY / module).read_text(encoding="utf-8"))
    body = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    dictionaries = [node for node in ast.walk(body) if isinstance(node, ast.Dict)]
    return {key.value for node in dictionaries for key in node.keys if isinstance(key, ast.Constant)}


def rules():
    """{rule: text of its output, log and benchmark} of every rule."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))
    parts = re.split(r"^(?:rule|use rule \w+ as) (\w+)(?: with)?:\n", text, flags=re.MULTILINE)[1:]
    wanted = re.compile(r"^    (?:output|log|benchmark):\n((?:^ {8}.*\n)+)", re.MULTILINE)
    return {name: "".join(wanted.findall(body)) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def rule_paths(start):
    """(rule, path) of every output below ``<results>`` or ``<demo>``."""
    return [
        (name, path.replace("<results>", "results").replace("<demo>", "demo"))
        for name, text in rules().items()
        for path in re.findall(rf'"(<{start}>/[^"]+)"', text)
    ]


class TestFiles:
    @pytest.mark.parametrize(("rule", "path"), rule_paths("results") + rule_paths("demo"))
    def test_every_output_has_a_row_with_its_rule(self, rule, path):
        rows = [line for line in OUTPUTS.splitlines() if line.startswith(f"| `{path}` |")]
        assert len(rows) == 1, f"{path} must have one row in outputs.md, not {len(rows)}"
        # Two rules may make one path: the row names both.
        assert f"`{rule}`" in rows[0].split("|")[2], f"the row of {path} must name its rule {rule}"

    def test_the_rules_were_found(self):
        found = {rule for rule, _ in rule_paths("results") + rule_paths("demo")}
        assert {"check", "check_slide", "stitch_masks", "import_masks", "write_table2", "simulate_slide"} <= found

    def test_no_path_is_documented_that_no_rule_makes(self):
        made = {path for _, path in rule_paths("results") + rule_paths("demo")}
        rows = re.findall(r"^\| `((?:results|demo)/[^`…]+)` \|", OUTPUTS, re.MULTILINE)
        assert set(rows) <= made, f"no rule makes {set(rows) - made}"

    def test_logs_and_benchmarks_follow_the_documented_patterns(self):
        text = section("Logs and benchmarks")
        for rule, path in rule_paths("logs"):
            pattern = path.replace("<logs>", "results/logs")
            general = pattern.replace(f"logs/{rule}", "logs/{rule}")
            assert f"`{pattern}`" in text or f"`{general}`" in text, f"outputs.md says nothing of {pattern}"

    def test_the_likelihood_tables_are_named_by_their_default(self):
        path = read_schema("config")["properties"]["deconvolution"]["properties"]["tables"]["default"]
        assert f"`{path}`" in section("Files"), "the file outside the results folder must be listed, too"


class TestColumns:
    def test_correlations(self):
        assert_named([*COLUMNS, *certainty.COLUMNS, "left_out"], "correlations.parquet")
        assert_named(differences.COLUMNS, "differences.parquet")
        assert_named(readers.COLUMNS, "readers.tsv")
        assert_named(worst.COLUMNS, "worst.parquet")
        assert_named(PAIR_COLUMNS, "correlations.parquet")
        assert_named(fastq.COLUMNS, "Files")
        assert_named([*sensitivity.COLUMNS, *sensitivity.SHARES, sensitivity.ITSELF], "sensitivity.tsv")

    def test_tiles(self):
        grid = Grid(10, 0.5, 2000, 2000, window_px=256, halo_px=32)
        assert_named(list_tiles(grid, np.ones((63, 63), bool)).columns, "tiles.parquet")

    def test_spots(self, tmp_path):
        labels = zarr.open_group(str(tmp_path / "masks.ome.zarr"), mode="w").create_group("labels")
        group = labels.create_group("PT")
        write_multiscale(group, create_plane(group, "0", (64, 64)), 2.0, majority, "PT", 1)
        labels.attrs["ome"] = {"labels": ["PT", "merged"]}
        spot = {"barcode": ["AAA-1"], "in_tissue": [True], "array_row": [0], "array_col": [0]}
        table = pd.DataFrame(spot | {"x_px": [60.0], "y_px": [60.0]})
        grid = VisiumGrid(table, {}, None, "parquet", "here")
        spots = measure_spots(tmp_path / "masks.ome.zarr", grid, Transform(), 1.0, 55.0, ["PT"])
        assert_named((name.replace("PT_", "{tissue}_") for name in spots), "spots.parquet")
        assert_named([CUT_REASON, OUTSIDE_REASON], "spots.parquet")

    def test_objects(self):
        assert_named(DTYPES, "objects.parquet")

    def test_evaluation(self):
        assert_named(LONG_COLUMNS, "evaluation.parquet")
        assert_named(POOLED_COLUMNS, "evaluation.tsv")
        assert_named(["method", "tissue", *choose.COLUMNS], "postprocessing.tsv")

    def test_proportions(self):
        spots = {"barcode": ["AAA-1"], "n_umi": [900.0], "n_genes": [400.0], "mt_percent": [10.0], "status": ["used"]}
        spots |= {"edge": [False]}
        weights = pd.DataFrame({"SMC": [0.5]}, index=["AAA-1"])
        table = proportions_table(weights, pd.DataFrame(spots), {"VES": ["SMC"]}, "rctd")
        general = {"type:SMC": "type:{cell type}", "tissue:VES": "tissue:{tissue}"}
        assert_named((general.get(name, name) for name in table), "proportions.parquet")

    def test_every_status_of_a_spot(self):
        names = ["barcode", "n_umi", "n_genes", "mt_percent"]
        rows = [("A", 900, 400, 10), ("B", 9, 400, 10), ("C", 900, 4, 10), ("D", 900, 400, 90)]
        rows += [("F", 900, 400, 10)]
        spots = pd.DataFrame({"barcode": list("ABCDEF"), "edge": [False] * 5 + [True]})
        statuses = set(judge_spots(pd.DataFrame(rows, columns=names), spots, drop_edge=True)["status"])
        assert len(statuses) == 6, "used, four limits, and no counts"
        statuses |= set(doublet.UNSURE.values())
        assert_named([*statuses, *doublet.WORDS], "proportions.parquet")
        lacking = [status for status in statuses - {"used"} if f"`{status}`" not in TROUBLES]
        assert not lacking, f"troubleshooting.md doesn't explain {lacking}"

    def test_table2(self):
        table = make_table2(POOLED, {"m": {}}, UNPUBLISHED)
        assert_named((name.replace("PT rctd", "{tissue} {reference}") for name in table), "table2.tsv")

    def test_training(self):
        assert_named([*layouts.COLUMNS, "split", *PARTS], "Patches and their split")
        assert_named([*table1.LONG_COLUMNS, *agree.METRICS, *agree.METRICS["ours"], *agree.STATUSES], "Table I")
        assert_named(["block", "label", *table1.SUMMARY_COLUMNS, "published", table1.AVERAGE], "Table I")
        assert_named([*cost.COLUMNS, cost.ALL], "costs.tsv")
        assert_named(fractions.COLUMNS, "fig10.tsv")
        table = table3.make_table3(POOLED, {"m": {"published": "none"}}, UNPUBLISHED)
        assert_named((name for name in table if ": " not in name), "table3.tsv")

    def test_truth(self):
        named = re.findall(r"``([^`\n]*\{[^`\n]+)``", write_slide.__doc__)
        assert len(named) == 4, "the docstring of write_slide names the columns of truth.parquet"
        assert_named(["barcode", *named], "The demonstration's files (simulated)")


class TestKeys:
    def test_shifts(self):
        keys = [*shifts.COLUMNS, *shifts.describe_peak(shifts.Peak(1.0, 2.0, 0.9, 0.8, 1.0, False))]
        assert_named([*keys, *diameters.COLUMNS, "slide", "peaks", "diameters"], "shifts.parquet and trials.json")

    def test_slide_json(self):
        keys = dictionary_keys("check.py", "check_slide") | dictionary_keys("registration.py", "compare_images")
        keys |= dictionary_keys("mpp.py", "resolve_mpp")
        assert_named(keys | {"slide", "image", "visium", "species"}, "slide.json")

    def test_predict_json(self):
        keys = dictionary_keys("predict.py", "_predict") | dictionary_keys("infer.py", "predict_slide")
        keys |= dictionary_keys("chunks.py", "sum_up") | dictionary_keys("official.py", "predict_official")
        assert_named((keys | set(COSTS)) - {"pieces"}, "predict.json")

    def test_verdicts_json(self):
        assert_named(dictionary_keys("judge.py", "judge_cohort") - {"n_scores", "notes"}, "verdicts.json")

    def test_deconvolution_json(self):
        keys = dictionary_keys("deconvolve.py", "deconvolve_slide") | dictionary_keys("rctd.py", "_rctd_facts")
        keys |= dictionary_keys("quality.py", "sum_up_quality")
        keys |= {"quality", "umi_per_cell", "n_not_converged", "spot_classes"}
        assert_named((keys - {"tissues"}) | {"r_rctd_nnls"}, "deconvolution.json")

    def test_card_and_curve(self):
        for module, function in (("train", "train_method"), ("train", "_run_epoch"), ("rates", "check_learning_rates")):
            assert_named(dictionary_keys(f"training/{module}.py", function), "Weights")

    def test_merged_label(self):
        tree = ast.parse((LIBRARY / "tissue_codes.py").read_text(encoding="utf-8"))
        assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
        values = ", ".join(f"{n} {name}" for n, name in enumerate(ast.literal_eval(assigned["TISSUES"]), start=1))
        assert values in section("masks.ome.zarr"), f"outputs.md must give the merged label's values: {values}"


def schema_parts(part, path):
    """(path, part) of every key that a schema knows, at any depth."""
    for name, inner in part.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from schema_parts(inner, f"{path}.{name}")
    for name in ("additionalProperties", "items"):
        if isinstance(part.get(name), dict):
            yield from schema_parts(part[name], f"{path}.*")
    for name, inner in part.get("$defs", {}).items():
        yield from schema_parts(inner, f"{path}.{name}")


class TestSchemas:
    @pytest.mark.parametrize("name", ["config", "slides"])
    def test_every_key_has_a_description(self, name):
        schema = read_schema(name)
        parts = dict(schema_parts(schema, name))
        assert len(parts) > 10, "the schema's keys were found"
        described = {key for key, part in schema.get("$defs", {}).items() if "description" in part}
        bare = [
            path
            for path, part in parts.items()
            if "description" not in part and part.get("$ref", "").rsplit("/", 1)[-1] not in described
        ]
        # A method's species_readings: its keys say where it is used.
        assert all(path.endswith("species_readings") for path in bare), f"no description: {bare}"

    def test_the_sheet_itself_tells_every_column(self):
        comments = [line for line in (ROOT / "config/slides.tsv").read_text().splitlines() if line.startswith("#")]
        lacking = [name for name in read_schema("slides")["properties"] if name not in "\n".join(comments)]
        assert not lacking, f"the comments of config/slides.tsv don't tell {lacking}"
