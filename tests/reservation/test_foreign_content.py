"""Content that the book cannot have written, at every place of a store: a call answers, or says StoreCorrupt."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import redis
from tests import servers
from tests.reservation.conftest import RULES

from equipoise.errors import StoreCorrupt, StoreError
from equipoise.orders import Order
from equipoise.reservation import OrderState, Outcome, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook

Make = Callable[..., Order]
A = "acc"


def written(book: ReservationBook, clock: Any, order: Make) -> None:
    """Something at every place: an order in the outbox, an alias, a ticket's rate, an owner, a base of the journal."""
    book.open_account(A, "100", rule="larger_leg")
    book.reserve(A, [order(hold=9)] * 2, request_id="r", owner="ann", send="outbox")
    book.reserve(A, [order(hold=9)] * 2, request_id="q", owner="ann")
    book.claim(A, "q:0", event_id="c")
    book.acknowledge(A, "q:0", venue_id="v")
    book.fill(A, "q:1", 1, fill_id="f", margin="0.000001")
    book.export(A, confirmed_version=3)
    clock.advance(2 * 86_400)
    assert book.archive(A).ok
    assert book.audit(A).findings == ()


def asked(book: ReservationBook, *, steps: bool) -> int:
    """How many calls said StoreCorrupt; any other failure passes. Steps that are not granted change nothing."""
    calls: list[Callable[[], object]] = [
        lambda: book.audit(A),
        lambda: book.account(A),
        lambda: book.orders(A, every=True),
        lambda: book.orders(A, overdue=True),
        lambda: book.symbols(A),
        lambda: book.outbox(A),
        lambda: book.history(A),
        lambda: book.reconcile(A),
    ]
    if steps:
        calls += [lambda: book.fill(A, "q:0", 1, fill_id="late"), lambda: book.cancel(A, "q:0")]
    corrupt = 0
    for call in calls:
        try:
            call()
        except StoreCorrupt:
            corrupt += 1
    return corrupt


def test_a_redis_key_with_foreign_content_is_corrupt_and_no_other_error(
    client: redis.Redis, clock: Any, order: Make
) -> None:
    server = servers.shared()
    with ReservationBook.connect(server.url, clock=clock) as book:
        written(book, clock, order)
        places: dict[str, int] = {}
        kinds = {key: client.type(key).decode() for key in sorted(client.keys(f"user_*:{{{A}}}*"))}
        for key, kind in kinds.items():
            corrupt = 0
            if kind == "hash":
                for field, kept in client.hgetall(key).items():
                    for value in (b"x", b"", b"1.5", b"[1", b"\xff"):
                        client.hset(key, field, value)
                        corrupt += asked(book, steps=False)
                    client.hset(key, field, kept)
                for more in ({"o:more": "[1"}, {"s:more": "1"}, {b"\xff": b"\xfe"}):
                    client.hset(key, mapping=more)
                    corrupt += asked(book, steps=False)
                    client.hdel(key, *more)
            elif kind == "stream":
                deep = "[" * 200_000
                for entry in ({"r": "x"}, {"more": "x"}, {"r": "[1,2]"}, {"r": "5"}, {"r": deep}, {b"\xff": b"\xff"}):
                    last = client.xinfo_stream(key)["last-generated-id"]
                    ident = client.xadd(key, entry, id=f"{int(last.split(b'-')[0]) + 1}-0")
                    corrupt += asked(book, steps=False)
                    client.xdel(key, ident)
            else:
                for member in (b"more", b"\xff", b"a\x1fb\x1fx\x1fq"):
                    client.zadd(key, {member: 1})
                    corrupt += asked(book, steps=False)
                    client.zrem(key, member)
            places[key.decode()] = corrupt
        assert book.audit(A).findings == ()
    silent = {key.split(":")[0] for key, corrupt in places.items() if not corrupt}
    assert silent == set()


def test_a_file_with_foreign_content_is_corrupt_and_no_other_error(clock: Any, order: Make, sqlite_path: Path) -> None:
    with ReservationBook.connect(f"sqlite:///{sqlite_path}", clock=clock) as book:
        written(book, clock, order)
    copy = sqlite_path.with_name("copy.db")
    places: dict[str, int] = {}
    with closing(sqlite3.connect(sqlite_path)) as plain:
        tables = [name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in plain.execute(f"PRAGMA table_info({table})")]
    # Under another account id a row is another account's.
    for table, column in [(table, column) for table, column in columns if column != "account_id"]:
        for value in ("x", 1.5, "[1", b"\xff", -1):
            shutil.copyfile(sqlite_path, copy)
            with closing(sqlite3.connect(copy, isolation_level=None)) as plain, suppress(sqlite3.Error):
                # The schema forbids many.
                plain.execute(f"UPDATE {table} SET {column} = ?", (value,))
            try:
                with ReservationBook.connect(f"sqlite:///{copy}", clock=clock) as book:
                    places[table] = places.get(table, 0) + asked(book, steps=True)
            except StoreCorrupt:
                places[table] = places.get(table, 0) + 1
    assert {table for table, corrupt in places.items() if corrupt} >= {"accounts", "orders", "journal", "base_orders"}


def plant_entry(client: redis.Redis) -> None:
    client.xadd("user_outbox:{bad}", {"more": "x"}, id="9999-0")


def plant_orders(client: redis.Redis) -> None:
    client.hset("user_waiting:{bad}", "odd", "9999 1")
    entry = {"request_id": "odd", "created_us": "1", "deadline_us": "1"}
    client.xadd("user_outbox:{bad}", {**entry, "order_ids": "[[1]]"}, id="9999-0")
    client.xadd("user_outbox:{bad}", {**entry, "order_ids": '["\\ud800"]'}, id="9999-1")


def plant_type(client: redis.Redis) -> None:
    client.set("user_outbox:{bad}", "x")


def plant_names(client: redis.Redis) -> None:
    for number in range(16):
        client.sadd(f"user_accounts:{{p{number}}}", b"\xff")
        client.sadd(f"user_hints:{{p{number}}}", b"\xff")


@pytest.mark.parametrize("plant", [plant_entry, plant_orders, plant_type, plant_names])
def test_a_worker_passes_by_an_account_with_foreign_content(
    client: redis.Redis, order: Make, plant: Callable[[redis.Redis], None]
) -> None:
    server = servers.shared()
    with ReservationBook.connect(server.url) as book:
        for name in ("good", "bad", "fine"):
            book.open_account(name, "1")
        book.reserve("bad", [order(hold=1)], request_id="before", send="outbox")
        plant(client)
        for name in ("good", "fine"):
            assert book.reserve(name, [order(hold=1)], request_id="r", send="outbox").ok
        worker = book.worker("w", takeover_ms=100)
        # Not claimed: the second time they are taken over, which follows a walk.
        for _ in range(2):
            handed, until = set[str](), time.monotonic() + 5
            while not handed >= {"good", "fine"} and time.monotonic() < until:
                with suppress(StoreError):
                    handed |= {delivery.account_id for delivery in worker.take()}
                time.sleep(0.01)
            assert handed >= {"good", "fine"}
        assert set(book.accounts()) == {"good", "bad", "fine"}


@pytest.mark.parametrize("awaited", [False, True])
def test_a_step_whose_answer_is_foreign_may_have_been_done(client: redis.Redis, order: Make, *, awaited: bool) -> None:
    server = servers.shared()

    async def in_loop(ask: Callable[[Any], Any]) -> object:
        async with await AsyncReservationBook.connect(server.url) as book:
            return await ask(book)

    def corrupt(book: ReservationBook, ask: Callable[[Any], Any]) -> bool:
        try:
            outcome = asyncio.run(in_loop(ask)) if awaited else ask(book)
        except StoreCorrupt:
            return True
        assert outcome.code
        return False

    with ReservationBook.connect(server.url) as book:
        found = []
        for key, field, value, ask in (
            ("user_portfolio:{acc}", "scale", "-1", lambda book: book.suspend(A, request_id="s")),
            ("user_portfolio:{acc}", "scale", "x", lambda book: book.cancel(A, "r:0")),
            ("user_portfolio:{acc}", "scale", "9007199254740993", lambda book: book.deposit(A, 1, request_id="d")),
            ("user_holdings:{acc}:r:0", "state", "ODD", lambda book: book.claim(A, "r:0", event_id="c")),
            ("user_holdings:{acc}:r:0", "symbol", b"\xff", lambda book: book.fill(A, "r:0", 1, fill_id="f")),
        ):
            client.flushall()
            book.open_account(A, "1")
            book.reserve(A, [order(lots=3, hold=9)], request_id="r")
            client.hset(key, field, value)
            # A book that has not asked for the scale before.
            with ReservationBook.connect(server.url) as fresh:
                found.append(corrupt(fresh, ask))
        assert found == [True] * 5


def test_a_ticket_that_was_given_another_symbol_is_corrupt_to_whoever_closes_it(
    clock: Any, order: Make, sqlite_path: Path
) -> None:
    """Well-formed, and yet no share of the symbol's lots can be computed."""
    with ReservationBook.connect(f"sqlite:///{sqlite_path}", clock=clock) as book:
        book.open_account(A, "1", positions="tickets")
        book.reserve(A, [order(lots=5, hold=9)], request_id="r")
        book.fill(A, "r:0", 5, fill_id="f", margin="0.000009")
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as plain:
        plain.execute("UPDATE orders SET symbol = 'OTHER'")
    with ReservationBook.connect(f"sqlite:///{sqlite_path}", clock=clock) as book:
        with pytest.raises(StoreCorrupt):
            book.close(A, "r:0", 2, event_id="c", realised_pnl=0)
        assert not book.audit(A).ok


def lose(book: Any, what: str) -> None:
    """All symbols or owners of the account."""
    if hasattr(book, "_shelves"):
        getattr(book._shelves[A], {"symbols": "rows", "owners": "owners"}[what]).clear()
    elif hasattr(book, "_links"):
        book._command(A, "DEL", f"user_{what}:{{{A}}}")
    else:
        book._ready().execute(f"DELETE FROM {what}").fetchall()


Step = Callable[[ReservationBook], Outcome]


def corrupt_until_mended(book: ReservationBook, step: Step) -> None:
    """The step is refused and leaves everything as it was; once the book is repaired, it is done."""
    before = (book.account(A), book.symbols(A), book.orders(A, every=True), book.history(A, limit=1_000))
    with pytest.raises(StoreCorrupt):
        step(book)
    assert before == (book.account(A), book.symbols(A), book.orders(A, every=True), book.history(A, limit=1_000))
    assert book.reconcile(A, apply=True, operator="ann").settled
    assert book.audit(A).findings == ()
    assert step(book).ok


# Each takes from what is held; an amendment puts no less in its place, so that an owner's sum does not go below zero.
TAKES: dict[str, Step] = {
    "fill": lambda book: book.fill(A, "x", 1, fill_id="g", margin=0, realised_pnl=0),
    "cancel": lambda book: book.cancel(A, "x"),
    "amend": lambda book: book.amend(A, "x", 8, "0.00001", event_id="a"),
    "settle_amend": lambda book: book.settle_amend(A, "asked", "refused", amend_id="m"),
    "resolve": lambda book: book.resolve(A, "late", OrderState.CANCELLED, evidence="operator"),
    "sweep": lambda book: book.sweep(A),
}


@pytest.mark.parametrize(("rule", "positions"), RULES)
@pytest.mark.parametrize(
    ("lost", "step"), [*product(["symbols"], TAKES), *product(["owners"], sorted(TAKES.keys() - {"amend"}))]
)
def test_a_step_that_takes_from_totals_that_are_lost_is_corrupt_and_writes_nothing(
    proven: ReservationBook, clock: Any, order: Make, rule: str, positions: str, lost: str, step: str
) -> None:
    leg = "long" if positions == "hedge" else None
    proven.open_account(A, 1, rule=rule, positions=positions)
    for name in ("x", "asked", "late"):
        asks = [order(lots=4, hold=40, order_id=name, leg=leg)]
        assert proven.reserve(A, asks, request_id=name, send="caller", owner="ann").ok
    for name in ("x", "asked"):
        assert proven.acknowledge(A, name).ok
        assert proven.fill(A, name, 1, fill_id="f", margin="0.00001").ok
    assert proven.amend(A, "asked", 5, "0.00005", event_id="m", deadline_us=clock() + 10**12).ok
    clock.advance(100)
    assert proven.sweep(A).granted == ("late",)
    asks = [order(lots=4, hold=40, order_id="held", leg=leg)]
    assert proven.reserve(A, asks, request_id="held", owner="ann").ok
    clock.advance(100)
    lose(proven, lost)
    corrupt_until_mended(proven, TAKES[step])


@pytest.mark.parametrize("rule", ["sum", "larger_leg"])
@pytest.mark.parametrize("side", ["bid", "ask"])
@pytest.mark.parametrize("lots", [5, 10])
@pytest.mark.parametrize("anew", [None, "bid", "ask"])
def test_a_ticket_of_a_lost_symbol_is_corrupt_to_whoever_closes_it(
    proven: ReservationBook, order: Make, rule: str, side: str, lots: int, anew: str | None
) -> None:
    """`anew`: side of another ticket, with which the symbol has begun anew since."""
    proven.open_account(A, 1, rule=rule, positions="tickets")
    assert proven.execute(A, order(side, lots=10, hold=400, order_id="x"), request_id="x").ok
    lose(proven, "symbols")
    if anew is not None:
        assert proven.execute(A, order(anew, lots=20, hold=4, order_id="y"), request_id="y").ok
    corrupt_until_mended(proven, lambda book: book.close(A, "x", lots, event_id="c", realised_pnl=0))


@pytest.mark.parametrize("plant", [plant_entry, plant_type])
def test_a_worker_with_nothing_to_hand_out_says_what_it_could_not_read(
    client: redis.Redis, order: Make, plant: Callable[[redis.Redis], None]
) -> None:
    server = servers.shared()
    with ReservationBook.connect(server.url) as book:
        for name in ("bad", "good"):
            book.open_account(name, "1")
        plant(client)
        with pytest.raises(StoreError):
            book.worker("w").take()


@pytest.mark.parametrize("name", ["deadline_us", "cancel_deadline_us", "amend_deadline_us", "changed_us"])
def test_a_time_of_an_order_that_is_none_is_corrupt_before_anything_is_written(
    client: redis.Redis, order: Make, name: str
) -> None:
    with ReservationBook.connect(servers.shared().url) as book:
        book.open_account("acc", 1)
        book.reserve("acc", [order(lots=10, hold=100, order_id="X")], request_id="r", send="caller")
        book.amend("acc", "X", 12, "0.00012", event_id="a")
        book.request_cancel("acc", "X")
        client.hset("user_holdings:{acc}:X", name, "soon")
        keys = ("user_portfolio:{acc}", "user_holdings:{acc}:X", "user_journal:{acc}", "user_due:{acc}")
        before = [client.dump(key) for key in keys]
        for step in (lambda: book.fill("acc", "X", 1, fill_id="f"), lambda: book.cancel("acc", "X")):
            with pytest.raises(StoreCorrupt):
                step()
        assert [client.dump(key) for key in keys] == before
