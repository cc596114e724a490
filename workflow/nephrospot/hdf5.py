"""HDF5 from elsewhere: what each part is declared to hold, and where it lies, is looked at before it is read."""

from __future__ import annotations

import h5py
import numpy as np
from scipy import sparse

FREE_BYTES = 256 << 20  # so much may be declared whatever is stored
MOST_TIMES = 100  # of what is stored; counts pack to a tenth

# What h5py raises on damaged files; the last one where a visit meets something damaged.
HDF5_ERRORS = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, SystemError)


def check_parts(file: h5py.File) -> None:
    """Refuse a file whose parts are declared much larger than what is stored of them, or lie in other files.

    Raises
    ------
    ValueError
        With the part's name.
    """

    # What is returned ends the visit; what is raised there comes out as something else.
    def look(name: str, part: h5py.HLObject) -> str | None:
        if not isinstance(part, h5py.Dataset):
            return None
        if part.external or part.is_virtual:
            return f"{name} is said to lie in another file"
        declared = (part.size or 0) * part.dtype.itemsize
        if declared > FREE_BYTES and declared > MOST_TIMES * part.id.get_storage_size():
            return f"{name} is declared to hold {declared / 2**30:.1f} GB, which isn't in the file"
        return None

    def look_at_link(name: str, link: object) -> str | None:
        return f"{name} is said to lie in another file" if isinstance(link, h5py.ExternalLink) else None

    if told := file.visititems_links(look_at_link) or file.visititems(look):
        raise ValueError(told)


def read_texts(part: h5py.Dataset) -> np.ndarray:
    """Texts of a part of one dimension; object array of str.

    Raises
    ------
    ValueError
        When they aren't texts.
    """
    if part.ndim != 1 or h5py.check_string_dtype(part.dtype) is None:
        raise ValueError(f"{part.name} isn't a list of texts")
    return part.asstr()[:]


def check_texts(part: h5py.Dataset, wanted: bool = True) -> None:
    """Refuse texts that numpy, which gives each the width of the longest, would need much memory for.

    Parameters
    ----------
    part
    wanted
        Whether it must be texts, one after another.

    Raises
    ------
    ValueError
        With the part's name.
    """
    if wanted or h5py.check_string_dtype(part.dtype) is not None:
        texts = read_texts(part)
        if len(texts) * max(map(len, texts), default=0) * 4 > FREE_BYTES:
            raise ValueError(f"{part.name} holds a text of {max(map(len, texts))} letters")


def check_indices(matrix) -> None:
    """Make sure that a sparse matrix names no row or column that it hasn't: scipy reads beyond its memory then.

    Raises
    ------
    ValueError
        When it does, or its numbers aren't real ones.
    """
    if matrix.dtype.kind not in "buif":
        raise ValueError(f"the values are of type {matrix.dtype}")
    if sparse.issparse(matrix) and matrix.format in ("csr", "csc"):
        # Where the last of them is 0, scipy takes the matrix for empty and doesn't look at the others.
        if (np.diff(matrix.indptr) < 0).any():
            raise ValueError("the starts of its rows aren't in order")
        matrix.check_format(full_check=True)
