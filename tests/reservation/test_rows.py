"""Running totals of a symbol: what the combine rules require of them, written again from the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise._rust import hold_ladder, requirement, rested, row_fits
from equipoise.orders import Order
from equipoise.reservation import Code, ReservationBook
from equipoise.reservation.money import AMOUNT_MAX
from equipoise.reservation.records import SYMBOL_START, BookAccount, BookOrder, BookSymbol, Outcome, step_of
from equipoise.reservation.requests import Ask
from equipoise.reservation.steps import COMBINE_RULES

FIGURES = BookSymbol._fields[2:14]
COUNTS = st.integers(0, 200) | st.integers(0, 2 * AMOUNT_MAX)
LOTS = st.integers(-200, 200) | st.integers(-AMOUNT_MAX, AMOUNT_MAX)
ROWS = st.tuples(LOTS, *[COUNTS] * (len(FIGURES) - 1)).map(
    lambda figures: SYMBOL_START._replace(symbol="SYM", **dict(zip(FIGURES, figures, strict=True)))
)


def required(rule: str, row: BookSymbol) -> tuple[int, int]:
    """(margin of the position alone, with what rests)."""
    if rule in ("sum", "hedge_legs"):
        return row.margin, row.margin + row.hold_bids + row.hold_asks
    if rule in ("worst_side", "per_side"):
        position = row.margin if row.lots >= 0 else -row.margin
        return row.margin, max(abs(position + row.hold_bids), abs(position - row.hold_asks))
    long, short, rate = row.long_lots, row.short_lots, row.rate_tickets
    if not (long or short):
        long, short = max(row.lots, 0), max(-row.lots, 0)
        rate = (row.margin + long + short - 1) // (long + short) if row.lots else 0
    return rate * max(long, short), max(rate, row.rate_orders) * max(long + row.bid_lots, short + row.ask_lots)


@given(ROWS, st.sampled_from(COMBINE_RULES))
def test_each_rule_requires_what_the_specification_says(row: BookSymbol, rule: str) -> None:
    assert requirement(rule, row) == required(rule, row)


@given(
    ROWS, st.sampled_from(("bid", "ask")), st.integers(-500, 500), st.integers(-500, 500), st.booleans(), st.booleans()
)
def test_what_rests_is_added_where_it_counts(
    row: BookSymbol, side: str, hold: int, lots: int, reduces: bool, counts: bool
) -> None:
    after = rested(row, side, hold, lots, reduces=reduces, counts=counts)
    changes = {f"hold_{side}s": hold, f"{side}_lots": lots * counts, f"reduce_{side}_lots": lots * reduces}
    assert type(after) is BookSymbol
    assert after == row._replace(**{name: getattr(row, name) + change for name, change in changes.items()})


@given(ROWS)
def test_only_the_position_may_be_negative_and_nothing_beyond_what_is_booked(row: BookSymbol) -> None:
    sums = [getattr(row, name) for name in FIGURES if not name.startswith("rate_")]
    assert row_fits(row) == (max(sums) <= AMOUNT_MAX and row.lots >= -AMOUNT_MAX)


@pytest.mark.parametrize("rule", ["", "net_contracts", "single_order", "SUM"])
def test_rules_that_running_totals_cannot_keep_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="no rule of running totals"):
        requirement(rule, SYMBOL_START)


@pytest.mark.parametrize(
    "row", [(), ("SYM", "", 0), SYMBOL_START._replace(lots=2**63), SYMBOL_START._replace(margin=0.5)]
)
def test_what_is_no_row_is_an_error_of_python(row: Any) -> None:
    for call in (
        lambda: requirement("sum", row),
        lambda: row_fits(row),
        lambda: rested(row, "bid", 1, 1, reduces=True, counts=True),
    ):
        with pytest.raises((IndexError, OverflowError, TypeError)):
            call()


def test_a_total_beyond_64_bits_is_an_error_and_a_requirement_is_not() -> None:
    row = SYMBOL_START._replace(hold_bids=2**63 - 1, bid_lots=2**63 - 1, rate_orders=2**63 - 1)
    with pytest.raises(OverflowError):
        rested(row, "bid", 1, 1, reduces=False, counts=True)
    assert requirement("sum", row) == (0, 2**63 - 1)
    assert requirement("larger_leg", row) == (0, (2**63 - 1) ** 2)
    widest = row._replace(long_lots=2**63 - 1, rate_tickets=2**63 - 1)
    assert requirement("larger_leg", widest) == required("larger_leg", widest)


BLANK = BookOrder(*BookOrder._fields)._replace(scale=6, state="RESERVED")  # type: ignore[arg-type]
"""A record with the name of its field in every place but two."""


def _judged(account: BookAccount, rows: list[tuple[BookSymbol, bool]]) -> Any:
    """One order of a symbol, judged with nothing in its way."""
    return hold_ladder(
        account,
        account.terms,
        (Ask("a", "SYM", "", "bid", 3, 17, 41, False),),
        set(),
        rows,
        account.totals,
        7,
        tuple(BLANK),
        ("reserve", "r", "", 0, []),
        (Outcome, Code.OK),
        False,
        False,
        False,
        False,
        (lambda *_: (0, False), None, None),
    )


@pytest.fixture
def account() -> BookAccount:
    with ReservationBook.connect("memory:") as book:
        book.open_account("a", 1)
        return book.account("a")


def test_what_a_ladder_changes_stands_where_the_records_have_it(account: BookAccount) -> None:
    outcome, after, (row,), (order,), kept, *_ = _judged(account, [(SYMBOL_START._replace(symbol="SYM"), False)])
    own = {"order_id": "a", "symbol": "SYM", "leg": "", "side": "bid", "lots": 3, "price_ticks": 17, "hold_start": 41}
    own |= {"reduce_only": False, "reduces": False, "place": 0, "hold": 41, "working": 3}
    assert BookOrder._make(order) == BLANK._replace(**own)
    changes = {"version": 2, "all_units": 41, "live_orders": 1, "changed_us": 7, "records": account.records + 2}
    assert after == account._replace(**changes)
    assert row == SYMBOL_START._replace(symbol="SYM", hold_bids=41, bid_lots=3)
    assert (outcome.version, outcome.totals_before, outcome.totals_after) == (2, account.totals, after.totals)
    journal, answer = step_of(kept)
    figures = ("RESERVED", 41, 0, 3, 0, 0, 0, 0, 0)
    moved = ("SYM", "", None, (0, 0, 41, 0))
    said = (2, 7, "reserve", "r", "", "OK", account.totals, after.totals, (moved,), (("a", None, figures),), ())
    assert journal == said
    rows = (("a", "OK", 41, 0, 0),)
    assert answer == ("OK", "reserve", 2, 6, account.totals, after.totals, None, None, (), rows)


def test_a_row_of_an_order_that_was_not_read_is_a_key_error(account: BookAccount) -> None:
    with pytest.raises(KeyError):
        _judged(account, [])


@pytest.mark.parametrize("name", ["version", "live_orders", "records"])
def test_a_count_of_the_account_beyond_64_bits_is_an_error(account: BookAccount, name: str) -> None:
    rows = [(SYMBOL_START._replace(symbol="SYM"), False)]
    assert len(_judged(account, rows)) == 7
    with pytest.raises(OverflowError, match="out of range"):
        _judged(account._replace(**{name: 2**63 - 1}), rows)


def test_symbols_are_journalled_in_the_order_in_which_something_was_held(
    proven: ReservationBook, order: Callable[..., Order]
) -> None:
    proven.open_account("a", 1)
    orders = [
        order(hold=2_000_000, symbol="X"),
        order(hold=1, symbol="Z"),
        order(hold=1, symbol="Y"),
        order(hold=1, symbol="X"),
    ]
    assert proven.reserve("a", orders, request_id="r", policy="best_effort").ok
    assert [change.symbol for change in proven.history("a")[-1].symbols] == ["Z", "Y", "X"]


def test_a_taken_id_comes_before_terms_that_have_changed(proven: ReservationBook, order: Callable[..., Order]) -> None:
    proven.open_account("a", 1)
    proven.reserve("a", [order(hold=1, order_id="o")], request_id="first")
    ladder = [order(hold=1), order(hold=1, order_id="o")]
    refused = proven.reserve("a", ladder, request_id="r", terms_version=2)
    assert refused.code is Code.ORDER_EXISTS
    assert [row.code for row in refused.orders] == [Code.TERMS_CHANGED, Code.ORDER_EXISTS]


def test_tickets_have_no_order_that_only_reduces(proven: ReservationBook, order: Callable[..., Order]) -> None:
    proven.open_account("a", 1, positions="tickets")
    assert proven.reserve("a", [order(hold=1, reduce_only=True)], request_id="r").code is Code.TERMS_INVALID


def test_an_order_that_asks_for_nothing_is_held_below_zero_too(
    proven: ReservationBook, order: Callable[..., Order]
) -> None:
    proven.open_account("a", "0.000010")
    proven.execute("a", order(lots=1, hold=5), request_id="x")
    proven.mark("a", {"SYM": "-0.000020"})
    ladder = [order("ask", hold=0), order("ask", hold=1)]
    answer = proven.reserve("a", ladder, request_id="r", policy="best_effort")
    assert [row.code for row in answer.orders] == [Code.OK, Code.INSUFFICIENT_MARGIN]


def test_a_rate_of_an_order_that_is_not_held_is_not_counted(
    proven: ReservationBook, order: Callable[..., Order]
) -> None:
    proven.open_account("a", "0.000010", rule="larger_leg")
    ladder = [order(hold=3), order(hold=9), order(hold=3)]
    answer = proven.reserve("a", ladder, request_id="r", policy="best_effort")
    assert [row.code for row in answer.orders] == [Code.OK, Code.INSUFFICIENT_MARGIN, Code.OK]
    assert (proven.symbols("a")[0].rate_orders, proven.account("a").all_units) == (3, 6)
