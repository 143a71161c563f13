"""How a book finds the node of an account: by Sentinels, and by the map of a Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis
from tests import servers
from tests.forks import forked, is_true_of

from equipoise.errors import StoreTimeout, StoreUnavailable
from equipoise.reservation import AccountStatus, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import slot_of
from equipoise.reservation.redis_routes import REFRESH_S


@pytest.fixture
def master() -> Iterator[servers.Server]:
    with servers.Server() as own:
        yield own


@pytest.fixture
def replica(master: servers.Server) -> Iterator[servers.Server]:
    """One that has all that the master has."""
    with servers.Server(f"replicaof 127.0.0.1 {master.port}") as own:
        servers.Cluster.until(lambda: b"master_link_status:up" in servers.Cluster.ask(own, "INFO", "replication"))
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


def test_no_connection_looks_for_the_version_of_its_library_on_the_disk(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("importlib.metadata.version", asked.append)

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as book:
            assert (await book.deposit("acc", 1, request_id="d")).ok

    with ReservationBook.connect(url) as book:
        assert book.open_account("acc", 1).ok
    asyncio.run(main())
    assert asked == []


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
    url, timeout_s = f"redis+sentinel://127.0.0.1:{sentinel.port}/desk", 2.0
    connect = partial(ReservationBook.connect, url, timeout_ms=int(1000 * timeout_s))
    with connect() as book:
        assert book.open_account("acc", 1).ok
        for server in (master, sentinel):
            server.signal(signal.SIGSTOP)
        with ThreadPoolExecutor(8) as threads:
            step = partial(seconds_of, lambda: book.deposit("acc", 1, request_id="d"))
            calls = [threads.submit(step) for _ in range(8)]
            assert max(call.result() for call in calls) < 2.75 * timeout_s
        assert seconds_of(connect) < 1.75 * timeout_s
        sentinel.kill()
        assert seconds_of(connect) < timeout_s / 2


def test_a_sentinel_that_is_silent_leaves_time_for_the_next_which_is_then_asked_first(sentinel: servers.Server) -> None:
    silent = servers.Proxy(sentinel.port)
    silent.flowing.clear()
    url = f"redis+sentinel://127.0.0.1:{silent.port},127.0.0.1:{sentinel.port}/desk"
    began, timeout_s = time.monotonic(), 4.0
    with ReservationBook.connect(url, timeout_ms=int(1000 * timeout_s)) as book:
        assert isinstance(book, RedisBook)
        assert 0.4 * timeout_s < time.monotonic() - began < 0.9 * timeout_s
        time.sleep(2 * REFRESH_S)
        assert seconds_of(lambda: book.lost(book.address_of(0))) < 0.3 * timeout_s
    silent.close()


def test_a_master_that_was_replaced_and_does_not_know_gets_no_more_steps(
    master: servers.Server, replica: servers.Server, sentinel: servers.Server
) -> None:
    url, ask, until = f"redis+sentinel://127.0.0.1:{sentinel.port}/desk", servers.Cluster.ask, servers.Cluster.until

    def version_at(node: servers.Server) -> int:
        return int(ask(node, "HGET", "user_portfolio:{acc}", "version") or 0)

    def fails_over() -> bool:
        try:
            return bool(ask(sentinel, "SENTINEL", "FAILOVER", "desk"))
        except redis.ResponseError:
            return False  # it has not heard from the replica yet

    async def deposits(book: ReservationBook) -> None:
        async with await AsyncReservationBook.connect(url) as tasks:
            assert (await tasks.deposit("acc", 1, request_id="t1")).version == 2
            assert book.deposit("acc", 1, request_id="b1").version == 3
            until(fails_over)
            until(lambda: int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "desk")[1]) == replica.port)
            # Each asks who is master once a second; that of the tasks may have been told what was known for as long.
            await asyncio.sleep(2.1)
            assert b"role:master" in ask(master, "INFO", "replication")
            before = version_at(replica)
            assert (await tasks.deposit("acc", 1, request_id="t2")).done
            assert book.deposit("acc", 1, request_id="b2").done
            # The first journals the promotion.
            assert (version_at(master), version_at(replica)) == (3, before + 3)
            assert book.account("acc").status is AccountStatus.RECOVERING

    with ReservationBook.connect(url) as book:
        assert book.open_account("acc", 1).ok
        until(lambda: version_at(replica) == 1)
        asyncio.run(deposits(book))


@pytest.fixture
def cluster() -> Iterator[servers.Cluster]:
    own = servers.Cluster()
    yield own
    own.stop()


def map_of(node: servers.Server) -> dict[int, int]:
    """Port of the master by the first of its slots, as a node sees it."""
    return {first: master[1] for first, _, master, *_ in servers.Cluster.ask(node, "CLUSTER", "SLOTS")}


def test_a_node_that_is_cut_off_from_its_cluster_is_left_and_its_map_is_not_believed(
    cluster: servers.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Connections from before are not used any more.
    monkeypatch.setattr("equipoise.reservation.redis_links.IDLE_S", 0.0)
    ask, ids, (alone, *others) = cluster.ask, cluster.ids, cluster.nodes
    account_id = next(f"acc{n}" for n in range(100) if slot_of(f"acc{n}") < 5461)
    with ReservationBook.connect(cluster.url, timeout_ms=2_000) as book:
        assert isinstance(book, RedisBook)
        assert book.open_account(account_id, 1).ok
        # The promotion is not to lose the account: that is another test.
        told = ("CLUSTER", "COUNTKEYSINSLOT", slot_of(account_id))
        cluster.until(lambda: ask(cluster.replica, *told) == ask(alone, *told))
        alone.kill()
        ask(cluster.replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        cluster.until(lambda: all(map_of(node).get(0) == cluster.replica.port for node in others))
        for node in others:
            # They tell one another as well.
            with contextlib.suppress(redis.ResponseError):
                ask(node, "CLUSTER", "FORGET", ids[0])
        known = alone.folder / "nodes.conf"
        lines = known.read_text().splitlines(keepends=True)
        known.write_text("".join(line for line in lines if "myself" in line or line.startswith("vars")))
        alone.start()
        cluster.until(lambda: b"cluster_state:fail" in ask(alone, "CLUSTER", "INFO"))
        cluster.until(lambda: all(b"cluster_state:ok" in ask(node, "CLUSTER", "INFO") for node in others))
        # It is the first that is asked for the map.
        assert book.address_of(0).port == alone.port
        assert book.deposit(account_id, 1, request_id="d").done
        assert book.address_of(0).port == cluster.replica.port
        with ReservationBook.connect(cluster.url, timeout_ms=2_000) as fresh:
            assert fresh.deposit(account_id, 1, request_id="fresh").done
        # Nor where it goes on by itself with what it has.
        ask(alone, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        cluster.until(lambda: b"cluster_state:ok" in ask(alone, "CLUSTER", "INFO"))
        with ReservationBook.connect(cluster.url, timeout_ms=2_000) as fresh:
            assert fresh.deposit(account_id, 1, request_id="again").done
            assert len(fresh.masters()) == 3
        assert ask(alone, "HGET", f"user_portfolio:{{{account_id}}}", "version") == b"1"
