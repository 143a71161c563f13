"""Ids, words and texts of a class of their own, a StrEnum for one, are the text that they are, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, cast

import pytest

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook, VenueFill, VenueOrder, VenueView
from equipoise.reservation.awaited import AsyncReservationBook, RequestMaker
from equipoise.reservation.requests import Request

Make = Callable[..., Order]
Wrap = Callable[[str], str]


class Shown(str):
    """Text that shows itself as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"

    def __repr__(self) -> str:
        return "<another>"

    def __format__(self, _: str) -> str:
        return "another"


def of_enum(text: str) -> str:
    return cast(str, StrEnum("Names", {"MEMBER": text})["MEMBER"])


def of_mixed_enum(text: str) -> str:
    return cast(str, Enum("Mixed", {"MEMBER": text}, type=str)["MEMBER"])


WRAPS = (of_enum, of_mixed_enum, Shown)
A = "acc"
NO_TIME = {"issued_at_us": 1_000, "not_after_us": 2_000}


def calls(order: Make, t: Wrap) -> dict[str, Callable[[Any], Any]]:
    """Every call that makes a request, with each of its texts of a class."""
    asked = replace(order(hold=7, order_id="o"), order_id=t("o"), symbol=t("SYM"))
    leg = replace(asked, leg=t("long"))
    terms: dict[str, Any] = {
        "rule": t("worst_side"),
        "positions": t("net"),
        "pnl_policy": t("all"),
        "position_lots_max": {t("SYM"): 9},
        "owner_margin_max": {t("ann"): 5},
    }
    ladder: dict[str, Any] = {"policy": t("best_effort"), "owner": t("ann"), "order_type": t("market")}
    fields = {t("symbol"): t("SYM"), t("order_type"): t("BUY_LIMIT"), t("order_status"): t("OPEN")}
    fields |= {t("execution_status"): t("EXECUTED"), t("order_quantity"): "2", t("margin"): "0.5"}
    flat = {t("balance"): "5", t("used_margin_executed"): "0.5", t("used_margin_all"): "0.5"}
    return {
        "open_account": lambda b: b.open_account(t(A), 1, currency=t("EUR"), **terms, **NO_TIME),
        "open_account named": lambda b: b.open_account(t(A), 1, request_id=t("r"), **NO_TIME),
        "import_flat": lambda b: b.import_flat(t(A), flat, {t("o"): fields}, currency=t("EUR"), **NO_TIME).outcome,
        "set_terms": lambda b: b.set_terms(t(A), request_id=t("r"), **terms, **NO_TIME),
        "suspend": lambda b: b.suspend(t(A), request_id=t("r"), **NO_TIME),
        "abandon": lambda b: b.abandon(t(A), t("r"), issued_at_us=1_000),
        "deposit": lambda b: b.deposit(t(A), 1, request_id=t("r"), **NO_TIME),
        "withdraw": lambda b: b.withdraw(t(A), 1, request_id=t("r"), **NO_TIME),
        "adjust": lambda b: b.adjust(t(A), 1, t("fee"), request_id=t("r"), **NO_TIME),
        "mark": lambda b: b.mark(t(A), {(t("SYM"), t("long")): 1, t("TWO"): 2}, as_of_us=5),
        "revalue": lambda b: b.revalue(t(A), t("SYM"), 1, leg=t("short"), as_of_us=5, request_id=t("r")),
        "reserve": lambda b: b.reserve(t(A), [asked], request_id=t("r"), send=t("outbox"), **ladder, **NO_TIME),
        "reserve a leg": lambda b: b.reserve(t(A), [leg], request_id=t("r"), owner=t(""), holds=["1.5"], **NO_TIME),
        "reserve unnamed": lambda b: b.reserve(t(A), [order()], request_id=t("r"), **NO_TIME),
        "execute": lambda b: b.execute(t(A), leg, request_id=t("r"), owner=t("ann"), order_type=t("limit"), **NO_TIME),
        "claim": lambda b: b.claim(t(A), t("o"), event_id=t("e")),
        "acknowledge": lambda b: b.acknowledge(t(A), t("o"), t("v")),
        "fill": lambda b: b.fill(t(A), t("o"), 1, fill_id=t("f"), margin=t("1")),
        "reject": lambda b: b.reject(t(A), t("o"), event_id=t("e"), reason=t("late")),
        "cancel": lambda b: b.cancel(t(A), t("o"), event_id=t("e"), reason=t("late")),
        "expire": lambda b: b.expire(t(A), t("o"), event_id=t("e"), reason=t("late")),
        "request_cancel": lambda b: b.request_cancel(t(A), t("o"), event_id=t("e"), deadline_us=5),
        "amend": lambda b: b.amend(t(A), t("o"), 2, 1, event_id=t("e"), client_id=t("c"), deadline_us=5),
        "settle_amend": lambda b: b.settle_amend(t(A), t("o"), t("accepted"), amend_id=t("a"), venue_id=t("v")),
        "resolve": lambda b: b.resolve(t(A), t("o"), t("LIVE"), evidence=t("operator"), operator=t("ann")),
        "close": lambda b: b.close(t(A), t("o"), event_id=t("e")),
        "sweep": lambda b: b.sweep(t(A), sweeper=t("w")),
        "archive": lambda b: b.archive(t(A)),
    }


def shown(request: Request) -> str:
    """What a request says, with the class of every text in it: one of another class shows itself otherwise."""
    return repr(request)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_request_is_the_same_of_whatever_class_its_texts_are(order: Make, wrap: Wrap) -> None:
    maker = RequestMaker(clock=lambda: 1_000, timeout_ms=5_000, horizon_s=86_400)
    wrapped = calls(order, wrap)
    for name, call in calls(order, str).items():
        made: Any = call(maker)
        assert isinstance(made, Request), name
        same: Any = wrapped[name](maker)
        assert shown(same) == shown(made), name


@pytest.mark.parametrize("wrap", WRAPS)
def test_an_id_of_another_class_is_known_again_by_its_text(
    book: ReservationBook, order: Make, clock: Any, wrap: Wrap
) -> None:
    def do(t: Wrap) -> list[Any]:
        asked = replace(order(lots=3, hold=7), order_id=t("o"), symbol=t("SYM"))
        spare = replace(order(hold=1), symbol=t("SYM"))
        now = {"issued_at_us": clock()}
        return [
            book.open_account(t(A), 1, currency=t("EUR")),
            book.deposit(t(A), 1, request_id=t("d"), **now),
            book.adjust(t(A), 1, t("fee"), request_id=t("a"), **now),
            book.reserve(t(A), [asked, spare], request_id=t("r"), owner=t("ann"), send=t("outbox"), **now),  # type: ignore[arg-type]
            book.claim(t(A), t("o"), event_id=t("c")),
            book.acknowledge(t(A), t("o"), t("v")),
            book.fill(t(A), t("v"), 1, fill_id=t("f")),
            book.amend(t(A), t("o"), 2, "0.000005", event_id=t("am"), client_id=t("o2"), deadline_us=clock() + 1),
            book.settle_amend(t(A), t("o2"), t("accepted"), amend_id=t("am"), venue_id=t("v2")),  # type: ignore[arg-type]
            book.cancel(t(A), t("v2"), reason=t("enough")),
            book.revalue(t(A), t("SYM"), "0.000003", request_id=t("rv"), as_of_us=clock()),
        ]

    first = do(wrap)
    assert {outcome.code for outcome in first} == {Code.OK}
    again = do(str)
    assert [outcome.code for outcome in again] == [Code.DUPLICATE] * len(again)
    assert [outcome.version for outcome in again] == [outcome.version for outcome in first]
    assert {outcome.code for outcome in do(wrap)} == {Code.DUPLICATE}
    assert book.accounts() == (A,)
    # Whatever is read is plain, and what is asked for by another class is found.
    found = book.order(wrap(A), wrap("v2"))
    assert found is not None
    assert repr(found) == repr(book.order(A, "o"))
    assert (repr(found.order_id), repr(found.symbol), repr(found.reason)) == ("'o'", "'SYM'", "'enough'")
    assert [repr(one.order_id) for one in book.orders(wrap(A), symbol=wrap("SYM"))] == ["'r:1'"]
    assert "another" not in repr(book.history(wrap(A)))
    assert "MEMBER" not in repr((book.history(wrap(A)), book.account(wrap(A)), book.symbols(wrap(A))))
    assert len(book.export(wrap(A))) == len(first)
    assert len(book.outbox(wrap(A))) == 1
    assert book.audit(wrap(A)).findings == ()


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_view_of_texts_of_another_class_is_the_view_it_is(
    book: ReservationBook, order: Make, clock: Any, wrap: Wrap
) -> None:
    book.open_account(A, 1)
    book.reserve(A, [order(lots=3, hold=30, order_id="o")], request_id="r", send="caller")
    clock.advance(60)
    for t in (wrap, str):
        filled = VenueFill(fill_id=t("f"), order_id=t("o"), lots=1, fee="0.000001")
        stray = VenueOrder(
            symbol=t("SYM"), side=order().side, lots=2, price_ticks=100, hold="0.000009", venue_id=t("77")
        )
        known = VenueOrder(
            symbol=t("SYM"),
            side=order().side,
            lots=2,
            price_ticks=100,
            hold="0.00002",
            order_id=t("o"),
            venue_id=t("v"),
            filled=1,
        )
        view = VenueView(as_of_us=clock(), orders=(stray, known), fills=(filled,), positions={t("SYM"): 1})
        report = book.reconcile(t(A), view, apply=True, operator=t("ann"))
        assert len(report.discrepancies) == (3 if t is wrap else 0)
    assert "MEMBER" not in repr((book.history(A), book.orders(A)))
    assert "another" not in repr((book.history(A), book.orders(A)))
    adopted = book.order(A, "77")
    assert adopted is not None
    assert (repr(adopted.order_id), repr(adopted.venue_id), repr(adopted.symbol)) == ("'77'", "'77'", "'SYM'")
    assert book.audit(A).findings == ()


def test_awaited_an_id_of_another_class_is_known_again_by_its_text(sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(f"sqlite:///{sqlite_path}?durability=normal") as book:
            for n, t in enumerate([of_mixed_enum, str]):
                code = Code.DUPLICATE if n else Code.OK
                assert (await book.open_account(t(A), 1)).code is code
                asked = replace(order(hold=1), symbol=t("SYM"))
                issued = {"issued_at_us": 4 * 10**15, "not_after_us": 9 * 10**15}
                assert (await book.reserve(t(A), [asked], request_id=t("r"), **issued)).code is code
                found = await book.order(t(A), t("r:0"))
                assert found is not None
                assert found.state is OrderState.RESERVED

    asyncio.run(main())
