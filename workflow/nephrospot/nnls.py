"""Weighted non-negative least squares, the plain baseline beside RCTD."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy.optimize import nnls


def deconvolve_nnls(counts: ad.AnnData, reference: ad.AnnData, label_column: str = "cell_type") -> pd.DataFrame:
    """Non-negative least squares on mean profiles, a baseline to hold RCTD against.

    Each gene weighs as one over the standard deviation that a Poisson count of its mean would have.
    A first fit to the sum of all spots gives one factor a gene between the two technologies.

    Parameters
    ----------
    counts, reference : AnnData
        As in `deconvolve_rctd`.
    label_column : str
        Column of ``reference.obs``.

    Returns
    -------
    DataFrame, spots x cell types
        Weights, in shares of the spot's UMI.
    """
    labels = reference.obs[label_column].astype(str).to_numpy()
    types = sorted(set(labels))
    genes = counts.var_names.intersection(reference.var_names, sort=False)
    cell_umi, spot_umi = (np.asarray(held.X.sum(axis=1)).ravel() for held in (reference, counts))
    shares = reference[:, genes].X.multiply(1 / cell_umi[:, None]).tocsr()
    profiles = np.column_stack([np.asarray(shares[labels == name].mean(axis=0)).ravel() for name in types])
    bulk = np.asarray(counts[:, genes].X.sum(axis=0)).ravel() / spot_umi.sum()
    # Genes that are expressed and stand out in some type, by the thresholds of RCTD's bulk fit.
    spread = np.log(profiles.max(axis=1) + 1e-9) - np.log(profiles.mean(axis=1) + 1e-9)
    chosen = (profiles.max(axis=1) > 1.25e-4) & (spread > 0.5) & (bulk > 0)
    if chosen.sum() < len(types):
        chosen = (profiles.max(axis=1) > 0) & (bulk > 0)
    profiles, bulk = profiles[chosen], bulk[chosen]
    scale = 1 / np.sqrt(bulk)
    share, _ = nnls(profiles * scale[:, None], bulk * scale)
    expected = profiles @ share
    platform = np.where(expected > 0, bulk / np.maximum(expected, 1e-12), 1.0)
    # The same matrix serves every spot: after one QR a fit has as many rows as cell types.
    basis, triangle = np.linalg.qr(profiles * (platform * scale)[:, None])
    observed = counts[:, genes[chosen]].X.multiply(1 / spot_umi[:, None]).tocsr()
    targets = observed.multiply(scale[None, :]).tocsr() @ basis
    weights = np.array([nnls(triangle, target)[0] for target in targets])
    return pd.DataFrame(weights, index=counts.obs_names, columns=types)
