"""Threads beside the network: in order, not too far ahead or behind, and what goes wrong in them arrives."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nephrospot.beside import HandOver, read_ahead


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("n", [0, 1, 4, 21])
def test_items_come_in_order_whatever_the_threads(threads, n):
    def read(item):
        time.sleep(0.003 if item % 3 else 0)
        return item * item

    assert list(read_ahead(read, range(n), threads, 4, 7)) == [(item, item * item) for item in range(n)]


def test_no_more_is_read_ahead_than_asked_for():
    read = []
    items = read_ahead(read.append, range(100), 2, 4, 8)
    for taken in range(1, 41):
        next(items)
        time.sleep(0.001)
        assert len(read) <= taken + 12
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda item: 1 / (item - 9), range(20), 2, 4, 8))


def test_calls_handed_over_come_in_order_and_what_they_raise_arrives():
    done = []
    with ThreadPoolExecutor(1) as pool:
        hand_over = HandOver(pool, together=3)
        for i in range(10):
            hand_over(done.append, i)
        assert len(done) < 10, "the last one waits for others"
        hand_over.submit()
        pool.submit(lambda: None).result(timeout=10)  # behind all that was submitted
        assert len(done) == 10
        hand_over.finish()
        assert done == list(range(10))
        hand_over(done.append, 10)
        hand_over([].pop)
        hand_over(done.append, 11)
        with pytest.raises(IndexError):
            hand_over.finish()
        assert done[-1] == 10, "nothing is done behind one that failed"
