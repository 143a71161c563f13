"""Content that the book cannot have written, at every place of a store: a call answers, or says StoreCorrupt."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests import servers

from equipoise.errors import StoreCorrupt
from equipoise.orders import Order
from equipoise.reservation import ReservationBook

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


def test_a_redis_key_with_foreign_content_is_corrupt_and_no_other_error(clock: Any, order: Make) -> None:
    server = servers.shared()
    with server.client() as client, ReservationBook.connect(server.url, clock=clock) as book:
        client.flushall()
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
                for entry in ({"r": "x"}, {"more": "x"}, {"r": "[1,2]"}, {"r": "5"}, {b"\xff": b"\xff"}):
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


def test_a_worker_passes_by_an_account_with_a_foreign_entry(clock: Any, order: Make) -> None:
    server = servers.shared()
    with server.client() as client, ReservationBook.connect(server.url, clock=clock) as book:
        client.flushall()
        for name in ("bad", "good"):
            book.open_account(name, "1")
        client.xadd("user_outbox:{bad}", {"more": "x"}, id="1-0")
        for name in ("bad", "good"):
            assert book.reserve(name, [order(hold=1)], request_id="r", send="outbox").ok
        worker = book.worker("w")
        handed = {delivery.account_id for delivery in worker.take()}
        assert handed == {"good"}
