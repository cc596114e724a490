"""Undamaged slides and Space Ranger folders, a small folder each."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import tifffile
from scipy import io, sparse

from jpeg_tiffs import write_slide
from pictures import paint, write_tiff
from visium_folder import make_positions, paint_tissue, write_outs

GENES = tuple(f"Gene{number}" for number in range(60))


def _tiff(**options):
    return lambda folder, shared: write_tiff(folder / "slide.tiff", paint(), **options)


def write_tables_tiff(folder: Path, shared: Path) -> None:
    write_slide(folder / "slide.tiff", "jpeg tables 4:2:0")


def write_big_tiff(folder: Path, shared: Path) -> None:
    with tifffile.TiffWriter(folder / "slide.tiff", bigtiff=True, ome=True) as tiff:
        size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        options = {"photometric": "rgb", "tile": (128, 128), "compression": "lzw"}
        options["resolution"] = (2e4, 2e4, "CENTIMETER")
        tiff.write(paint(), subifds=1, metadata={"axes": "YXS", **size}, **options)
        tiff.write(paint()[::2, ::2], subfiletype=1, **options)


def write_grey_tiff(folder: Path, shared: Path) -> None:
    write_tiff(folder / "slide.tiff", paint()[..., 0], photometric="minisblack", compression="deflate")


TIFFS = (
    _tiff(tile=(256, 256), compression="deflate"),
    _tiff(rowsperstrip=16),
    _tiff(pyramid=False, rowsperstrip=600, compression="deflate"),
    write_tables_tiff,
    write_big_tiff,
    write_grey_tiff,
)


def write_svs(folder: Path, shared: Path) -> None:
    """As Aperio's scanners write: the description says who, and how large a pixel is."""
    told = "Aperio Image Library v12.0.15\n800x600 [0,0 800x600] (256x256) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(folder / "slide.svs") as tiff:
        tiff.write(paint(), description=told, **options)
        tiff.write(paint()[::4, ::4], description=told, photometric="rgb", compression="jpeg", metadata=None)
        tiff.write(paint()[::2, ::2], description=told, **options)


def copy_svs(folder: Path, shared: Path) -> bool:
    path = shared / "cmu1_small_region" / "CMU-1-Small-Region.svs"
    return path.is_file() and bool(shutil.copyfile(path, folder / "slide.svs"))


SVSS = (write_svs, copy_svs)


def write_visium(folder: Path, shared: Path, layout: str = "csv with header") -> None:
    """A slide of 2 µm per pixel with its spots and Space Ranger's picture."""
    picture = paint_tissue(1000, 1200, seed=3)
    write_tiff(folder / "slide.tiff", picture, mpp=2.0, pyramid=False, tile=(256, 256), compression="deflate")
    positions = make_positions(rows=18, columns=20, pitch_px=50, origin=(100, 80))
    write_outs(folder / "outs", positions, 50, layout, hires=picture[::2, ::2, ::-1], hires_scalef=0.5)


def write_old_visium(folder: Path, shared: Path) -> None:
    write_visium(folder, shared, "v1 list")


def write_parquet_visium(folder: Path, shared: Path) -> None:
    write_visium(folder, shared, "parquet")


def write_matrix(folder: Path, shared: Path) -> None:
    from nephrospot.simulate.spaceranger import draw_barcodes
    from nephrospot.simulate.spaceranger import write_matrix as write

    (folder / "spatial").mkdir()
    write(folder / "filtered_feature_bc_matrix.h5", draw_counts(40), draw_barcodes(40, 1), GENES)


def copy_matrix(folder: Path, shared: Path) -> bool:
    path = shared / "tiny_visium" / "filtered_feature_bc_matrix.h5"
    (folder / "spatial").mkdir()
    return path.is_file() and bool(shutil.copyfile(path, folder / path.name))


MATRICES = (write_matrix, copy_matrix)


def _mtx(packed: bool):
    def write(folder: Path, shared: Path) -> None:
        (folder / "spatial").mkdir()
        matrix = folder / "filtered_feature_bc_matrix"
        matrix.mkdir()
        io.mmwrite(matrix / "matrix.mtx", sparse.coo_matrix(draw_counts(30).T), field="integer")
        barcodes = make_positions(rows=6, columns=10)["barcode"]
        (matrix / "barcodes.tsv").write_text("".join(f"{barcode}\n" for barcode in barcodes))
        rows = [f"ENS{gene}\t{gene}\tGene Expression\n" for gene in GENES]
        (matrix / "features.tsv").write_text("".join(rows))
        for path in list(matrix.iterdir()) if packed else ():
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        if not packed:  # as Space Ranger 1 wrote it
            (matrix / "features.tsv").rename(matrix / "genes.tsv")

    return write


MTXS = (_mtx(True), _mtx(False))


def draw_counts(spots: int) -> np.ndarray:
    """int (spots, genes)."""
    return np.random.default_rng(1).poisson(4.0, (spots, len(GENES)))
