"""One small case for each class of hole that `make fuzz` found, read as the programme reads it."""

import json
import struct
import sys
from pathlib import Path

import h5py
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parent / "fuzz"))

import seed_models
import seed_slides
import seed_tables
from nephrospot.errors import InputError
from nephrospot.report.worst import draw_all
from nephrospot.scoring import write_scores
from nephrospot.visium import read_positions
from nephrospot.worst import COLUMNS
from readers import READERS
from test_bombs import declare

FACTORS, POSITIONS = "outs/spatial/scalefactors_json.json", "outs/spatial/tissue_positions.csv"
PARQUET, H5 = "outs/spatial/tissue_positions.parquet", "filtered_feature_bc_matrix.h5"
DEEP = "[" * 20_000 + "]" * 20_000
TEXTS = [[b"a"] * 60] * 60


def text(name, change, encoding="utf-8"):
    def spoil(folder):
        path = folder / name
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode(encoding))

    return spoil


def factor(name, value):
    return text(FACTORS, lambda content: json.dumps(json.loads(content) | {name: value}))


def tags(**values):
    return lambda folder: declare(next(folder.glob("slide.*")), **values)


def erase(folder):
    (folder / "weights.pth").write_bytes(b"")


def circle(folder):
    """The last page of a TIFF is followed by the first."""
    data = bytearray((folder / "slide.tiff").read_bytes())
    with tifffile.TiffFile(folder / "slide.tiff") as tiff:
        page = tiff.pages[len(tiff.pages) - 1]
        struct.pack_into("<I", data, page.offset + 2 + 12 * len(page.tags), tiff.pages[0].offset)
    (folder / "slide.tiff").write_bytes(data)


def many_widths(folder):
    data = bytearray((folder / "slide.tiff").read_bytes())
    with tifffile.TiffFile(folder / "slide.tiff") as tiff:
        struct.pack_into("<I", data, tiff.pages[0].tags["TileWidth"].offset + 4, 200)
    (folder / "slide.tiff").write_bytes(data)


def part(file, name, put):
    """Another part in place of one of an HDF5 file."""

    def spoil(folder):
        with h5py.File(folder / file, "r+") as held:
            del held[name]
            put(held, name)

    return spoil


def lists(folder):
    table = pq.read_table(folder / PARQUET)
    column = pa.array([[1, 2]] * len(table))
    pq.write_table(table.set_column(1, "in_tissue", column), folder / PARQUET)


def metadata(name, change):
    return text(f"masks.ome.zarr/labels/CAP/{name}zarr.json", lambda content: json.dumps(change(json.loads(content))))


TILED, STRIPED = seed_slides.TIFFS[:2]
SVS, VISIUM, PARQUETS, H5S = (
    seed_slides.write_svs, seed_slides.write_visium, seed_slides.write_parquet_visium, seed_slides.write_matrix
)  # fmt: skip
OLD_MTX, CELLS, DENSE = seed_slides.MTXS[1], seed_models.REFERENCES[0], seed_models.REFERENCES[2]
FOLDER, ZARR, GEOJSON = seed_models.write_reference_folder, seed_models.write_zarr3, seed_models.GEOJSONS[0]
KEY, SHEET, PATCHES, CONFIG = (
    seed_tables.write_scoring_sheet, seed_tables.write_sheet, seed_tables.write_patches, seed_tables.write_config
)  # fmt: skip
GENES, MATRIX = "filtered_feature_bc_matrix/genes.tsv", "filtered_feature_bc_matrix/matrix.mtx"


def replace(name, old, new, encoding="utf-8"):
    """Text in place of the first occurrence of other text."""

    def change(content):
        assert old in content
        return content.replace(old, new, 1)

    return text(name, change, encoding)


def drop_encoding(folder):
    with h5py.File(folder / "reference.h5ad", "r+") as file:
        del file["uns"].attrs["encoding-type"]


def lose_scale(content):
    return json.loads(json.dumps(content).replace('"scale"', '"size"'))


def level(key, value):
    """Something else in the scale of the second level."""

    def change(content):
        content["attributes"]["ome"]["multiscales"][0]["datasets"][1]["coordinateTransformations"][0][key] = value
        return content

    return metadata("", change)


def put(values):
    return lambda held, name: held.create_dataset(name, data=values)


def link(held, name):
    held[name] = h5py.SoftLink("/" + name)


# {what: (kind, who writes it undamaged, what is done to it, what is said; None where it can be read)}
CASES = {
    "pages in a circle": ("tiff", STRIPED, circle, None),
    "a tile of many widths": ("tiff", TILED, many_widths, "slide"),
    "tiles of gigabytes": ("tiff", TILED, tags(TileByteCounts=2**32 - 1), "slide"),
    "a level that lacks a part": ("svs", SVS, tags(ImageLength=9000), "slide"),
    "deep JSON": ("json", VISIUM, text(FACTORS, lambda _: DEEP), "nested too deeply"),
    "a number that no float holds": ("json", VISIUM, factor("spot_diameter_fullres", 10**400), "a positive number"),
    "a picture of kilometres": ("json", VISIUM, factor("tissue_hires_scalef", 1e-6), "would lie on .* mm"),
    "a spot beyond all": ("positions csv", VISIUM, replace(POSITIONS, ",100.0\n", ",1e300\n"), "on no slide"),
    "a column twice": ("positions csv", VISIUM, replace(POSITIONS, "array_row", "array_col"), "twice"),
    "lists in a column": ("positions parquet", PARQUETS, lists, "isn't Parquet with"),
    "barcodes that are numbers": ("h5", H5S, part(H5, "matrix/barcodes", put(range(40))), "isn't a list of texts"),
    "a group for data": ("h5", H5S, part(H5, "matrix/shape", lambda h, n: h.create_group(n)), "copy it again"),
    "a link to itself": ("h5", H5S, part(H5, "matrix/indptr", link), "copy it again"),
    "more indices than data": ("h5", H5S, part(H5, "matrix/data", put(range(9))), "copy it again"),
    "a gene without a name": ("mtx", OLD_MTX, replace(GENES, "\tGene7\t", ""), "line 8: a gene's id and name"),
    "an index beyond all": ("mtx", OLD_MTX, replace(MATRIX, "\n1 1 ", f"\n{10**30} 1 "), "can't be read as a matrix"),
    "UMI that aren't numbers": ("reference folder", FOLDER, replace("cells.csv", "c0,PT,", "c0,PT,x"), None),
    "cells that are no table": ("reference folder", FOLDER, replace("cells.csv", "c9", '"c9'), "cells.csv: can't be"),
    "genes in UTF-16": ("reference folder", FOLDER, text("genes.txt", str, "utf-16"), "isn't text"),
    "a part of no known kind": ("h5ad", CELLS, drop_encoding, r"can't be read as \.h5ad"),
    "counts that are text": ("h5ad", DENSE, part("reference.h5ad", "X", put(TEXTS)), r"\.h5ad|no raw counts"),
    "a key in UTF-16": ("scoring sheet", KEY, text("key.csv", str, "utf-16"), "can't be read as a table"),
    "a key without slides": ("scoring sheet", KEY, replace("key.csv", "slide", "slice"), "no column slide"),
    "an empty checkpoint": ("checkpoint", seed_models.write_checkpoint, erase, "isn't a torch checkpoint"),
    "metadata that are a list": ("zarr", ZARR, metadata("", lambda content: [content]), "isn't an OME-Zarr"),
    "a label without a place": ("zarr", ZARR, metadata("", lose_scale), "isn't an OME-Zarr"),
    "a level without a scale": ("zarr", ZARR, level("type", "size"), "isn't an"),
    "a level mirrored": ("zarr", ZARR, level("scale", [-2.0, 2.0]), "isn't an"),
    "a path with NUL": ("sheet tsv", SHEET, replace("slides.tsv", "a.tiff", "a\0.tiff"), r"'a\\x00\.tiff' doesn't"),
    "a path of 10,000 letters": ("sheet tsv", SHEET, replace("slides.tsv", "a.tiff", "a/" * 5000), "doesn't exist"),
    "a patch with NUL": ("patches csv", PATCHES, replace("list.csv", "im_0_0.png", "im\0.png"), "there is no file"),
    "keys within keys": ("config", CONFIG, text("config.json", lambda c: '{"a":' * 300 + c + "}" * 300), "no such"),
    "a key that can't be seen": ("config", CONFIG, replace("config.json", '"CAP"', '"CAP\\n"'), "can't be seen"),
    "deep GeoJSON": ("geojson", GEOJSON, text("masks.geojson", lambda _: DEEP), "nested too deeply"),
    "a place beyond numbers": ("geojson", GEOJSON, replace("masks.geojson", "280.25", str(10**400)), "isn't GeoJSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_sentences_or_read(tmp_path, name, monkeypatch):
    from child import find_fault

    monkeypatch.chdir(tmp_path)
    kind, write, spoil, told = CASES[name]
    write(tmp_path, tmp_path / "nothing shared")
    READERS[kind](tmp_path) if kind != "checkpoint" else None
    spoil(tmp_path)
    if told is None:
        return READERS[kind](tmp_path)
    with pytest.raises(InputError, match=told) as refusal:
        READERS[kind](tmp_path)
    assert not find_fault(str(refusal.value))
    return None


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("spot_diameter_fullres", "fiducial_diameter_fullres", "tissue_hires_scalef", "microns_per_pixel")


@settings(max_examples=150, deadline=None)
@given(content=TREES | st.dictionaries(st.sampled_from(NAMES), TREES))
def test_any_json_as_scale_factors(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "any_json"
    if not folder.exists():
        folder.mkdir()
        seed_slides.write_visium(folder, folder)
    (folder / FACTORS).write_text(json.dumps(content))
    try:
        grid = read_positions(folder / "outs")
    except InputError as error:
        assert str(error).endswith("."), "a sentence"
    else:
        assert grid.scalefactors == content and isinstance(grid.notes(), list)


class TestWholeOrAbsent:
    """A step that is ended on its way leaves no folder that looks finished."""

    def test_imported_scores(self, tmp_path):
        write_scores(tmp_path / "scores", {"K1": pd.DataFrame({"barcode": ["A"]})})
        with pytest.raises(AttributeError):
            write_scores(tmp_path / "scores", {"K2": pd.DataFrame({"barcode": ["A"]}), "K3": None})
        assert [path.name for path in tmp_path.rglob("*")] == ["scores", "K1.csv"], "what stood there before stays"

    def test_crops_of_the_worst_spots(self, tmp_path):
        seed_models.write_zarr3(tmp_path, tmp_path)
        (tmp_path / "K1" / "m").mkdir(parents=True)
        (tmp_path / "masks.ome.zarr").rename(tmp_path / "K1" / "m" / "masks.ome.zarr")
        (tmp_path / "K1" / "slide.json").write_text('{"mpp": 0.5}')
        row = dict.fromkeys(COLUMNS, 0) | {"method": "m", "tissue": "CAP", "reference": "rctd", "slide": "K1"}
        rows = pd.DataFrame([row | {"x_um": 50.0, "y_um": 50.0, "rank": 1}, row | {"slide": "K2", "rank": 2}])
        with pytest.raises(FileNotFoundError):
            draw_all(rows, tmp_path, {"K1": tmp_path / "slide.tiff"}, {"CAP": "#ff0000"}, 55, tmp_path / "worst")
        assert not (tmp_path / "worst").exists() and not list(tmp_path.glob(".worst*"))
        draw_all(rows[:1], tmp_path, {"K1": tmp_path / "slide.tiff"}, {"CAP": "#ff0000"}, 55, tmp_path / "worst")
        assert [path.name for path in (tmp_path / "worst").rglob("*.jpg")] == ["01.jpg"]
