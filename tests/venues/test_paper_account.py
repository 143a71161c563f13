"""Exact books: average entry, realised profit, fees, and the balance they must add up to."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.venues.paper.account import PaperAccount, fee_micros


def account(unit="10", maker="0", taker="0", balance=1_000_000_000):
    return PaperAccount(balance, Fraction(unit), Decimal(maker), Decimal(taker))


def fill(books, lots, price, *, maker=True):
    booking = books.booking(lots, price, maker=maker)
    books.book(booking)
    return booking


def test_average_entry_and_realised_profit_by_hand():
    books = account()
    fill(books, 100, 27_000)
    fill(books, 300, 28_000)
    assert books.entry_ticks() == Fraction(27_750)
    half = fill(books, -200, 28_750)
    assert half.realised_pnl == 200 * 1_000 * 10
    assert books.entry_ticks() == Fraction(27_750)
    assert books.unrealised(2 * 27_000) == -200 * 750 * 10
    assert books.equity(2 * 27_000) == 1_000_000_000 + 2_000_000 - 1_500_000


def test_indivisible_cost_stays_with_the_lots_that_remain_and_ends_at_zero():
    books = account(unit="1")
    fill(books, 2, 27_000)
    fill(books, 1, 27_001)
    # 81 001 over 3 lots: 27 000 each, and the odd one stays with the two that remain.
    assert fill(books, -1, 27_000).realised_pnl == 0
    assert books.cost == 54_001
    assert [fill(books, -1, 27_000).realised_pnl for _ in range(2)] == [0, -1]
    assert books.cost == 0


def test_fill_through_zero_closes_the_old_and_opens_the_new():
    books = account()
    fill(books, 100, 27_000)
    through = fill(books, -250, 27_100)
    assert (through.position_lots, through.realised_pnl) == (-150, 100 * 100 * 10)
    assert books.entry_ticks() == Fraction(27_100)
    assert fill(books, 150, 27_000).realised_pnl == 150 * 100 * 10
    assert (books.position_lots, books.cost, books.entry_ticks()) == (0, 0, None)


@pytest.mark.parametrize(
    ("value", "rate", "fee"),
    [
        ("10000.5", "1.5", 2),
        ("10000", "1", 1),
        ("10000", "-1", -1),
        ("15000", "-1", -1),
        ("1", "4.5", 1),
        ("1", "-4.5", 0),
    ],
)
def test_fees_round_up_and_rebates_towards_zero(value, rate, fee):
    assert fee_micros(Fraction(value), Fraction(rate)) == fee


def test_maker_and_taker_rates_are_told_apart():
    books = account(maker="-0.5", taker="4.5")
    assert fill(books, 1_000, 27_000, maker=True).fee == -13_500
    assert fill(books, 1_000, 27_000, maker=False).fee == 121_500
    assert books.balance == 1_000_000_000 - 108_000


@given(
    st.lists(st.tuples(st.integers(-500, 500).filter(bool), st.integers(1, 60_000), st.booleans()), max_size=30),
    st.sampled_from(["10", "1", "1/3", "7/30", "0.001"]),
    st.sampled_from(["0", "1.5", "-0.2"]),
)
def test_when_flat_the_balance_is_exactly_the_cash_flow_less_fees(fills, unit, maker):
    books = account(unit, maker, "4.5")
    exact_cash = Fraction(0)
    realised = fees = 0
    closing = [] if not (net := sum(lots for lots, _, _ in fills)) else [(-net, 31_234, False)]
    for lots, price, is_maker in [*fills, *closing]:
        booking = fill(books, lots, price, maker=is_maker)
        exact_cash -= lots * price * Fraction(unit)
        realised += booking.realised_pnl
        fees += booking.fee
        assert books.balance == 1_000_000_000 + realised - fees
        assert books.cost >= 0
        # Money in the position at any mark plus cash is the equity, to less than one micro-unit per rounding.
        worth = 1_000_000_000 + exact_cash - fees + books.position_lots * 30_000 * Fraction(unit)
        assert 0 <= worth - books.equity(2 * 30_000) < 2
    assert books.position_lots == 0
    assert books.cost == 0
    assert books.balance == 1_000_000_000 + exact_cash // 1 - fees


def test_equity_after_a_fill_is_the_equity_once_it_is_booked():
    books = account(taker="4.5")
    fill(books, 100, 27_000)
    booking = books.booking(-30, 27_500, maker=False)
    expected = books.equity_after(booking, 54_321)
    books.book(booking)
    assert books.equity(54_321) == expected
