"""Decoded tiles that may be needed again, for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

Key = tuple[int, int, int]


class TileCache:
    """The tiles used last, up to a number of bytes; a tile that two threads want is decoded once."""

    def __init__(self, max_bytes: int) -> None:
        self._tiles: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._turns: dict[Key, threading.Lock] = {}  # of tiles that a thread is decoding
        self._bytes, self._max_bytes = 0, max_bytes
        self._lock = threading.Lock()

    def get(self, keys: list[Key], decode: Callable[[list[Key]], Iterable[np.ndarray]]) -> list[np.ndarray]:
        """The tiles of ``keys``, in their order.

        Parameters
        ----------
        decode
            Makes the tiles that aren't there, one after the other; those that came before an error stay.
        """
        found: dict[Key, np.ndarray] = {}
        missing = keys
        while missing:
            mine, others = [], []
            with self._lock:
                for key in missing:
                    tile = self._tiles.get(key)
                    if tile is not None:
                        self._tiles.move_to_end(key)
                        found[key] = tile
                    elif key in self._turns:
                        others.append((key, self._turns[key]))
                    else:
                        mine.append(key)
                if mine:
                    turn = threading.Lock()
                    turn.acquire()
                    self._turns.update(dict.fromkeys(mine, turn))
            if mine:
                found |= self._add(mine, turn, decode)
            for _, turn in others:
                with turn:
                    pass  # until the other thread has it, or failed, which this one finds out by itself
            missing = [key for key, _ in others]
        return [found[key] for key in keys]

    def _add(self, keys: list[Key], turn: threading.Lock, decode: Callable) -> dict[Key, np.ndarray]:
        new: dict[Key, np.ndarray] = {}
        try:
            for key, tile in zip(keys, decode(keys), strict=True):
                new[key] = tile
        finally:
            with self._lock:
                self._tiles |= new
                self._bytes += sum(tile.nbytes for tile in new.values())
                while self._bytes > self._max_bytes:
                    self._bytes -= self._tiles.popitem(last=False)[1].nbytes
                for key in keys:
                    del self._turns[key]
            turn.release()
        return new
