"""Amendments: the larger of the old and the new order is held until the venue has answered; on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, Outcome, ReservationBook

Make = Callable[..., Order]
A = "acc"

# An order of 5 lots that holds 50 lives through some events. amend:LOTS:HOLD names the whole amended order.
# Then it stands as: state, ordered = filled + working + released, overfilled, hold.
TABLE = """
events                          state      ordered filled working released over hold
amend:8:96                      LIVE       8       0      8       0        0    96
amend:8:96 accept               LIVE       8       0      8       0        0    96
amend:8:96 refuse               LIVE       5       0      5       0        0    50
amend:8:96 fill:3               LIVE       8       3      5       0        0    60
amend:8:96 fill:3 accept        LIVE       8       3      5       0        0    60
amend:8:96 fill:3 refuse        LIVE       5       3      2       0        0    20
amend:8:96 fill:5 refuse        FILLED     5       5      0       0        0    0
amend:8:96 fill:6 accept        LIVE       8       6      2       0        0    24
amend:8:96 fill:6 refuse        FILLED     5       5      0       0        1    0
amend:8:96 fill:8               FILLED     8       8      0       0        0    0
amend:8:96 fill:2 cancel        CANCELLED  5       2      0       3        0    0
amend:8:96 fill:6 cancel        CANCELLED  8       6      0       2        0    0
amend:8:96 reject               REJECTED   5       0      0       5        0    0
amend:8:96 fill:9               FILLED     8       8      0       0        1    0
amend:3:36                      LIVE       5       0      5       0        0    50
amend:3:36 accept               LIVE       3       0      3       0        0    36
amend:3:36 refuse               LIVE       5       0      5       0        0    50
amend:3:36 fill:2 accept        LIVE       3       2      1       0        0    12
amend:3:36 fill:3               LIVE       5       3      2       0        0    20
amend:3:36 fill:3 accept        FILLED     3       3      0       0        0    0
amend:3:36 fill:4 accept        FILLED     4       4      0       0        0    0
amend:3:36 fill:4 refuse        LIVE       5       4      1       0        0    10
amend:3:36 fill:5               FILLED     5       5      0       0        0    0
amend:3:36 fill:3 expire        EXPIRED    5       3      0       2        0    0
amend:3:36 fill:1 accept cancel CANCELLED  3       1      0       2        0    0
amend:5:83                      LIVE       5       0      5       0        0    83
amend:5:83 fill:1               LIVE       5       1      4       0        0    67
amend:5:83 fill:1 refuse        LIVE       5       1      4       0        0    40
amend:3:90                      LIVE       5       0      5       0        0    90
amend:3:90 fill:2 accept        LIVE       3       2      1       0        0    30
fill:2 amend:1:10               LIVE       5       2      3       0        0    30
fill:2 amend:1:10 accept        FILLED     2       2      0       0        0    0
fill:2 amend:9:90 accept amend:4:40 accept  LIVE 4  2     2       0        0    20
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [(" ".join(row[:-7]), row[-7:]) for row in ROWS]
WORDS = {"accept": "accepted", "refuse": "refused"}


def live_order(book: ReservationBook, order: Make, **terms: Any) -> None:
    """Five lots that hold 50, live at the venue."""
    book.open_account(A, "0.000200", **terms)
    book.reserve(A, [order(lots=5, hold=50, order_id="o")], request_id="r", send="caller")
    book.acknowledge(A, "o", "v0")


def micros(count: int) -> str:
    return f"0.{count:06d}"


def change(book: ReservationBook, lots: int, hold: int, event_id: str = "a", **named: Any) -> Outcome:
    return book.amend(A, "o", lots, micros(hold), event_id=event_id, **named)


@pytest.mark.parametrize(("events", "expected"), CASES, ids=[events.replace(" ", "_") for events, _ in CASES])
@pytest.mark.parametrize("combine", ["sum", "worst_side", "larger_leg"])
def test_every_row_of_the_amendment_table(
    proven: ReservationBook, order: Make, combine: str, events: str, expected: list[str]
) -> None:
    live_order(proven, order, rule=combine)
    for number, event in enumerate(events.split()):
        word, _, values = event.partition(":")
        if word == "amend":
            lots, hold = (int(value) for value in values.split(":"))
            outcome = change(proven, lots, hold, f"a{number}")
            opened = f"a{number}"
        elif word == "fill":
            outcome = proven.fill(A, "o", int(values), fill_id=str(number), margin=0)
        elif word in WORDS:
            outcome = proven.settle_amend(A, "o", WORDS[word], amend_id=opened)  # type: ignore[arg-type]
        else:
            ends = {"cancel": proven.cancel, "reject": proven.reject, "expire": proven.expire}
            outcome = ends[word](A, "o")
        assert outcome.ok
    found = proven.order(A, "o")
    assert found is not None
    state, *figures = expected
    assert found.state == state
    assert [found.ordered, found.filled, found.working, found.released, found.overfilled, found.hold] == [
        int(figure) for figure in figures
    ]
    assert found.ordered == found.filled + found.working + found.released
    account = proven.account(A)
    assert account.live_orders == (0 if found.terminal else 1)
    # What the venue filled beyond the quantity that stands is said, kept and counted, by the step that finds it out.
    over = bool(found.overfilled)
    assert ("overfill" in outcome.flags, "overfill" in found.flags, account.overfills) == (over, over, over)
    if combine != "larger_leg":
        assert account.all_units == found.hold
    if found.terminal:
        assert (found.amend_id, found.amend_lots, found.hold) == (None, 0, 0)
        assert account.all_units == 0


def test_an_amendment_upward_is_granted_like_a_reservation(proven: ReservationBook, order: Make, clock: Any) -> None:
    limits: dict[str, Any] = {
        "order_margin_max": micros(140),
        "margin_max": micros(190),
        "position_lots_max": {"SYM": 9},
        "owner_margin_max": {"ann": micros(120)},
    }
    proven.open_account(A, micros(100), **limits)
    proven.reserve(A, [order(lots=5, hold=50, order_id="o")], request_id="r", send="caller", owner="ann")
    refused = change(proven, 5, 101)
    assert (refused.code, refused.required_units, refused.free_units) == (Code.INSUFFICIENT_MARGIN, 51, 50)
    proven.deposit(A, 1, request_id="d")
    assert change(proven, 10, 60).code is Code.POSITION_LIMIT
    assert change(proven, 5, 141).code is Code.ORDER_LIMIT
    assert change(proven, 5, 121).code is Code.OWNER_LIMIT
    assert change(proven, 5, 60, terms_version=7).code is Code.TERMS_CHANGED
    proven.set_terms(A, request_id="t", mark_age_ms_max=1_000)
    proven.execute(A, order(lots=1, hold=1), request_id="x")
    clock.advance(2)
    assert change(proven, 5, 60).code is Code.STALE_MARK
    proven.suspend(A, request_id="s")
    assert change(proven, 5, 60).code is Code.ACCOUNT_SUSPENDED
    version = proven.account(A).version
    assert change(proven, 4, 40).ok  # asks for less: never refused for any of these
    assert proven.account(A).version == version + 1
    assert proven.account(A).all_units == 51


def test_a_refused_amendment_leaves_nothing_and_its_id_may_be_used_again(proven: ReservationBook, order: Make) -> None:
    live_order(proven, order)
    before = (proven.account(A), proven.orders(A))
    assert change(proven, 5, 201).code is Code.INSUFFICIENT_MARGIN
    assert (proven.account(A), proven.orders(A)) == before
    proven.deposit(A, 1, request_id="d")
    assert change(proven, 5, 201).ok


def test_an_amendment_repeated_is_a_duplicate_and_one_that_arrives_late_is_refused(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    live_order(proven, order)
    until = clock() + 1_000_000
    first = change(proven, 8, 96, not_after_us=until)
    assert change(proven, 8, 96, not_after_us=until) == first._replace(code=Code.DUPLICATE)
    assert change(proven, 8, 97, not_after_us=until).code is Code.REQUEST_CONFLICT
    clock.advance(2)
    assert change(proven, 8, 96, not_after_us=until).code is Code.DUPLICATE
    assert change(proven, 9, 99, "b", not_after_us=until).code is Code.REQUEST_EXPIRED
    assert proven.amend("nobody", "o", 9, 1, event_id="b", not_after_us=until).code is Code.REQUEST_EXPIRED
    assert proven.amend("nobody", "o", 9, 1, event_id="b").code is Code.ACCOUNT_NOT_FOUND
    assert proven.amend(A, "nobody", 9, 1, event_id="b").code is Code.ORDER_NOT_FOUND


@pytest.mark.parametrize("state", ["RESERVED", "UNKNOWN", "FILLED", "REJECTED", "CANCELLED", "EXPIRED", "AMENDING"])
def test_only_a_sent_or_live_order_without_an_open_amendment_can_be_amended(
    proven: ReservationBook, order: Make, clock: Any, state: str
) -> None:
    proven.open_account(A, 1)
    send = "claim" if state == "RESERVED" else "caller"
    proven.reserve(A, [order(lots=5, hold=50, order_id="o")], request_id="r", send=send)  # type: ignore[arg-type]
    if state == "UNKNOWN":
        clock.advance(3_600)
        proven.sweep(A)
    elif state == "FILLED":
        proven.fill(A, "o", 5, fill_id="f")
    elif state == "AMENDING":
        assert change(proven, 6, 60, "first").ok
    elif state != "RESERVED":
        {"REJECTED": proven.reject, "CANCELLED": proven.cancel, "EXPIRED": proven.expire}[state](A, "o")
    before = (proven.account(A), proven.order(A, "o"))
    assert change(proven, 7, 70).code is Code.ILLEGAL_TRANSITION
    for word in ("accepted", "refused"):
        late = proven.settle_amend(A, "o", word, amend_id="other")  # type: ignore[arg-type]
        assert late.code is Code.ILLEGAL_TRANSITION
    assert (proven.account(A), proven.order(A, "o")) == before


def test_the_answer_to_an_amendment_counts_once_and_only_for_its_own(proven: ReservationBook, order: Make) -> None:
    live_order(proven, order)
    change(proven, 8, 96, "a1")
    done = proven.settle_amend(A, "o", "accepted", amend_id="a1")
    assert proven.settle_amend(A, "o", "accepted", amend_id="a1") == done._replace(code=Code.DUPLICATE)
    assert proven.settle_amend(A, "o", "refused", amend_id="a1").code is Code.ILLEGAL_TRANSITION
    change(proven, 6, 60, "a2")
    assert proven.settle_amend(A, "o", "accepted", amend_id="a1").code is Code.DUPLICATE
    assert proven.settle_amend(A, "o", "refused", amend_id="a2").ok
    found = proven.order(A, "o")
    assert found is not None
    assert (found.lots, found.hold, found.hold_start) == (8, 96, 96)
    assert proven.fill(A, "o", 8, fill_id="f").state is OrderState.FILLED


def test_the_second_client_id_and_the_venues_new_id_are_aliases(proven: ReservationBook, order: Make) -> None:
    live_order(proven, order)
    proven.reserve(A, [order(order_id="p")], request_id="q")
    assert change(proven, 6, 60, client_id="p").code is Code.ORDER_EXISTS
    assert change(proven, 6, 60, client_id="o-2", price_ticks=101).ok
    assert proven.settle_amend(A, "o-2", "accepted", amend_id="a", venue_id="v1").ok
    for name in ("o", "o-2", "v0", "v1"):
        found = proven.order(A, name)
        assert found is not None
        assert (found.order_id, found.lots, found.price_ticks) == ("o", 6, 101)
    assert proven.reserve(A, [order(order_id="o-2")], request_id="z").code is Code.ORDER_EXISTS
    assert proven.cancel(A, "v1").ok
    assert proven.account(A).all_units == 0


def test_an_unanswered_amendment_is_overdue_and_the_sweeper_says_unknown(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    live_order(proven, order)
    change(proven, 8, 96, deadline_us=clock() + 1_000_000)
    assert proven.orders(A, overdue=True) == ()
    clock.advance(1.5)
    assert [late.order_id for late in proven.orders(A, overdue=True)] == ["o"]
    proven.sweep(A)
    assert proven.orders(A)[0].state is OrderState.UNKNOWN
    assert proven.account(A).all_units == 96
    assert [late.order_id for late in proven.orders(A, overdue=True)] == ["o"]
    refused = proven.settle_amend(A, "o", "refused", amend_id="a")
    assert (refused.state, proven.account(A).all_units) == (OrderState.UNKNOWN, 50)
    clock.advance(0.001)
    assert [late.order_id for late in proven.orders(A, overdue=True)] == ["o"]
    assert proven.resolve(A, "o", OrderState.LIVE, evidence="operator").ok
    assert proven.orders(A, overdue=True) == ()


def test_an_accepted_amendment_ends_unknown(proven: ReservationBook, order: Make, clock: Any) -> None:
    live_order(proven, order)
    change(proven, 8, 96, deadline_us=clock() + 1_000_000)
    clock.advance(2)
    proven.sweep(A)
    assert proven.settle_amend(A, "o", "accepted", amend_id="a").state is OrderState.LIVE
    assert proven.orders(A, overdue=True) == ()


def test_a_reduce_only_order_that_outgrows_the_position_is_charged(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    proven.execute(A, order(lots=6, hold=60), request_id="x")
    reduce = order("ask", lots=4, hold=40, order_id="o", reduce_only=True)
    assert proven.reserve(A, [reduce], request_id="r", send="caller").orders[0].hold == 0
    assert change(proven, 6, 60, "a").ok
    assert proven.account(A).all_units == 60
    proven.settle_amend(A, "o", "accepted", amend_id="a")
    assert change(proven, 7, 70, "b").ok
    assert proven.account(A).all_units == 60 + 70
    assert proven.symbols(A)[0].reduce_surplus_lots == 1
    proven.settle_amend(A, "o", "refused", amend_id="b")
    assert proven.account(A).all_units == 60


def test_amending_a_reduce_only_order_down_is_never_charged_nor_refused(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, micros(10))
    proven.execute(A, order(lots=10), request_id="x", margin=micros(10))
    proven.reserve(A, [order("ask", 10, 100, order_id="o", reduce_only=True)], request_id="r", send="caller")
    proven.execute(A, order("ask", 5), request_id="y", realised_pnl="-0.000005")
    assert proven.account(A).free_units == 0
    assert proven.symbols(A)[0].reduce_surplus_lots == 5
    proven.suspend(A, request_id="s")
    # Down into the position, and down to what is still a surplus.
    for lots in (7, 5):
        assert change(proven, lots, 10 * lots, f"a{lots}").ok
        assert proven.settle_amend(A, "o", "accepted", amend_id=f"a{lots}").ok
        assert (proven.order(A, "o").hold, proven.account(A).all_units) == (0, 5)  # type: ignore[union-attr]
    proven.suspend(A, False, request_id="u")
    assert change(proven, 6, 60, "up").code is Code.INSUFFICIENT_MARGIN
    assert change(proven, 5, 50, "price", price_ticks=101).ok


def test_amending_what_can_only_reduce_waits_for_no_mark_until_it_outgrows_the_position(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1, mark_age_ms_max=1_000)
    proven.execute(A, order(lots=10, hold=10), request_id="x")
    proven.mark(A, {"SYM": 0})
    clock.advance(2)
    reduce = order("ask", lots=5, hold=50, order_id="o", reduce_only=True)
    assert proven.reserve(A, [reduce], request_id="r", send="caller").ok
    assert change(proven, 7, 70, "a").ok
    assert proven.settle_amend(A, "o", "accepted", amend_id="a").ok
    assert proven.account(A).all_units == 10
    assert change(proven, 11, 110, "b").code is Code.STALE_MARK


@pytest.mark.parametrize("other", [0, 90])
def test_i2_an_amendment_that_raises_the_dearest_rate_is_granted_like_a_reservation(
    proven: ReservationBook, order: Make, other: int
) -> None:
    lots = 10 + other
    proven.open_account(A, micros(10 * lots), rule="larger_leg")
    ladder = [order(lots=10, hold=100, order_id="o"), *([order(lots=other, hold=0)] if other else [])]
    proven.reserve(A, ladder, request_id="r", send="caller")
    # Fewer lots for the same hold: the dearer rate is that of every lot.
    refused = change(proven, 1, 100)
    assert (refused.code, refused.required_units, refused.free_units) == (Code.INSUFFICIENT_MARGIN, 90 * lots, 0)
    proven.suspend(A, request_id="s")
    assert change(proven, 1, 100).code is Code.ACCOUNT_SUSPENDED
    proven.suspend(A, False, request_id="u")
    proven.deposit(A, micros(90 * lots), request_id="d")
    proven.set_terms(A, request_id="t", rule="larger_leg", margin_max=micros(100 * lots - 1))
    assert change(proven, 1, 100).code is Code.ORDER_LIMIT
    assert change(proven, 1, 100, terms_version=1).code is Code.TERMS_CHANGED
    assert proven.account(A).all_units == 10 * lots
    proven.set_terms(A, request_id="v", rule="larger_leg")
    assert change(proven, 1, 100).ok
    assert (proven.account(A).all_units, proven.account(A).free_units) == (100 * lots, 0)
    proven.settle_amend(A, "o", "accepted", amend_id="a")
    assert proven.account(A).all_units == 100 * (1 + other)


def test_larger_leg_counts_an_amended_order_once_at_its_dearer_rate(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1, rule="larger_leg")
    proven.reserve(A, [order(lots=5, hold=50, order_id="o"), order(lots=2, hold=24)], request_id="r", send="caller")
    assert proven.account(A).all_units == 12 * 7
    change(proven, 5, 75)
    assert proven.account(A).all_units == 15 * 7
    proven.settle_amend(A, "o", "accepted", amend_id="a")
    assert proven.account(A).all_units == 15 * 7
    change(proven, 1, 9, "b")
    proven.settle_amend(A, "o", "accepted", amend_id="b")
    assert proven.account(A).all_units == 12 * 3


def test_bad_amendments_are_refused_by_name(book: ReservationBook) -> None:
    book.open_account(A, 1)
    for call, argument in (
        (lambda: book.amend(A, "o", 0, 1, event_id="a"), "lots"),
        (lambda: book.amend(A, "o", 1, 0.5, event_id="a"), "hold"),  # type: ignore[arg-type]
        (lambda: book.amend(A, "o", 1, -1, event_id="a"), "hold"),
        (lambda: book.amend(A, "o", 1, 1, event_id=""), "event_id"),
        (lambda: book.amend(A, "o", 1, 1, event_id="a", price_ticks=0), "price_ticks"),
        (lambda: book.amend(A, "o", 1, 1, event_id="a", client_id="\n"), "client_id"),
        (lambda: book.settle_amend(A, "o", "yes", amend_id="a"), "outcome"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.argument == argument


def test_what_an_order_has_given_back_stops_at_the_last_figure_and_refuses_no_fact(
    proven: ReservationBook, order: Make
) -> None:
    most = 2**53 - 1
    proven.open_account(A, most, scale=0)
    proven.reserve(A, [order(hold=0, lots=1, order_id="o")], request_id="r", holds=[0], send="caller")
    for turn, told in enumerate((most - 2, most, most)):
        assert proven.amend(A, "o", 1, most - 2, event_id=f"a{turn}").ok
        assert proven.settle_amend(A, "o", "refused", amend_id=f"a{turn}").ok
        assert proven.order(A, "o").hold_released == told
    assert proven.amend(A, "o", 1, most - 2, event_id="last").ok
    assert proven.cancel(A, "o").ok
    assert (proven.order(A, "o").hold_released, proven.account(A).all_units) == (most, 0)
    assert proven.audit(A).findings == ()
