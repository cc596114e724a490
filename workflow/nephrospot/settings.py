"""The configuration: defaults filled in, every mistake told at once as a sentence."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nephrospot.errors import InputError, Problems, did_you_mean
from nephrospot.postprocess_rules import order_rules
from nephrospot.training.runs import check_training

NAME = "config"
# What the workflow makes beside the methods' folders in a slide's results (tests/test_settings.py).
TAKEN = frozenset((
    "deconvolution.json", "inputs.json", "proportions.parquet", "second_deconvolution.json",
    "second_proportions.parquet", "shifts.parquet", "slide.json", "spatialdata.zarr", "trials.json",
    "spots.h5ad", "tiles.parquet", "tissue.png",
))  # fmt: skip
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # every job reads the schema; libyaml's is ten times as fast


def read_schema(name: str) -> dict:
    """Read ``config`` or ``slides``.schema.yaml: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    for folder in (package / "schemas", package.parent / "schemas"):
        path = folder / f"{name}.schema.yaml"
        if path.is_file():
            return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    raise FileNotFoundError(f"{name}.schema.yaml is neither in nor beside {package}")


def read_settings(config: dict) -> dict:
    """Check a configuration against the schema and itself, and fill in its defaults.

    Parameters
    ----------
    config
        As Snakemake or YAML read it; it isn't changed.

    Returns
    -------
    dict
        A copy with every key of the schema.

    Raises
    ------
    InputError
        One sentence for each mistake, with the key, the value and the remedy.
    """
    if not isinstance(config, dict):
        raise InputError(f"{NAME}: keys with values were expected, not {config!r}; start from config/config.yaml.")
    problems = Problems()
    try:
        settings = _plain_keys(copy.deepcopy(config), "", problems)
    except RecursionError as error:
        raise InputError(f"{NAME}: keys within keys beyond all need; start from config/config.yaml.") from error
    schema = read_schema("config")
    checker = jsonschema.Draft202012Validator(schema)
    errors = sorted(checker.iter_errors(settings), key=lambda error: [str(part) for part in error.absolute_path])
    mistyped = [error.absolute_path for error in errors if error.validator == "type"]
    for error in errors:
        # What is of the wrong type breaks other rules, too, which says nothing more.
        if error.validator == "type" or error.absolute_path not in mistyped:
            for sentence in _tell(error):
                problems.add(sentence)
    problems.raise_if_any()  # what follows relies on the shape
    _fill_defaults(settings, schema, schema)
    _cross_check(settings, problems)
    problems.raise_if_any()
    return settings


def _plain_keys(value: Any, path: str, problems: Problems) -> Any:
    """Refuse what YAML can say and JSON can't: keys that aren't text, NaN and infinity."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                problems.add(f"{NAME}, {_dotted(path, key)}: the key {key!r} isn't text; write it in quotes.")
            elif not key.isprintable():
                problems.add(
                    f"{NAME}, {_dotted(path, key)}: the key {key!r} holds signs that can't be seen; retype it."
                )
        return {str(key): _plain_keys(item, _dotted(path, key), problems) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_keys(item, _dotted(path, index), problems) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(f"{NAME}, {path}: the value is {value}; give a finite number.")
    return value


def _dotted(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _tell(error: jsonschema.ValidationError) -> list[str]:
    """Sentences for one violation of the schema."""
    path = ".".join(str(part) for part in error.absolute_path)
    place = f"{NAME}, {path}" if path else NAME
    value, rule, limit = error.instance, error.validator, error.validator_value
    description = error.schema.get("description", "")
    hint = f" – {description}" if description else ""
    if rule == "additionalProperties":
        known = error.schema.get("properties", {})
        return [
            f"{NAME}, {_dotted(path, key)}: there is no such key; {did_you_mean(key, known)}"
            for key in value
            if key not in known
        ]
    if rule == "required":
        missing = [key for key in limit if key not in value]
        parts = error.schema.get("properties", {})
        return [
            f"{NAME}, {_dotted(path, key)}: the key is missing; give {parts.get(key, {}).get('description', key)}."
            for key in missing
        ]
    if rule == "enum":
        remedy = did_you_mean(value, limit) if isinstance(value, str) else f"give one of {', '.join(map(str, limit))}"
        return [f"{place}: the value is {value!r}; {remedy.rstrip('.')}{hint}."]
    if rule == "type":
        if value is None:
            return [f"{place}: the value is empty; give {description or limit}, or take the key out."]
        told = {"object": "keys with values", "array": "a list", "integer": "a whole number",
                "number": "a number", "string": "text", "boolean": "true or false"}  # fmt: skip
        kinds = [limit] if isinstance(limit, str) else [kind for kind in limit if kind != "null"]
        wanted = " or ".join(told[kind] for kind in kinds)
        return [f"{place}: the value is {value!r}; give {wanted}{hint}."]
    if "propertyNames" in error.absolute_schema_path:
        return [
            f"{NAME}, {_dotted(path, value)}: the name {value!r} can't name files and columns; use letters, "
            "digits, underscores (methods also dots and hyphens), beginning with a letter."
        ]
    reasons = {
        "minimum": f"give at least {limit}",
        "maximum": f"give at most {limit}",
        "exclusiveMinimum": f"give more than {limit}",
        "exclusiveMaximum": f"give less than {limit}",
        "multipleOf": f"give a multiple of {limit}",
        "minLength": "give some text",
        "minProperties": "give at least one",
        "minItems": "give at least one",
        "uniqueItems": "take out the repeated one",
    }
    return [f"{place}: the value is {value!r}; {reasons.get(rule, 'give ' + description)}"
            + (hint if rule in reasons else "") + "."]  # fmt: skip


def _fill_defaults(value: Any, schema: dict, root: dict) -> None:
    """Write the schema's defaults into ``value``, which has its shape."""
    schema = _resolve(schema, root)
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in _resolve(part, root):
                value[key] = copy.deepcopy(_resolve(part, root)["default"])
            if key in value:
                _fill_defaults(value[key], part, root)
        if isinstance(schema.get("additionalProperties"), dict):
            for key in value.keys() - schema.get("properties", {}).keys():
                _fill_defaults(value[key], schema["additionalProperties"], root)
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            _fill_defaults(item, schema["items"], root)


def _resolve(schema: dict, root: dict) -> dict:
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}


def _cross_check(settings: dict, problems: Problems) -> None:
    """What one key demands of another."""
    tissues = settings["tissues"]

    def know_tissue(tissue: str, path: str) -> None:
        if tissue not in tissues:
            problems.add(f"{NAME}, {path}: {tissue!r} isn't under tissues; {did_you_mean(tissue, tissues)}")

    for species, readings in settings["species"].items():
        for tissue in readings:
            know_tissue(tissue, f"species.{species}.{tissue}")
    for index, comparison in enumerate(settings["comparisons"]):
        know_tissue(comparison["tissue"], f"comparisons.{index}.tissue")
        if comparison in settings["comparisons"][:index]:
            problems.add(f"{NAME}, comparisons.{index}: {comparison} stands there twice; take one out.")
        if comparison["reference"] != "pathologist":
            path = f"{NAME}, comparisons.{index}.reference: {comparison['reference']!r}"
            _check_deconvolved(comparison, settings, path, problems)
    _check_second(settings["deconvolution"], know_tissue, problems)
    problems.catch(order_rules, settings["postprocess"], tissues)
    if "CAP" in tissues or settings["objects"]["tissues"] != ["CAP"]:  # the default needn't be known
        for index, tissue in enumerate(settings["objects"]["tissues"]):
            know_tissue(tissue, f"objects.tissues.{index}")
    segmentation = settings["segmentation"]
    if 2 * segmentation["halo_px"] >= segmentation["window_px"]:
        problems.add(
            f"{NAME}, segmentation.halo_px: {segmentation['halo_px']} px on both sides leave nothing of a window of "
            f"{segmentation['window_px']} px; give less than {segmentation['window_px'] // 2}."
        )
    _check_methods(settings["methods"], know_tissue, problems)
    _check_evaluation(settings["evaluation"], settings["methods"], know_tissue, problems)
    check_training(settings["training"], f"{NAME}, training", problems)


def _check_deconvolved(comparison: dict, settings: dict, begin: str, problems: Problems) -> None:
    """Whether a comparison with transcripts has what it needs."""
    deconvolution, tissue = settings["deconvolution"], comparison["tissue"]
    if deconvolution["reference"] is None:
        problems.add(f"{begin} needs a single-cell reference; give deconvolution.reference or take the comparison out.")
    if comparison["reference"] not in deconvolution["methods"]:
        problems.add(f"{begin} isn't under deconvolution.methods; add it there or take the comparison out.")
    if tissue in settings["tissues"] and not settings["tissues"][tissue]["cell_types"]:
        problems.add(
            f"{begin} says nothing of {tissue}, which has no cell types; give tissues.{tissue}.cell_types or take the "
            "comparison out."
        )


def _check_second(deconvolution: dict, know_tissue, problems: Problems) -> None:
    second = deconvolution["second"]
    for tissue in second["cell_types"]:
        know_tissue(tissue, f"deconvolution.second.cell_types.{tissue}")
    if second["reference"] and (deconvolution["reference"] is None or "rctd" not in deconvolution["methods"]):
        problems.add(
            f"{NAME}, deconvolution.second.reference: there is no RCTD with a first reference to hold it against; give "
            "deconvolution.reference and rctd under deconvolution.methods, or take the second out."
        )


def _check_methods(methods: dict, know_tissue, problems: Problems) -> None:
    seen: dict[str, str] = {}
    for method, content in methods.items():
        path = f"methods.{method}"
        if other := seen.get(method.lower()):
            problems.add(
                f"{NAME}, {path}: differs from {other} in case alone; some file systems mix them up, rename one."
            )
        seen[method.lower()] = method
        if method.lower() in TAKEN:
            problems.add(f"{NAME}, {path}: a slide's results have a {method!r} of their own; rename the method.")
        trained = [key for key in ("network", "weights") if key in content]
        if "masks" in content and trained:
            problems.add(f"{NAME}, {path}: has masks and {' and '.join(trained)}; keep masks, or network and weights.")
        elif "masks" not in content and len(trained) < 2:
            lacking = next((key for key in ("network", "weights") if key not in trained), "") if trained else "network"
            problems.add(f"{NAME}, {path}.{lacking}: the key is missing; give network and weights, or masks.")
        if "masks" in content and content["flips"]:
            problems.add(f"{NAME}, {path}.flips: there is no network to show flipped windows to; take the key out.")
        for species, readings in content.get("species_readings", {}).items():
            for tissue in readings:
                know_tissue(tissue, f"{path}.species_readings.{species}.{tissue}")


def _check_evaluation(evaluation: dict, methods: dict, know_tissue, problems: Problems) -> None:
    truth, drop_ins = evaluation["truth"], [name for name, method in methods.items() if "masks" in method]
    if not truth:
        if evaluation["validation"]:
            problems.add(f"{NAME}, evaluation.validation: slides to choose on need a truth; give evaluation.truth.")
        return
    if truth not in drop_ins:
        remedy = did_you_mean(truth, drop_ins) if drop_ins else "add one with masks under methods."
        problems.add(f"{NAME}, evaluation.truth: {truth!r} isn't a method with masks; {remedy}")
    for index, tissue in enumerate(evaluation["tissues"]):
        know_tissue(tissue, f"evaluation.tissues.{index}")
    for tissue, parts in evaluation["unions"].items():
        for index, part in enumerate(parts):
            know_tissue(part, f"evaluation.unions.{tissue}.{index}")
    for key in ("min_area_um2", "unions"):
        for tissue in evaluation[key]:
            if tissue not in evaluation["tissues"]:
                problems.add(
                    f"{NAME}, evaluation.{key}.{tissue}: {tissue!r} isn't under evaluation.tissues; "
                    f"{did_you_mean(tissue, evaluation['tissues'])}"
                )
