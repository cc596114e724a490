"""Table II: each method's pooled correlations beside the published ones.

In: correlations.parquet, the methods, config/published.tsv. Out: table2.tsv and table2.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, did_you_mean
from nephrospot.files import whole
from nephrospot.published import read_published_cells
from nephrospot.report.footnotes import Footnotes

PUBLISHED_COLUMNS = ["method", "tissue", "reference", "magnification", "r_x100", "source", "note"]
REFERENCE_WORDS = {"pathologist": "pathologist", "rctd": "transcripts (RCTD)", "nnls": "transcripts (least squares)"}
BLOCK_WORDS = {
    "method": "Methods of this run",
    "ceiling": "Ceilings (perfect masks: what the references allow at most)",
    "published": "Published, not run here",
}
BOLD_WORDS = (
    "Bold: the highest, and every value that can't be told from it on these slides (the wider of Zou's interval with "
    "effective numbers of spots and the paired block bootstrap, Holm-adjusted over the comparisons with the highest)."
)
DAGGER = "<sup>†</sup>"
DAGGER_WORDS = (
    "In new animals it may be otherwise: a paired t over the slides' own correlations disagrees with the comparison on "
    "these slides."
)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}"
    "caption{text-align:left;font-weight:600;padding:.3rem 0}th,td{padding:.25rem .8rem;text-align:right}"
    "th:first-child,td:first-child{text-align:left}thead,tbody{border-bottom:1px solid #222}"
    "tbody th[colspan]{text-align:left;font-weight:600;background:#f2f2f2}sup{color:#a00}"
)


def read_published(path: str | Path) -> pd.DataFrame:
    """Read published correlations (tab separated, ``#`` comments).

    Returns
    -------
    DataFrame
        ``method, tissue, reference, magnification, r_x100, source, note``; NaN where the paper has nan.

    Raises
    ------
    InputError
        A column is lacking, or a value is neither a number nor "nan".
    """
    table = read_published_cells(path, PUBLISHED_COLUMNS)
    values = pd.to_numeric(table["r_x100"], errors="coerce")
    for place in np.flatnonzero(values.isna() & (table["r_x100"].str.lower() != "nan")):
        row = table.iloc[place]
        raise InputError(
            f"{path}: {row['method']}, {row['tissue']}: r_x100 is {row['r_x100']!r}; give a number or nan."
        )
    return table[PUBLISHED_COLUMNS].assign(r_x100=values)


def make_table2(
    correlations: pd.DataFrame,
    methods_config: Mapping[str, Mapping],
    published: pd.DataFrame,
    differences: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Put pooled r × 100 and the published value of every method side by side.

    Parameters
    ----------
    correlations : DataFrame
        From `correlate`, with intervals (`nephrospot.certainty.add_certainty`) or without.
    methods_config : mapping
        {method: {"label": text, "published": name in ``published`` or None, "ceiling": bool}}, in the
        order wanted.
    published : DataFrame
        From `read_published`.
    differences : DataFrame, optional
        From `nephrospot.differences.compare_methods`.

    Returns
    -------
    DataFrame
        ``block`` ("method", "ceiling", "published"), ``method`` ("" where not run), ``label``, and for
        each comparison ``{tissue} {reference}: r_x100, lo_x100, hi_x100, n, standing, animals, reason,
        published_r_x100, published_reason``. Values × 100 with two decimals; a reason says why its value is absent.
        ``standing``: "best", "tie" (not separable from the best on these slides), "below" or "". ``animals``: what
        the slides' own correlations say of the best against this method, where it is another thing: "not shown"
        for one that is below, "differs" for a tie. ``left_out``: slides that couldn't be used.

    Raises
    ------
    InputError
        A method names a published one that isn't there.
    """
    pooled = correlations[correlations["level"] == "pooled"]
    pairs = list(dict.fromkeys(zip(pooled["tissue"], pooled["reference"], strict=True)))
    blocks = {"method": [], "ceiling": [], "published": []}
    known = list(pd.unique(published["method"]))
    for method, settings in methods_config.items():
        if settings.get("published") and settings["published"] not in known:
            raise InputError(
                f"Method {method}: published {settings['published']!r} is not in the published table; "
                f"{did_you_mean(settings['published'], known)}"
            )
        block = "ceiling" if settings.get("ceiling") else "method"
        blocks[block].append((method, settings.get("label") or method, settings.get("published")))
    claimed = {name for rows in blocks.values() for *_, name in rows if name}
    blocks["published"] = [("", name, name) for name in known if name not in claimed]
    rows = []
    for block, members in blocks.items():
        for method, label, name in members:
            row = {"block": block, "method": method, "label": label}
            for tissue, reference in pairs:
                cell = _ours(pooled, method, tissue, reference)
                cell |= _stand(differences, method, tissue, reference)
                cell |= _published(published, name, tissue, reference)
                row |= {f"{tissue} {reference}: {key}": value for key, value in cell.items()}
            rows.append(row)
    return pd.DataFrame(rows).assign(left_out=tell_left_out(correlations))


def tell_left_out(table: pd.DataFrame) -> str:
    """The slides that the correlations, or a Table II of them, had to do without; "" where there are none."""
    return next(iter(table.get("left_out", ())), "")


def _ours(pooled, method, tissue, reference) -> dict:
    found = pooled[(pooled["method"] == method) & (pooled["tissue"] == tissue) & (pooled["reference"] == reference)]
    if not len(found):
        return {"r_x100": np.nan, "lo_x100": np.nan, "hi_x100": np.nan, "n": 0, "reason": "not run"}
    row = found.iloc[0]
    reason = "" if np.isfinite(row["r"]) else row["reason"] or "undefined"
    values = {f"{name}_x100": round(100 * row.get(name, np.nan), 2) for name in ("r", "lo", "hi")}
    return values | {"n": int(row["n"]), "reason": reason}


def _stand(differences: pd.DataFrame | None, method: str, tissue: str, reference: str) -> dict:
    """Where a method stands beside the best one, and whether new animals are another matter."""
    cell = {"standing": "", "animals": ""}
    if differences is None or not method:
        return cell
    same = (differences["tissue"] == tissue) & (differences["reference"] == reference) & differences["with_best"]
    rivals = differences[same & differences["p"].notna()]
    if (rivals["method_a"] == method).any():
        return cell | {"standing": "best"}
    found = rivals[rivals["method_b"] == method]
    if not len(found):
        return cell
    row = found.iloc[0]
    shown = row["t_p"] < 0.05 and row["t_diff"] > 0
    if row["separable"]:
        return {"standing": "below", "animals": "" if shown else "not shown"}
    return {"standing": "tie", "animals": "differs" if shown else ""}


def _published(published, name, tissue, reference) -> dict:
    same = (published["tissue"] == tissue) & (published["reference"] == reference)
    found = published[same & (published["method"] == name)] if name else published[:0]
    if not len(found):
        return {"published_r_x100": np.nan, "published_reason": ""}
    row = found.iloc[0]
    reason = "" if np.isfinite(row["r_x100"]) else row["note"] or "nan in print"
    return {"published_r_x100": row["r_x100"], "published_reason": reason}


def write_table2(table: pd.DataFrame, tsv_path: str | Path, html_path: str | Path, title: str = "Table II") -> None:
    """Write the table for machines (tsv, NaN as ``nan``) and for readers (one html file).

    In the html an absent value is "–" with a letter, whose footnote gives the reason.
    """
    with whole(tsv_path) as temporary:
        temporary.write_text(format_tsv(table), encoding="utf-8", newline="\n")
    with whole(html_path) as temporary:
        temporary.write_text(render_table2(table, title), encoding="utf-8")


def format_tsv(table: pd.DataFrame) -> str:
    """The table as tab-separated text."""
    return table.to_csv(sep="\t", index=False, na_rep="nan", float_format="%.2f", lineterminator="\n")


def render_table2(table: pd.DataFrame, title: str = "Table II") -> str:
    """The table as a standalone html page; everything from data is escaped."""
    pairs = [name.removesuffix(": r_x100") for name in table if name.endswith(": r_x100")]
    notes, body = Footnotes(), []
    for block in dict.fromkeys(table["block"]):
        body.append(f'<tbody><tr><th colspan="{1 + 3 * len(pairs)}">{escape(BLOCK_WORDS[block])}</th></tr>')
        for _, row in table[table["block"] == block].iterrows():
            cells = "".join(render_cells(row, pair, notes) for pair in pairs)
            body.append(f"<tr><td>{escape(str(row['label']))}</td>{cells}</tr>")
        body.append("</tbody>")
    left_out = tell_left_out(table)
    without = f"; without {escape(left_out)}, which couldn't be used" if left_out else ""
    top = "".join(f'<th colspan="3">{escape(name_comparison(pair))}</th>' for pair in pairs)
    low = "<th>ours</th><th>n</th><th>published</th>" * len(pairs)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><table><caption>{escape(title)}: Pearson's r × 100 over the spots of all "
        f'slides, with its 95 % interval{without}</caption><thead><tr><th rowspan="2">Method</th>{top}</tr>'
        f"<tr>{low}</tr></thead>{''.join(body)}</table>{notes.render()}{_key(table, pairs)}</body></html>\n"
    )


def _key(table: pd.DataFrame, pairs: list[str]) -> str:
    """What bold and the dagger mean, where there are any."""
    told = ""
    if any((table[f"{pair}: standing"] == "best").any() for pair in pairs):
        told += f"<p>{BOLD_WORDS}</p>"
    if any((table[f"{pair}: animals"] != "").any() for pair in pairs):
        told += f"<p>{DAGGER} {DAGGER_WORDS}</p>"
    return told


def name_comparison(pair: str) -> str:
    """ "PT rctd" in words."""
    tissue, reference = pair.rsplit(" ", 1)
    return f"{tissue} against {REFERENCE_WORDS.get(reference, reference)}"


def render_cells(row: pd.Series, pair: str, notes: Footnotes) -> str:
    """Ours with its interval, n and the published value of one comparison: three cells of html."""
    n = row[f"{pair}: n"]
    ours = _value(row[f"{pair}: r_x100"], row[f"{pair}: reason"], notes)
    if np.isfinite(row[f"{pair}: lo_x100"]):
        ours += f" <small>{row[f'{pair}: lo_x100']:.1f} – {row[f'{pair}: hi_x100']:.1f}</small>"
    if row[f"{pair}: standing"] in ("best", "tie"):
        ours = f"<b>{ours}</b>"
    ours += DAGGER if row[f"{pair}: animals"] else ""
    theirs = _value(row[f"{pair}: published_r_x100"], row[f"{pair}: published_reason"], notes)
    return f"<td>{ours}</td><td>{f'{n:,}' if n else ''}</td><td>{theirs}</td>"


def _value(value: float, reason: str, notes: Footnotes) -> str:
    if np.isfinite(value):
        return f"{value:.2f}"
    if reason in ("", "not run"):
        return escape(reason)
    return f"–{notes.mark(reason)}"
