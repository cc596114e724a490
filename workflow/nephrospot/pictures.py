"""Pictures in PNG, JPEG and the like: their declared size is looked at before memory is taken for it."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from nephrospot.errors import InputError, tell_cause

MOST_BYTES = 1_000_000_000  # unpacked: the largest picture that is read whole


def read_picture(path: str | Path, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Read a picture as OpenCV does.

    Parameters
    ----------
    flags
        Of ``cv2.imread``.

    Returns
    -------
    array (rows, columns) or (rows, columns, channels), BGR unless the flags say otherwise

    Raises
    ------
    InputError
        When it can't be read, or is declared larger than a gigabyte.
    """
    width, height, channels = read_size(path)
    if width * height * channels > MOST_BYTES:
        raise InputError(f"{path}: {width} × {height} px is too large for such a picture; export it as a tiled TIFF.")
    try:
        pixels = cv2.imread(str(path), flags)
    except cv2.error as error:
        raise InputError(f"{path}: this isn't a readable image ({tell_cause(error)}); export it again.") from error
    if pixels is None:
        raise InputError(f"{path}: this isn't a readable image (the pixels can't be decoded); export it again.")
    return pixels


def read_size(path: str | Path) -> tuple[int, int, int]:
    """Width, height and channels that a picture's header declares.

    Raises
    ------
    InputError
        When it has none.
    """
    try:
        with Image.open(path) as header:
            return *header.size, len(header.getbands())
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: the picture is too large ({tell_cause(error)}); export a smaller one.") from error
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, OverflowError, struct.error) as error:
        raise InputError(f"{path}: this isn't a readable image ({tell_cause(error)}); export it again.") from error
