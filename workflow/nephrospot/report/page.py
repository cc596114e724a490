"""The report: one HTML file that needs no network and no JavaScript, the answer first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import jinja2
import pandas as pd
import yaml

from nephrospot.files import whole
from nephrospot.report.answer import lay_out_table2, tell_answer, tell_simulation
from nephrospot.report.certainty import list_agreement, list_by_slide, list_certainty, list_differences, list_readers
from nephrospot.report.evidence import join_comparison, show_comparison
from nephrospot.report.omics import list_deconvolutions, list_quality, list_sensitivity
from nephrospot.report.pictures import embed_jpegs, list_pictures
from nephrospot.report.segmentation import list_evaluation, list_objects
from nephrospot.report.shifts import draw_shifts, list_shifts, list_suspicions
from nephrospot.report.shown import choose_shown
from nephrospot.report.sweeps import draw_sweep, gather_diameters, gather_resolutions, list_sweep
from nephrospot.report.tables import (
    list_dropped,
    list_notes,
    list_other_weights,
    list_predictions,
    list_refused_tissues,
    list_slides,
)
from nephrospot.report.wording import join_words
from nephrospot.report.worst import crop_path, list_shares, list_worst
from nephrospot.table2 import format_tsv, tell_left_out
from nephrospot.table2_latex import render_latex

MAX_BYTES = 9_500_000
CROP_BYTES = 2_500_000
PAGE = "page.html.jinja"


def write_report(
    output: str | Path,
    settings: Mapping,
    manifests: Mapping[str, Mapping],
    sheet: pd.DataFrame,
    table2: pd.DataFrame,
    correlations: pd.DataFrame,
    spots: Mapping[tuple[str, str], pd.DataFrame],
    proportions: Mapping[str, pd.DataFrame],
    scores: Mapping[str, pd.DataFrame],
    overlays: Mapping[tuple[str, str], Mapping[str, str | Path]],
    notes: Mapping[str, Mapping],
    predictions: Mapping[tuple[str, str], Mapping],
    weights: Mapping[str, Mapping],
    versions: Mapping[str, str],
    second_notes: Mapping[str, Mapping] | None = None,
    sensitivity: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
    worst: pd.DataFrame | None = None,
    worst_folder: str | Path = "",
    readers: pd.DataFrame | None = None,
    shifts: Mapping[str, pd.DataFrame] | None = None,
    peaks: Mapping[str, list[dict]] | None = None,
    diameters: Iterable[pd.DataFrame] = (),
    evaluation: pd.DataFrame | None = None,
    objects: Mapping[tuple[str, str], pd.DataFrame] | None = None,
    refused: Mapping[str, list[str]] | None = None,
    made_at: str | None = None,
) -> None:
    """Write ``report.html``; the same inputs give the same bytes.

    Parameters
    ----------
    output
        The file.
    settings
        From `nephrospot.settings.read_settings`.
    manifests
        {slide: content of slide.json}, in the order wanted, without slides that are excluded or refused.
    sheet
        From `nephrospot.sheet.read_sheet`, excluded rows included.
    table2, correlations
        From `nephrospot.table2.make_table2` and `nephrospot.correlate.correlate`.
    spots
        {(slide, method): spots.parquet}, in the order wanted.
    proportions, scores
        {slide: proportions.parquet}, {slide: scores in percent}; slides without are left out.
    overlays
        {(slide, method): {"overview": path, "regions": path}}, from `nephrospot.report.overlay`.
    notes
        {slide: facts of `nephrospot.deconvolve.deconvolve_slide`}.
    second_notes
        The same with the second reference, where there is one.
    sensitivity
        Content of sensitivity.tsv, where tissues are compared with transcripts.
    predictions
        {(slide, method): content of predict.json, from `nephrospot.predict.run_method`}.
    weights
        {method: {"path", "sha256", "card"}}.
    versions
        {program or package: version}.
    differences
        From `nephrospot.differences.compare_methods`, if methods were compared.
    worst, worst_folder
        From `nephrospot.worst.choose_worst`, and where its crops are.
    readers
        Content of readers.tsv, where there are scores.
    shifts, peaks, diameters
        {slide: shifts.parquet}, {slide: peaks of trials.json}, diameters of every trials.json, where spots are tried.
    evaluation
        Content of evaluation.tsv; None where no method is the truth.
    objects
        {(slide, method): objects.parquet}.
    refused
        {slide: why it couldn't be used}.
    made_at
        Time to print, as text; left out where None, so that the bytes depend on the inputs alone.
    """
    labels = {method: facts.get("label") or method for method, facts in settings["methods"].items()}
    mpps = {slide: facts.get("mpp") for slide, facts in manifests.items()}
    tissues, spot_um = list(settings["tissues"]), settings["spots"]["diameter_um"]
    shown = choose_shown(list(manifests), correlations)
    drawn = [key for key in spots if key[0] in shown]
    comparisons = [
        show_comparison(
            comparison, join_comparison(comparison, drawn, spots, scores, proportions), correlations, labels, mpps
        )
        for comparison in settings["comparisons"]
    ]
    fits = dict(notes) | {f"{slide} (second reference)": facts for slide, facts in (second_notes or {}).items()}
    transcripts = list(dict.fromkeys(c["tissue"] for c in settings["comparisons"] if c["reference"] == "rctd"))
    context = {
        "made_at": made_at,
        "settings": settings,
        "banner": tell_simulation(manifests, weights, labels),
        "simulated_slides": bool(tell_simulation(manifests, {}, labels)),
        "answer": tell_answer(table2),
        "table2": lay_out_table2(table2, settings),
        "downloads": _embed_table2(table2),
        "n_slides": len(manifests),
        "n_shown": len(shown),
        "slides": list_slides(manifests, proportions, spot_um),
        "check_notes": list_notes({slide: facts.get("notes") or [] for slide, facts in manifests.items()}),
        "refused_slides": list_notes(refused or {}),
        "refused": join_words(list(refused or {})),
        "not_in_table2": tell_left_out(correlations),
        "excluded": [
            (row["slide"], row["exclude"])
            for _, row in sheet.fillna({"exclude": ""}).iterrows()
            if row["exclude"].strip()
        ],
        "labels": labels,
        "tissues": settings["tissues"],
        "readings": settings["species"],
        "species": sorted({facts.get("species") for facts in manifests.values()} & set(settings["species"])),
        "predictions": predictions,
        "truth": labels.get(settings["evaluation"]["truth"]),
        "evaluation": list_evaluation(evaluation, labels),
        "objects": list_objects(objects or {}, labels),
        "smallest": settings["evaluation"]["min_area_um2"],
        "against_pathologist": [c for c in comparisons if c["reference"] == "pathologist"],
        "against_transcripts": [c for c in comparisons if c["reference"] != "pathologist"],
        "quality": list_quality(notes, proportions),
        "deconvolutions": list_deconvolutions(fits, tissues),
        "deconvolution_notes": list_notes({slide: facts.get("notes") or [] for slide, facts in fits.items()}),
        "sensitivity": list_sensitivity(sensitivity, labels),
        "certainty": list_certainty(correlations, labels),
        "readers": list_readers(readers),
        "suspicions": list_suspicions(peaks or {}, labels),
        "shifts": list_shifts(peaks or {}, labels),
        "shift_figures": draw_shifts(shifts or {}, _take(peaks or {}, shown), labels),
        "resized": _show_sweep(gather_diameters(diameters), labels, "diameter of the disc (µm)", "{} µm", spot_um),
        "resolutions": _show_sweep(
            gather_resolutions(correlations, settings["methods"]), labels, "magnification of every tissue (×)", "{}×"
        ),
        "agreement": list_agreement(correlations, labels),
        "differences": list_differences(differences, labels),
        "by_slide": list_by_slide(correlations, labels),
        "refused_tissues": list_refused_tissues(predictions, labels),
        "dropped": list_dropped(correlations, labels),
        "prediction_table": list_predictions(predictions, labels),
        "weights": [
            {"label": labels.get(method, method), "path": str(facts["path"]), "sha256": facts["sha256"],
             "card": _yaml(facts.get("card") or {})}
            for method, facts in weights.items()
        ],
        "other_weights": list_other_weights(predictions, weights, labels),
        "versions": dict(versions),
        "configuration": _yaml(settings),
    }  # fmt: skip
    overlays = {key: parts for key, parts in overlays.items() if key[0] in shown}
    crops = [crop_path(worst_folder, row) for row in worst.itertuples()] if worst is not None else []
    spot_pictures, _ = embed_jpegs(crops, CROP_BYTES)
    template = make_environment().get_template(PAGE)
    # Piece by piece, since a cohort's page is long.
    bare = template.generate(context | {"overlays": {}, "shrunk_px": None, "worst": {}})
    page_bytes = sum(len(piece.encode()) for piece in bare)
    figures = sum(len(part["source"]) for c in comparisons for kind in ("scatters", "maps") for part in c[kind])
    taken = sum(map(len, spot_pictures.values())) + max(page_bytes, figures + 400_000)
    pictures, shrunk_px = embed_jpegs(list_pictures(overlays), MAX_BYTES - taken)
    context |= {"overlays": _by_slide(overlays, pictures), "shrunk_px": shrunk_px}
    shares = list_shares(worst, proportions, transcripts) if crops else {}
    context["worst"] = list_worst(worst, spot_pictures, worst_folder, shares) if crops else {}
    with whole(output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(template.generate(context))


def _take(tables: Mapping[str, list], slides: list[str]) -> dict[str, list]:
    """Those of some slides, in the slides' order."""
    return {slide: tables[slide] for slide in slides if slide in tables}


def make_environment() -> jinja2.Environment:
    """Where pages come from: every text from data is escaped, and a name that isn't given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("nephrospot.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _embed_table2(table2: pd.DataFrame) -> dict[str, str]:
    """{file name: address that holds it}, so that the page alone gives the table away."""
    texts = {"table2.tsv": format_tsv(table2), "table2.tex": render_latex(table2)}
    return {name: "data:text/plain;charset=utf-8," + quote(text) for name, text in texts.items()}


def _show_sweep(table: pd.DataFrame, labels: Mapping[str, str], x_label: str, x_name: str, here=None) -> dict:
    """Figure and table of one sweep; magnifications double, diameters (those with a place of their own) don't."""
    known = {method: label for method, label in labels.items() if method in set(table["method"])}
    drawn = draw_sweep(table, known, x_label, here, log=here is None)
    return {"figure": drawn, "table": list_sweep(table, known, x_name)}


def _by_slide(overlays: Mapping, pictures: Mapping[str, str]) -> dict[str, list[dict]]:
    """{slide: [{method, overview, regions}]}, each picture with its address (None where it didn't fit) and path."""
    slides: dict[str, list[dict]] = {}
    for (slide, method), parts in overlays.items():
        shown = {
            kind: {"source": pictures.get(str(parts[kind])), "path": str(parts[kind])}
            for kind in ("overview", "regions")
            if parts.get(kind)
        }
        slides.setdefault(slide, []).append({"method": method, **shown})
    return slides


def _yaml(content: Mapping) -> str:
    # Through JSON, so that paths and numpy numbers print as what they are.
    plain = json.loads(json.dumps(content, default=_plain))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).strip()


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)
