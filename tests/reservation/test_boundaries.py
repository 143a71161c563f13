"""The last moment, the last lot, the last unit: on which side of each limit the limit itself is, on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, Outcome, ReservationBook

Make = Callable[..., Order]
A = "acc"


def test_a_request_is_valid_at_not_after_and_not_a_microsecond_later(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    until = clock() + 5
    clock.now_us = until
    assert proven.reserve(A, [order()], request_id="a", issued_at_us=until - 5, not_after_us=until).ok
    proven.reserve(A, [order(order_id="o")], request_id="o", send="caller")
    assert proven.amend(A, "o", 2, 0, event_id="a", not_after_us=until).ok
    clock.now_us += 1
    late = proven.reserve(A, [order()], request_id="b", issued_at_us=until - 5, not_after_us=until)
    assert late.code is Code.REQUEST_EXPIRED
    assert proven.amend(A, "o", 2, 0, event_id="b", not_after_us=until).code is Code.REQUEST_EXPIRED


def test_a_clock_that_fails_in_a_step_says_so_itself_and_nothing_is_done(
    proven: ReservationBook, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.open_account(A, 1)
    later = clock() + 9

    def place() -> Outcome:
        named = {"issued_at_us": clock(), "not_after_us": later, "deadline_us": later}
        return proven.reserve(A, [order(hold=5)], request_id="r", **named)

    def broken() -> int:
        raise ZeroDivisionError("no time")

    with monkeypatch.context() as patch:
        patch.setattr(proven, "_clock", broken)
        with pytest.raises(ZeroDivisionError, match="no time"):
            place()
    assert (proven.account(A).version, proven.account(A).all_units) == (1, 0)
    assert place().ok


def test_an_id_issued_at_the_watermark_is_too_old_and_one_after_it_is_not(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    mark = proven.account(A).watermark_us
    named: dict[str, Any] = {"not_after_us": clock() + 1}
    assert proven.deposit(A, 1, request_id="a", issued_at_us=mark, **named).code is Code.TOO_OLD_FOR_DEDUPE
    assert proven.deposit(A, 1, request_id="b", issued_at_us=mark + 1, **named).ok


def test_archive_takes_what_is_as_old_as_the_horizon_and_nothing_younger(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    for number, name in enumerate(("old", "young")):
        clock.now_us += number
        proven.reserve(A, [order(order_id=name)], request_id=name, issued_at_us=clock(), not_after_us=clock() + 9)
        proven.cancel(A, name)
        proven.export(A, confirmed_version=proven.account(A).version)
    clock.now_us += 86_400_000_000 - 1
    assert proven.archive(A).ok
    assert [found.order_id for found in proven.orders(A, every=True)] == ["young"]
    assert proven.history(A)[0].ident == "young"
    account = proven.account(A)
    assert account.records == 2  # the younger order and its id
    clock.now_us -= 1
    assert proven.archive(A).version == account.version
    assert proven.account(A) == account


def test_an_answer_is_overdue_only_after_its_deadline(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    due = clock() + 10
    proven.reserve(A, [order(hold=1, order_id="o")], request_id="r", deadline_us=due)
    clock.now_us = due
    assert proven.orders(A, overdue=True) == ()
    proven.sweep(A)
    assert proven.orders(A)[0].state is OrderState.RESERVED
    clock.now_us += 1
    assert len(proven.orders(A, overdue=True)) == 1
    proven.sweep(A)
    assert proven.orders(A) == ()


def test_a_venue_that_does_not_know_an_order_is_believed_only_after_good_till(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    until = clock() + 7_200_000_000
    proven.reserve(A, [order(hold=5, order_id="o")], request_id="r", send="caller", good_till_us=until)
    clock.advance(3_600)
    proven.sweep(A)
    for moment, code in ((until, Code.ILLEGAL_TRANSITION), (until + 1, Code.OK)):
        clock.now_us = moment
        answer = proven.resolve(A, "o", OrderState.CANCELLED, evidence="not_at_venue", event_id=str(moment))
        assert answer.code is code


def test_a_second_acknowledgement_that_says_nothing_new_is_no_record(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(order_id="o")], request_id="r", send="caller")
    assert proven.acknowledge(A, "o", "v", event_id="1").ok
    version = proven.account(A).version
    assert proven.acknowledge(A, "o", "v", event_id="2").code is Code.DUPLICATE
    assert proven.acknowledge(A, "o", event_id="3").code is Code.DUPLICATE
    assert proven.account(A).version == version


def test_an_order_resolved_to_live_awaits_no_cancel_any_more(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(order_id="o")], request_id="r", send="caller")
    proven.acknowledge(A, "o")
    proven.request_cancel(A, "o", deadline_us=clock() + 1)
    clock.advance(1)
    proven.sweep(A)
    assert proven.resolve(A, "o", OrderState.LIVE, evidence="venue", event_id="e").ok
    clock.advance(86_400)
    assert proven.orders(A, overdue=True) == ()
    proven.sweep(A)
    assert proven.orders(A)[0].state is OrderState.LIVE


def test_a_negative_fee_is_a_rebate_wherever_lots_move(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1, positions="tickets")
    proven.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="r")
    proven.fill(A, "o", 2, fill_id="f", fee="-0.000003")
    assert proven.account(A).balance_units == 1_000_003
    proven.close(A, "o", event_id="c", realised_pnl=0, fee="-0.000004")
    assert proven.account(A).balance_units == 1_000_007
    proven.execute(A, order(), request_id="x", fee="-0.000005")
    assert proven.account(A).balance_units == 1_000_012


def test_a_ticket_closed_to_the_last_lot_is_closed_only_when_its_order_has_ended(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, 1, positions="tickets")
    proven.reserve(A, [order(lots=3, hold=30, order_id="o")], request_id="r", send="caller")
    proven.fill(A, "o", 1, fill_id="f")
    assert proven.close(A, "o", event_id="c", realised_pnl=0).state is OrderState.LIVE
    assert proven.account(A).all_units == 20
    proven.fill(A, "o", 2, fill_id="g")
    assert proven.close(A, "o", event_id="d", realised_pnl=0).state is OrderState.CLOSED
    assert proven.account(A).all_units == 0


def test_a_late_fill_of_a_closed_ticket_is_said_and_counted_and_can_be_closed_again(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, 1, positions="tickets")
    proven.reserve(A, [order(lots=10, hold=100, order_id="o")], request_id="r", send="caller")
    proven.fill(A, "o", 2, fill_id="f")
    proven.cancel(A, "o")
    assert proven.close(A, "o", event_id="c", realised_pnl=0).state is OrderState.CLOSED
    late = proven.fill(A, "o", 3, fill_id="g", margin="0.000030")
    assert (late.state, late.flags) == (OrderState.CLOSED, ("late_fill", "under_reserved"))
    over = proven.fill(A, "o", 6, fill_id="h", margin="0.000060")
    assert over.flags == ("late_fill", "overfill", "under_reserved")
    assert proven.fill(A, "o", 1, fill_id="i", margin="0.000010").flags == ("overfill", "under_reserved")
    account, found = proven.account(A), proven.order(A, "o")
    assert (account.late_fills, account.overfills, account.executed_units) == (2, 2, 100)
    assert found is not None
    assert (found.filled, found.released, found.overfilled, found.open_lots) == (10, 0, 2, 10)
    assert proven.close(A, "o", event_id="d", realised_pnl=0).state is OrderState.CLOSED
    assert proven.account(A).all_units == 0


def test_a_mark_is_fresh_for_exactly_its_age_and_one_of_the_same_moment_is_taken(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1, mark_age_ms_max=1_000)
    proven.execute(A, order(), request_id="x", margin="0.000001")
    now = clock()
    assert proven.mark(A, {"SYM": "-0.1"}, as_of_us=now).flags == ()
    assert proven.mark(A, {"SYM": "-0.2"}, as_of_us=now).flags == ()
    assert proven.account(A).open_pnl_units == -200_000
    assert proven.mark(A, {"SYM": "-0.3"}, as_of_us=now - 1).flags == ("older",)
    assert proven.account(A).open_pnl_units == -200_000
    clock.now_us = now + 1_000_000
    assert proven.reserve(A, [order()], request_id="a").ok
    clock.now_us += 1
    assert proven.reserve(A, [order()], request_id="b").code is Code.STALE_MARK


def test_a_revaluation_of_the_past_is_dropped(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    proven.execute(A, order(), request_id="x", margin="0.000001")
    now = clock()
    assert proven.revalue(A, "SYM", "0.000005", as_of_us=now).flags == ()
    assert proven.revalue(A, "SYM", "0.000009", as_of_us=now - 1).flags == ("older",)
    # The same margin again moves nothing but the time, and that is kept.
    assert proven.revalue(A, "SYM", "0.000005", as_of_us=now + 5).flags == ()
    assert proven.symbols(A)[0].revalued_us == now + 5
    assert proven.revalue(A, "SYM", "0.000009", as_of_us=now + 4).flags == ("older",)
    now += 5
    assert proven.account(A).executed_units == 5
    assert proven.revalue(A, "SYM", "0.000006", as_of_us=now).flags == ()
    assert proven.account(A).executed_units == 6


@pytest.mark.parametrize(("hold", "code"), [(100, Code.OK), (101, Code.INSUFFICIENT_MARGIN)])
def test_free_may_become_zero_and_not_less(proven: ReservationBook, order: Make, hold: int, code: Code) -> None:
    proven.open_account(A, "0.000100")
    assert proven.reserve(A, [order(hold=hold)], request_id="r").code is code
    assert proven.account(A).free_units == (0 if code is Code.OK else 100)
    assert proven.withdraw(A, "0.000001", request_id="w").ok == (code is not Code.OK)


def test_limits_are_inclusive(proven: ReservationBook, order: Make) -> None:
    limits: dict[str, Any] = {
        "orders_max": 2,
        "order_margin_max": "0.000010",
        "margin_max": "0.000015",
        "position_lots_max": {"SYM": 4},
        "owner_margin_max": {"ann": "0.000007"},
    }
    proven.open_account(A, 1, **limits)
    assert proven.reserve(A, [order(hold=8)], request_id="1", owner="ann").code is Code.OWNER_LIMIT
    assert proven.reserve(A, [order(hold=4), order(hold=4)], request_id="2", owner="ann").code is Code.OWNER_LIMIT
    assert proven.reserve(A, [order(hold=3), order(hold=4)], request_id="3", owner="ann").ok
    for name in ("3:0", "3:1"):
        proven.cancel(A, name)
    assert proven.reserve(A, [order(lots=4, hold=10)], request_id="4").ok
    assert proven.reserve(A, [order(symbol="B", hold=6)], request_id="5").code is Code.ORDER_LIMIT
    assert proven.reserve(A, [order(symbol="B", hold=5)], request_id="6").ok
    assert proven.reserve(A, [order(symbol="B")], request_id="7").code is Code.ORDER_LIMIT


def test_reduce_only_orders_ride_free_up_to_the_position_and_not_beyond(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    proven.execute(A, order(lots=5), request_id="x", margin="0.000050")
    assert proven.reserve(A, [order("ask", 3, 30, reduce_only=True)], request_id="1").ok
    assert proven.account(A).all_units == 50
    assert proven.reserve(A, [order("ask", 2, 20, reduce_only=True)], request_id="2").ok
    assert proven.account(A).all_units == 50
    assert proven.reserve(A, [order("ask", 1, 10, reduce_only=True)], request_id="3").ok
    assert proven.account(A).all_units == 60


def test_a_record_that_an_id_issued_ahead_of_the_clock_leads_to_stays_with_the_id(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    ahead = clock() + 2 * 86_400_000_000
    named: dict[str, Any] = {"request_id": "ahead", "issued_at_us": ahead, "not_after_us": ahead + 10**12}
    first = proven.reserve(A, [order(hold=7)], **named)
    proven.deposit(A, 1, request_id="d")
    proven.export(A, confirmed_version=3)
    clock.advance(86_401)
    proven.archive(A)
    assert proven.account(A).trimmed_version == 1
    assert [record.version for record in proven.history(A)] == [2, 3, 4]
    again = proven.reserve(A, [order(hold=7)], **named)
    assert (again.code, again.version, again.granted) == (Code.DUPLICATE, first.version, first.granted)
    clock.now_us = ahead + 86_400_000_000
    proven.archive(A)
    assert proven.account(A).trimmed_version == 3
    assert proven.reserve(A, [order(hold=7)], **named).code is Code.TOO_OLD_FOR_DEDUPE


@pytest.mark.parametrize("compact_after_s", [None, 1])
@pytest.mark.parametrize("name", [None, "another"])
def test_an_id_issued_ahead_of_the_clock_keeps_its_answer_once_its_orders_have_left_the_book(
    proven: ReservationBook, order: Make, clock: Any, name: str | None, compact_after_s: int | None
) -> None:
    proven.open_account(A, 1)
    ahead = clock() + 3 * 86_400_000_000
    named: dict[str, Any] = {"request_id": "ahead", "issued_at_us": ahead, "not_after_us": ahead + 10**12}
    ladder = [order(hold=7, order_id=name), order("ask", hold=9)]
    first = proven.reserve(A, ladder, **named)
    later = proven.reserve(A, [order(hold=1)], request_id="later")
    for order_id in (*first.granted, *later.granted):
        proven.cancel(A, order_id)
    clock.advance(10)
    if compact_after_s is not None:
        proven.archive(A, compact_after_s=compact_after_s)
    proven.export(A, confirmed_version=proven.account(A).version)
    clock.advance(86_401)
    proven.archive(A)
    assert proven.orders(A, every=True) == ()
    assert proven.history(A)[0].version == first.version
    assert proven.reserve(A, [order(hold=1)], request_id="later").ok
    # One of the names belongs to another request now.
    assert proven.reserve(A, [order(hold=2, order_id=first.granted[0])], request_id="other").ok
    for _ in range(2):
        again = proven.reserve(A, ladder, **named)
        assert (again.code, again.version, again.granted) == (Code.DUPLICATE, first.version, first.granted)
        assert proven.reserve(A, ladder[1:], **named).code is Code.REQUEST_CONFLICT
        assert proven.audit(A).findings == ()
        clock.advance(86_401)
        proven.archive(A)
    clock.now_us = ahead + 86_400_000_000
    proven.archive(A)
    assert proven.reserve(A, ladder, **named).code is Code.TOO_OLD_FOR_DEDUPE


def test_an_id_is_forgotten_at_the_watermark_while_its_order_lives(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    issued = clock()
    assert proven.reserve(A, [order(hold=7)], request_id="r").ok
    records = proven.account(A).records
    clock.advance(86_400)
    proven.archive(A)
    # The account's own id went too.
    assert proven.account(A).records == records - 2
    late: dict[str, Any] = {"request_id": "r", "not_after_us": clock() + 1}
    assert proven.reserve(A, [order(hold=7)], issued_at_us=issued, **late).code is Code.TOO_OLD_FOR_DEDUPE
    assert proven.reserve(A, [order(hold=7)], issued_at_us=issued + 1, **late).code is Code.ORDER_EXISTS
    assert proven.deposit(A, 1, issued_at_us=issued + 1, **late).ok
    assert proven.reserve(A, [order(hold=7)], issued_at_us=issued + 1, **late).code is Code.REQUEST_CONFLICT


def test_an_order_that_is_called_like_the_first_of_a_request_does_not_answer_for_it(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, 1)
    assert proven.reserve(A, [order(hold=1, order_id="r:0")], request_id="x").ok
    assert proven.reserve(A, [order(hold=1)], request_id="r").code is Code.ORDER_EXISTS
    assert proven.deposit(A, 1, request_id="r").ok
    assert proven.reserve(A, [order(hold=1)], request_id="r").code is Code.REQUEST_CONFLICT
    assert proven.reserve(A, [order(hold=1, order_id="r:0")], request_id="x").code is Code.DUPLICATE
    # Of a ladder that is not held whole the answer is not in the journal; nor is the second order the first.
    some = [order(hold=5), order(hold=10**9)]
    part = proven.reserve(A, some, request_id="p", policy="best_effort")
    assert part.granted == ("p:0",)
    assert proven.reserve(A, some, request_id="p", policy="best_effort").order_rows == part.order_rows
    turned = [order(hold=1, order_id="t:1"), order("ask", hold=1, order_id="t:0")]
    assert proven.reserve(A, turned, request_id="t").ok
    assert proven.reserve(A, turned, request_id="t").code is Code.DUPLICATE
    assert proven.abandon(A, "t").granted == ("t:1", "t:0")


def test_the_tombstone_of_an_id_issued_ahead_of_the_clock_keeps_no_record_on_any_store(
    proven: ReservationBook, clock: Any
) -> None:
    proven.open_account(A, 1)
    ahead = clock() + 2 * 86_400_000_000
    assert proven.abandon(A, "never", issued_at_us=ahead).ok
    proven.deposit(A, 1, request_id="d")
    proven.export(A, confirmed_version=3)
    clock.advance(86_401)
    proven.archive(A)
    assert proven.account(A).trimmed_version == 3
    assert [record.op for record in proven.history(A)] == ["archive"]
    late: dict[str, Any] = {"request_id": "never", "issued_at_us": ahead, "not_after_us": ahead + 10**12}
    assert proven.deposit(A, 1, **late).code is Code.REQUEST_ABANDONED
    assert proven.abandon(A, "never", issued_at_us=ahead).code is Code.DUPLICATE


@pytest.mark.parametrize("closed", [None, "meanwhile", "afterwards"])
def test_a_mark_by_a_clock_that_was_ahead_is_stale_and_gives_way_once_it_is_set_right(
    proven: ReservationBook, order: Make, clock: Any, closed: str | None
) -> None:
    """Taken for the newest there is, it would hide every loss from then on, and be fresh until the clock is there."""
    proven.open_account(A, 1, mark_age_ms_max=60_000)

    def trade(side: str, name: str) -> None:
        traded = order(side, order_id=name)
        assert proven.execute(A, traded, request_id=name, margin="0.000001", realised_pnl=0).ok

    trade("bid", "a")
    clock.advance(100)
    opened = clock()
    clock.advance(86_400)
    assert proven.mark(A, {"SYM": "0.2"}).flags == ()
    assert proven.revalue(A, "SYM", "0.000005").flags == ()
    if closed == "meanwhile":
        trade("ask", "b")
        trade("bid", "c")
    clock.now_us = opened
    if closed == "afterwards":
        trade("ask", "b")
        assert proven.mark(A, {"SYM": "0.1"}, as_of_us=opened - 1).flags == ("no_position",)
        trade("bid", "c")
        # The close was a mark, by the clock that is right again.
        assert proven.mark(A, {"SYM": "0.1"}, as_of_us=opened - 1).flags == ("older",)
        assert proven.revalue(A, "SYM", "0.000009", as_of_us=opened - 1).flags == ("older",)
        assert proven.symbols(A)[0][-2:] == (opened, opened)
    else:
        assert proven.reserve(A, [order()], request_id="blind").code is Code.STALE_MARK
        assert proven.withdraw(A, "0.1", request_id="blind too").code is Code.STALE_MARK
        clock.advance(1)
    now = clock()
    assert proven.mark(A, {"SYM": "-0.3"}).flags == ()
    assert proven.revalue(A, "SYM", "0.000006").flags == ()
    assert (proven.account(A).open_pnl_units, proven.account(A).executed_units) == (-300_000, 6)
    assert proven.symbols(A)[0][-2:] == (now, now)
    # From here on they are in order again.
    assert proven.mark(A, {"SYM": "0.4"}, as_of_us=now - 1).flags == ("older",)
    assert proven.revalue(A, "SYM", "0.000007", as_of_us=now - 1).flags == ("older",)
    assert proven.reserve(A, [order()], request_id="seen").ok


def test_a_mark_gives_way_to_an_older_one_only_if_it_is_far_ahead_of_the_clock(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    clock.advance(-1)
    proven.open_account(A, 1)
    opened = clock()
    clock.advance(1)
    proven.execute(A, order(), request_id="x", margin="0.000001")
    now, far = clock(), 10_000_000

    def both(as_of_us: int, value: int) -> tuple[str, ...]:
        flags = proven.mark(A, {"SYM": value}, as_of_us=as_of_us).flags
        assert proven.revalue(A, "SYM", f"0.00000{value}", as_of_us=as_of_us).flags == flags
        row = proven.symbols(A)[0]
        assert (row[-2:] == (as_of_us, as_of_us)) == (flags == ())
        return flags

    # Clocks of several hosts are a little apart.
    assert both(now + far, 1) == ()
    assert both(now + far - 1, 2) == ("older",)
    assert both(now, 2) == ("older",)
    # Among those that are far ahead the order is theirs.
    assert both(now + far + 9, 3) == ()
    assert both(now + far + 8, 4) == ("older",)
    assert both(now + far + 1, 4) == ("older",)
    # What is from before the account was opened is by a clock that is wrong now, or not of this account.
    assert both(opened - 1, 5) == ("older",)
    assert both(now + far, 6) == ()
    assert both(now + far + 1, 7) == ()
    assert both(opened, 8) == ()
    assert both(opened - 1, 9) == ("older",)


def test_a_mark_of_a_time_to_come_is_fresh_for_exactly_its_age_before_it(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1, mark_age_ms_max=1_000)
    proven.execute(A, order(), request_id="x", margin="0.000001")
    assert proven.mark(A, {"SYM": 0}, as_of_us=clock() + 1_000_001).flags == ()
    assert proven.reserve(A, [order()], request_id="a").code is Code.STALE_MARK
    clock.now_us += 1
    assert proven.reserve(A, [order()], request_id="b").ok
