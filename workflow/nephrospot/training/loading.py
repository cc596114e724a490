"""Patches on their way to the network: read once, checked, augmented with draws of their own, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch

from nephrospot.errors import InputError
from nephrospot.training.augment import augment
from nephrospot.training.patches import read_patch

CACHE_BYTES = 4 << 30


def make_rng(seed: int, *key: int) -> np.random.Generator:
    """A generator for one purpose, such as (epoch, 0, position); other keys give independent ones."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class PatchReader:
    """Reads patches and keeps them decoded while they fit into ``limit_bytes``.

    Parameters
    ----------
    patches
        Of `nephrospot.training.patches.list_patches`; read by position.
    stride
        Height and width must be multiples of it.
    """

    def __init__(self, patches: pd.DataFrame, stride: int, limit_bytes: int = CACHE_BYTES) -> None:
        self.patches, self.stride = patches, stride
        self._left = limit_bytes
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.patches)

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 image (H, W, 3) and 0/1 mask (H, W).

        Raises
        ------
        InputError
            When it can't be read, or its size doesn't suit the network.
        """
        if position in self._kept:
            return self._kept[position]
        row = self.patches.iloc[position]
        image, mask = read_patch(row["image"], row["mask"], int(row.get("side_px", 0)))
        if any(side % self.stride for side in mask.shape):
            raise InputError(
                f"{row['image']}: {mask.shape[1]} × {mask.shape[0]} px don't suit the network, which needs multiples "
                f"of {self.stride}; give side_px, such as 256."
            )
        size = image.nbytes + mask.nbytes
        if self._left >= size:
            self._left -= size
            self._kept[position] = (image, mask)
        return image, mask


def load_batch(
    reader: PatchReader, positions: list[int], rngs: list[np.random.Generator], official: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented float32 images (N, 3, H, W) and uint8 masks (N, H, W)."""
    read = [reader.read(position) for position in positions]
    if len({mask.shape for _, mask in read}) > 1:
        raise InputError(
            f"{reader.patches.iloc[positions[0]]['image']}: patches of several sizes can't share a batch; "
            "give side_px, such as 256."
        )
    both = [augment(image, mask, rng, official) for (image, mask), rng in zip(read, rngs, strict=True)]
    pictures, masks = (np.stack(arrays) for arrays in zip(*both, strict=True))
    # Contiguous on purpose: torch 2.13's backward of group norm corrupts memory in channels_last.
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(masks)


def prefetch(function: Callable, items: Iterable, workers: int) -> Iterator:
    """``map``, in order, computed ahead by threads where there are any."""
    if not workers:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
