"""RCTD as a program of its own: checked counts and reference in, weights out.

Nothing of the GPL package is imported; it is started as ``rctd run`` in a temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import pandas as pd

from nephrospot.doublet import read_pairs, sum_up_classes
from nephrospot.errors import InputError, PassingError

SIGMA_FLOOR = 0.21  # RCTD's search starts at 1 and can't get lower


def deconvolve_rctd(
    counts: ad.AnnData,
    reference: ad.AnnData,
    tables: str | Path,
    threads: int = 1,
    label_column: str = "cell_type",
    cell_min: int = 25,
    mode: str = "full",
) -> tuple[pd.DataFrame, dict, pd.DataFrame | None]:
    """Run the installed program ``rctd`` on checked counts and reference.

    Robust cell type decomposition, Cable et al. 2022, Nat Biotechnol 40:517. The program is under
    the GPL and therefore a process of its own; nothing of it is imported here.

    Parameters
    ----------
    counts : AnnData, spots x genes
        Raw counts of the spots to use, all genes but mitochondrial ones.
    reference : AnnData, cells x genes
        Raw counts, with the label in ``obs``.
    tables : path
        From `write_likelihood_tables`.
    threads : int
        Threads of the program.
    label_column : str
        Column of ``reference.obs``.
    cell_min : int
        Fewest cells of a type.
    mode : str
        "full" (any mixture of types, as in spots of 55 µm) or "doublet" (one or two types).

    Returns
    -------
    DataFrame, spots x cell types
        Weights of full mode as RCTD gives them (rows needn't add up to 1), index the barcode; NaN for a spot
        that RCTD left out. Doublet mode makes them on its way, too.
    dict
        ``sigma``, ``sigma_at_floor``, ``n_reg_genes``, ``versions``, ``notes``; ``n_not_converged`` in full mode,
        ``spot_classes`` ({class: spots}) in doublet mode.
    DataFrame or None
        In doublet mode `nephrospot.doublet.read_pairs`.

    Raises
    ------
    InputError
        When the program or the tables are lacking, or the program fails.
    """
    if not Path(tables).is_file():
        raise InputError(f"{tables}: RCTD's likelihood tables are not there; run the pipeline's rule that writes them.")
    program = find_program()
    with tempfile.TemporaryDirectory(prefix="nephrospot_rctd_") as folder:
        spots_path, cells_path, out_path = (Path(folder) / f"{name}.h5ad" for name in ("spots", "cells", "out"))
        ad.AnnData(counts.X, counts.obs[[]], counts.var[[]]).write_h5ad(spots_path)
        ad.AnnData(reference.X, reference.obs[[label_column]], reference.var[[]]).write_h5ad(cells_path)
        command = [program, "run", spots_path, cells_path, "--cell-type-col", label_column, "--mode", mode]
        command += ["--no-compile", "--device", "cpu", "--cell-min", str(cell_min), "--json", "-q", "-o", out_path]
        numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        setting = {"RCTD_Q_MATRICES": str(Path(tables).resolve()), "TORCHDYNAMO_DISABLE": "1", **numbers}
        done = subprocess.run(command, env=os.environ | setting, capture_output=True, text=True, check=False)
        summary = _summary(done)
        if tuple(map(int, summary["version"].split(".")[:2])) < (0, 4):
            raise InputError(
                f"rctd {summary['version']} differs from R's RCTD; run pip install 'nephrospot[rctd]' (0.4.0)."
            )
        out = ad.read_h5ad(out_path)
    weights = pd.DataFrame(
        out.obsm["rctd_weights"].astype(float), index=counts.obs_names, columns=summary["input"]["cell_type_names"]
    )
    pairs = read_pairs(out) if mode == "doublet" else None
    return weights, _rctd_facts(summary, done.stderr, weights, pairs), pairs


def find_program() -> str:
    """Path of the program ``rctd``.

    Raises
    ------
    PassingError
        When it isn't installed.
    """
    # The program lies beside Python where an environment is used without being activated.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("rctd", path=places)
    if program is None:
        raise PassingError("The program rctd is not installed; run pip install 'nephrospot[rctd]' and try again.")
    return program


def _summary(done: subprocess.CompletedProcess) -> dict:
    """The program's own JSON; its failure as a sentence."""
    try:
        summary = json.loads(done.stdout)
    except json.JSONDecodeError:
        summary = {}
    if done.returncode == 0 and summary.get("status") == "success":
        return summary
    said = summary.get("error") or done.stderr.strip() or f"exit status {done.returncode}"
    if done.returncode in (-9, 137):
        raise PassingError("rctd was killed: give the job more memory (4 to 8 GB).")
    raise InputError(f"rctd failed: {said.strip().splitlines()[-1]}")


def _rctd_facts(summary: dict, stderr: str, weights: pd.DataFrame, pairs: pd.DataFrame | None) -> dict:
    sigma = summary["results"]["sigma"] / 100
    told = re.search(r"Using (\d+) DE genes", stderr)
    n_genes = int(told.group(1)) if told else None
    n_fitted = int(weights.notna().all(axis=1).sum())
    notes = []
    if sigma <= SIGMA_FLOOR:
        notes.append(f"RCTD's sigma is {sigma:.2f}, the least it can find; weights of similar types are less certain.")
    if n_genes is not None and n_genes < 500:
        notes.append(f"RCTD found only {n_genes} genes that tell the cell types apart (500 or more are usual).")
    facts = {"sigma": sigma, "sigma_at_floor": sigma <= SIGMA_FLOOR, "n_reg_genes": n_genes}
    if pairs is None:
        facts["n_not_converged"] = unfinished = n_fitted - summary["summary"]["n_converged"]
        if unfinished > 0.05 * n_fitted:
            notes.append(f"RCTD did not converge in {unfinished} of {n_fitted} spots.")
    else:
        facts["spot_classes"], told = sum_up_classes(pairs)
        notes += told
    return {**facts, "versions": {"rctd-py": summary["version"]}, "notes": notes}
