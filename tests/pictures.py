"""Small slides for the tests."""

import numpy as np
import tifffile


def paint(height=600, width=800):
    """A smooth colour field, so that interpolation errors are small and misplacement isn't."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, 128 + 100 * np.sin(x / 40) * np.cos(y / 30)], -1).astype(
        np.uint8
    )


def write_tiff(path, image, mpp=0.5, pyramid=True, **options):
    options = {"photometric": "rgb", "resolutionunit": "CENTIMETER", "metadata": None} | options
    resolution = None if mpp is None else (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, resolution=resolution, **options)
        while pyramid and max(image.shape) > 256:
            image = image[::2, ::2]
            tiff.write(image, subfiletype=1, resolution=resolution, **options)
    return path
