"""Decoded tiles that may be needed again, for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np


class TileCache:
    """The tiles used last, up to a number of bytes; a tile that two threads want is decoded once."""

    def __init__(self, max_bytes: int) -> None:
        self._tiles: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._turns: dict[tuple[int, int, int], threading.Lock] = {}  # of tiles that a thread is decoding
        self._bytes, self._max_bytes = 0, max_bytes
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int], decode) -> np.ndarray:
        while True:
            with self._lock:
                tile = self._tiles.get(key)
                if tile is not None:
                    self._tiles.move_to_end(key)
                    return tile
                turn = self._turns.get(key)
                if turn is None:
                    turn = self._turns[key] = threading.Lock()
                    turn.acquire()
                    break
            with turn:
                pass  # until the other thread has it, or failed, which this one finds out by itself
        try:
            tile = decode(key)
            with self._lock:
                self._tiles[key] = tile
                self._bytes += tile.nbytes
                while self._bytes > self._max_bytes:
                    self._bytes -= self._tiles.popitem(last=False)[1].nbytes
            return tile
        finally:
            with self._lock:
                del self._turns[key]
            turn.release()
