"""What a file declares is looked at before memory is taken for it, and before a library follows its indices."""

import gzip
import json
import struct
import zipfile
import zlib

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
import torch
from scipy import sparse

from label_files import source_of, write_labels
from nephrospot.check import check_slide
from nephrospot.counts import read_counts
from nephrospot.errors import InputError
from nephrospot.masks import open_drop_in
from nephrospot.models import build
from nephrospot.models.weights import load_weights, save_weights
from nephrospot.mtx import read_mtx
from nephrospot.reference import read_reference
from nephrospot.slide import open_slide
from nephrospot.stitch import write_masks
from nephrospot.visium import read_positions
from pictures import paint, write_tiff
from visium_folder import make_positions, write_outs


@pytest.fixture
def slide(tmp_path):
    with open_slide(write_tiff(tmp_path / "slide.tiff", paint(), tile=(256, 256))) as opened:
        yield opened


class TestBombs:
    """Refused by what they declare: none of these would fit into the memory that a test has."""

    def test_a_tiff_of_giant_tiles(self, tmp_path):
        path = write_tiff(tmp_path / "slide.tiff", paint(), pyramid=False, tile=(256, 256))
        declare(path, TileWidth=65_536, TileLength=65_536)
        with pytest.raises(InputError, match=r"tiles are declared as 65536 × 65536 px"):
            open_slide(path)

    def test_a_tiff_of_one_giant_strip(self, tmp_path):
        path = write_tiff(tmp_path / "slide.tiff", paint(), pyramid=False, rowsperstrip=600, compression="deflate")
        declare(path, ImageWidth=5_000, ImageLength=80_000, RowsPerStrip=80_000)
        with pytest.raises(InputError, match=r"400000000 px|80000 px are declared|pieces of 1\.1 GB"):
            open_slide(path)

    def test_a_tiff_of_more_pixels_than_it_can_hold(self, tmp_path):
        path = write_tiff(tmp_path / "slide.tiff", paint(), pyramid=False, tile=(256, 256), compression="deflate")
        declare(path, ImageWidth=2**31, ImageLength=2**31)
        with pytest.raises(InputError, match=r"fewer tiles than its size needs"):
            open_slide(path)
        write_tiff(path, paint(), pyramid=False, compression="deflate")
        declare(path, ImageWidth=2**31, ImageLength=2**31)
        with pytest.raises(InputError, match=r"are declared in a file of \d+ bytes"):
            open_slide(path)

    def test_a_tiff_of_more_pixels_before_a_page_that_is_damaged(self, tmp_path):
        """What one page declares is looked at whatever another is; found by `make fuzz`."""
        path = write_tiff(tmp_path / "slide.tiff", paint(), tile=(256, 256), compression="deflate")
        declare(path, ImageWidth=100_000, ImageLength=100_000)
        declare(path, page=1, SamplesPerPixel=0)
        with tifffile.TiffFile(path) as tiff, pytest.raises(IndexError):
            tiff.pages[1]
        with pytest.raises(InputError, match=r"fewer tiles than its size needs"):
            open_slide(path)

    def test_a_tiff_of_one_endless_tile(self, tmp_path):
        """OpenSlide would take memory for what is declared, and end the process."""
        path = write_tiff(tmp_path / "slide.tiff", paint(), pyramid=False, tile=(1024, 1024), compression="jpeg")
        declare(path, TileByteCounts=2**32 - 1)
        with pytest.raises(InputError, match=r"4294967295 bytes are declared for a part of a file of \d+"):
            open_slide(path)

    def test_a_slide_larger_than_any_glass(self, tmp_path):
        path = write_tiff(tmp_path / "slide.tiff", np.zeros((11_000, 11_000, 3), np.uint8), mpp=19.0, pyramid=False,
                          tile=(1024, 1024), compression="deflate")  # fmt: skip
        row = {"slide": "S1", "image": str(path), "visium": "", "species": "mouse", "mpp": np.nan}
        row |= {"visium_scale": 1.0, "visium_x_px": 0.0, "visium_y_px": 0.0}
        (told,) = check_slide(row, {})["problems"]
        assert "209 × 209 mm" in told

    @pytest.mark.parametrize("name", ["CAP.png", "tissue_hires_image.png"])
    def test_a_png(self, tmp_path, slide, name):
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
        data = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
        (tmp_path / "CAP.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        with pytest.raises(InputError, match=r"60000 × 60000 px is too large|picture is too large"):
            open_drop_in(str(tmp_path / "{tissue}.png"), "S1", slide, 0.5)

    def test_a_gzipped_geojson(self, tmp_path, slide):
        (tmp_path / "S1.geojson.gz").write_bytes(gzip.compress(b" " * (1 << 24), 9) * 65)
        with pytest.raises(InputError, match="holds more than 1024 MB"):
            open_drop_in(str(tmp_path / "{slide}.geojson.gz"), "S1", slide, 0.5)

    def test_an_hdf5_part(self, tmp_path):
        outs = write_outs(tmp_path, make_positions())
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "w") as file:
            file.create_dataset("matrix/data", (2**40,), "i4", chunks=(1 << 16,), compression="gzip")
        with pytest.raises(InputError, match=r"matrix/data is declared to hold 4096\.0 GB"):
            read_counts(outs)

    def test_a_long_name_of_a_gene(self, tmp_path):
        """As numpy holds them, each name takes the memory of the longest."""
        from test_counts import GENES, write_h5

        write_h5(tmp_path / "filtered_feature_bc_matrix.h5", np.ones((6, 5), int))
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "r+") as file:
            del file["matrix/features/name"]
            file["matrix/features/name"] = [*GENES[:-1], "U" * (15 << 20)]
        with pytest.raises(InputError, match=r"matrix/features/name holds a text of 15728640 letters"):
            read_counts(tmp_path)

    def test_a_matrix_market_header(self, tmp_path):
        (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n2 3 {10**12}\n1 1 1\n")
        with pytest.raises(InputError, match=r"declares 1000000000000 entries in 2 x 3 places"):
            read_mtx(tmp_path / "matrix.mtx", {"genes": 2, "cells": 3})

    def test_a_parquet_of_repeated_rows(self, tmp_path):
        outs = write_outs(tmp_path, make_positions(), layout="parquet")
        path = outs / "spatial" / "tissue_positions.parquet"
        pq.write_table(pa.table({"in_tissue": pa.array(np.ones(2_000_000, np.int8))}), path)
        with pytest.raises(InputError, match="declares 2000000 rows"):
            read_positions(outs)

    def test_a_card_that_asks_for_an_enormous_network(self, tmp_path):
        save_weights(build("multi-unet", width=4), tmp_path / "w.safetensors", {"options": {"width": 2**20}})
        with pytest.raises(InputError, match="aren't weights of multi-unet"):
            load_weights("multi-unet", tmp_path / "w.safetensors")

    def test_a_packed_checkpoint(self, tmp_path):
        torch.save({"a": torch.zeros(1000)}, tmp_path / "w.pth")
        with (
            zipfile.ZipFile(tmp_path / "w.pth") as old,
            zipfile.ZipFile(tmp_path / "p.pth", "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                new.writestr(name, old.read(name))
        with pytest.raises(InputError, match="its parts are packed"):
            load_weights("multi-unet", tmp_path / "p.pth")


def declare(path, page=0, **tags):
    """Write other numbers into a page's tags, as 32-bit numbers, and leave its pixels as they are."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name, value in tags.items():
            tag = tiff.pages[page].tags[name]
            struct.pack_into(tiff.byteorder + "H", data, tag.offset + 2, 4)
            struct.pack_into(tiff.byteorder + "I", data, tag.offset + 8, value)
    path.write_bytes(data)


class TestIndicesBeyondAMatrix:
    """scipy would read and write beyond its memory."""

    def test_of_counts(self, tmp_path):
        from test_counts import write_h5

        write_h5(tmp_path / "filtered_feature_bc_matrix.h5", np.ones((6, 5), int))
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "r+") as file:
            file["matrix/indices"][3] = 10**6
        with pytest.raises(InputError, match=r"can't be read as a Space Ranger matrix"):
            read_counts(tmp_path)

    def test_of_counts_that_end_at_nothing(self, tmp_path):
        from test_counts import write_h5

        write_h5(tmp_path / "filtered_feature_bc_matrix.h5", np.ones((6, 5), int))
        with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "r+") as file:
            file["matrix/indptr"][-1] = 0
        with pytest.raises(InputError, match="the starts of its rows aren't in order"):
            read_counts(tmp_path)

    @pytest.mark.parametrize("part", ["X", "layers/counts"])
    def test_of_a_reference(self, tmp_path, part):
        counts = sparse.csr_matrix(np.ones((60, 5), np.float32))
        cells = ad.AnnData(counts, obs=pd.DataFrame({"cell_type": ["a", "b"] * 30}), layers={"counts": counts.copy()})
        cells.write_h5ad(tmp_path / "r.h5ad")
        with h5py.File(tmp_path / "r.h5ad", "r+") as file:
            file[part]["indices"][3] = 10**6
        with pytest.raises(InputError, match=r"can't be read as \.h5ad"):
            read_reference(tmp_path / "r.h5ad", "cell_type", cell_min=5, min_umi=1)


def test_the_labels_of_a_store_are_looked_at(tmp_path):
    from nephrospot.omezarr import open_masks

    path = write_labels(tmp_path / "m.ome.zarr", {"CAP": np.ones((20, 20), bool)})
    metadata = path / "labels" / "CAP" / "0" / "zarr.json"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"shape": [2**40, 2**40]}))
    with pytest.raises(InputError, match=r"isn't an OME-Zarr with labels \(.*declared as"):
        open_masks(path)


def test_a_damaged_piece_of_a_store(tmp_path, slide):
    from nephrospot.omezarr import open_masks, open_plane

    write_masks(tmp_path / "m.ome.zarr", {"CAP": source_of(np.ones((300, 400), bool))}, slide, 1.0, {})
    level = tmp_path / "m.ome.zarr" / "labels" / "CAP" / "0"
    piece = next(path for path in level.rglob("0") if path.is_file())
    piece.write_bytes(piece.read_bytes()[:-9])
    with pytest.raises(InputError, match="a piece of it is damaged"):
        open_plane(open_masks(tmp_path / "m.ome.zarr")["CAP"])[:]
