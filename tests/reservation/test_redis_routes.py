"""How a book finds the node of an account: by Sentinels, and by the map of a Cluster."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from tests import servers
from tests.forks import forked, is_true_of

from equipoise.errors import StoreTimeout, StoreUnavailable
from equipoise.reservation import ReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_routes import REFRESH_S


@pytest.fixture
def master() -> Iterator[servers.Server]:
    with servers.Server() as own:
        yield own


@pytest.fixture
def sentinel(master: servers.Server) -> Iterator[servers.Server]:
    """One that names the master of the service `desk`."""
    watched = (
        f"sentinel monitor desk 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds desk 60000",
        "sentinel failover-timeout desk 60000",
    )
    with servers.Server(*watched, sentinel=True) as own:
        yield own


@pytest.fixture(params=["cluster", "sentinel"])
def url(request: pytest.FixtureRequest) -> str:
    """Where an empty book is, of which a client has to find the node."""
    if request.param == "cluster":
        servers.shared_cluster().flush()
        return servers.shared_cluster().url
    return f"redis+sentinel://127.0.0.1:{request.getfixturevalue('sentinel').port}/desk"


@pytest.mark.parametrize("first", ["look", "step", "close"])
def test_a_fork_while_a_thread_looks_for_a_node_leaves_the_child_a_book_that_works(url: str, first: str) -> None:
    with ReservationBook.connect(url) as book:
        assert isinstance(book, RedisBook)
        assert book.open_account("acc", 1).ok
        address = book.masters()[0]
        steps: dict[str, Callable[[], bool]] = {
            "look": lambda: book.lost(address) is None,
            "step": lambda: book.deposit("acc", 1, request_id="child").ok,
            "close": lambda: book.close_book() is None,
        }

        def child_goes_on() -> bool:
            signal.alarm(10)
            return steps[first]()

        # What some other thread holds at that moment: nobody gives it back in the child.
        with book._route._lock(), book._links._idle().lock:  # type: ignore[attr-defined]
            child = forked(child_goes_on)
        assert is_true_of(child)
        assert book.deposit("acc", 1, request_id="parent").ok


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call took that a store out of reach answers."""
    began = time.monotonic()
    with contextlib.suppress(StoreUnavailable, StoreTimeout):
        call()
    return time.monotonic() - began


def test_sentinels_that_are_silent_with_their_master_cost_every_caller_two_timeouts_at_most(
    master: servers.Server, sentinel: servers.Server
) -> None:
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/desk"
    with ReservationBook.connect(url, timeout_ms=500) as book:
        assert book.open_account("acc", 1).ok
        for server in (master, sentinel):
            server.signal(signal.SIGSTOP)
        with ThreadPoolExecutor(8) as threads:
            step = partial(seconds_of, lambda: book.deposit("acc", 1, request_id="d"))
            calls = [threads.submit(step) for _ in range(8)]
            assert max(call.result() for call in calls) < 1.4
        assert seconds_of(lambda: ReservationBook.connect(url, timeout_ms=500)) < 0.9
        sentinel.kill()
        assert seconds_of(lambda: ReservationBook.connect(url, timeout_ms=500)) < 0.3


def test_a_sentinel_that_is_silent_leaves_time_for_the_next_which_is_then_asked_first(sentinel: servers.Server) -> None:
    silent = servers.Proxy(sentinel.port)
    silent.flowing.clear()
    url = f"redis+sentinel://127.0.0.1:{silent.port},127.0.0.1:{sentinel.port}/desk"
    began = time.monotonic()
    with ReservationBook.connect(url, timeout_ms=1_000) as book:
        assert isinstance(book, RedisBook)
        assert 0.4 < time.monotonic() - began < 0.9
        time.sleep(2 * REFRESH_S)
        assert seconds_of(lambda: book.lost(book.address_of(0))) < 0.3
    silent.close()
