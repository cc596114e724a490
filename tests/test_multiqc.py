"""MultiQC's tables hold the slides and methods, unknown values left out, and nothing that JSON lacks."""

import json

import numpy as np
import pandas as pd

from nephrospot.multiqc import tell_methods, tell_slides


def make_correlations():
    same = {"tissue": "CAP", "reference": "pathologist", "n": 90}
    rows = [
        same | {"method": method, "level": level, "r": r, "lo": r - 0.1, "hi": r + 0.05}
        for method, r in (("net", 0.8), ("blank", np.nan))
        for level in ("pooled", "within", "slide:K1", "slide:K2")
    ]
    return pd.DataFrame(rows)


def test_slides_have_spots_and_r():
    manifests = {"K1": {"spots_in_tissue": 300, "mpp": 0.5}, "K2": {"spots_in_tissue": 280, "mpp": None}}
    told = json.loads(json.dumps(tell_slides(manifests, {"K1": {"n_used": 290}}, make_correlations()), allow_nan=False))
    assert told["data"]["K1"] == {"spots": 300, "used": 290, "mpp": 0.5, "CAP_pathologist_net": 80.0}
    assert told["data"]["K2"] == {"spots": 280, "CAP_pathologist_net": 80.0}, "what isn't known is left out"
    assert {name for row in told["data"].values() for name in row} <= set(told["headers"])
    assert told["plot_type"] == "table" and told["id"] == "nephrospot_slides"


def test_methods_have_intervals_and_n():
    told = tell_methods(make_correlations(), {"net": "Net", "blank": "Blank"})
    row = told["data"]["Net"]
    values = {"": 80.0, "_lo": 70.0, "_hi": 85.0, "_n": 90.0}
    assert row == {f"CAP_pathologist{name}": value for name, value in values.items()}
    assert told["data"]["Blank"] == {"CAP_pathologist_n": 90.0}, "no r, so none is shown"
