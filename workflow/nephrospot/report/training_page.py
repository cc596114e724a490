"""The page about training, from patches to Table III and Figs. 4, 8 and 10; one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nephrospot.files import read_json, whole
from nephrospot.report.curves import draw_curves
from nephrospot.report.page import make_environment
from nephrospot.report.pictures import embed_svg
from nephrospot.report.training_tables import list_costs, list_patch_counts, list_rates, list_table1, list_table3

PAGE = "training.html.jinja"
SECTIONS = {
    "patches": "The patches",
    "table1": "Table I",
    "rates": "Learning rates",
    "curves": "Learning curves",
    "costs": "Costs",
    "table3": "Table III",
    "fig10": "Less data",
    "fig8": "Every code",
}


def write_training_page(
    output: str | Path,
    labels: Mapping[str, str],
    patches: str | Path,
    table1: str | Path,
    costs: str | Path,
    curves: Mapping[str, str | Path],
    rates: Mapping[str, str | Path],
    table3: str | Path | None,
    fig4: str | Path,
    fig10: str | Path | None,
    fig8: str | Path | None,
    data: str,
    simulated: bool,
    by: str,
) -> None:
    """Write ``training.html``; the same inputs give the same bytes.

    Parameters
    ----------
    labels
        {training: name to print}, for every training here.
    patches
        patches.parquet, with the column ``split``.
    table1, costs
        table1.tsv and costs.tsv.
    curves, rates
        {training: path} of learning curves (JSON) and of learning-rate checks (tsv).
    table3, fig10, fig8
        table3.tsv and two figures (SVG), each None or empty where it isn't asked for.
    fig4
        Dice against parameters (SVG).
    data
        What the patches are.
    simulated
        Whether they are simulated, which the title and every table then say.
    by
        "roi" or "patient": what the split keeps whole.
    """
    table, labels = pd.read_parquet(patches), _tell_apart(labels)
    given, figures = {"table3": table3, "fig10": fig10, "fig8": fig8}, {"fig4": fig4, "fig10": fig10, "fig8": fig8}
    context = {
        "sections": [(name, title) for name, title in SECTIONS.items() if given.get(name, True)],
        "n_runs": len(curves),
        "n_patches": f"{len(table):,}",
        "data": data[:1].upper() + data[1:].rstrip("."),
        "simulated": simulated,
        "by": by,
        "counts": list_patch_counts(table),
        "table1": list_table1(_read(table1)),
        "rates": list_rates({labels[run]: pd.read_csv(path, sep="\t") for run, path in rates.items()}),
        "curves": embed_svg(draw_curves({labels[run]: read_json(path) for run, path in curves.items()})),
        "costs": list_costs(pd.read_csv(costs, sep="\t"), labels),
        "table3": list_table3(_read(table3)) if table3 else None,
    } | {name: embed_svg(Path(path).read_text("utf-8")) if path else None for name, path in figures.items()}
    page = make_environment().get_template(PAGE).render(context)
    with whole(output) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _read(path: str | Path) -> pd.DataFrame:
    # "none" is a row of Table III and must stay a word.
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["nan"]).fillna({"method": "", "label": ""})


def _tell_apart(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels of which no two are the same: the first keeps its own, others have the training's name behind it."""
    told: dict[str, str] = {}
    for run, label in labels.items():
        told[run] = f"{label} ({run})" if label in told.values() else label
    return told
