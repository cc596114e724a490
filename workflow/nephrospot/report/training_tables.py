"""The training page's tables: heads and rows of text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nephrospot.cost import ALL
from nephrospot.models import TISSUES
from nephrospot.report.wording import tell_value
from nephrospot.table1 import AVERAGE
from nephrospot.table3 import PARTS
from nephrospot.training.runs import PARTS as SPLIT_PARTS

OURS = {"dice": "Dice × 100", "hd_um": "HD, µm", "hd95_um": "HD95, µm", "msd_um": "MSD, µm"}
THEIRS = {"dice": "Dice* × 100", "hd_um": "HD*, µm", "msd_um": "MSD*, µm"}


def list_patch_counts(patches: pd.DataFrame) -> dict:
    """Patches, and in brackets their regions, by tissue and part."""
    rows = []
    for tissue in [tissue for tissue in TISSUES if (patches["tissue"] == tissue).any()]:
        own = patches[patches["tissue"] == tissue]
        parts = [own[own["split"] == part] for part in SPLIT_PARTS]
        rows.append([tissue, *(f"{len(part):,} ({part['roi'].nunique():,})" for part in parts)])
    return {"head": ["tissue", *SPLIT_PARTS], "rows": rows, "numeric": [1, 2, 3]}


def list_table1(table: pd.DataFrame) -> list[dict]:
    """One table a tissue: ours with intervals and counts, then the published convention, this run beside print.

    Parameters
    ----------
    table
        Of `nephrospot.table1.make_table1`.
    """
    head = ["method", *OURS.values(), "n"]
    head += [f"{name}\n{where}" for name in THEIRS.values() for where in ("this run", "published")]
    blocks = []
    for tissue in [tissue for tissue in (*TISSUES, AVERAGE) if (table["tissue"] == tissue).any()]:
        rows = []
        for (block, label), own in table[table["tissue"] == tissue].groupby(["block", "label"], sort=False):
            ours, theirs = (
                {row["metric"]: row for row in own[own["convention"] == name].to_dict("records")}
                for name in ("ours", "omniseg")
            )
            cells = [str(label) + (" (print)" if block == "published" else "")]
            cells += [_tell_mean(ours.get(metric), metric) for metric in OURS]
            cells.append(_tell_counts(ours.get("hd_um")))
            for metric in THEIRS:
                row = theirs.get(metric)
                cells.append("" if row is None or pd.isna(row["n"]) else _tell(row["mean"], metric))
                published = np.nan if row is None else row["published"]
                cells.append(_tell(published, metric) if np.isfinite(published) else "")
            rows.append(cells)
        title = "Average of the tissues" if tissue == AVERAGE else tissue
        table_of_tissue = {"head": head, "rows": rows, "numeric": list(range(1, len(head)))}
        blocks.append({"tissue": title, "table": table_of_tissue})
    return blocks


def list_rates(rates: Mapping[str, pd.DataFrame]) -> dict:
    """Every trial of a learning rate.

    Parameters
    ----------
    rates
        {label: table of `nephrospot.training.rates.check_learning_rates`}.
    """
    head = [
        "method",
        "learning rate",
        "validation loss",
        "validation Dice × 100",
        "epoch",
        "loss of the last epoch",
        "taken",
        "why not",
    ]
    rows = []
    for label, table in rates.items():
        for row in table.to_dict("records"):
            tried = np.isfinite(row["validation_loss"])
            rows.append(
                [
                    label,
                    f"{row['learning_rate']:.3g}",
                    tell_value(row["validation_loss"], 3),
                    tell_value(100 * row["validation_foreground_dice"], 1),
                    str(row["epoch"]) if tried else "–",
                    tell_value(row["loss"], 3),
                    "yes" if row["best"] else "",
                    "" if pd.isna(row["reason"]) else str(row["reason"]),
                ]
            )
    return {"head": head, "rows": rows, "numeric": [1, 2, 3, 4, 5]}


def list_costs(costs: pd.DataFrame, labels: Mapping[str, str]) -> dict:
    """Parameters of each method, and MACs for one tissue (the cheapest to the dearest) and for all."""
    rows = []
    for method, own in costs.groupby("method", sort=False):
        every, single = own[own["tissue"] == ALL].iloc[0], own.loc[own["tissue"] != ALL, "macs"]
        ends = [f"{value / 1e9:.2f}" for value in (single.min(), single.max())]
        rows.append(
            [
                labels.get(method, method),
                every["network"],
                f"{every['parameters'] / 1e6:.2f}",
                " – ".join(dict.fromkeys(ends)),
                f"{every['macs'] / 1e9:.2f}",
                f"{every['patch_px']}",
            ]
        )
    head = ["method", "network", "parameters, millions", "MACs of one tissue, billions",
            "MACs of all six, billions", "patch, px"]  # fmt: skip
    return {"head": head, "rows": rows, "numeric": [2, 3, 4, 5]}


def list_table3(table: pd.DataFrame) -> dict:
    """Table III as text, with the reasons for what is missing."""
    pairs = [name.removesuffix(": r_x100") for name in table if name.endswith(": r_x100")]
    head, rows, notes = [*PARTS, "training"], [], {}
    for pair in pairs:
        head += [f"{pair}\nthis run", "n", f"{pair}\npublished"]
    for row in table.to_dict("records"):
        ran = isinstance(row["method"], str) and row["method"] != ""
        cells = ["✓" if int(row[part]) else "–" for part in PARTS] + [str(row["label"]) if ran else "not run"]
        for pair in pairs:
            cells.append(tell_value(row[f"{pair}: r_x100"], 2))
            cells.append(f"{int(row[f'{pair}: n']):,}" if row[f"{pair}: n"] else "")
            cells.append(tell_value(row[f"{pair}: published_r_x100"], 2))
            for reason in (row[f"{pair}: reason"], row[f"{pair}: published_reason"]):
                if isinstance(reason, str) and reason not in ("", "not run"):
                    notes.setdefault(f"{row['configuration']}, {pair}: {reason}")
        rows.append(cells)
    return {"head": head, "rows": rows, "numeric": list(range(4, len(head))), "notes": list(notes)}


def _tell(value: float, metric: str) -> str:
    return tell_value(100 * value if metric == "dice" else value, 1)


def _tell_mean(row: Mapping | None, metric: str) -> str:
    if row is None or pd.isna(row["n"]):
        return ""
    told = _tell(row["mean"], metric)
    if not np.isfinite(row["lo"]):
        return told
    return f"{told}\n{_tell(row['lo'], metric)} – {_tell(row['hi'], metric)}"


def _tell_counts(row: Mapping | None) -> str:
    if row is None or pd.isna(row["n"]):
        return ""
    return " / ".join(f"{int(row[name]):,}" for name in ("n_defined", "n_both_empty", "n_one_sided"))
