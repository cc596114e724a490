"""What other threads do beside the network: they read windows ahead of it, and make masks of its answers behind it.

They do several at a time: a thread that slept finds nothing of what it runs in the processor's caches any more, and
beside a network that is most of what a single window costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], threads: int, together: int, count: int
) -> Iterator[tuple[Item, Result]]:
    """Items in order, each with what ``read`` makes of it in one of several threads.

    Parameters
    ----------
    together : how many a thread reads at a time
    count : how many should be ready or on their way
    """
    items = iter(items)

    def read_all(some: list[Item]) -> list[tuple[Item, Result]]:
        return [(item, read(item)) for item in some]

    with ThreadPoolExecutor(threads) as pool:
        tasks = (pool.submit(read_all, some) for some in iter(lambda: list(islice(items, together)), []))
        ahead = deque(islice(tasks, -(-count // together)))
        while ahead:
            results = ahead.popleft().result()
            ahead.extend(islice(tasks, 1))
            yield from results


class HandOver:
    """Calls that another thread makes in order, several at a time; it is that many behind at most.

    Parameters
    ----------
    pool : with one thread
    together : how many calls it gets at a time
    """

    def __init__(self, pool: ThreadPoolExecutor, together: int) -> None:
        self.pool, self.together = pool, together
        self._calls: list[tuple[Callable, tuple]] = []
        self._waiting: deque[Future] = deque()

    def __call__(self, function: Callable, *arguments) -> None:
        """Have ``function(*arguments)`` called; raises what an earlier call raised."""
        self._calls.append((function, arguments))
        if len(self._calls) >= self.together:
            self.submit()

    def finish(self) -> None:
        """Wait for all calls; raises what one of them raised."""
        self.submit()
        while self._waiting:
            self._waiting.popleft().result()

    def submit(self) -> None:
        """Hand over what has come together so far, without waiting for more."""
        self._waiting.append(self.pool.submit(_call_all, self._calls))
        self._calls = []
        while len(self._waiting) > 1:
            self._waiting.popleft().result()


def _call_all(calls: list[tuple[Callable, tuple]]) -> None:
    for function, arguments in calls:
        function(*arguments)
