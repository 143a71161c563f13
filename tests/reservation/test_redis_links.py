"""How the book of a Redis reaches its server, and how it reads what the server says."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis
from tests import servers

import equipoise
from equipoise.errors import StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis_links import Address, Link, Links, command, parse_target

Make = Callable[..., Order]
A = "acc"


def connections_by_socket(client: redis.Redis) -> int:
    return sum(".sock" in found["addr"] or "/socket" in found["addr"] for found in client.client_list())


@pytest.mark.parametrize("scheme", ["unix", "redis+unix"])
def test_a_book_by_a_socket_on_this_host_is_the_book_of_that_server(order: Make, scheme: str) -> None:
    server = servers.shared()
    with server.client() as client:
        client.flushall()
        url = server.socket_url.replace("unix", scheme, 1)
        with ReservationBook.connect(f"{url}?db=3&prefix=p:&durability=memory") as book:
            assert book.open_account(A, 10).ok
            assert book.reserve(A, [order(hold=10)], request_id="r").ok
            assert connections_by_socket(client) == 1
            assert book.audit(A).findings == ()
        client.select(3)
        assert client.hget(f"p:user_portfolio:{{{A}}}", "used_margin_all") == b"10"


def test_a_server_lists_the_connections_of_both_kinds_of_book_by_their_name() -> None:
    server, named = servers.shared(), list[set[str]]()

    def note() -> None:
        with server.client() as client:
            named.append({found["lib-name"] for found in client.client_list()})

    async def main() -> None:
        async with await AsyncReservationBook.connect(server.url) as book:
            await book.accounts()
            note()

    with ReservationBook.connect(server.url) as book:
        book.accounts()
        note()
    asyncio.run(main())
    for names in named:
        assert f"redis-py(equipoise_v{equipoise.__version__})" in names


def test_a_book_closed_while_threads_call_leaves_no_connection_open(order: Make) -> None:
    server = servers.shared()
    with server.client() as client:
        client.flushall()
        before = len(client.client_list())
        book = ReservationBook.connect(server.url)
        book.open_account(A, 10**6)
        begun = threading.Barrier(5)

        def reserve(caller: int) -> None:
            for n in count():
                try:
                    book.reserve(A, [order(hold=1)], request_id=f"{caller}-{n}")
                except StoreUnavailable:
                    return
                if n == 0:
                    begun.wait(20)

        callers = [threading.Thread(target=reserve, args=(caller,)) for caller in range(4)]
        for caller in callers:
            caller.start()
        begun.wait(20)
        book.close_book()
        for caller in callers:
            caller.join(20)
        until = time.monotonic() + 5
        while len(client.client_list()) > before and time.monotonic() < until:
            time.sleep(0.01)
        assert len(client.client_list()) == before


def test_tasks_share_a_socket_on_this_host(order: Make) -> None:
    server = servers.shared()

    async def main() -> None:
        async with await AsyncReservationBook.connect(server.socket_url) as book:
            await book.open_account(A, 10)
            calls = [book.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(20)]
            assert {outcome.code for outcome in await asyncio.gather(*calls)} == {Code.OK}
            with server.client() as client:
                assert connections_by_socket(client) == 2  # one of the loop, one of the threads

    with server.client() as client:
        client.flushall()
    asyncio.run(main())


def test_a_socket_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="/nowhere/socket"):
        ReservationBook.connect("unix:///nowhere/socket")


@pytest.fixture
def link() -> Iterator[Link]:
    with servers.shared().client() as client:
        client.flushall()
    links = Links(parse_target(servers.shared().url), 2.0, lambda _: None)
    opened = links.take(Address("127.0.0.1", servers.shared().port))
    yield opened
    opened.close()


def test_replies_that_nobody_needs_are_not_taken_for_others(link: Link) -> None:
    for n in range(100):
        # A reply of each kind, an error among them.
        link.tell(command("SADD", "told", str(n)) + command("INCR", "told") + command("SMEMBERS", "told"), 3)
        assert link.exchange(command("SCARD", "told") + command("PING"), 2) == [n + 1, b"PONG"]


def test_an_idle_connection_that_was_told_something_is_used_again(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_links.IDLE_S", 0.0)
    for _ in range(20):
        link.tell(command("SADD", "told", "x"), 1)
        time.sleep(0.01)
        assert not link.stale()
        assert link.ask("PING") == b"PONG"
    # What came in pieces is read in pieces.
    link.tell(command("SET", "long", b"x" * 200_000) + command("GET", "long"), 2)
    time.sleep(0.2)
    assert not link.stale()
    assert link.ask("PING") == b"PONG"


def test_an_idle_connection_that_has_not_answered_or_was_closed_is_stale_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_links.IDLE_S", 0.0)
    with servers.Server() as server:
        links = Links(parse_target(server.url), 10.0, lambda _: None)
        silent, closed = [links.take(Address("127.0.0.1", server.port)) for _ in range(2)]
        closed.tell(command("QUIT"), 1)
        time.sleep(0.05)
        assert closed.stale()
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        silent.tell(command("PING"), 1)
        began = time.monotonic()
        assert silent.stale()
        assert time.monotonic() - began < 2
        server.process.send_signal(signal.SIGCONT)
        silent.close()
        closed.close()
