"""The worked example of the book, to the cent, in both flows."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from decimal import Decimal

import pytest

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook

ACCOUNT = "live:6"
Make = Callable[..., Order]


@pytest.fixture
def desk(proven: ReservationBook, order: Make) -> ReservationBook:
    """Wallet 10 000.00 with 1 250.50 executed; rule sum, ticket positions."""
    assert proven.open_account(ACCOUNT, "10000.00", "USD", rule="sum", positions="tickets").ok
    assert proven.execute(ACCOUNT, order(order_id="old"), request_id="old", margin="1250.50").ok
    return proven


def used(book: ReservationBook) -> tuple[Decimal, Decimal]:
    account = book.account(ACCOUNT)
    return account.used_margin_executed, account.used_margin_all


def cents(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(amount) for amount in amounts)


def test_provider_order_reserves_500_and_only_all_moves(desk: ReservationBook, order: Make) -> None:
    assert used(desk) == cents("1250.50", "1250.50")
    assert desk.reserve(ACCOUNT, [order(order_id="p")], request_id="p", holds=["500.00"], order_type="market").ok
    assert used(desk) == cents("1250.50", "1750.50")
    placed = desk.order(ACCOUNT, "p")
    assert placed is not None
    assert (placed.order_status, placed.execution_status) == ("QUEUED", "QUEUED")
    assert placed.to_dict()["reserved_margin"] == Decimal("500.00")
    assert "margin" not in placed.to_dict()


def test_provider_confirms_500_and_it_becomes_executed(desk: ReservationBook, order: Make) -> None:
    desk.reserve(ACCOUNT, [order(order_id="p")], request_id="p", holds=["500.00"], order_type="market")
    confirmed = desk.fill(ACCOUNT, "p", 1, fill_id="f", margin="500.00")
    assert (confirmed.ok, confirmed.flags) == (True, ())
    assert used(desk) == cents("1750.50", "1750.50")
    filled = desk.order(ACCOUNT, "p")
    assert filled is not None
    assert (filled.order_status, filled.execution_status) == ("OPEN", "EXECUTED")
    assert filled.to_dict()["margin"] == Decimal("500.00")
    assert "reserved_margin" not in filled.to_dict()


def test_provider_refuses_and_the_amount_is_released_on_record(desk: ReservationBook, order: Make) -> None:
    desk.reserve(ACCOUNT, [order(order_id="p")], request_id="p", holds=["500.00"], order_type="market")
    assert desk.reject(ACCOUNT, "p").ok
    assert used(desk) == cents("1250.50", "1250.50")
    refused = desk.order(ACCOUNT, "p")
    assert refused is not None
    assert (refused.order_status, refused.execution_status) == ("REJECTED", "REJECTED")
    assert "reserved_margin" not in refused.to_dict()
    assert "margin" not in refused.to_dict()
    assert refused.to_dict()["released_margin"] == Decimal("500.00")


def test_local_order_of_500_is_open_and_executed_at_once(desk: ReservationBook, order: Make) -> None:
    assert desk.execute(ACCOUNT, order(order_id="l"), request_id="l", margin="500.00").ok
    assert used(desk) == cents("1750.50", "1750.50")
    done = desk.order(ACCOUNT, "l")
    assert done is not None
    assert (done.order_status, done.execution_status) == ("OPEN", "EXECUTED")
    assert done.to_dict()["margin"] == Decimal("500.00")


def test_a_closed_ticket_gives_its_margin_back_to_the_cent(desk: ReservationBook, order: Make) -> None:
    desk.execute(ACCOUNT, order(lots=3, order_id="l"), request_id="l", margin="500.00")
    assert desk.close(ACCOUNT, "l", 1, event_id="c1", realised_pnl="-12.34", fee="0.66").ok
    assert desk.close(ACCOUNT, "l", event_id="c2", realised_pnl=0).state is OrderState.CLOSED
    assert used(desk) == cents("1250.50", "1250.50")
    assert desk.account(ACCOUNT).balance == Decimal("9987.00")


@pytest.mark.parametrize("arrival", list(itertools.permutations((2_000, 3_000, 4_000))))
def test_8500_free_never_grants_more_than_8500_in_sequence(
    proven: ReservationBook, order: Make, arrival: tuple[int, ...]
) -> None:
    proven.open_account(ACCOUNT, "8500", rule="sum")
    answers = [proven.reserve(ACCOUNT, [order()], request_id=str(size), holds=[size]) for size in arrival]
    granted = sum(size for size, answer in zip(arrival, answers, strict=True) if answer.ok)
    assert granted == sum(arrival[:2])
    assert answers[2].code is Code.INSUFFICIENT_MARGIN
    assert (answers[2].required, answers[2].free) == (arrival[2], 8_500 - granted)
    assert answers[2].shortfall == arrival[2] - (8_500 - granted)


def test_8500_free_never_grants_more_than_8500_at_once(proven: ReservationBook, order: Make) -> None:
    proven.open_account(ACCOUNT, "8500", rule="sum")
    answers: dict[int, Code] = {}
    gate = threading.Barrier(3)

    def place(size: int) -> None:
        gate.wait()
        answers[size] = proven.reserve(ACCOUNT, [order()], request_id=str(size), holds=[size]).code

    threads = [threading.Thread(target=place, args=(size,)) for size in (2_000, 3_000, 4_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    granted = sum(size for size, code in answers.items() if code is Code.OK)
    assert sorted(answers.values()).count(Code.INSUFFICIENT_MARGIN) == 1
    assert proven.account(ACCOUNT).used_margin_all == granted <= 8_500
