"""Changes to binary headers that know where the sizes are: TIFF, PNG, safetensors."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from random import Random

import tifffile

from damage_text import DEEP, LONG, ODD, change_tree

SIZES = (0, 1, 7, 255, 65_535, 100_000, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
# Widths, depths, compressions, offsets, counts, samples, resolutions, planes, tiles, tables.
TELLING = (256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 284, 296, 317, 322, 323, 324, 325, 339, 347, 530)


# --- TIFF ----------------------------------------------------------------------------------------------------------


def write_tag(path: Path, rng: Random) -> str:
    """Another value where the value, or the offset of the values, stands."""
    return _change_tag(path, rng, lambda tag, big: (tag.offset + (12 if big else 8), "Q" if big else "I"))


def write_count(path: Path, rng: Random) -> str:
    return _change_tag(path, rng, lambda tag, big: (tag.offset + 4, "Q" if big else "I"))


def write_type(path: Path, rng: Random) -> str:
    return _change_tag(path, rng, lambda tag, big: (tag.offset + 2, "H"), range(20))


def write_code(path: Path, rng: Random) -> str:
    """Another tag's number."""
    return _change_tag(path, rng, lambda tag, big: (tag.offset, "H"), TELLING)


def write_entry(path: Path, rng: Random) -> str:
    """One of a tag's many values, such as a tile's offset or byte count."""
    return _change_tag(path, rng, lambda tag, big: (tag.valueoffset + 4 * rng.randrange(max(1, tag.count)), "I"))


def enlarge(path: Path, rng: Random) -> str:
    """A picture, and perhaps its tiles or strips, declared much larger than the file."""
    side, data = rng.choice((20_000, 65_536, 100_000, 1_000_000, 2**31 - 1, 2**32 - 1)), bytearray(path.read_bytes())
    codes = rng.choice(((256, 257), (256, 257, 278), (322, 323), (256, 257, 322, 323), (257, 278), (256,)))
    with tifffile.TiffFile(path) as tiff:
        big, order = tiff.is_bigtiff, tiff.byteorder
        for page in list(tiff.pages)[: rng.choice((1, 9))]:
            for tag in page.tags:
                if tag.code in codes:
                    struct.pack_into(order + "H", data, tag.offset + 2, 4)
                    struct.pack_into(order + "I", data, tag.offset + (12 if big else 8), side // 16 * 16)
    path.write_bytes(data)
    return f"{codes} to {side}"


def turn_in_circle(path: Path, rng: Random) -> str:
    """The last page points to itself, to the header, or far beyond the end."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page, order, big = tiff.pages[len(tiff.pages) - 1], tiff.byteorder, tiff.is_bigtiff
        at = page.offset + (8 + 20 * len(page.tags) if big else 2 + 12 * len(page.tags))
        target = rng.choice((page.offset, 4, tiff.pages[0].offset, 2**31, len(data) - 3))
    struct.pack_into(order + ("Q" if big else "I"), data, at, target)
    path.write_bytes(data)
    return f"to {target}"


TIFF = (write_tag, write_tag, write_tag, write_count, write_type, write_code, write_entry, write_entry, enlarge,
        enlarge, turn_in_circle)  # fmt: skip


def _change_tag(path: Path, rng: Random, place, values=SIZES) -> str:
    data, value = bytearray(path.read_bytes()), rng.choice(values)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[rng.choice((0, rng.randrange(len(tiff.pages))))]
        tag = rng.choice([tag for tag in page.tags if tag.code in TELLING])
        at, form = place(tag, tiff.is_bigtiff)
        struct.pack_into(tiff.byteorder + form, data, at, value)
    path.write_bytes(data)
    return f"{tag.name} of page {page.index}: {value}"


# --- PNG -----------------------------------------------------------------------------------------------------------


def declare_size(path: Path, rng: Random) -> str:
    """Another width, height, depth or colour type, with a right check sum."""
    data = bytearray(path.read_bytes())
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", data[16:29])
    sizes = (0, 1, 7, 10_000, 30_000, 60_000, 1_000_000, 2**31 - 1, 2**32 - 1)
    width, height = rng.choice((width, rng.choice(sizes))), rng.choice((height, rng.choice(sizes)))
    depth, colour = rng.choice((depth, 1, 16, 3)), rng.choice((colour, 0, 2, 3, 6, 9))
    data[16:26] = struct.pack(">IIBB", width, height, depth, colour)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return f"{width} × {height}, {depth} bit, colour {colour}"


def hide_bomb(path: Path, rng: Random) -> str:
    """A true picture of many millions of black pixels, in some kilobytes."""
    width, height = rng.choice(((30_000, 30_000), (60_000, 16_000), (40_000, 40_000)))
    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    rows = [packer.compress(row * 100) for _ in range(10)]  # the rest is missing, which a decoder finds out late
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(rows) + packer.flush()), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return f"{width} × {height}"


PNG = (declare_size, declare_size, hide_bomb)


# --- safetensors ---------------------------------------------------------------------------------------------------


def change_header(path: Path, rng: Random) -> str:
    def change(header: dict) -> str:
        return change_tree(header, rng, lambda owner, key: owner.__setitem__(key, rng.choice(ODD)))

    return _rewrite(path, change)


def change_card(path: Path, rng: Random) -> str:
    options = (
        {"width": 2**20}, {"width": 10**9}, {"width": -4}, {"width": 4.0}, {"width": "4"}, {"width": [4]}, {"depth": 3},
        {"width": 0}, {"width": True}, {"network": "omni-seg"}, [], None, 5, "width", {"width": None}, {"": 1},
    )  # fmt: skip
    cards = (*({"options": option} for option in options), [], None, 5, LONG, {}, {"options": {LONG: 1}})

    def change(header: dict) -> str:
        header["__metadata__"]["card"] = json.dumps(card := rng.choice(cards))
        return str(card)[:80]

    return _rewrite(path, change)


def nest_card(path: Path, rng: Random) -> str:
    def change(header: dict) -> str:
        header["__metadata__"]["card"] = "[" * DEEP + "]" * DEEP
        return f"{DEEP} deep"

    return _rewrite(path, change)


def write_length(path: Path, rng: Random) -> str:
    length = rng.choice((0, 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1))
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    return str(length)


def rename_dtype(path: Path, rng: Random) -> str:
    def change(header: dict) -> str:
        name = rng.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = rng.choice(("F64", "I8", "U8", "BF16", "F8_E4M3", "BOOL", "I64", "C64", "X"))
        return f"{name}: {header[name]['dtype']}"

    return _rewrite(path, change)


SAFETENSORS = (change_header, change_card, change_card, nest_card, write_length, rename_dtype)


def _rewrite(path: Path, change) -> str:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    what = change(header)
    text = json.dumps(header).encode("utf-8", errors="surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return what
