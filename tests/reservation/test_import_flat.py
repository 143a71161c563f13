"""The flat layout of the worked example is taken over to the cent, and what is wrong with it is listed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from equipoise.errors import InputError
from equipoise.reservation import Code, OrderState, ReservationBook

A = "live:6"
ORDER = {"symbol": "EURUSD", "order_type": "BUY", "order_quantity": "0.10"}


def flat(order_status: str, execution_status: str, **amounts: str) -> dict[str, str]:
    return {**ORDER, "order_status": order_status, "execution_status": execution_status, **amounts}


def portfolio(balance: str, executed: str, everything: str) -> dict[str, str]:
    return {"balance": balance, "used_margin_executed": executed, "used_margin_all": everything}


def take(book: ReservationBook, *values: Any, **named: Any) -> Any:
    return book.import_flat(A, *values, lot="0.01", **named)


def test_the_worked_example_is_taken_over_to_the_cent(proven: ReservationBook) -> None:
    holdings = {
        "old": flat("OPEN", "EXECUTED", margin="1250.50"),
        "new": flat("QUEUED", "QUEUED", reserved_margin="500.00"),
        "done": flat("CLOSED", "EXECUTED"),
        "no": {**flat("REJECTED", "REJECTED"), "order_type": "SELL_LIMIT"},
    }
    taken = take(proven, portfolio("10000.00", "1250.50", "1750.50"), holdings)
    assert taken.done
    assert taken.faults == ()
    account = proven.account(A)
    assert (account.balance, account.used_margin_executed, account.used_margin_all) == (
        10_000,
        Decimal("1250.50"),
        Decimal("1750.50"),
    )
    queued = proven.order(A, "new")
    assert queued is not None
    assert (queued.state, queued.lots, queued.wire) == (OrderState.UNKNOWN, 10, ("QUEUED", "QUEUED"))
    assert [order.side for order in proven.orders(A, every=True)] == ["bid", "bid", "bid", "ask"]
    assert proven.fill(A, "new", 10, fill_id="f", margin="500.00").ok
    assert proven.account(A).used_margin_executed == Decimal("1750.50")
    assert proven.close(A, "old", event_id="c", realised_pnl=0).state is OrderState.CLOSED
    assert proven.account(A).used_margin_all == 500
    again = take(proven, portfolio("10000.00", "1250.50", "1750.50"), holdings)
    assert again.outcome.code is Code.DUPLICATE
    assert take(proven, portfolio("9", "0", "0"), {}).outcome.code is Code.ACCOUNT_EXISTS


# What is planted in a flat account of one open order (margin 10) and one queued order (reserved 5); the faults that
# must be listed (kind, where, field), and used margin as it is taken over.
CASES: dict[str, tuple[dict[str, str], dict[str, dict[str, str]], list[tuple[str, str, str]], tuple[int, int]]] = {
    "totals too low": (
        portfolio("100", "0", "5"),
        {},
        [("total", A, "used_margin_executed"), ("total", A, "used_margin_all")],
        (10, 15),
    ),
    "total missing": (
        {"balance": "100", "used_margin_executed": "10"},
        {},
        [("total", A, "used_margin_all")],
        (10, 15),
    ),
    "refused order still holds": (
        portfolio("100", "10", "22"),
        {"x": flat("REJECTED", "REJECTED", reserved_margin="7")},
        [("amount", "x", "reserved_margin"), ("total", A, "used_margin_all")],
        (10, 15),
    ),
    "confirmed order holds twice": (
        portfolio("100", "14", "23"),
        {"x": flat("OPEN", "EXECUTED", margin="4", reserved_margin="4")},
        [("amount", "x", "reserved_margin"), ("total", A, "used_margin_all")],
        (14, 19),
    ),
    "confirmed without margin": (
        portfolio("100", "14", "19"),
        {"x": flat("OPEN", "EXECUTED", reserved_margin="4")},
        [("amount", "x", "margin"), ("amount", "x", "reserved_margin")],
        (14, 19),
    ),
    "queued without reserved margin": (
        portfolio("100", "10", "18"),
        {"x": flat("QUEUED", "QUEUED", margin="3")},
        [("amount", "x", "reserved_margin")],
        (10, 18),
    ),
    "half-written status": (
        portfolio("100", "10", "18"),
        {"x": flat("OPEN", "QUEUED", reserved_margin="3")},
        [("status", "x", "order_status")],
        (10, 18),
    ),
    "fields missing": (
        portfolio("100", "10", "18"),
        {"x": {"order_status": "PENDING", "execution_status": "PENDING", "reserved_margin": "3"}},
        [("field", "x", "order_type"), ("field", "x", "symbol"), ("field", "x", "order_quantity")],
        (10, 18),
    ),
    "binary residue": (
        portfolio("100", "10", "18.0000000000000004"),
        {"x": flat("QUEUED", "QUEUED", reserved_margin="2.9999999999999996")},
        [("total", A, "used_margin_all")],
        (10, 18),
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_wrong_with_a_flat_account_is_listed_and_nothing_live_is_released(
    proven: ReservationBook, case: str
) -> None:
    totals, more, faults, used = CASES[case]
    holdings = {
        "open": flat("OPEN", "EXECUTED", margin="10"),
        "queued": flat("QUEUED", "QUEUED", reserved_margin="5"),
        **more,
    }
    taken = take(proven, totals, holdings)
    assert taken.done
    assert [(fault.kind, fault.where, fault.field) for fault in taken.faults] == faults
    account = proven.account(A)
    assert (account.used_margin_executed, account.used_margin_all) == used
    assert dict(proven.history(A)[0].details)["faults"] == len(faults)
    assert taken.to_dict()["faults"][0]["kind"] == faults[0][0]


@pytest.mark.parametrize("amount", ["NaN", "ten", "-1", "1e99"])
def test_an_amount_that_cannot_be_read_imports_nothing(proven: ReservationBook, amount: str) -> None:
    holdings = {"x": flat("QUEUED", "QUEUED", reserved_margin=amount)}
    taken = take(proven, portfolio("100", "0", "0"), holdings)
    assert not taken.done
    assert taken.outcome is None
    assert ("unreadable", "x", "reserved_margin") in {(f.kind, f.where, f.field) for f in taken.faults}
    assert proven.accounts() == ()
    assert not take(proven, {}, {}).done


def test_more_margin_than_balance_is_taken_over_as_it_is(proven: ReservationBook) -> None:
    taken = take(proven, portfolio("1", "0", "5"), {"x": flat("QUEUED", "QUEUED", reserved_margin="5")})
    assert taken.done
    assert proven.account(A).free == -4


def test_bad_arguments_are_refused(book: ReservationBook) -> None:
    for named in ({"lot": 0}, {"scale": 10}, {"lot": 0.1}):
        with pytest.raises(InputError):
            book.import_flat(A, portfolio("1", "0", "0"), {}, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"symbol": None}, "symbol"),
        ({"symbol": "\ud800"}, "symbol"),
        ({"symbol": "S\x1fX"}, "symbol"),
        ({"symbol": 7}, "symbol"),
        ({"order_type": 7}, "order_type"),
        ({"order_status": None}, "order_status"),
        ({"order_quantity": []}, "order_quantity"),
        ({"order_quantity": None}, "order_quantity"),
        ({"order_quantity": "1E+999999999"}, "order_quantity"),
    ],
)
def test_a_field_that_is_no_text_is_listed_and_what_the_order_holds_stays_held(
    proven: ReservationBook, changes: dict[str, Any], field: str
) -> None:
    holdings: dict[str, Any] = {"o": {**flat("QUEUED", "QUEUED", reserved_margin="5"), **changes}}
    taken = take(proven, portfolio("100", "0", "5"), holdings)
    assert taken.done
    assert [(fault.where, fault.field) for fault in taken.faults] == [("o", field)]
    assert proven.account(A).used_margin_all == 5
