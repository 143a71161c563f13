"""How a book finds the node of an account: by Sentinels, and by the map of a Cluster."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from tests import servers
from tests.forks import forked, is_true_of

from equipoise.reservation import ReservationBook
from equipoise.reservation.redis import RedisBook


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
