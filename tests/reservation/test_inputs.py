"""What is visible without the store is an InputError that names argument and place."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, ReservationBook, from_micros
from equipoise.reservation.ids import fingerprint
from equipoise.reservation.requests import Request

Make = Callable[..., Order]
A = "acc"


@pytest.fixture
def desk() -> ReservationBook:
    book = ReservationBook.connect("memory:")
    book.open_account(A, 100)
    return book


@pytest.mark.parametrize(
    ("amount", "requirement"),
    [
        (1.5, "a float is not an exact amount"),
        (np.float64(2), "a float is not an exact amount"),
        (float("nan"), "a float is not an exact amount"),
        ("NaN", "finite"),
        (Decimal("Infinity"), "finite"),
        ("1.0000001", "at most 6 decimals"),
        ("1e-999999", "at most 6 decimals"),
        ("1e999999", "at most 2"),
        ("9007199254.740992", "within 2"),
        ("one", "a decimal number"),
        ("", "a decimal number"),
        (True, "a Decimal, an int"),
        (None, "a Decimal, an int"),
        (-1, "zero or positive"),
        (Decimal("1." + "0" * 70 + "1"), "at most"),
    ],
)
def test_bad_amounts_are_refused_by_name(desk: ReservationBook, amount: Any, requirement: str) -> None:
    with pytest.raises(InputError, match=requirement) as caught:
        desk.deposit(A, amount, request_id="d")
    assert caught.value.argument == "amount"
    assert desk.account(A).version == 1


def test_decimals_ints_strings_and_numpy_integers_are_amounts(desk: ReservationBook) -> None:
    for n, amount in enumerate([Decimal("1.50"), 2, "0.25", np.int64(3), Decimal("1E+1")]):
        assert desk.deposit(A, amount, request_id=str(n)).ok  # type: ignore[arg-type]
    assert desk.account(A).balance == Decimal("116.75")
    assert from_micros(desk.account(A).balance_micros) == Decimal("116.75")


def test_a_changed_decimal_context_changes_nothing(desk: ReservationBook) -> None:
    from decimal import localcontext

    with localcontext() as context:
        context.prec = 3
        assert desk.deposit(A, "1234567.654321", request_id="d").ok
        assert desk.account(A).balance == Decimal("1234667.654321")


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"lots": 0}, "orders.lots"),
        ({"lots": 1.0}, "orders.lots"),
        ({"lots": True}, "orders.lots"),
        ({"lots": 2**53}, "orders.lots"),
        ({"hold": -1}, "orders.hold"),
        ({"hold": 1.5}, "orders.hold"),
        ({"price_ticks": 0}, "orders.price_ticks"),
        ({"symbol": ""}, "orders.symbol"),
        ({"symbol": "a\nb"}, "orders.symbol"),
        ({"order_id": "x" * 201}, "orders.order_id"),
        ({"order_id": "\ud800"}, "orders.order_id"),
        ({"order_id": 7}, "orders.order_id"),
        ({"leg": "both"}, "leg"),
    ],
)
def test_bad_orders_are_refused_with_their_place(
    desk: ReservationBook, order: Make, change: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InputError) as caught:
        desk.reserve(A, [order(), order(**{"lots": 1, **change})], request_id="r")
    assert caught.value.argument == argument
    assert caught.value.index == (1 if argument != "leg" else None)


def test_an_id_twice_in_a_ladder_or_an_empty_ladder_is_refused(desk: ReservationBook, order: Make) -> None:
    with pytest.raises(InputError, match=r"orders.order_id\[1\] must be used once"):
        desk.reserve(A, [order(order_id="o"), order(order_id="o")], request_id="r")
    with pytest.raises(InputError, match="1-500 orders"):
        desk.reserve(A, [], request_id="r")
    with pytest.raises(InputError, match="1-500 orders"):
        desk.reserve(A, [order()] * 501, request_id="r")
    with pytest.raises(InputError, match="holds must be one amount per order"):
        desk.reserve(A, [order()], request_id="r", holds=[])
    with pytest.raises(InputError, match=r"orders\[0\] must be an Order"):
        desk.reserve(A, ["o"], request_id="r", holds=[1])  # type: ignore[list-item]


@pytest.mark.parametrize("account_id", ["", "a b", "a{b", "a}", "a\tb", "a\x00", None, 7, "x" * 201])
def test_account_ids_with_braces_spaces_or_control_characters_are_refused(
    desk: ReservationBook, account_id: Any
) -> None:
    with pytest.raises(InputError, match="account_id"):
        desk.open_account(account_id)


@pytest.mark.parametrize(
    "url",
    [
        "memory:x",
        "memory:?a=1",
        "sqlite:margin.db",
        "sqlite:///",
        "sqlite:///a.db?durability=fast",
        "sqlite:///a.db?mode=no",
        "postgres://localhost",
        "",
    ],
)
def test_unknown_urls_and_options_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="url"):
        ReservationBook.connect(url)


@pytest.mark.parametrize(
    "terms",
    [
        {"rule": "unheard"},
        {"rule": 7},
        {"positions": "both"},
        {"pnl_policy": "none"},
        {"scale": 10},
        {"scale": -1},
        {"orders_max": -1},
        {"position_lots_max": {"SYM": 1.5}},
        {"owner_margin_max": {"ann": 0.5}},
    ],
)
def test_bad_terms_are_refused(desk: ReservationBook, terms: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        desk.open_account("other", 1, **terms)


def test_other_bad_words_are_refused(desk: ReservationBook, order: Make) -> None:
    calls: list[Callable[[], object]] = [
        lambda: desk.reserve(A, [order()], request_id="r", policy="some"),  # type: ignore[arg-type]
        lambda: desk.reserve(A, [order()], request_id="r", send="now"),  # type: ignore[arg-type]
        lambda: desk.reserve(A, [order()], request_id="r", order_type="stop"),  # type: ignore[arg-type]
        lambda: desk.adjust(A, 1, "gift", request_id="r"),
        lambda: desk.resolve(A, "o", "FILLED", evidence="venue"),  # type: ignore[arg-type]
        lambda: desk.resolve(A, "o", "LIVE", evidence="rumour"),  # type: ignore[arg-type]
        lambda: desk.fill(A, "o", 0, fill_id="f"),
        lambda: desk.fill(A, "o", 1, fill_id=""),
        lambda: desk.fill(A, "o", 1, fill_id="f", fee=0.5),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
    assert desk.account(A).version == 1


def test_orders_without_an_id_are_named_after_the_request(desk: ReservationBook, order: Make) -> None:
    outcome = desk.reserve(A, [order(), order(order_id="mine"), order()], request_id="q-42")
    assert outcome.granted == ("q-42:0", "mine", "q-42:2")
    assert desk.reserve(A, [order(), order(order_id="mine"), order()], request_id="q-42").code is Code.DUPLICATE


@pytest.mark.parametrize("said", [(1, "a", None, ("b", True)), ("x" * 200,), ()])
def test_a_fingerprint_is_the_same_made_at_once_or_when_it_is_asked_for(said: tuple[object, ...]) -> None:
    request = Request("deposit", A, "r", said)
    at_once = Request("deposit", A, "r", fingerprint(*said))
    assert request.fingerprint == at_once.fingerprint == fingerprint(*said)
    assert request.content == request.fingerprint
