"""Table III, the ablation of Omni-Seg: pooled r × 100 with and without its three parts, beside the published values.

SC is the scale-aware controller, MS matching selection of pseudo-labels, CR consistency regularisation.
In: correlations.parquet, config/published_table3.tsv. Out: table3.tsv and table3.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd

from nephrospot.errors import InputError, Problems
from nephrospot.files import whole
from nephrospot.report.footnotes import Footnotes
from nephrospot.table2 import STYLE, make_table2, name_comparison, read_published, render_cells

PARTS = ("SC", "MS", "CR")
PART_WORDS = {
    "SC": "scale-aware controller",
    "MS": "matching selection (without it, pseudo-labels come from a grid)",
    "CR": "consistency regularisation",
}
NONE = "none"


def read_published_table3(path: str | Path) -> pd.DataFrame:
    """Read published correlations of configurations: as `nephrospot.table2.read_published`, ``method`` such as "SC+CR".

    Raises
    ------
    InputError
        As there, or a name that isn't made of SC, MS and CR, or "none".
    """
    table = read_published(path)
    problems = Problems()
    for name in pd.unique(table["method"]):
        problems.catch(read_parts, name, str(path))
    problems.raise_if_any()
    return table


def read_parts(name: str, place: str) -> tuple[str, ...]:
    """The parts in a configuration's name, such as "SC+MS+CR", or () for "none".

    Parameters
    ----------
    place
        Where the name stands, for the message.

    Raises
    ------
    InputError
        For an unknown part, one twice, or another order than SC, MS, CR.
    """
    parts = () if name == NONE else tuple(str(name).split("+"))
    if parts != tuple(part for part in PARTS if part in parts):
        raise InputError(f"{place}: {name!r} is no ablation; join what is on of SC, MS and CR by +, or write none.")
    return parts


def make_table3(
    correlations: pd.DataFrame, methods_config: Mapping[str, Mapping], published: pd.DataFrame
) -> pd.DataFrame:
    """A row a configuration: which parts are on, ours and the published value against each reference.

    Parameters
    ----------
    correlations : DataFrame
        Of `nephrospot.correlate`, with the ablation's methods among its own.
    methods_config
        {method: {"label": text, "published": configuration, such as "SC+CR"}} of the methods of the ablation; a
        configuration that the paper lacks, such as "MS", gets a row without a published value.
    published : DataFrame
        Of `read_published_table3`.

    Returns
    -------
    DataFrame
        ``SC, MS, CR`` (bool), ``configuration``, ``method`` ("" where not run), ``label``, and for each comparison the
        columns of `nephrospot.table2.make_table2`; the paper's rows first, in its order.

    Raises
    ------
    InputError
        A configuration that isn't made of the three parts, or one that two methods claim.
    """
    problems, claims = Problems(), {}
    for method, settings in methods_config.items():
        name = str(settings.get("published") or "")
        problems.catch(read_parts, name, f"Method {method}: published")
        if name in claims:
            problems.add(f"Methods {claims[name]} and {method} are both {name!r}; leave one of them out of Table III.")
        claims.setdefault(name, method)
    problems.raise_if_any()
    known = list(pd.unique(published["method"]))
    configured = {
        method: {"label": settings.get("label"), "published": settings["published"]}
        for method, settings in methods_config.items()
        if settings["published"] in known
    } | {
        method: {"label": settings.get("label")}
        for method, settings in methods_config.items()
        if settings["published"] not in known
    }
    table = make_table2(correlations, configured, published).drop(columns="block")
    names = [methods_config[row.method]["published"] if row.method else row.label for row in table.itertuples()]
    table.insert(0, "configuration", names)
    for part in reversed(PARTS):
        table.insert(0, part, [part in read_parts(name, "Table III") for name in names])
    order = {name: place for place, name in enumerate(dict.fromkeys([*known, *claims]))}
    return table.sort_values("configuration", key=lambda column: column.map(order), ignore_index=True)


def write_table3(table: pd.DataFrame, tsv_path: str | Path, html_path: str | Path, title: str = "Table III") -> None:
    """Write the table for machines (tsv, parts as 0 or 1, NaN as ``nan``) and for readers (html)."""
    with whole(tsv_path) as temporary:
        plain = table.astype({part: int for part in PARTS})
        plain.to_csv(temporary, sep="\t", index=False, na_rep="nan", float_format="%.2f", lineterminator="\n")
    with whole(html_path) as temporary:
        temporary.write_text(render_table3(table, title), encoding="utf-8")


def render_table3(table: pd.DataFrame, title: str = "Table III") -> str:
    """The table as a standalone html page; everything from data is escaped."""
    pairs = [name.removesuffix(": r_x100") for name in table if name.endswith(": r_x100")]
    notes, body = Footnotes(), []
    for _, row in table.iterrows():
        cells = [f"<td>{'✓' if row[part] else ''}</td>" for part in PARTS]
        cells.append(f"<td>{escape(str(row['label']))}</td>" if row["method"] else "<td>not run</td>")
        cells += [render_cells(row, pair, notes) for pair in pairs]
        body.append(f"<tr>{''.join(cells)}</tr>")
    top = "".join(f'<th colspan="3">{escape(name_comparison(pair))}</th>' for pair in pairs)
    head = "".join(f'<th rowspan="2" title="{escape(PART_WORDS[part])}">{part}</th>' for part in PARTS)
    low = "<th>ours</th><th>n</th><th>published</th>" * len(pairs)
    words = "; ".join(f"{part}: {word}" for part, word in PART_WORDS.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><table><caption>{escape(title)}: ablation of Omni-Seg, Pearson's r × 100 "
        f'over the spots of all slides</caption><thead><tr>{head}<th rowspan="2">Method</th>{top}</tr><tr>{low}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table><p>{escape(words)}.</p>{notes.render()}</body></html>\n"
    )
