"""The answer: Table II as the page shows it, the sentence above it, and whether any of it is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from nephrospot.report.wording import join_words, letter, name_slides, tell_reference, tell_value

BLOCKS = {
    "method": "Methods of this run",
    "ceiling": "Ceilings: perfect masks, so the most that these references allow",
    "published": "Published, not run here",
}


def lay_out_table2(table2: pd.DataFrame, settings: Mapping) -> dict:
    """Table II for the template.

    Parameters
    ----------
    table2
        From `nephrospot.table2.make_table2`.
    settings
        For the tissues' names.

    Returns
    -------
    dict
        ``columns`` (headings), ``blocks`` ({title, rows: [{label, cells: [{ours, interval, n, published, best, …}]}]}),
        ``footnotes`` ([(letter, sentence)]), ``compared`` (whether methods were compared), ``daggers`` (whether any has
        one).
    """
    pairs = [name.removesuffix(": r_x100") for name in table2 if name.endswith(": r_x100")]
    notes: dict[str, str] = {}
    best = {pair: _best_label(table2, pair) for pair in pairs}
    blocks = []
    for block in BLOCKS:
        rows = [
            {
                "label": row["label"],
                "cells": [_cell(row, pair, notes, block == "method" and row["label"] in best[pair]) for pair in pairs],
            }
            for _, row in table2[table2["block"] == block].iterrows()
        ]
        if rows:
            blocks.append({"kind": block, "title": BLOCKS[block], "rows": rows})
    columns = []
    for pair in pairs:
        tissue, reference = pair.rsplit(" ", 1)
        name = settings["tissues"].get(tissue, {}).get("name", tissue)
        columns.append({"tissue": tissue, "name": name, "against": tell_reference(reference)})
    footnotes = [(mark, sentence) for sentence, mark in notes.items()]
    cells = [cell for block in blocks for row in block["rows"] for cell in row["cells"]]
    standings = [table2[f"{pair}: standing"] for pair in pairs if f"{pair}: standing" in table2]
    return {
        "columns": columns,
        "blocks": blocks,
        "footnotes": footnotes,
        "compared": any((standing == "best").any() for standing in standings),
        "daggers": any(cell["dagger"] for cell in cells),
    }


def tell_answer(table2: pd.DataFrame) -> str:
    """One sentence: which method is highest in which column, with its n and the ceiling."""
    methods = table2[table2["block"] == "method"]
    clauses = []
    for pair in [name.removesuffix(": r_x100") for name in table2 if name.endswith(": r_x100")]:
        tissue, reference = pair.rsplit(" ", 1)
        labels = _best_label(table2, pair)
        against = tell_reference(reference)
        if not labels:
            clauses.append(f"no method has a value for {tissue} against {against}")
            continue
        row = methods[methods["label"] == labels[0]].iloc[0]
        value, n = row[f"{pair}: r_x100"], row[f"{pair}: n"]
        ceiling = table2.loc[table2["block"] == "ceiling", f"{pair}: r_x100"].max()
        limit = f", where perfect masks reach {tell_value(ceiling, 2)}" if np.isfinite(ceiling) else ""
        others = methods[f"{pair}: r_x100"].notna().sum() > 1
        verb = ("are highest together with" if len(labels) > 1 else "is highest with") if others else "reaches"
        clauses.append(
            f"for {tissue} against {against}, {join_words(labels)} {verb} "
            f"r\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}100 = {tell_value(value, 2)}{_tell_interval(row, pair)} over "
            f"{int(n):,} spots{limit}{_tell_ties(methods, pair)}"
        )
    if not clauses:
        return "No comparison was asked for, so there is no Table II."
    sentence = join_words(clauses, "; ")
    return sentence[0].upper() + sentence[1:] + "."


def tell_simulation(
    manifests: Mapping[str, Mapping], weights: Mapping[str, Mapping], labels: Mapping[str, str]
) -> list[str]:
    """Sentences for the banner: which slides and which weights are simulated; none where nothing is."""
    sentences = []
    simulated = [slide for slide, manifest in manifests.items() if _says_simulated(manifest.get("group"))]
    if simulated and len(simulated) == len(manifests):
        whole = (
            "The one slide of this report is"
            if len(simulated) == 1
            else f"All {len(simulated)} slides of this report are"
        )
        sentences.append(f"{whole} simulated: no value here says anything about a real kidney.")
    elif simulated:
        sentences.append(
            f"{len(simulated)} of {len(manifests)} slides are simulated ({name_slides(simulated)}), "
            "and their spots are part of the pooled values."
        )
    named = [m for m, facts in weights.items() if _says_simulated(list(_texts(facts.get("card"))))]
    # A sweep's methods have the weights of the network that they are named after.
    trained = [labels.get(m, m) for m in named if m.partition("@")[0] not in named or "@" not in m]
    if trained:
        sentences.append(
            f"The weights of {join_words(trained)} were trained on simulated images: this is how the pipeline works, "
            "not how well the published network segments."
        )
    return sentences


def _tell_interval(row: pd.Series, pair: str) -> str:
    lo, hi = (row.get(f"{pair}: {end}_x100", np.nan) for end in ("lo", "hi"))
    return f" (95\N{NO-BREAK SPACE}% interval {tell_value(lo, 1)} to {tell_value(hi, 1)})" if np.isfinite(lo) else ""


def _tell_ties(methods: pd.DataFrame, pair: str) -> str:
    if f"{pair}: standing" not in methods:
        return ""
    ties = methods.loc[methods[f"{pair}: standing"] == "tie", "label"].tolist()
    return f", and can't be told from {join_words(ties)} on these slides" if ties else ""


def _says_simulated(value: str | Iterable[str] | None) -> bool:
    texts = [value] if isinstance(value, str) else value or []
    return any("simulated" in text.lower() and "not simulated" not in text.lower() for text in texts)


def _texts(value) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if item is True:
                yield str(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _best_label(table2: pd.DataFrame, pair: str) -> list[str]:
    """Labels with the highest value among the methods (several in a tie)."""
    methods = table2[table2["block"] == "method"]
    values = methods[f"{pair}: r_x100"]
    return [] if values.isna().all() else methods.loc[values == values.max(), "label"].tolist()


def _cell(row: pd.Series, pair: str, notes: dict[str, str], best: bool) -> dict:
    ours, theirs, n = (row[f"{pair}: {key}"] for key in ("r_x100", "published_r_x100", "n"))
    # A table that was read from disk has NaN where a reason is empty.
    reason, published_reason = (
        text if isinstance(text, str) else "" for text in (row[f"{pair}: reason"], row[f"{pair}: published_reason"])
    )
    not_run = reason == "not run"
    lo, hi = (row.get(f"{pair}: {end}_x100", np.nan) for end in ("lo", "hi"))
    animals = row.get(f"{pair}: animals")
    return {
        "ours": tell_value(ours, 2) if np.isfinite(ours) else "",
        "anchor": f"scatter-{pair.replace(' ', '-')}-{row['method']}" if np.isfinite(ours) and row["method"] else "",
        "interval": f"{tell_value(lo, 1)} to {tell_value(hi, 1)}" if np.isfinite(lo) else "",
        "dagger": isinstance(animals, str) and animals != "",
        "ours_mark": "" if np.isfinite(ours) or not_run else _mark(reason, notes),
        "n": "" if not_run else f"{int(n):,}",
        "published": tell_value(theirs, 2) if np.isfinite(theirs) else "",
        "published_mark": _mark(published_reason and f"published: {published_reason}", notes),
        "not_run": not_run,
        "best": best or row.get(f"{pair}: standing") == "tie",
    }


def _mark(sentence: str, notes: dict[str, str]) -> str:
    if not sentence:
        return ""
    sentence = sentence[0].upper() + sentence[1:]
    return notes.setdefault(sentence, letter(len(notes)))
