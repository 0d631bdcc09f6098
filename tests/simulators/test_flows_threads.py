"""One plant, asked by several threads at once: everyone gets the same truth."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from simulators.flows import Accumulated

QUARTER_US = 900_000_000


class Counting(Accumulated):
    """One more in every quarter-hour than in the one before: 1, 2, 3, ..."""

    def amount(self, step: int) -> int:
        return step + 1


@pytest.fixture
def quickly_switching():
    """Threads take turns as often as the interpreter can, so that one is interrupted everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quickly_switching")
def test_threads_that_ask_at_once_get_the_sum_that_one_alone_gets():
    quarters, threads = 4000, 4
    for _ in range(5):
        flow, together = Counting(0), Barrier(threads)

        def ask(flow=flow, together=together):
            together.wait()
            return [flow.total(quarter * QUARTER_US) for quarter in range(quarters)]

        with ThreadPoolExecutor(threads) as pool:
            answers = [future.result() for future in [pool.submit(ask) for _ in range(threads)]]
        # 1 + 2 + ... + n = n (n + 1) / 2
        assert answers == [[n * (n + 1) // 2 for n in range(quarters)]] * threads
