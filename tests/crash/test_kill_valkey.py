"""SIGKILL of clients and of the server (AOF always) at seeded points under load, then the same ids again (I17)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests import servers
from tests.crash import writers
from tests.crash.kills import POINTS, Kills, version_of
from tests.warm import Child

from equipoise.errors import StoreError
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis_scripts import SCRIPTS


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.Server("appendonly yes", "appendfsync always") as own:
        yield own


def state(server: servers.Server, account: str) -> dict[str, object]:
    """Raw keys of an account that must not depend on where anything was killed."""
    kept: dict[str, object] = {}
    with server.client() as client:
        for raw in client.scan_iter(f"*{{{account}}}*", count=10_000):
            name = raw.decode().replace(account, "*")
            kind = client.type(raw)
            if kind == b"hash":
                kept[name] = client.hgetall(raw)
            elif kind == b"zset":
                kept[name] = client.zrange(raw, 0, -1, withscores=True)
            else:
                kept[name] = client.xrange(raw)
    assert len(kept) > 100
    return kept


def test_i17_a_client_killed_anywhere_is_completed_by_the_same_ids_on_valkey(server: servers.Server) -> None:
    kills = Kills(17, POINTS, Child(writers.on_server, server.url, "whole", 1))
    expected, last = state(server, "whole"), version_of(server.url, "whole")
    for number, (lines, pause) in enumerate(kills):
        name = f"killed{number}"
        said = Child(writers.on_server, server.url, name, 1).killed_after(lines, pause)
        version = version_of(server.url, name)
        assert version >= writers.answered(said)
        kills.left(version, last)
        assert Child(writers.on_server, server.url, name, 1).killed_after(None)[-1] == "done"
        assert version_of(server.url, name) == last
        assert state(server, name) == expected
        with server.client() as client:
            client.delete(*client.scan_iter(f"*{{{name}}}*", count=10_000))
    kills.are_spread(last)


def killed_often(server: servers.Server, rng: random.Random, kills: int, account_id: str, answered: list[str]) -> None:
    """Kill the server under load; after each kill every order that had been answered for by then must be there."""
    while not answered:
        time.sleep(0.001)
    for kill in range(kills):
        time.sleep(0.05 + rng.random() * 0.25)
        before = len(answered)
        server.kill()
        server.start()
        with ReservationBook.connect(server.url) as book:
            assert set(answered[:before]) <= {order.order_id for order in book.orders(account_id)}
            # An audit reads everything: after each kill in short runs, now and then in long ones. The load goes on.
            for name in book.accounts() if kill % (1 + kills // 10) == 0 else ():
                assert book.audit(name).findings == ()


def test_i17_a_server_killed_under_load_has_every_step_it_answered_and_none_twice(server: servers.Server) -> None:
    with server.client() as client:
        client.flushall()
    kills = max(3, POINTS // 4)
    # Enough for the load to last as long as the kills.
    rounds = 10 * kills
    Child(writers.on_server, server.url, "whole", 1, rounds).killed_after(None)
    expected = state(server, "whole")
    loads = [Child(writers.on_server, server.url, f"load{n}", 1, rounds) for n in range(3)]
    lines = [iter(load) for load in loads]
    for line in ("starts", "connected", "ready"):
        assert [next(said) for said in lines] == [line] * 3
    answered: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        """Notes what has been answered: it must be there after every kill."""
        number = 0
        order = Order(symbol="S", side=Side.BID, lots=1, price_ticks=1, hold=1, price=Decimal(1), size=Decimal(1))
        book: ReservationBook | None = None
        while not stop.is_set():
            try:
                book = book or ReservationBook.connect(server.url, timeout_ms=1000)
                book.open_account("watched", 1)
                if book.reserve("watched", [order], request_id=f"w{number}").done:
                    answered.append(f"w{number}:0")
                    number += 1
            except StoreError:
                time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        killed_often(server, random.Random(18), kills, "watched", answered)
    finally:
        stop.set()
        watcher.join()
    for load, said in zip(loads, lines, strict=True):
        assert list(said)[-1] == "done"
        assert load.end() == 0
    for n in range(3):
        assert state(server, f"load{n}") == expected
    with ReservationBook.connect(server.url) as book:
        for account_id in book.accounts():
            assert book.audit(account_id).findings == ()
        # The watcher may have stopped between a step and its answer.
        there = {order.order_id for order in book.orders("watched")}
        assert set(answered) <= there
        assert len(answered) <= len(there) <= len(answered) + 1
        assert len(answered) > 10


def test_i17_a_server_killed_while_tasks_wait_has_every_reservation_it_answered_and_none_twice(
    server: servers.Server,
) -> None:
    """Reservations of tasks that wait for one another are one command: it is done as a whole, or not at all."""
    with server.client() as client:
        client.flushall()
    kills, tasks = max(3, POINTS // 4), 12
    answered: list[str] = []
    stop = threading.Event()

    async def task(book: AsyncReservationBook, number: int) -> int:
        count = 0
        order = Order(symbol="S", side=Side.BID, lots=1, price_ticks=1, hold=1, price=Decimal(1), size=Decimal(1))
        while not stop.is_set():
            issued = time.time_ns() // 1000
            while True:
                # The same request until it is known what became of it.
                try:
                    outcome = await book.reserve(
                        "tasks",
                        [order],
                        request_id=f"{number}-{count}",
                        issued_at_us=issued,
                        not_after_us=issued + 60_000_000,
                    )
                    break
                except StoreError:
                    await asyncio.sleep(0.005)
            assert outcome.done, outcome
            answered.append(f"{number}-{count}:0")
            count += 1
            # A server that is started again reads all of it: at full speed a long run would do little else.
            await asyncio.sleep(0.005)
        return count

    async def main() -> int:
        async with await AsyncReservationBook.connect(server.url, timeout_ms=1_000) as book:
            await book.open_account("tasks", 1_000)
            return sum(await asyncio.gather(*[task(book, number) for number in range(tasks)]))

    asked: list[int] = []
    runner = threading.Thread(target=lambda: asked.append(asyncio.run(main())))
    runner.start()
    try:
        killed_often(server, random.Random(19), kills, "tasks", answered)
    finally:
        stop.set()
        runner.join()
    with ReservationBook.connect(server.url) as book:
        there = [order.order_id for order in book.orders("tasks")]
        assert sorted(there) == sorted(answered)
        assert asked == [len(there)]
        assert len(there) > 100
        assert book.account("tasks").all_units == len(there)
        assert book.audit("tasks").findings == ()
    with server.client() as client:
        # It was one command for several.
        assert client.script_exists(SCRIPTS["reserves"].sha) == [True]
