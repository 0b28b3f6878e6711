"""Rates: work is done for a while that does not count, and then for one that does."""

import time
from collections.abc import Callable

Ready = Callable[[], None]
Contestant = Callable[[Ready], float]
SECONDS = 2.0  # least time of warming up, and of the measurement after it


def epochs(ready: Ready, epoch: Callable[[], int]) -> float:
    """Images per second of repeated epochs, after some that do not count."""
    for_a_while(epoch)
    ready()
    return for_a_while(epoch)


def for_a_while(work: Callable[[], int]) -> float:
    """Do some work again and again, once at least; return what it did per second."""
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < SECONDS:
        done += work()
    return done / (time.perf_counter() - start)


def repeat(ready: Ready, work: Callable[[], object], units: int) -> float:
    """Units per second of work that is repeated, after some that does not count."""

    def counted() -> int:
        work()
        return units

    return epochs(ready, counted)
