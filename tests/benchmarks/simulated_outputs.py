"""A cohort's per-slide outputs, simulated: what the cohort's steps read, without slides or networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from scipy import ndimage

from nephrospot.diameters import DIAMETERS_UM
from nephrospot.files import write_json
from nephrospot.settings import read_settings

PROJECT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS, PITCH_PX, MPP = 78, 128, 200.0, 0.5
METHODS = ("omni-seg", "multi-unet")
COMPARISONS = [{"tissue": "PT", "reference": "rctd"}, {"tissue": "CAP", "reference": "pathologist"}]
CONFIG = yaml.safe_load((PROJECT / "config/config.yaml").read_text())
TISSUES = CONFIG["tissues"]
TYPES = [kind for tissue in TISSUES.values() for kind in tissue["cell_types"]]


def make_settings() -> dict:
    """The demonstration's configuration with the two networks alone."""
    config = {key: value for key, value in CONFIG.items() if key != "evaluation"}
    config["methods"] = {name: CONFIG["methods"][name] | {"weights": str(PROJECT / CONFIG["methods"][name]["weights"])}
                         for name in METHODS}  # fmt: skip
    return read_settings(config | {"comparisons": COMPARISONS, "published": str(PROJECT / "config/published.tsv")})


def write_cohort(folder: Path, n: int) -> int:
    """Write n slides and their sheet; returns the number of spots on tissue."""
    rows, total = [], 0
    sizes = np.linspace(300, ROWS * COLUMNS // 2, n).astype(int)
    for number, size in enumerate(sizes, start=1):
        slide = f"S{number:04d}"
        write_slide(folder, slide, int(size), number)
        given = folder / "given" / slide
        rows.append({"slide": slide, "image": "slide.tiff", "visium": str(given), "scores": str(given / "scores.csv"),
                     "species": "mouse", "stain": "", "group": "simulated", "exclude": ""})  # fmt: skip
        total += int(size)
    pd.DataFrame(rows).to_csv(folder / "sheet.tsv", sep="\t", index=False)
    return total


def write_slide(folder: Path, slide: str, n: int, seed: int) -> None:
    """All outputs of one slide with n spots on tissue."""
    rng = np.random.default_rng(seed)
    row, column = np.array([(r, c) for r in range(ROWS) for c in range(r % 2, COLUMNS, 2)]).T
    x_px, y_px = (400 + PITCH_PX * (column / 2), 400 + PITCH_PX * row * np.sqrt(3) / 2)
    nearest = np.argsort(np.hypot(x_px - x_px.mean(), y_px - y_px.mean()), kind="stable")[:n]
    inside = np.zeros(len(row), bool)
    inside[nearest] = True
    digits = (np.arange(len(row))[:, None] // 4 ** np.arange(16)) % 4
    barcode = np.array(["".join("ACGT"[d] for d in own) + "-1" for own in digits])
    positions = pd.DataFrame(
        {
            "barcode": barcode, "in_tissue": inside.astype(int), "array_row": row, "array_col": column,
            "pxl_row_in_fullres": y_px.round().astype(int), "pxl_col_in_fullres": x_px.round().astype(int),
        }
    )  # fmt: skip
    given, results = folder / "given" / slide, folder / "results" / slide
    (given / "spatial").mkdir(parents=True)
    positions.to_csv(given / "spatial/tissue_positions.csv", index=False)
    (given / "spatial/scalefactors_json.json").write_text(json.dumps({"spot_diameter_fullres": 130.0}))

    def draw(scale: float) -> np.ndarray:
        grid = ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), (scale, 2 * scale))
        return (grid / grid.std())[row, column][inside]

    spots = positions.loc[inside, ["barcode", "array_row", "array_col"]].reset_index(drop=True)
    spots["x_px"], spots["y_px"], spots["inside_share"] = x_px[inside], y_px[inside], 1.0
    tubules, glomeruli = draw(2.0), np.clip(draw(0.5) - 1.0, 0, None)
    pt, cap = np.clip(50 + 20 * tubules, 0, 100), np.clip(40 * glomeruli, 0, 100)
    for noise, method in zip((8.0, 15.0), METHODS, strict=True):
        (results / method).mkdir(parents=True)
        own = spots.copy()
        own["PT_percent"] = np.clip(pt + noise * draw(0.5), 0, 100)
        own["CAP_percent"] = np.where(cap > 0, np.clip(cap + noise * draw(0.1), 0, 100), 0)
        own.assign(reason="").to_parquet(results / method / "spots.parquet", index=False)
        write_objects(results / method / "objects.parquet", rng, n // 30)
        (results / method / "predict.json").write_text(json.dumps(predict_json()))
        for name, size in (("overview", (1600, 1200)), ("regions", (1500, 1000))):
            draw_noise(results / method / f"{name}.jpg", *size, seed)
    write_scores(given / "scores.csv", spots["barcode"], cap, rng, readers=2 if seed % 10 == 0 else 1)
    write_proportions(results / "proportions.parquet", spots["barcode"], pt, rng)
    (results / "deconvolution.json").write_text(json.dumps(deconvolution_json(n)))
    manifest = {
        "slide": slide, "image": "slide.tiff", "visium": str(given), "species": "mouse", "mpp": MPP,
        "mpp_witnesses": {"tag": MPP, "pitch": MPP}, "width_px": 14000, "height_px": 14500, "levels": [],
        "format": "tiff", "transform": {"scale": 1.0, "x_px": 0.0, "y_px": 0.0}, "spots_in_tissue": n,
        "spots_total": len(row), "visium_layout": "csv with header", "registration": None, "problems": [], "notes": [],
    }  # fmt: skip
    (results / "slide.json").write_text(json.dumps(manifest))
    write_shifts(results, slide, rng)


def deconvolution_json(n: int) -> dict:
    """What the report prints of a deconvolution."""
    limit = {"limit": "fewer than 500 UMI", "n_failing": n // 97, "n_removed": n // 97, "share_removed": 1 / 97}
    quality = {"median_umi": 900.0, "median_genes": 500.0, "median_mt_percent": 9.0, "n_edge": n // 20}
    return {
        "n_spots": n, "n_used": n - n // 97, "n_common_genes": 9000, "n_reg_genes": 900, "sigma": 0.4,
        "umi_per_cell": dict.fromkeys(TYPES, 2000.0),
        "quality": quality | {"limits": [limit]}, "r_rctd_nnls": {"PT": 0.95},
        "notes": ["Cell types that belong to no tissue of the configuration: IC."],
    }  # fmt: skip


def predict_json() -> dict:
    """What the report prints of a prediction."""
    return {
        "device": "cpu", "precision": "fp32", "tiles": {"10x": 1840, "20x": 7000}, "seconds": 100.0,
        "readings": {"PT": "10x, code 10x", "CAP": "20x, code 5x"}, "weights_sha256": "0" * 64,
        "foreground_percent_of_tiles": {"PT": 40.0, "CAP": 3.0},
        "refused": {"PTC": "read at 40× (0.25 µm per pixel) but the slide has 0.5"},
    }  # fmt: skip


def write_objects(path: Path, rng: np.random.Generator, n: int) -> None:
    """Glomeruli."""
    table = {"tissue": "CAP", "id": np.arange(1, n + 1), "area_um2": rng.uniform(2000, 9000, n),
             "circularity": rng.uniform(0.6, 1, n), "tuft_fraction": rng.uniform(0.4, 0.9, n), "barcode": "",
             "spots_touched": rng.integers(0, 4, n)}  # fmt: skip
    pd.DataFrame(table).to_parquet(path, index=False)


def write_scores(path: Path, barcode: pd.Series, cap: np.ndarray, rng: np.random.Generator, readers: int) -> None:
    """Percent to the nearest five, by one reader or two."""
    tables = []
    for reader in "AB"[:readers]:
        seen = np.clip(5 * np.round((cap + 5 * (cap > 0) * rng.normal(size=len(cap))) / 5), 0, 100)
        tables.append(pd.DataFrame({"barcode": barcode, "CAP": seen.astype(int), "reader": reader}))
    table = pd.concat(tables)
    (table if readers > 1 else table.drop(columns="reader")).to_csv(path, index=False)


def write_proportions(path: Path, barcode: pd.Series, pt: np.ndarray, rng: np.random.Generator) -> None:
    """RCTD above NNLS, with a few spots that have too few UMI."""
    tables, n = [], len(barcode)
    for name, noise in (("rctd", 5.0), ("nnls", 10.0)):
        share = np.clip(pt + noise * rng.normal(size=n), 0, 100) / 100
        table = {"barcode": barcode, "deconvolution": name, "n_umi": 900.0, "n_genes": 500.0, "mt_percent": 9.0,
                 "status": "used", "weight_sum": 1.0}  # fmt: skip
        table |= {f"type:{kind}": share / len(TYPES) for kind in TYPES}
        table |= {f"tissue:{tissue}": share for tissue, facts in TISSUES.items() if facts["cell_types"]}
        frame = pd.DataFrame(table)
        frame.loc[::97, frame.columns.str.contains(":") | (frame.columns == "weight_sum")] = np.nan
        frame.loc[::97, "status"] = "fewer than 500 UMI"
        tables.append(frame)
    pd.concat(tables).to_parquet(path, index=False)


def write_shifts(results: Path, slide: str, rng: np.random.Generator) -> None:
    """r under 121 trial shifts of every method and comparison, and its peaks."""
    steps = np.arange(-50.0, 51, 10)
    dx, dy = (grid.ravel() for grid in np.meshgrid(steps, steps))
    tables, peaks = [], []
    for method in METHODS:
        for comparison in COMPARISONS:
            r = 0.8 - (dx**2 + dy**2) / 1e4 + rng.normal(0, 0.01, len(dx))
            key = {"method": method, **comparison}
            tables.append(pd.DataFrame({"dx_um": dx, "dy_um": dy, "n": 300, "r": r}).assign(**key))
            peaks.append(key | {"x_um": 1.0, "y_um": -2.0, "r": 0.81, "r_here": 0.8, "certainty": 0.5, "at_edge": False,
                                "distance_um": 2.2, "suspicious": False})  # fmt: skip
    pd.concat(tables).to_parquet(results / "shifts.parquet", index=False)
    sizes = [{"method": method, **comparison, "diameter_um": size, "n": 300.0, "r": 0.8 - abs(size - 55) / 500,
              "mean_percent": 30.0, "sd_percent": 20.0, "mean_observed": 30.0, "sd_observed": 20.0}
             for method in METHODS for comparison in COMPARISONS for size in DIAMETERS_UM]  # fmt: skip
    write_json(results / "trials.json", {"slide": slide, "peaks": peaks, "diameters": sizes})


def draw_noise(path: str | Path, width: int, height: int, seed: int) -> None:
    """A JPEG of soft noise, about as large as a picture of tissue."""
    rng = np.random.default_rng(seed)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(90, 240, (height // 8, width // 8, 3), dtype=np.uint8))
    coarse.resize((width, height), Image.Resampling.BILINEAR).save(path, format="JPEG", quality=85)
