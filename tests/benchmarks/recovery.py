"""Known proportions given back: RCTD beside NNLS, the floor that it must beat.

    python tests/benchmarks/recovery.py --table results/recovery.tsv

Simulated Visium spots, whose mRNA and cells are known, and 55 µm spots pooled from real seqFISH+ cells of mouse cortex,
whose cells are known; each field is deconvolved with the cells of the other fields, or with those from cortex alone.
Both lie in ../shared/data. Least squares come twice: as the workflow ships them (genes weighted, the platform's factors
taken off), and plain.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).parents[1]))
from nephrospot.files import whole
from nephrospot.likelihood import write_likelihood_tables
from nephrospot.nnls import deconvolve_nnls
from nephrospot.rctd import deconvolve_rctd
from nephrospot.shares import convert_shares, list_factors, proportions_table
from rctd_golden import make_counts, read_referee

FIELDS = range(4)
FEWEST_CELLS = 5  # of a type; RCTD's own 25 would leave most types of one laboratory's 900 cells out
# The truth calls some types otherwise than the reference, and leaves cells without a type out.
SAME = {"Interneuron": "Interneurons", "Neuroblast": "Neuroblasts", "Excitatory 5/6": "Excitatory layer 5/6"}
# Layers of one kind of cell, added up as the workflow adds up segments of a tubule.
CLASSES = ("Astrocytes", "Excitatory", "Interneuron")
PROGRAMS = ("rctd", "nnls", "plain")


def read_simulated(data: Path) -> list[tuple]:
    """Counts, reference and truths ({what: spots x types}) of the simulated spots."""
    folder = data / "rctd_referee" / "simulated_visium"
    held = read_referee(folder)
    truths = {
        f"share of {what}": pd.read_csv(folder / f"truth_{name}_prop.csv", index_col=0)
        for what, name in (("mRNA", "umi"), ("cells", "cell"))
    }
    return [(held["counts"], held["reference"], truths)]


def read_seqfish(data: Path, regions: Sequence[str] = ()) -> list[tuple]:
    """The same of each field, with a reference of the other fields' cells, or of those from some regions."""
    folder = data / "seqfish_pooled"
    cells = pd.read_csv(folder / "reference_cells.csv", index_col=0)
    types = cells["cell_type"].str.strip().replace(SAME).map(as_in_r)
    matrix = pd.read_csv(folder / "reference_counts.csv.gz", index_col=0).loc[cells.index]
    genes = [as_in_r(gene) for gene in matrix.columns]
    parts = []
    for field in FIELDS:
        others = (cells["field"] != field) & (cells["cell_type"] != "unannotated")
        others &= cells["region"].isin(regions) if regions else True
        others &= types.map(types[others].value_counts()).fillna(0) >= FEWEST_CELLS
        reference = make_counts(
            matrix[others].to_numpy(), cells.index[others], genes, cell_type=types[others].to_numpy()
        )
        counts = pd.read_csv(folder / f"fov{field}_counts.csv.gz", index_col=0)
        spots = [f"{field}-{name}" for name in counts.columns]
        truth = pd.read_csv(folder / f"fov{field}_truth.csv", index_col=0).drop(columns="spot_no").set_axis(spots)
        parts.append((make_counts(counts.T.to_numpy(), spots, counts.index), reference, {"share of cells": truth}))
    return parts


def as_in_r(name: str) -> str:
    """A name as R's make.names leaves it, in which the counts' genes and the truth's types are written."""
    name = re.sub(r"[^A-Za-z0-9.]", ".", name)
    return f"X{name}" if name[0].isdigit() else name


def estimate(counts: ad.AnnData, reference: ad.AnnData, tables: Path, program: str) -> dict[str, pd.DataFrame]:
    """Shares (spots x types) as the workflow makes them, by what they are shares of."""
    if program == "rctd":
        weights, *_ = deconvolve_rctd(counts, reference, tables, threads=2, cell_min=FEWEST_CELLS)
    else:
        weights = {"nnls": deconvolve_nnls, "plain": deconvolve_plainly}[program](counts, reference)
    numbers = {"n_umi": np.nan, "n_genes": np.nan, "mt_percent": np.nan, "edge": False, "status": "used"}
    # Under RCTD's name for both, since only its shares are converted in the workflow.
    table = proportions_table(weights, pd.DataFrame({"barcode": counts.obs_names, **numbers}), {}, "rctd")
    umi = pd.Series(np.asarray(reference.X.sum(axis=1)).ravel()).groupby(reference.obs["cell_type"].to_numpy()).mean()
    cells = convert_shares(table, list_factors(umi.to_dict(), {}, {})["rctd_cells"], {}, "rctd_cells")
    shares = {"share of mRNA": table, "share of cells": cells}
    return {
        what: own.set_index("barcode").filter(regex="^type:").rename(columns=lambda name: name.removeprefix("type:"))
        for what, own in shares.items()
    }


def deconvolve_plainly(counts: ad.AnnData, reference: ad.AnnData) -> pd.DataFrame:
    """Non-negative least squares on the types' mean shares of all common genes, no more."""
    labels = reference.obs["cell_type"].astype(str).to_numpy()
    genes = counts.var_names.intersection(reference.var_names, sort=False)
    cells, spots = (held[:, genes].X.toarray().astype(float) for held in (reference, counts))
    cells, spots = (matrix / matrix.sum(axis=1, keepdims=True) for matrix in (cells, spots))
    types = sorted(set(labels))
    profiles = np.column_stack([cells[labels == name].mean(axis=0) for name in types])
    return pd.DataFrame([nnls(profiles, spot)[0] for spot in spots], index=counts.obs_names, columns=types)


def add_up_classes(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares (spots x types) with the types of one class added up."""
    return shares.T.groupby(lambda name: next((own for own in CLASSES if name.startswith(own)), name)).sum().T


def measure(estimated: pd.DataFrame, truth: pd.DataFrame) -> tuple[int, float, float]:
    """Spots, root mean square error and Pearson's r over all spots and types; a type that one side lacks is 0 there."""
    spots = estimated.dropna().index
    types = estimated.columns.union(truth.columns)
    x, y = (table.loc[spots].reindex(columns=types, fill_value=0).to_numpy().ravel() for table in (estimated, truth))
    return len(spots), float(np.sqrt(np.mean((x - y) ** 2))), float(np.corrcoef(x, y)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", type=Path, default=Path("resources/rctd_likelihood.npz"))
    parser.add_argument("--table", type=Path, default=Path("results/recovery.tsv"))
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"The public material is not at {arguments.data}; give its folder as --data.")
    if not arguments.tables.is_file():
        write_likelihood_tables(arguments.tables)
    rows = []
    sets = {
        "simulated_visium": read_simulated,
        "seqfish_pooled": read_seqfish,
        "seqfish_pooled, cells of cortex": partial(read_seqfish, regions=["Cortex"]),
    }
    for part, read in sets.items():
        parts = read(arguments.data)
        found = {
            program: [estimate(counts, reference, arguments.tables, program) for counts, reference, _ in parts]
            for program in PROGRAMS
        }
        for truth, what in itertools.product(parts[0][2], ("share of mRNA", "share of cells")):
            known = pd.concat([truths[truth] for *_, truths in parts]).fillna(0)
            given = {name: pd.concat([shares[what] for shares in found[name]]).fillna(0) for name in PROGRAMS}
            for of, sort in (("types", pd.DataFrame.copy), ("classes", add_up_classes)):
                asked = sort(known)
                if of == "classes" and asked.shape == known.shape:
                    continue  # no type has layers
                row = {"set": part, "truth": truth, "estimate": what, "of": of, "n": asked.shape[1]}
                for name in PROGRAMS:
                    row["spots"], row[f"{name}_rmse"], row[f"{name}_r"] = measure(sort(given[name]), asked)
                rows.append(row)
    table = pd.DataFrame(rows)
    with whole(arguments.table) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.4f")
    print(table.to_string(index=False, float_format="{:.3f}".format))
    same = table["truth"] == table["estimate"]
    better = (table["rctd_rmse"] < table["nnls_rmse"]) & (table["rctd_r"] > table["nnls_r"])
    won, total = int((better & same).sum()), int(same.sum())
    print(f"RCTD beats NNLS by both figures in {won} of {total} comparisons of like with like.")


if __name__ == "__main__":
    main()
