"""Files in the zarr stores of a large slide: predicted.zarr and masks.ome.zarr, written as the workflow writes them.

    python tests/benchmarks/stores.py --side-mm 8 15

The slide is all tissue and read as the configuration says for its species, without a network: in each chunk every
tissue is a disc, so that no chunk and no shard is empty and left out.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml
import zarr
from meter import disk_mb

from nephrospot.infer import create_bitmask
from nephrospot.readings import Reading, list_readings
from nephrospot.scheme import make_scheme
from nephrospot.settings import read_settings
from nephrospot.stitch import open_predicted, write_masks
from nephrospot.tiles import make_grid

SLIDE_MPP = 0.25
CONFIG = Path(__file__).resolve().parents[2] / "config/config.yaml"


class EmptySlide:
    """A slide's size and an overview of nothing."""

    def __init__(self, side_px: int) -> None:
        self.width_px = self.height_px = side_px

    def read_overview(self, slide_mpp: float, mpp: float) -> np.ndarray:
        side = round(self.width_px * slide_mpp / mpp)
        return np.full((side, side, 3), 240, np.uint8)


def count_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def predict_discs(path: Path, side_px: int, readings: list[Reading], segmentation: dict) -> None:
    """predicted.zarr, a disc of each tissue in each chunk."""
    store = zarr.open_group(str(path), mode="w")
    manifest = {"mpp": SLIDE_MPP, "width_px": side_px, "height_px": side_px}
    for magnification in sorted({reading.magnification for reading in readings}):
        own = [reading for reading in readings if reading.magnification == magnification]
        grid = make_grid(manifest, magnification, segmentation)
        array = create_bitmask(store, grid, make_scheme("nephrospot", grid.window_px, grid.halo_px), own)
        side = array.chunks[0]
        disc = np.zeros((side, side), np.uint8)
        cv2.circle(disc, (side // 2, side // 2), side // 3, 2 ** len(own) - 1, -1)
        for top in range(0, array.shape[0], side):
            for left in range(0, array.shape[1], side):
                rows, columns = (min(side, size - at) for at, size in zip((top, left), array.shape, strict=True))
                array[top : top + rows, left : left + columns] = disc[:rows, :columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side-mm", type=float, nargs="+", default=[8, 15])
    parser.add_argument("--species", default="mouse")
    arguments = parser.parse_args()
    settings = read_settings(yaml.safe_load(CONFIG.read_text()))
    colours = {name: tissue["colour"] for name, tissue in settings["tissues"].items()}
    readings = list_readings(settings["species"][arguments.species])
    for side_mm in arguments.side_mm:
        slide = EmptySlide(round(side_mm * 1000 / SLIDE_MPP))
        with tempfile.TemporaryDirectory() as temporary:
            predicted, masks = Path(temporary, "predicted.zarr"), Path(temporary, "masks.ome.zarr")
            predict_discs(predicted, slide.width_px, readings, settings["segmentation"])
            write_masks(masks, open_predicted(predicted), slide, SLIDE_MPP, colours)
            told = [f"{path.name} {count_files(path):,} files, {disk_mb(path):.0f} MB" for path in (predicted, masks)]
        print(f"{side_mm:g} × {side_mm:g} mm at {SLIDE_MPP} µm, all of it tissue:", "; ".join(told), flush=True)


if __name__ == "__main__":
    main()
