"""Changes to HDF5 that keep it HDF5: parts taken out, of another type or shape, declared huge, or elsewhere."""

from __future__ import annotations

from pathlib import Path
from random import Random

import h5py
import numpy as np


def remove_part(path: Path, rng: Random) -> str:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_list(file, object))
        del file[name]
    return name


def change_type(path: Path, rng: Random) -> str:
    kind = rng.choice(("S5", "f8", "i1", "u8", "i8", "f2", "c16", "bool", "O"))

    def change(values):
        if kind == "O":
            return np.array([str(value) for value in values.ravel()], dtype=object).reshape(values.shape)
        return np.resize(np.frombuffer(rng.randbytes(64), np.uint8), values.shape).astype(kind)

    return f"{_replace(path, rng, change)} as {kind}"


def change_shape(path: Path, rng: Random) -> str:
    how = rng.choice(("half", "double", "empty", "scalar", "plane", "one"))
    changes = {
        "half": lambda v: v[: len(v) // 2], "double": lambda v: np.concatenate([v, v]), "empty": lambda v: v[:0],
        "scalar": lambda v: v.ravel()[0], "plane": lambda v: np.stack([v, v]), "one": lambda v: v[:1],
    }  # fmt: skip
    return f"{_replace(path, rng, changes[how])}: {how}"


def write_value(path: Path, rng: Random) -> str:
    """A number out of place, such as an index beyond the matrix."""
    value = rng.choice((-1, -(2**31), 2**31 - 1, 2**40, 10**6, np.nan, np.inf, 0.5, -3.0))

    def change(values):
        values = values.copy()
        with np.errstate(all="ignore"):
            values.flat[rng.randrange(values.size)] = np.asarray(value).astype(values.dtype)
        return values

    return f"{_replace(path, rng, change, numbers=True)}: {value}"


def write_all(path: Path, rng: Random) -> str:
    value = rng.choice((-1, 0, 2**31 - 1, np.nan, np.inf, 1e30))

    def change(values):
        with np.errstate(all="ignore"):
            return np.full(values.shape, np.asarray(value).astype(values.dtype))

    return f"{_replace(path, rng, change, numbers=True)}: all {value}"


def declare_huge(path: Path, rng: Random) -> str:
    """A part of terabytes of which nothing was ever written."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_list(file, h5py.Dataset))
        old = file[name]
        size = rng.choice((10**8, 10**9, 10**11, 2**50))
        shape, dtype, attributes = (size, *old.shape[1:]), old.dtype, dict(old.attrs)
        del file[name]
        new = file.create_dataset(name, shape, dtype, chunks=(1 << 16, *old.shape[1:]), compression="gzip")
        new.attrs.update(attributes)
    return f"{name}: {size}"


def put_group(path: Path, rng: Random) -> str:
    """A group where data are expected."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_list(file, h5py.Dataset))
        del file[name]
        file.create_group(name)
    return name


def link_elsewhere(path: Path, rng: Random) -> str:
    """A part that is said to lie in another file, or that is itself, or that isn't."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_list(file, object))
        del file[name]
        how = rng.choice(("raw", "file", "circle", "nowhere"))
        if how == "raw":
            file.create_dataset(name, (100,), "u1", external=[("/etc/passwd", 0, 100)])
        else:
            links = {"file": h5py.ExternalLink("/etc/passwd", "/a"), "circle": h5py.SoftLink("/" + name),
                     "nowhere": h5py.SoftLink("/nowhere")}  # fmt: skip
            file[name] = links[how]
    return f"{name}: {how}"


def change_attribute(path: Path, rng: Random) -> str:
    values = ("", "array", "csr_matrix", "dataframe", "categorical", 5, np.zeros(3), np.array([-1, 10**12]), "1.0.0")
    with h5py.File(path, "r+") as file:
        held = [(name, key) for name in ["/", *_list(file, object)] for key in file[name].attrs]
        name, key = rng.choice(held)
        if rng.random() < 0.3:
            del file[name].attrs[key]
            return f"{name}@{key} taken out"
        file[name].attrs[key] = value = rng.choice(values)
    return f"{name}@{key}: {value!r}"


HDF5 = (remove_part, change_type, change_shape, write_value, write_value, write_all, declare_huge, put_group,
        link_elsewhere, change_attribute)  # fmt: skip


def _list(file: h5py.File, kind: type) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, part: names.append(name) if isinstance(part, kind) else None)
    return sorted(names)


def _replace(path: Path, rng: Random, change, numbers: bool = False) -> str:
    with h5py.File(path, "r+") as file:
        names = [name for name in _list(file, h5py.Dataset) if not numbers or file[name].dtype.kind in "iuf"]
        # Not what `declare_huge` made: it would come to be that huge.
        name = rng.choice([name for name in names if file[name].shape and 0 < file[name].size < 10**6])
        attributes, values = dict(file[name].attrs), change(file[name][:])
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)
    return name
