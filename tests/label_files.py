"""Small masks.ome.zarr and mask sources for tests of what reads them."""

import numpy as np

from nephrospot.omezarr import add_metadata, create_plane, create_root, majority, write_multiscale


def source_of(mask, mpp=1.0):
    """A mask source of an array."""
    return mask.shape, mpp, lambda rows, columns: mask[rows, columns].astype(np.uint8)


def write_labels(path, masks, mpp=1.0):
    """Write {tissue: mask} as a ``masks.ome.zarr`` without overview."""
    labels = create_root(path).create_group("labels")
    for tissue, mask in masks.items():
        group = labels.create_group(tissue)
        plane = create_plane(group, "0", mask.shape)
        plane[:] = mask.astype(np.uint8)
        write_multiscale(group, plane, mpp, majority, tissue, 1)
    add_metadata(labels, labels=[*masks, "merged"])
    return path


def discs(shape, centres, radius):
    """A mask with a disc about each (row, column)."""
    y, x = np.indices(shape)
    return np.any([(y - row) ** 2 + (x - column) ** 2 <= radius**2 for row, column in centres], axis=0)
