"""An amount is counted in units before the step that books it: it must not be booked in those of another scale."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest
from tests import servers

from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation import sqlite_engine as engine
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.metrics import BookMetrics
from equipoise.reservation.venue import VenueView

Make = Callable[..., Order]
A = "acc"
Call = Callable[[ReservationBook, str, Make], Outcome]
CALLS: dict[str, Call] = {
    "deposit": lambda book, name, _: book.deposit(name, "1.5", request_id="q"),
    "withdraw": lambda book, name, _: book.withdraw(name, "1.5", request_id="q"),
    "adjust": lambda book, name, _: book.adjust(name, "-1.5", "fee", request_id="q"),
    "set_terms": lambda book, name, _: book.set_terms(name, request_id="q", margin_max="7.5", pnl_policy="all"),
    "mark": lambda book, name, _: book.mark(name, {"SYM": "-0.5"}),
    "revalue": lambda book, name, _: book.revalue(name, "SYM", "0.5", request_id="q"),
    "reserve": lambda book, name, order: book.reserve(name, [order()], request_id="q", holds=["1.5"]),
    "execute": lambda book, name, order: book.execute(name, order(), request_id="q", margin="1.5", fee="0.1"),
    "fill": lambda book, name, _: book.fill(name, "o", 1, fill_id="q", margin="0.5", realised_pnl="0.2", fee="0.1"),
    "amend": lambda book, name, _: book.amend(name, "o", 8, "2.5", event_id="q"),
    "close": lambda book, name, _: book.close(name, "t", 1, event_id="q", realised_pnl="0.5", fee="0.1"),
}


def knows_wrong(book: ReservationBook, monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    """Once: what the book knows of an account's scale is not so any more."""
    right = book._scale
    told = [scale]
    monkeypatch.setattr(book, "_scale", lambda account_id: told.pop() if told else right(account_id))


@pytest.mark.parametrize("op", CALLS)
@pytest.mark.parametrize(("scale", "known"), [(2, 6), (8, 6), (6, 2)])
def test_amounts_that_were_counted_at_another_scale_are_counted_anew(
    proven: ReservationBook, order: Make, monkeypatch: pytest.MonkeyPatch, op: str, scale: int, known: int
) -> None:
    call = CALLS[op]
    tickets = "tickets" if op == "close" else "net"

    def opened(name: str) -> None:
        assert proven.open_account(name, "100", scale=scale, positions=tickets).ok
        assert proven.reserve(name, [order(lots=4, order_id="o")], request_id="r", holds=["1"], send="caller").ok
        assert proven.execute(name, order(lots=2, order_id="t"), request_id="t", margin="1").ok

    def seen(name: str) -> Any:
        account = proven.account(name)._replace(account_id="")
        return account, proven.orders(name, every=True), proven.symbols(name), proven.history(name)

    opened("right")
    opened("wrong")
    first = call(proven, "right", order)
    assert first.ok
    knows_wrong(proven, monkeypatch, known)
    assert call(proven, "wrong", order) == first._replace(account_id="wrong")
    assert seen("wrong") == seen("right")
    if op != "mark":
        knows_wrong(proven, monkeypatch, known)
        again = call(proven, "wrong", order)
        assert again == first._replace(account_id="wrong", code=Code.DUPLICATE)
        assert call(proven, "wrong", order) == again  # from one who knows it right too
        assert seen("wrong") == seen("right")


@pytest.mark.parametrize("scale", [2, 8])
@pytest.mark.parametrize("op", ["deposit", "reserve", "execute", "set_terms"])
def test_an_account_that_is_opened_while_an_amount_is_counted_gets_it_in_its_own_units(
    proven: ReservationBook, order: Make, monkeypatch: pytest.MonkeyPatch, op: str, scale: int
) -> None:
    unknown, asked = proven._scale, []

    def known(account_id: str) -> int:
        asked.append(unknown(account_id))
        if len(asked) == 1:
            proven.open_account(A, 3, scale=scale)
        return asked[-1]

    monkeypatch.setattr(proven, "_scale", known)
    assert CALLS[op](proven, A, order).ok
    assert asked[0] == 6
    account, unit = proven.account(A), 10**scale
    balance = {"deposit": 4.5, "execute": 2.9}.get(op, 3)
    used = 1.5 if op in ("reserve", "execute") else 0
    assert (account.balance_units, account.all_units) == (balance * unit, used * unit)
    assert account.terms.margin_max == (7.5 * unit if op == "set_terms" else None)


def test_a_balance_is_set_to_the_venues_whatever_scale_the_book_took_the_account_for(
    proven: ReservationBook, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.open_account(A, "5.25", scale=2)
    clock.advance(60)
    knows_wrong(proven, monkeypatch, 6)
    assert proven.reconcile(A, VenueView(as_of_us=clock(), balance="7.75"), apply=True).settled
    assert proven.account(A).balance_units == 775


def test_what_is_counted_anew_is_no_failure_of_the_store(
    book: ReservationBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.open_account(A, 1, scale=2)
    registry = CollectorRegistry()
    with BookMetrics(book, registry):
        knows_wrong(book, monkeypatch, 6)
        assert book.deposit(A, "1.5", request_id="d").ok
        told = generate_latest(registry).decode()
    assert 'equipoise_book_steps_total{code="OK",op="deposit"} 1.0' in told
    assert "equipoise_book_store_errors_total{" not in told


def lost(path: Path, client: redis.Redis, store: str) -> None:
    """Nothing is there any more, as where another file or server was put in its place."""
    if store == "valkey":
        client.flushall()
        return
    # The book's library: two of them in one process do not see each other's file locks.
    with closing(engine.open_engine(str(path), through_apsw=True)) as other:
        for (table,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            other.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("store", ["sqlite", "valkey"])
def test_a_book_learns_the_scale_of_an_account_that_was_put_in_the_place_of_another(
    sqlite_path: Path, client: redis.Redis, order: Make, store: str
) -> None:
    pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")
    url = servers.shared().url if store == "valkey" else f"sqlite:///{sqlite_path}"
    with ReservationBook.connect(url) as book:
        book.open_account(A, 1)
        assert book.deposit(A, "0.5", request_id="before").ok
        lost(sqlite_path, client, store)
        with ReservationBook.connect(url) as other:
            other.open_account(A, 1, scale=2)
        assert book.deposit(A, "1.75", request_id="after").ok
        assert book.reserve(A, [order()], request_id="r", holds=["0.25"]).ok
        assert (book.account(A).balance_units, book.account(A).all_units) == (275, 25)
        assert book._scale(A) == 2


@pytest.mark.parametrize("store", ["sqlite", "valkey"])
def test_an_awaited_book_learns_the_scale_of_an_account_that_was_put_in_the_place_of_another(
    sqlite_path: Path, client: redis.Redis, order: Make, store: str
) -> None:
    pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")
    url = servers.shared().url if store == "valkey" else f"sqlite:///{sqlite_path}"

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as book:
            await book.open_account(A, 1)
            lost(sqlite_path, client, store)
            with ReservationBook.connect(url) as other:
                other.open_account(A, 1, scale=2)
            # Those that wait for one another go as one command, or in one transaction.
            asked = [book.reserve(A, [order()], request_id=f"r{n}", holds=["0.05"]) for n in range(5)]
            assert {outcome.code for outcome in await asyncio.gather(*asked)} == {Code.OK}
            assert (await book.deposit(A, "1.75", request_id="d")).ok
            account = await book.account(A)
            assert (account.balance_units, account.all_units) == (275, 25)
            assert (await book.audit(A)).findings == ()

    asyncio.run(main())
