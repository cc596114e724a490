"""Sections of spots with maps of known smoothness, for tests of intervals."""

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist


def hexagons(columns, rows, pitch_um=100.0):
    """(columns · rows, 2) µm, Visium's lattice."""
    row, column = np.indices((rows, columns)).reshape(2, -1)
    return np.column_stack([pitch_um * (column + 0.5 * (row % 2)), pitch_um * np.sqrt(0.75) * row])


def smooth_maps(place, scale_um, count, seed, nugget=0.0):
    """(spots, count) independent Gaussian maps with covariance exp(−d / scale), and a share of white noise."""
    covariance = (1 - nugget) * np.exp(-cdist(place, place) / scale_um) + nugget * np.eye(len(place))
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(len(place))) @ np.random.default_rng(seed).normal(
        size=(len(place), count)
    )


def make_pairs(maps, tissue="PT", reference="rctd"):
    """Pairs as of `join_spots`: {slide: (place, {method: predicted}, observed)}."""
    tables = []
    for slide, (place, predicted, observed) in maps.items():
        for method, values in predicted.items():
            table = pd.DataFrame({"x_um": place[:, 0], "y_um": place[:, 1], "predicted": values, "observed": observed})
            table["barcode"] = [f"b{number:04d}" for number in range(len(place))]
            lacking = table[["predicted", "observed"]].isna().any(axis=1)
            tables.append(
                table.assign(
                    slide=slide, method=method, tissue=tissue, reference=reference, x_px=table["x_um"],
                    y_px=table["y_um"], dropped=np.where(lacking, "not scored", ""),
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)
