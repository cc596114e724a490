"""Does the answer hang on what is compared: other shares that the same counts allow, beside RCTD's share of mRNA.

In: proportions of each slide, spots of each method. Out: one row a share, method and level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from nephrospot.correlate import correlate
from nephrospot.files import read_columns, read_json
from nephrospot.join import join_each
from nephrospot.pairs import gather_pairs
from nephrospot.shares import convert_shares, list_factors

# In the order of the report; the first that is there is what the others are held against.
SHARES = ("rctd", "rctd_cells", "rctd_area", "nnls", "rctd_second")
ITSELF = "the first share"  # stands where a method's name would; blanks keep it from being one
COLUMNS = ["tissue", "reference", "method", "level", "n", "n_slides", "r", "rho", "reason", "dropped"]


def list_shares(
    proportions: pd.DataFrame,
    facts: Mapping,
    deconvolution: Mapping,
    tissues: Mapping[str, list[str]],
    second: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Every share of one slide's spots, one below the other.

    Parameters
    ----------
    proportions : DataFrame
        proportions.parquet.
    facts : mapping
        deconvolution.json.
    deconvolution : mapping
        That part of the configuration: ``cell_umi`` and ``cell_area_um2``.
    tissues : mapping
        {tissue: [cell types]}.
    second : DataFrame, optional
        second_proportions.parquet.

    Returns
    -------
    DataFrame
        As ``proportions``, with more names under ``deconvolution``: those of `SHARES`.

    Raises
    ------
    InputError
        For factors of the configuration that don't go with the reference.
    """
    parts = [proportions]
    if (proportions["deconvolution"] == "rctd").any():
        factors = list_factors(facts["umi_per_cell"], deconvolution["cell_umi"], deconvolution["cell_area_um2"])
        parts += [convert_shares(proportions, own, tissues, name) for name, own in factors.items()]
    if second is not None:
        parts.append(second[second["deconvolution"] == "rctd"].assign(deconvolution="rctd_second"))
    return pd.concat(parts, ignore_index=True)


def read_shares(
    deconvolution: Mapping, tissues: Mapping[str, list[str]], second: bool, slide: str, folder: Path
) -> pd.DataFrame:
    """`list_shares` of a slide, from its folder of results: of the given tissues alone."""

    def wanted(name: str) -> bool:
        start, _, rest = name.partition(":")
        return start in ("barcode", "deconvolution", "status", "type") or (start == "tissue" and rest in tissues)

    own, facts = read_columns(folder / "proportions.parquet", wanted), read_json(folder / "deconvolution.json")
    again = read_columns(folder / "second_proportions.parquet", wanted) if second else None
    return list_shares(own, facts, deconvolution, tissues, again)


def measure_sensitivity(
    shares: Mapping[str, pd.DataFrame],
    spots: Mapping[tuple[str, str], pd.DataFrame],
    tissues: Sequence[str],
    methods: Sequence[str],
) -> pd.DataFrame:
    """Correlate every method with every share, and the first share with each of the others.

    Parameters
    ----------
    shares
        {slide: `list_shares`}, all of the same names, as one configuration makes them.
    spots
        {(slide, method): spots.parquet}.
    tissues, methods
        In the order wanted.

    Returns
    -------
    DataFrame
        `COLUMNS`, as `nephrospot.correlate.correlate` gives them. Under ``reference`` stands a name of `SHARES`, under
        ``method`` a method or `ITSELF`.
    """
    known = set(next(iter(shares.values()))["deconvolution"]) if shares else ()
    names = [name for name in SHARES if name in known]
    comparisons = [{"tissue": tissue, "reference": name} for tissue in tissues for name in names]

    def join(slide: str, own: pd.DataFrame) -> Iterator[pd.DataFrame]:
        given = {method: spots[slide, method] for method in methods if (slide, method) in spots}
        for method, table in (given | {ITSELF: _as_method(own, names[0])}).items():
            yield from join_each(slide, method, table, comparisons, None, own)

    joined = chain.from_iterable(join(slide, own) for slide, own in shares.items())
    cohort = gather_pairs(joined, comparisons, [*methods, ITSELF], place=("x_px", "y_px"))
    table = correlate(cohort, [*methods, ITSELF], moran=False)
    with_itself = (table["method"] == ITSELF) & (table["reference"] == names[0])
    return table.loc[~with_itself, COLUMNS].reset_index(drop=True)


def _as_method(shares: pd.DataFrame, name: str) -> pd.DataFrame:
    """One share in the columns of spots.parquet."""
    own = shares[shares["deconvolution"] == name]
    tissues = own.filter(regex="^tissue:")
    percent = (100 * tissues).rename(columns=lambda column: f"{column.removeprefix('tissue:')}_percent")
    reason = own["status"].where(own["status"] != "used", "")
    return pd.concat([own[["barcode"]].assign(x_px=0.0, y_px=0.0, reason=reason), percent], axis=1)
