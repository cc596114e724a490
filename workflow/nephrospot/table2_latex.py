"""Table II as LaTeX (booktabs), for a manuscript."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nephrospot.table2 import BLOCK_WORDS, BOLD_WORDS, DAGGER_WORDS, name_comparison, tell_left_out

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "×": r"$\times$", "µ": r"\textmu{}",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Any text as LaTeX that prints it."""
    return "".join(SPECIAL.get(sign, sign) for sign in str(text))


def render_latex(table: pd.DataFrame, title: str = "Table II") -> str:
    """The table of `nephrospot.table2.make_table2` as a float; needs the packages booktabs and textcomp."""
    pairs = [name.removesuffix(": r_x100") for name in table if name.endswith(": r_x100")]
    notes: dict[str, str] = {}
    headings = (f"\\multicolumn{{3}}{{c}}{{{escape_latex(name_comparison(pair))}}}" for pair in pairs)
    lines = [
        "% needs \\usepackage{booktabs,textcomp}",
        "\\begin{table}",
        f"\\caption{{{escape_latex(title)}: Pearson's $r \\times 100$ over the spots of all slides, with its 95\\,\\% "
        "interval, and $n$ spots.}",
        f"\\begin{{tabular}}{{l{'rrr' * len(pairs)}}}",
        "\\toprule",
        " & ".join(["", *headings]) + " \\\\",
        "".join(f"\\cmidrule(lr){{{3 * at + 2}-{3 * at + 4}}}" for at in range(len(pairs))),
        " & ".join(["Method", *(["ours", "$n$", "published"] * len(pairs))]) + " \\\\",
    ]
    for block in dict.fromkeys(table["block"]):
        lines += ["\\midrule", f"\\multicolumn{{{1 + 3 * len(pairs)}}}{{l}}{{\\emph{{{BLOCK_WORDS[block]}}}}} \\\\"]
        for _, row in table[table["block"] == block].iterrows():
            cells = [cell for pair in pairs for cell in _cells(row, pair, notes)]
            lines.append(" & ".join([escape_latex(row["label"]), *cells]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    if any((table[f"{pair}: standing"] == "best").any() for pair in pairs):
        lines.append(f"\\par\\footnotesize {escape_latex(BOLD_WORDS)}")
    if any((table[f"{pair}: animals"] != "").any() for pair in pairs):
        lines.append(f"\\par\\footnotesize \\textsuperscript{{\\textdagger}} {escape_latex(DAGGER_WORDS)}")
    if left_out := tell_left_out(table):
        lines.append(f"\\par\\footnotesize Without {escape_latex(left_out)}, which couldn't be used.")
    for reason, letter in notes.items():
        lines.append(f"\\par\\footnotesize \\textsuperscript{{{letter}}} {escape_latex(reason)}")
    return "\n".join([*lines, "\\end{table}", ""])


def _cells(row: pd.Series, pair: str, notes: dict[str, str]) -> list[str]:
    ours = _value(row[f"{pair}: r_x100"], row[f"{pair}: reason"], notes)
    lo, hi, n = (row[f"{pair}: {name}"] for name in ("lo_x100", "hi_x100", "n"))
    if row[f"{pair}: standing"] in ("best", "tie"):
        ours = f"\\textbf{{{ours}}}"
    if row[f"{pair}: animals"]:
        ours += "\\textsuperscript{\\textdagger}"
    if np.isfinite(lo):
        ours += f" ({lo:.1f}--{hi:.1f})"
    theirs = _value(row[f"{pair}: published_r_x100"], row[f"{pair}: published_reason"], notes)
    return [ours, f"{n:,}" if n else "", theirs]


def _value(value: float, reason: str, notes: dict[str, str]) -> str:
    if np.isfinite(value):
        return f"{value:.2f}".replace("-", "$-$")
    if reason in ("", "not run"):
        return escape_latex(reason)
    return f"--\\textsuperscript{{{notes.setdefault(reason, chr(ord('a') + len(notes) % 26))}}}"
