"""Changes that know nothing of a format: bytes turned, cut out, put in, and numbers made huge."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)
BOMB_BYTES = 3 << 30


def turn_bytes(path: Path, rng: Random) -> str:
    data, n = bytearray(path.read_bytes()), rng.choice((1, 1, 4, 16, 100))
    for _ in range(n if data else 0):
        data[_place(data, rng)] = rng.randrange(256)
    path.write_bytes(data)
    return f"{n} bytes"


def cut_short(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    kept = _place(data, rng)
    path.write_bytes(data[:kept])
    return f"to {kept} of {len(data)} bytes"


def take_out(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    at, n = _place(data, rng), rng.choice((1, 4, 64, 1000))
    path.write_bytes(data[:at] + data[at + n :])
    return f"{n} bytes at {at}"


def put_in(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    at, n = _place(data, rng), rng.choice((1, 4, 64, 1000))
    path.write_bytes(data[:at] + rng.choice((rng.randbytes(n), bytes(n), data[at : at + n])) + data[at:])
    return f"{n} bytes at {at}"


def blank_out(path: Path, rng: Random) -> str:
    """A block of the disk that was never written."""
    data = bytearray(path.read_bytes())
    at, n = _place(data, rng), rng.choice((8, 512, 4096))
    data[at : at + n] = bytes(len(data[at : at + n]))
    path.write_bytes(data)
    return f"{n} bytes at {at}"


def write_number(path: Path, rng: Random) -> str:
    data = bytearray(path.read_bytes())
    number, size = rng.choice(NUMBERS), rng.choice((1, 2, 4, 8))
    at = _place(data, rng) // size * size
    data[at : at + size] = (number & (2 ** (8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    path.write_bytes(data)
    return f"{number} in {size} bytes at {at}"


def empty(path: Path, rng: Random) -> str:
    path.write_bytes(b"")
    return "all"


BLIND = (turn_bytes, turn_bytes, cut_short, take_out, put_in, blank_out, write_number, write_number, empty)


def _place(data: bytes, rng: Random) -> int:
    """Anywhere, or in the first bytes, where headers are."""
    return rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data))))))


def with_gzip(changes: Iterable[Callable]) -> tuple[Callable, ...]:
    """The changes, made on what is inside a gzipped file; the file itself is damaged now and then, too."""
    return (*(_inside(change) for change in changes), make_bomb)


def _inside(change: Callable) -> Callable:
    def changed(path: Path, rng: Random) -> str:
        if path.suffix != ".gz" or path.stat().st_size > 1 << 20 or rng.random() < 0.2:  # a bomb stays packed
            return change(path, rng)
        inner = path.with_suffix("")
        inner.write_bytes(gzip.decompress(path.read_bytes()))
        what = change(inner, rng)
        path.write_bytes(gzip.compress(inner.read_bytes(), 1, mtime=0))
        inner.unlink()
        return f"{what} (inside)"

    changed.__name__ = change.__name__
    return changed


def make_bomb(path: Path, rng: Random) -> str:
    """A gzipped file of three gigabytes of one sign, in three megabytes."""
    if path.suffix != ".gz":
        return "nothing"
    sign, part = rng.choice((b" ", b"0", b"[", b"\n")), 1 << 24
    path.write_bytes(gzip.compress(sign * part, 9, mtime=0) * (BOMB_BYTES // part))
    return f"{BOMB_BYTES >> 30} GB of {sign!r}"
