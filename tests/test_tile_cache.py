"""The store of decoded tiles: within its bytes, each tile decoded once, and failures tried again."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from nephrospot.tile_cache import TileCache


def test_the_cache_stays_within_its_bytes_and_decodes_a_tile_once():
    cache, tile = TileCache(10_000), np.zeros(3_000, np.uint8)
    decoded, start = [], Barrier(4)

    def want(key):
        start.wait()
        return cache.get([key], lambda keys: decoded.extend(keys) or [tile] * len(keys))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(want, [(0, 0, 0)] * 4))
    assert decoded == [(0, 0, 0)], "three threads waited for the fourth's tile"
    for column in range(1, 4):
        cache.get([(0, 0, column)], lambda keys: [tile])
    assert list(cache._tiles) == [(0, 0, 1), (0, 0, 2), (0, 0, 3)], "the oldest tile went"


def test_a_tile_that_could_not_be_decoded_is_tried_again():
    cache = TileCache(10_000)

    def fail(key):
        raise OSError("the share was away")

    with pytest.raises(OSError, match="away"):
        cache.get([(0, 0, 0)], fail)
    assert cache.get([(0, 0, 0)], lambda keys: [np.ones(1)]) == [1]


def test_what_was_decoded_before_an_error_stays():
    cache, asked = TileCache(10_000), []

    def stop_at_the_third(keys):
        asked.append(keys)
        yield from (np.full(1, column) for _, _, column in keys[:2])
        raise OSError("the share was away")

    keys = [(0, 0, column) for column in range(4)]
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            cache.get(keys, stop_at_the_third)
        assert cache.get(keys[:2], stop_at_the_third) == [0, 1]
        assert cache.get([keys[0]], stop_at_the_third) == [0]
        keys = [*keys[:2], (0, 0, 7), (0, 0, 8), (0, 0, 9)]
    assert asked == [[(0, 0, column) for column in range(4)], [(0, 0, column) for column in (7, 8, 9)]]
