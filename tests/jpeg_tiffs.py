"""TIFF slides of JPEG tiles in every way that scanners write them."""

import imagecodecs
import numpy as np
import tifffile

JPEG = {"compression": "jpeg", "compressionargs": {"level": 85}}
KINDS = {
    "jpeg 4:2:0": JPEG | {"subsampling": (2, 2)},
    "jpeg 4:4:4": JPEG | {"subsampling": (1, 1)},
    "jpeg tables 4:2:0": "420",
    "jpeg tables RGB": "rgb",
    "deflate": {"compression": "deflate", "predictor": True},
    "lzw": {"compression": "lzw"},
    "plain": {},
}


def paint_tissue(height=640, width=832, seed=0):
    """Coarse noise with fine grain, so that every tile and every pixel differs from its neighbours."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 200, (height // 16 + 1, width // 16 + 1, 3)), np.ones((16, 16, 1), int))
    return (coarse[:height, :width] + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)


def halve(image):
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3)).astype(np.uint8)


def split_tables(jpeg):
    """(tables, rest): quantisation and Huffman tables apart, as scanners store them once for all tiles."""
    tables, rest, at = b"\xff\xd8", b"\xff\xd8", 2
    while jpeg[at + 1] != 0xDA:
        segment = jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")]
        if segment[1] in (0xDB, 0xC4):
            tables += segment
        elif segment[1] not in (0xE0, 0xEE):  # without JFIF's or Adobe's word on colours the TIFF's tags count
            rest += segment
        at += len(segment)
    return tables + b"\xff\xd9", rest + jpeg[at:]


def cut_tiles(image, tile):
    for top in range(0, image.shape[0], tile):
        for left in range(0, image.shape[1], tile):
            block = image[top : top + tile, left : left + tile]
            yield np.pad(
                block, ((0, tile - block.shape[0]), (0, tile - block.shape[1]), (0, 0)), mode="edge"
            )  # encoders pad so


def write_jpegs(tiff, image, kind, tile, **options):
    """Tiles coded one by one: ``kind`` is "420" or "rgb" with tables apart, or "optimal" (tables of their own)."""
    arguments = {"420": {"subsampling": "420"}, "rgb": {"colorspace": "rgb", "outcolorspace": "rgb"}}.get(
        kind, {"optimize": True}
    )
    coded = [imagecodecs.jpeg8_encode(np.ascontiguousarray(t), level=85, **arguments) for t in cut_tiles(image, tile)]
    tables = None
    if kind != "optimal":
        parts = [split_tables(jpeg) for jpeg in coded]
        tables, coded = parts[0][0], [rest for _, rest in parts]
    options |= {"photometric": "ycbcr", "subsampling": (2, 2)} | {"compression": "jpeg", "jpegtables": tables}
    tiff.write(iter(coded), shape=image.shape, dtype=np.uint8, tile=(tile, tile), **options)


def write_slide(path, kind, image=None, levels=3, tile=128):
    image = paint_tissue() if image is None else image
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            options = {"subfiletype": int(level > 0), "metadata": None, "resolution": (2e4, 2e4, "CENTIMETER")}
            if isinstance(KINDS.get(kind, kind), str):
                write_jpegs(tiff, image, KINDS.get(kind, kind), tile, **options)
            else:
                tiff.write(image, tile=(tile, tile), **{"photometric": "rgb"} | KINDS[kind] | options)
            image = halve(image)
    if kind == "jpeg tables RGB":  # as Aperio writes; tifffile takes YCbCr for granted
        set_tags(path, PhotometricInterpretation=2)
    return path


def set_tags(path, **values):
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            for name, value in values.items():
                page.tags[name].overwrite(value)
