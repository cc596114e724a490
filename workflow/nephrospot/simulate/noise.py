"""Smooth random fields and small raster helpers that the layout and the rendering share."""

from __future__ import annotations

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """A Gaussian random field, (rows, columns) float32, mean 0 and standard deviation 1.

    ``sigma_px`` is the width of the kernel that smooths white noise. Wide kernels
    are drawn on a coarser grid, which the eye can't tell and costs far less.
    """
    rows, columns = shape
    step = max(1.0, sigma_px / 2.0)
    small = (int(np.ceil(rows / step)) + 3, int(np.ceil(columns / step)) + 3)
    field = rng.integers(0, 256, small, dtype=np.uint8).astype(np.float32)
    sigma = sigma_px / step
    if sigma > 0.3:
        field = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    # The theoretical mean and spread: a small field's own would remove what is random in it.
    field -= 127.5
    # White noise of spread 255/√12 smoothed by a Gaussian keeps 1/(2 √π sigma) of its spread.
    kept = min(1.0, 1.0 / (2.0 * np.sqrt(np.pi) * sigma)) if sigma > 0.3 else 1.0
    field *= np.sqrt(12.0) / 255.0 / kept
    if step == 1.0:
        return np.ascontiguousarray(field[:rows, :columns])
    offset = rng.random(2)
    return resample(field, shape, 1.0 / step, tuple(offset))


class Grain:
    """Fine noise for an image of any height: a tile that repeats itself too far off for the eye to see."""

    def __init__(self, rng: np.random.Generator, sigma_px: float, columns: int, size: int = 768) -> None:
        pad = int(np.ceil(4 * sigma_px))
        tile = rng.integers(0, 256, (size, size), dtype=np.uint8).astype(np.float32)
        if sigma_px > 0.3:
            tile = cv2.GaussianBlur(np.pad(tile, pad, mode="wrap"), (0, 0), sigma_px)[pad:-pad, pad:-pad]
        tile = (tile - tile.mean()) / tile.std()
        self._size = size
        # Repeated so far that any strip of up to half a tile is one piece of memory.
        self._tile = tile[np.arange(size + size // 2) % size][:, (np.arange(columns) + rng.integers(size)) % size]

    def rows(self, rows: slice) -> np.ndarray:
        """Up to half a tile of rows of the noise (a view; don't write), mean 0, standard deviation 1, float32."""
        start = rows.start % self._size
        return self._tile[start : start + rows.stop - rows.start]


def resample(
    field: np.ndarray,
    shape: tuple[int, int],
    scale: float,
    offset: tuple[float, float] = (0.0, 0.0),
    nearest: bool = False,
) -> np.ndarray:
    """Read ``field`` at (scale * row + offset, scale * column + offset) for an output of ``shape``."""
    row, column = int(offset[0]), int(offset[1])
    if scale == 1.0 and (row, column) == tuple(offset):
        same = field[row : row + shape[0], column : column + shape[1]]
        if same.shape == tuple(shape):
            return same.copy()
    matrix = np.array([[scale, 0.0, offset[1]], [0.0, scale, offset[0]]])
    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def distance_to(target: np.ndarray, most: float = 500.0) -> np.ndarray:
    """Distance of each pixel to the nearest True one (pixels, float32), at most ``most``."""
    # With nothing to be near to, OpenCV answers with the largest float, which overflows later.
    return np.minimum(cv2.distanceTransform((~target).astype(np.uint8), cv2.DIST_L2, 5), np.float32(most))


def fill(raster: np.ndarray, polygon_um: np.ndarray, value, mpp: float) -> None:
    """Paint a polygon, (n, 2) of x and y in µm, into ``raster`` in place (1/16 pixel precision)."""
    points = np.round(polygon_um / mpp * 16).astype(np.int32)
    cv2.fillPoly(raster, [points.reshape(-1, 1, 2)], value, lineType=cv2.LINE_8, shift=4)


def ring(centre_um, radii_um: np.ndarray, squeeze: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """Closed outline with radius ``radii_um[k]`` at k equal angles, squeezed along one axis; (n, 2)."""
    turn = np.linspace(0, 2 * np.pi, len(radii_um), endpoint=False)
    x, y = radii_um * np.cos(turn), radii_um * squeeze * np.sin(turn)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([centre_um[0] + c * x - s * y, centre_um[1] + s * x + c * y], axis=1)


def wave(rng: np.random.Generator, n: int, harmonics: range, amplitude: float) -> np.ndarray:
    """Random periodic curve of ``n`` points around 1, for wavy outlines."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    curve = np.ones(n)
    for k in harmonics:
        curve += amplitude * rng.normal() / np.sqrt(len(harmonics)) * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
    return curve
