"""The whole cohort before any work: which slides can be used, and whether what they share is sound.

The verdicts are data (verdicts.json), so that a cohort can go on without a slide; `write_check` makes an error of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nephrospot.check import begin
from nephrospot.errors import InputError, Problems
from nephrospot.files import whole
from nephrospot.scores import read_scores
from nephrospot.visium import read_positions


def judge_cohort(
    manifests: list[dict],
    given: Mapping[str, Mapping[str, str]],
    tissues: Iterable[str],
    shared: tuple[list[str], list[str], Mapping[str, list[str]]] = ((), (), {}),
) -> dict:
    """Check the scores, and bring together what is wrong with each slide and with what all share.

    Parameters
    ----------
    manifests
        Content of each slide's ``slide.json``.
    given
        {slide: {"visium": its Space Ranger folder, "scores": its scores or ""}}.
    tissues
        The tissues of the configuration.
    shared
        Lines, problems and problems by slide from `nephrospot.prerequisites.check_prerequisites`.

    Returns
    -------
    dict
        The content of ``verdicts.json`` (docs/outputs.md); `InputError` is never raised.
    """
    lines, mistakes, of_slides = shared
    checked = []
    for manifest in manifests:
        slide = manifest["slide"]
        where, told, notes = f"slide {slide}", Problems(), Problems()
        n_scores = told.catch(check_scores, given[slide], tissues, where, notes) if given[slide]["scores"] else None
        sentences = [*manifest["problems"], *told.sentences, *of_slides.get(slide, ())]
        sentences = list(dict.fromkeys(begin(where, sentence) for sentence in sentences))
        notes = manifest["notes"] + notes.sentences
        checked.append(manifest | {"n_scores": n_scores, "problems": sentences, "notes": notes})
    return {
        "problems": list(mistakes),
        "slides": {manifest["slide"]: manifest["problems"] for manifest in checked if manifest["problems"]},
        "lines": [*report_check(checked).splitlines(), *lines],
    }


def write_check(verdicts: Mapping, excluded: Mapping[str, str], output: str | Path) -> None:
    """Write a text for people, where every slide can be used.

    Parameters
    ----------
    verdicts
        From `judge_cohort`.
    excluded
        {slide: why the sheet leaves it out}.
    output
        Text file.

    Raises
    ------
    InputError
        With every problem of the cohort; then nothing is written.
    """
    problems = Problems()
    for sentence in [*(s for own in verdicts["slides"].values() for s in own), *verdicts["problems"]]:
        problems.add(sentence)
    problems.raise_if_any()
    lines = [*verdicts["lines"], *(f"{slide}: left out – {reason}" for slide, reason in excluded.items())]
    with whole(output) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def report_check(manifests: list[dict]) -> str:
    """Lines for people: one a slide (ok or refused, pixels, spots, scores), then its problems and notes."""
    lines = []
    for manifest in manifests:
        facts = [f"{manifest['width_px']} × {manifest['height_px']} px"] if manifest["width_px"] else []
        facts += [
            f"{manifest['mpp']:.4g} µm per pixel" if manifest["mpp"] else "µm per pixel unknown",
            f"{manifest['spots_in_tissue']} spots on tissue" if manifest["visium"] else "no Visium",
            "no scores" if manifest.get("n_scores") is None else f"{manifest['n_scores']} scored",
        ]
        verdict = "refused" if manifest["problems"] else "ok"
        lines.append(f"{manifest['slide']}: {verdict} – {', '.join(facts)}")
        lines += [f"  problem: {sentence}" for sentence in manifest["problems"]]
        lines += [f"  note: {sentence}" for sentence in manifest["notes"]]
    refused = sum(bool(manifest["problems"]) for manifest in manifests)
    lines.append(f"{len(manifests) - refused} of {len(manifests)} slides can be used.")
    return "\n".join(lines) + "\n"


def check_scores(row: Mapping, tissues: Iterable[str], where: str, notes: Problems) -> int:
    """Check a row's scores against its spots; oddities go to ``notes``.

    Returns
    -------
    int
        Number of spots with a score.

    Raises
    ------
    InputError
        When the scores can't be read, or belong to another slide.
    """
    grid = read_positions(row["visium"])
    scores = read_scores(row["scores"], tissues, set(grid.table["barcode"]), where)
    scored = scores.loc[scores.drop(columns="barcode").notna().any(axis=1), "barcode"]
    off = scored[~scored.isin(set(grid.in_tissue["barcode"]))].tolist()
    if off and len(off) == len(scored):
        raise InputError(
            f"{where}: all {len(off)} scored spots lie off the tissue, so the scores are another slide's; "
            "check columns visium and scores."
        )
    if off:
        notes.add(f"{where}: {len(off)} scored spots such as {off[0]} lie off the tissue; their scores aren't used.")
    return len(scored)
