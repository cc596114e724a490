"""Image pools: patches come in any order, each waits in its tissue's pool, and four of a pool make a batch.

So a batch has one tissue, and a method that looks for one tissue at a time sees four examples of it (Omni-Seg, IEEE
TMI 2023, section III; depths and order as in the official training code).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class ImagePools:
    """First in, first out, a pool for each tissue.

    Parameters
    ----------
    depth
        Patches that a pool can hold; 2·batch − 1 at least, since up to batch − 1 wait when up to batch arrive.
    batch
        Patches that leave together.
    """

    def __init__(self, depth: int = 8, batch: int = 4) -> None:
        if depth < 2 * batch - 1:
            raise ValueError(f"pools of {depth} can't serve batches of {batch}: {2 * batch - 1} at least.")
        self.depth, self.batch = depth, batch
        self._pools: dict[int, deque] = {}

    def add(self, arrivals: Sequence[tuple[int, Item]]) -> list[list[Item]]:
        """Put up to ``batch`` patches into their pools and take out every batch that is complete.

        Parameters
        ----------
        arrivals
            (tissue id, patch) in the order of their arrival.

        Returns
        -------
        Batches, the oldest patches first, by tissue id.
        """
        for tissue, item in arrivals:
            self._pools.setdefault(tissue, deque(maxlen=self.depth)).append(item)
        full = [pool for _, pool in sorted(self._pools.items()) if len(pool) >= self.batch]
        return [[pool.popleft() for _ in range(self.batch)] for pool in full]

    def clear(self) -> int:
        """Drop what is left, at the end of an epoch; returns how many."""
        left = sum(len(pool) for pool in self._pools.values())
        self._pools.clear()
        return left


def pool_batches(tissue_ids: Sequence[int], depth: int = 8, batch: int = 4) -> Iterator[list[int]]:
    """Batches of one epoch as positions in ``tissue_ids``, whose order is that of the patches' arrival.

    Patches come ``batch`` at a time, as a loader brings them; what is left in the pools at the end is dropped.
    """
    pools = ImagePools(depth, batch)
    for start in range(0, len(tissue_ids), batch):
        positions = range(start, min(start + batch, len(tissue_ids)))
        yield from pools.add([(int(tissue_ids[position]), position) for position in positions])
    pools.clear()
