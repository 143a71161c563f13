"""A book that is only read: everything reads as for the writer beside it, every step is refused, nothing is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import ReservationBook, VenueView
from equipoise.reservation import sqlite_engine as engine
from equipoise.reservation.sqlite import SqliteBook, wal_reset_is_fixed

Make = Callable[..., Order]
A = "acc"

through = pytest.mark.parametrize(
    "through_apsw",
    [
        pytest.param(True, marks=pytest.mark.skipif(engine.apsw is None, reason="the extra `sqlite` is not installed")),
        False,
    ],
)


def everything(book: ReservationBook) -> tuple[Any, ...]:
    return (
        book.accounts(),
        book.account(A),
        book.orders(A, every=True),
        book.order(A, "v"),
        book.symbols(A),
        book.history(A),
        book.outbox(A),
        book.audit(A),
        book.export(A),
        book.reconcile(A).to_dict(),
    )


@through
def test_i7_a_book_opened_with_mode_ro_reads_everything_and_refuses_every_step(
    sqlite_path: Path, through_apsw: bool, order: Make, clock: Any
) -> None:
    named: dict[str, Any] = {"clock": clock, "through_apsw": through_apsw, "timeout_ms": 200}
    with SqliteBook(str(sqlite_path), **named) as writer:
        writer.open_account(A, 10)
        writer.reserve(A, [order(lots=2, hold=10, order_id="o"), order()], request_id="r", send="outbox")
        writer.acknowledge(A, "o", "v")
        written = everything(writer)
        shared = wal_reset_is_fixed(engine.engine_version(through_apsw=through_apsw))
        if shared:  # an older library opens the file once
            with SqliteBook(str(sqlite_path), read_only=True, **named) as reader:
                assert everything(reader) == written
                writer.fill(A, "o", 1, fill_id="f")
                assert everything(reader) == everything(writer) != written
                written = everything(writer)
    with SqliteBook(str(sqlite_path), read_only=True, **named) as reader:
        steps: list[Callable[[], object]] = [
            lambda: reader.open_account("other", 1),
            lambda: reader.set_terms(A, request_id="x"),
            lambda: reader.suspend(A, request_id="x"),
            lambda: reader.deposit(A, 1, request_id="x"),
            lambda: reader.withdraw(A, 1, request_id="x"),
            lambda: reader.adjust(A, 1, "fee", request_id="x"),
            lambda: reader.mark(A, {"SYM": 1}),
            lambda: reader.revalue(A, "SYM", 1),
            lambda: reader.reserve(A, [order()], request_id="x"),
            lambda: reader.abandon(A, "x"),
            lambda: reader.execute(A, order(), request_id="x"),
            lambda: reader.claim(A, "o", event_id="x"),
            lambda: reader.acknowledge(A, "o", "x"),
            lambda: reader.fill(A, "o", 1, fill_id="x"),
            lambda: reader.reject(A, "o"),
            lambda: reader.request_cancel(A, "o"),
            lambda: reader.cancel(A, "o"),
            lambda: reader.expire(A, "o"),
            lambda: reader.sweep(A),
            lambda: reader.resolve(A, "o", "CANCELLED", evidence="venue"),  # type: ignore[arg-type]
            lambda: reader.amend(A, "o", 3, 1, event_id="x"),
            lambda: reader.settle_amend(A, "o", "accepted", amend_id="x"),
            lambda: reader.close(A, "o", event_id="x"),
            lambda: reader.archive(A),
            lambda: reader.export(A, confirmed_version=1),
            lambda: reader.reconcile(A, VenueView(as_of_us=clock()), apply=True, grace_ms=0),
        ]
        for step in steps:
            with pytest.raises(StoreUnavailable):
                step()
        assert everything(reader) == written


@through
def test_a_book_that_is_only_read_is_neither_made_nor_lifted(
    tmp_path: Path, project_root: Path, through_apsw: bool
) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(StoreUnavailable):
        SqliteBook(str(missing), read_only=True, through_apsw=through_apsw)
    assert not missing.exists()
    old = tmp_path / "old.db"
    connection = engine.open_engine(str(old), through_apsw=through_apsw)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    engine.run_script(connection, (project_root / "tests/vectors/book_schema_1.sql").read_text())
    connection.close()
    image = old.read_bytes()
    with pytest.raises(StoreUnavailable, match="schema 1"):
        SqliteBook(str(old), read_only=True, through_apsw=through_apsw)
    assert old.read_bytes() == image


def test_mode_ro_is_a_word_of_the_url(sqlite_path: Path, order: Make) -> None:
    with ReservationBook.connect(f"sqlite:///{sqlite_path}") as book:
        book.open_account(A, 1)
    with ReservationBook.connect(f"sqlite:///{sqlite_path}?mode=ro") as book:
        assert book.account(A).balance == 1
        with pytest.raises(StoreUnavailable):
            book.deposit(A, 1, request_id="d")
