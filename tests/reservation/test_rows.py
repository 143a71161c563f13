"""Running totals of a symbol: what the combine rules require of them, written again from the specification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise._rust import requirement, rested, row_fits
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook, steps
from equipoise.reservation.codes import AccountStatus
from equipoise.reservation.memory import _Shelf
from equipoise.reservation.money import AMOUNT_MAX
from equipoise.reservation.records import (
    SYMBOL_START,
    BookAccount,
    BookOrder,
    BookSymbol,
    KeptStep,
    OutboxEntry,
    Outcome,
    Remembered,
    raw_order,
    step_of,
)
from equipoise.reservation.requests import Ask, Reserve
from equipoise.reservation.sqlite_engine import open_engine, run_script
from equipoise.reservation.sqlite_view import Rows
from equipoise.reservation.steps import COMBINE_RULES, Effect
from equipoise.reservation.steps.ladders import _gates, reserve

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


REQUEST = Reserve(
    "reserve",
    "a",
    "r",
    "content",
    5,
    9,
    (Ask("o", "SYM", "", "bid", 3, 17, 41, False),),
    False,
    True,
    None,
    "desk",
    False,
    "limit",
    11,
    13,
)
USED: KeptStep = (1, 5, "other", 5, ((), None))


class _Shown:
    """What a step sees of an account on another store than that of memory."""

    def __init__(self, account: BookAccount | None, *, used: bool, posted: bool) -> None:
        self.held, self.used, self.posted = account, used, posted

    def account(self) -> BookAccount | None:
        return self.held

    def request(self, ident: str) -> Remembered | None:
        return ("other", 5, None) if self.used and ident == "r" else None

    def outbox_entry(self, request_id: str) -> OutboxEntry | None:
        return OutboxEntry(request_id, 1, 5, 9, ("o",), 1) if self.posted else None

    def order(self, _: str) -> BookOrder | None:
        return None

    def symbol(self, *_: str) -> BookSymbol | None:
        return None

    def owned(self, _: str) -> int:
        return 0


def _shelf(account: BookAccount | None, *, used: bool = False, posted: bool = False) -> Any:
    """The same in memory."""
    shelf = _Shelf()
    shelf.held = account
    if used:
        shelf.requests["r"] = USED
    if posted:
        shelf.outbox["r"] = ("r", 1, 5, 9, ("o",), 1)
    return shelf


def _rows(account: BookAccount | None, *, used: bool = False, posted: bool = False) -> Rows:
    """What a transaction sees of an account in a file."""
    connection = open_engine(":memory:", through_apsw=False)
    run_script(connection, (Path(steps.__file__).parents[1] / "schema.sql").read_text())
    if account is not None:
        before = Rows("a", connection)
        before.move_account(account)
        before.flush()
    if used:
        connection.execute("INSERT INTO requests VALUES ('a', 'r', 'other', 5, NULL, NULL)")
    if posted:
        connection.execute("INSERT INTO outbox VALUES ('a', 'r', 1, 5, 9, '[\"o\"]', 1)")
    return Rows("a", connection)


def _begun(account: BookAccount | None, *, used: bool = False, posted: bool = False, outbox: bool = True) -> Rows:
    """The same once the ids of the ladder have been looked up."""
    rows = _rows(account, used=used, posted=posted)
    rows.begin(replace(REQUEST, outbox=outbox))
    return rows


@pytest.fixture
def account() -> BookAccount:
    with ReservationBook.connect("memory:", clock=lambda: 1) as book:
        book.open_account("a", 1)
        return book.account("a")


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("view", [_shelf, _rows, _begun, partial(_Shown, used=False, posted=False)])
def test_what_a_ladder_changes_stands_where_the_records_have_it(
    account: BookAccount, view: Callable[..., Any], sent: bool
) -> None:
    request = replace(REQUEST, sent=sent, outbox=not sent)
    effect = reserve(view(account), request, 7)
    assert type(effect) is Effect
    assert effect.kept is not None
    state = OrderState.SENT if sent else OrderState.RESERVED
    made = (6, 41, False, False, "limit", "desk", "r", 0, 7, 11, 13, state, 41, 0, 3, 0, 0, 0, 0, 0)
    made += ((), "", None, None, not sent, None, 0, 0, 0, None, 7, 2)
    assert effect.orders == (raw_order(BookOrder("o", "SYM", "", "bid", 3, 17, *made)),)
    changes = {"version": 2, "all_units": 41, "live_orders": 1, "changed_us": 7, "records": account.records + 2}
    after = account._replace(**changes)
    assert effect.account == after
    assert effect.symbols == (SYMBOL_START._replace(symbol="SYM", hold_bids=41, bid_lots=3),)
    assert {type(record) for record in (*effect.symbols, effect.account)} == {BookSymbol, BookAccount}
    rows = (("o", "OK", 41, 0, 0),)
    was, then = account.totals, after.totals
    assert effect.outcome == Outcome(Code.OK, "reserve", "a", 2, 6, was, then, order_rows=rows)
    assert type(effect.outcome) is Outcome
    ident, kept = effect.kept
    assert (ident, kept[:4]) == ("r", (2, 7, "content", 5))
    journal, answer = step_of(kept)
    figures = (state.value, 41, 0, 3, 0, 0, 0, 0, 0)
    moved = ("SYM", "", None, (0, 0, 41, 0))
    told = (("owner", "desk"),) if sent else (("owner", "desk"), ("send", "outbox"))
    assert journal == (2, 7, "reserve", "r", "", "OK", was, then, (moved,), (("o", None, figures),), told)
    assert answer == ("OK", "reserve", 2, 6, was, then, None, None, (), rows)
    assert effect.owners == (("desk", 41),)
    assert effect.outbox == (() if sent else (("r", ("r", 2, 7, 11, ("o",), 1)),))
    assert not any((effect.journal, effect.request, effect.event, effect.aliases, effect.rates, effect.lease))
    assert effect.upkeep is None


def test_a_ladder_written_in_memory_twice_is_the_same_as_once(account: BookAccount) -> None:
    shelf = _shelf(account)
    effect = reserve(shelf, replace(REQUEST, outbox=True), 7)
    assert effect.kept is not None
    entry = ("r", 2, 7, 11, ("o",), 1)
    for _ in range(2):
        shelf.take(effect)
        assert shelf.held is effect.account
        assert shelf.rows == {("SYM", ""): effect.symbols[0]}
        assert (shelf.orders, shelf.working) == ({"o": effect.orders[0]}, {"o": 11})
        assert (shelf.owners, shelf.outbox) == ({"desk": 41}, {"r": entry})
        assert (shelf.journal, shelf.requests) == ([effect.kept[1]], {"r": effect.kept[1]})
        assert not shelf.aliases
    after = reserve(shelf, replace(REQUEST, ident="s", asks=(Ask("p", "SYM", "", "bid", 1, 1, 1, False),)), 8)
    shelf.take(after)
    assert [step[0] for step in shelf.journal] == [2, 3]


def test_an_alias_takes_an_id_where_it_leads_to_an_order(account: BookAccount) -> None:
    shelf = _shelf(account)
    shelf.aliases["o"] = "lost"
    assert shelf.order("o") is None
    assert reserve(shelf, REQUEST, 7).outcome.ok
    shelf.orders["lost"] = reserve(_shelf(account), REQUEST, 7).orders[0]
    assert reserve(shelf, REQUEST, 7).outcome.code is Code.ORDER_EXISTS


def test_an_account_that_is_being_written_can_be_read(account: BookAccount) -> None:
    """A collection may run anywhere in it, and with it another thread."""
    shelf, read = _shelf(account), list[object]()

    class Reads(str):
        __slots__ = ()

        def __hash__(self) -> int:
            read.append(shelf.held)
            return super().__hash__()

    effect = reserve(shelf, REQUEST, 7)
    ident, step = effect.kept or ("", USED)
    order = (Reads("o"), *effect.orders[0][1:])
    shelf.take(effect._replace(orders=(order,), owners=((Reads("desk"), 41),), kept=(Reads(ident), step)))
    assert read == [account] * 4
    assert shelf.held is effect.account


def test_what_a_file_is_to_have_of_an_account_can_be_read_while_it_is_taken_over(account: BookAccount) -> None:
    rows, read = _rows(account), list[object]()

    class Reads(str):
        __slots__ = ()

        def __hash__(self) -> int:
            read.append((rows.account(), rows.changed))
            return super().__hash__()

    effect = reserve(rows, REQUEST, 7)
    ident, step = effect.kept or ("", USED)
    order = (Reads("o"), *effect.orders[0][1:])
    rows.take(effect._replace(orders=(order,), owners=((Reads("desk"), 41),), kept=(Reads(ident), step)))
    assert read == [(account, False)] * 3
    assert (rows.held, rows.changed, rows.before) == (effect.account, True, account)


def test_a_record_that_goes_may_read_the_account(account: BookAccount) -> None:
    read: list[bool] = []

    class Goes(BookAccount):
        def __del__(self) -> None:
            read.append(rows.changed)

    rows = _rows(account)
    for change in (rows.read_account, rows.move_account, rows.read_account):
        change(Goes(*account))
        change(account)
    rows.wipe()
    rows.read_account(Goes(*account))
    rows.move_account(account)
    rows.wipe()
    assert read == [False, True, True, False]


def test_what_is_taken_over_is_known_until_it_is_written_and_then_in_the_file(account: BookAccount) -> None:
    rows = _begun(account)
    effect = reserve(rows, replace(REQUEST, outbox=True), 7)
    rows.take(effect)
    assert (rows.absent, rows.unused, rows.unposted) == ({"o"}, {"r"}, set())
    assert reserve(rows, replace(REQUEST, ident="q"), 8).outcome.code is Code.ORDER_EXISTS
    assert reserve(rows, replace(REQUEST, content="another"), 8).outcome.code is Code.REQUEST_CONFLICT
    # What was asked for by id is written by now, for the outcome is read from there; the rest goes with it.
    for known in (rows, Rows("a", rows.connection)):
        assert not any((known.absent, known.unused, known.new_journal, known.new_orders, known.new_requests))
        assert not any((known.new_totals, known.new_owners, known.changed, known.before))
        assert (known.account(), known.symbol("SYM", "")) == (effect.account, effect.symbols[0])
        assert (known.owned("desk"), known.outbox_entry("r")) == (41, ("r", 2, 7, 11, ("o",), 1))
        assert raw_order(known.order("o")) == effect.orders[0]  # type: ignore[arg-type]
        assert reserve(known, REQUEST, 8).outcome.code is Code.DUPLICATE


def test_a_version_that_leaves_no_place_for_orders_is_an_error(account: BookAccount) -> None:
    late = account._replace(version=2**31 - 2)
    for version, place in ((2**31 - 1, (2**31 - 1) << 32), (2**31, None)):
        rows = _rows(late._replace(version=version - 1))
        effect = reserve(rows, REQUEST, 7)
        if place is None:
            with pytest.raises(OverflowError, match="versions"):
                rows.take(effect)
        else:
            rows.take(effect)
            assert rows.new_orders["o"] == (place, effect.orders[0])


@pytest.mark.parametrize("name", ["version", "live_orders", "records"])
def test_a_count_of_the_account_beyond_64_bits_is_an_error(account: BookAccount, name: str) -> None:
    assert reserve(_shelf(account), REQUEST, 7).outcome.ok
    with pytest.raises(OverflowError, match="out of range"):
        reserve(_shelf(account._replace(**{name: 2**63 - 1})), REQUEST, 7)


def test_nothing_passes_by_the_gates_that_they_refuse(account: BookAccount) -> None:
    flags = (False, True)
    watermarks = (REQUEST.issued_us - 1, REQUEST.issued_us)
    times = (REQUEST.not_after_us, REQUEST.not_after_us + 1)
    passed = 0
    for status, watermark_us, now, used, posted, outbox in product(
        (None, *AccountStatus), watermarks, times, flags, flags, flags
    ):
        held = None if status is None else account._replace(status=status, watermark_us=watermark_us)
        request = replace(REQUEST, outbox=outbox)
        for view in [make(held, used=used, posted=posted) for make in (_shelf, _rows, _begun, _Shown)]:
            refusal = _gates(view, request, now)
            effect = reserve(view, request, now)
            assert effect.outcome.ok if refusal is None else effect == refusal
            passed += refusal is None
    assert passed == 4 * 3  # of an active account, in time, by a new id: without an entry of its own


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


def test_what_an_owner_holds_stays_within_what_is_booked(proven: ReservationBook, order: Callable[..., Order]) -> None:
    proven.open_account("a", Decimal(AMOUNT_MAX).scaleb(-6), rule="worst_side")
    ladder = [order(hold=AMOUNT_MAX), order("ask", hold=AMOUNT_MAX)]
    assert proven.reserve("a", ladder, request_id="r", owner="desk").code is Code.AMOUNT_OVERFLOW
    assert proven.reserve("a", ladder, request_id="s").ok


@pytest.mark.parametrize(("policy", "free"), [("loss_only", 2), ("all", 9)])
def test_an_open_profit_frees_margin_only_where_the_policy_counts_it(
    proven: ReservationBook, order: Callable[..., Order], policy: Literal["loss_only", "all"], free: int
) -> None:
    proven.open_account("a", "0.000007", pnl_policy=policy)
    proven.execute("a", order(lots=1, hold=5), request_id="x")
    proven.mark("a", {"SYM": "0.000007"})
    refused = proven.reserve("a", [order(hold=free + 1)], request_id="r")
    assert (refused.code, refused.required_units, refused.free_units) == (Code.INSUFFICIENT_MARGIN, free + 1, free)
    assert refused.before == proven.account("a").totals
    granted = proven.reserve("a", [order(hold=free)], request_id="s")
    assert granted.ok
    assert granted.before is not None
    assert granted.after is not None
    assert (granted.before.free, granted.after.free) == (free, 0)
    assert proven.account("a").free_units == 0


def test_what_a_ladder_lacks_is_its_rise_of_margin_not_the_sum_of_its_charges(
    proven: ReservationBook, order: Callable[..., Order]
) -> None:
    proven.open_account("a", "0.000006", rule="worst_side")
    refused = proven.reserve("a", [order(hold=5), order("ask", hold=7)], request_id="r")
    assert (refused.code, refused.required_units, refused.free_units) == (Code.INSUFFICIENT_MARGIN, 7, 6)
    assert refused.shortfall_units == 1
    assert {row.code for row in refused.orders} == {Code.INSUFFICIENT_MARGIN}
