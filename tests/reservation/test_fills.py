"""Numbers: holds that shrink, positions that move, results and flags."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import servers

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, Outcome, ReservationBook
from equipoise.reservation.money import held

Make = Callable[..., Order]
A = "acc"


def units(book: ReservationBook) -> tuple[int, int, int]:
    account = book.account(A)
    return account.balance_units, account.executed_units, account.all_units


@given(amount=st.integers(0, 2**53 - 1), lots=st.integers(1, 2**53 - 1), data=st.data())
def test_a_hold_shrinks_by_its_lots_and_the_larger_shares_last(amount: int, lots: int, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, lots))
    b, x = divmod(amount, lots)
    assert held(amount, lots, left) == b * left + min(x, left)
    assert held(amount, lots, lots) == amount
    assert held(amount, lots, 0) == 0
    again = data.draw(st.integers(0, left))
    if left:
        assert held(held(amount, lots, left), left, again) == held(amount, lots, again)


def test_partial_fills_release_the_hold_and_end_at_zero(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(lots=3, hold=11, order_id="o")], request_id="r")
    holds = []
    for step in range(3):
        assert proven.fill(A, "o", 1, fill_id=str(step), margin="0.000003").ok
        found = proven.order(A, "o")
        assert found is not None
        holds.append(found.hold)
    assert holds == [8, 4, 0]
    assert units(proven) == (1_000_000, 9, 9)


def test_an_opposing_fill_shrinks_the_position_margin_and_books_its_result(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "1", rule="worst_side")
    proven.execute(A, order(lots=3, hold=10), request_id="x")
    proven.reserve(A, [order("ask", lots=2, hold=6, order_id="o")], request_id="r")
    outcome = proven.fill(A, "o", 2, fill_id="f", realised_pnl="-0.000004", fee="0.000001", margin="0.000099")
    assert outcome.flags == ("margin_ignored",)
    assert units(proven) == (999_995, 4, 4)
    assert proven.symbols(A)[0].lots == 1


def test_a_fill_through_zero_is_one_event_with_both_parts(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1", rule="worst_side")
    proven.execute(A, order(lots=3, hold=10), request_id="x")
    proven.mark(A, {"SYM": "-0.000100"})
    proven.reserve(A, [order("ask", lots=5, hold=20, order_id="o")], request_id="r")
    version = proven.account(A).version
    assert proven.fill(A, "o", 5, fill_id="f", margin="0.000008", realised_pnl="0.000050").ok
    assert proven.account(A).version == version + 1
    assert units(proven) == (1_000_050, 8, 8)
    assert proven.symbols(A)[0].lots == -2
    assert proven.account(A).open_pnl_units == 0


def test_reducing_takes_open_pnl_down_pro_rata_in_the_same_step(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.execute(A, order(lots=4, hold=8), request_id="x")
    proven.mark(A, {"SYM": "-0.000010"})
    proven.execute(A, order("ask", lots=1, hold=0), request_id="y", realised_pnl="-0.000003")
    account = proven.account(A)
    assert (account.open_pnl_units, account.balance_units) == (-8, 999_997)


def test_missing_result_counts_as_zero_flagged_and_counted(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.execute(A, order(lots=1, hold=8), request_id="x")
    proven.reserve(A, [order("ask", lots=1, order_id="o")], request_id="r")
    assert proven.fill(A, "o", 1, fill_id="f").flags == ("pnl_missing",)
    assert proven.account(A).pnl_missing == 1
    found = proven.order(A, "o")
    assert found is not None
    assert found.flags == ("pnl_missing",)


def test_a_late_fill_is_booked_even_below_zero_and_then_only_reducing_is_granted(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "0.000010")
    proven.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="r")
    assert proven.cancel(A, "o").ok
    late = proven.fill(A, "o", 2, fill_id="f", margin="0.000012")
    assert "late_fill" in late.flags
    found = proven.order(A, "o")
    assert found is not None
    assert (found.state, found.filled, found.released) == (OrderState.CANCELLED, 2, 0)
    assert proven.account(A).free_units == -2
    assert proven.account(A).late_fills == 1
    assert proven.reserve(A, [order(hold=1)], request_id="2").code is Code.INSUFFICIENT_MARGIN
    assert proven.reserve(A, [order("ask", 2, 5, reduce_only=True)], request_id="3").ok
    assert proven.execute(A, order("ask", 1), request_id="4", realised_pnl=0).ok


@pytest.mark.parametrize("shrunken", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "leg"),
    [
        ({"rule": "hedge_legs"}, {"rule": "worst_side"}, None),
        ({"rule": "hedge_legs"}, {"rule": "larger_leg"}, None),
        ({"rule": "hedge_legs"}, {"rule": "sum", "positions": "tickets"}, None),
        ({"rule": "hedge_legs"}, {"rule": "larger_leg", "positions": "tickets"}, None),
        ({"rule": "worst_side"}, {"rule": "hedge_legs"}, "long"),
        ({"rule": "sum", "positions": "tickets"}, {"rule": "sum", "positions": "hedge"}, "long"),
    ],
)
def test_a_late_fill_after_a_change_of_positions_opens_one_that_can_be_closed(
    proven: ReservationBook,
    order: Make,
    clock: Any,
    before: dict[str, Any],
    after: dict[str, Any],
    leg: str | None,
    shrunken: bool,
) -> None:
    proven.open_account(A, 1, **before)
    asked_leg = "long" if leg is None else None
    assert proven.reserve(A, [order(lots=5, hold=50, order_id="o", leg=asked_leg)], request_id="r").ok
    assert proven.cancel(A, "o").ok
    if shrunken:
        clock.advance(120)
        assert proven.archive(A).ok
    assert proven.set_terms(A, request_id="t", **after).ok
    late = proven.fill(A, "o", 2, fill_id="f", margin="0.000020")
    assert (late.code, late.flags) == (Code.OK, ("late_fill", "under_reserved"))
    (row,) = [row for row in proven.symbols(A) if row.lots]
    assert (row.leg, row.lots, row.margin) == (leg or "", 2, 20)
    found = proven.order(A, "o")
    assert found is not None
    assert found.leg == (leg or "")
    assert proven.audit(A).findings == ()
    if after.get("positions") == "tickets":
        assert proven.close(A, "o", event_id="c", realised_pnl=0).ok
    else:
        out = order("ask", lots=2, leg=leg)
        assert proven.execute(A, out, request_id="x", realised_pnl=0).ok
    assert units(proven)[1:] == (0, 0)
    # The next one is booked where the first was.
    assert proven.fill(A, "o", 1, fill_id="g", margin="0.000010").ok
    assert [(row.leg, row.lots) for row in proven.symbols(A) if row.lots] == [(leg or "", 1)]


def test_i11_overfill_is_counted_apart(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="r")
    outcome = proven.fill(A, "o", 5, fill_id="f", margin="0.000030")
    assert set(outcome.flags) == {"overfill", "under_reserved"}
    found = proven.order(A, "o")
    assert found is not None
    assert (found.state, found.filled, found.overfilled, found.working) == (OrderState.FILLED, 2, 3, 0)
    assert proven.symbols(A)[0].lots == 5


def test_reduce_only_holds_nothing_while_it_fits_and_surplus_is_flagged(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1", rule="sum")
    proven.execute(A, order(lots=4, hold=8), request_id="x")
    asks = [order("ask", 3, 6, reduce_only=True, order_id="a"), order("ask", 3, 6, reduce_only=True, order_id="b")]
    assert [item.hold for item in proven.reserve(A, asks, request_id="r").orders] == [0, 6]
    assert proven.account(A).all_units == 14
    outcome = proven.fill(A, "a", 3, fill_id="f", realised_pnl=0)
    assert "reduce_only_surplus" in outcome.flags
    assert proven.symbols(A)[0].reduce_surplus_lots == 2
    assert proven.account(A).all_units == 2 + 6


def test_hedge_legs_add_up_and_closing_orders_hold_nothing(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1", rule="hedge_legs")
    orders = [order("bid", 2, 10, leg="long", order_id="ol"), order("ask", 2, 7, leg="short", order_id="os")]
    assert [item.hold for item in proven.reserve(A, orders, request_id="r").orders] == [10, 7]
    assert proven.account(A).all_units == 17
    proven.fill(A, "ol", 2, fill_id="f", margin="0.000010")
    proven.fill(A, "os", 2, fill_id="f", margin="0.000007")
    assert units(proven)[1:] == (17, 17)
    closing = [order("ask", 2, 5, leg="long", order_id="cl"), order("bid", 2, 5, leg="short", order_id="cs")]
    assert [item.hold for item in proven.reserve(A, closing, request_id="q").orders] == [0, 0]
    proven.fill(A, "cl", 2, fill_id="f", realised_pnl="0.000001")
    assert units(proven) == (1_000_001, 7, 7)


def test_an_order_that_closes_more_than_its_leg_is_charged_and_limited_like_any_other(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "0.000100", rule="hedge_legs", position_lots_max={"SYM": 5})
    for leg, side in (("long", "ask"), ("short", "bid")):
        close = order(side, 3, 90, leg=leg, order_id=f"{leg} empty")
        assert proven.reserve(A, [close], request_id=f"{leg} 1").orders[0].hold == 90
        proven.cancel(A, f"{leg} empty")
        assert proven.reserve(A, [order(side, 3, 101, leg=leg)], request_id="r").code is Code.INSUFFICIENT_MARGIN
        # A charge of nothing holds nothing, but the position's limit stands, for several of them too.
        assert proven.reserve(A, [order(side, 6, 0, leg=leg)], request_id="r").code is Code.POSITION_LIMIT
        assert proven.reserve(A, [order(side, 3, 0, leg=leg)] * 2, request_id="r").code is Code.POSITION_LIMIT
        opens = order("bid" if side == "ask" else "ask", 4, leg=leg)
        assert proven.execute(A, opens, request_id=f"{leg} x", margin="0.000010").ok
        fits, surplus = order(side, 3, 60, leg=leg, order_id=f"{leg} fits"), order(side, 2, 40, leg=leg)
        assert [item.hold for item in proven.reserve(A, [fits, surplus], request_id=f"{leg} 2").orders] == [0, 40]
        assert proven.amend(A, f"{leg} fits", 3, "0.000060", event_id="a").code is Code.ILLEGAL_TRANSITION
        proven.claim(A, f"{leg} fits", event_id="c")
        # With the two of the other order it no longer fits.
        assert proven.amend(A, f"{leg} fits", 4, "0.000080", event_id="a").code is Code.INSUFFICIENT_MARGIN
        proven.cancel(A, f"{leg} 2:1")
        assert proven.amend(A, f"{leg} fits", 4, "0.000080", event_id="a").ok
        assert proven.fill(A, f"{leg} fits", 4, fill_id="f", realised_pnl=0).ok
        assert units(proven) == (100, 0, 0)


def test_i3_a_ticket_takes_over_its_whole_hold_beside_one_of_the_other_side(
    proven: ReservationBook, order: Make
) -> None:
    """Tickets reduce nothing, so what the hold of a fill releases is all of it the margin of the lots that open."""
    proven.open_account(A, "1", positions="tickets")
    proven.execute(A, order("ask", 5, 50), request_id="x")
    proven.reserve(A, [order("bid", 3, 31)], request_id="r")
    assert proven.fill(A, "r:0", 2, fill_id="1").flags == ()
    assert proven.fill(A, "r:0", 1, fill_id="2").flags == ()
    assert units(proven)[1:] == (81, 81)


def test_larger_leg_charges_the_dearest_rate_on_the_larger_side(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1", rule="larger_leg", positions="tickets")
    ladder = [order("bid", 3, 30), order("ask", 5, 100), order("bid", 1, 50)]
    proven.reserve(A, ladder, request_id="r")
    assert proven.account(A).all_units == 50 * 5
    proven.cancel(A, "r:2")
    assert proven.account(A).all_units == 20 * 5
    proven.fill(A, "r:1", 5, fill_id="f", margin="0.000090")
    assert units(proven)[1:] == (18 * 5, 18 * 5)
    proven.close(A, "r:1", 3, event_id="c", realised_pnl=0)
    assert units(proven)[1:] == (18 * 2, 18 * 3)


def test_revalue_moves_position_margin_by_a_journalled_step(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, "1")
    assert proven.revalue(A, "SYM", "0.1").code is Code.ILLEGAL_TRANSITION
    proven.execute(A, order(lots=2, hold=8), request_id="x")
    assert proven.revalue(A, "SYM", "0.000009", as_of_us=clock()).ok
    version = proven.account(A).version
    assert proven.revalue(A, "SYM", "0.000001", as_of_us=clock() - 1).flags == ("older",)
    assert proven.revalue(A, "SYM", "0.000009").ok
    assert proven.account(A).version == version
    assert units(proven)[1:] == (9, 9)
    assert proven.history(A)[-1].op == "revalue"


def test_mark_is_ordered_by_as_of_and_never_touches_used_margin(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    assert proven.mark(A, {"SYM": "-0.5"}).flags == ("no_position",)
    proven.execute(A, order(lots=2, hold=8), request_id="x")
    assert proven.mark(A, {"SYM": "-0.5"}, as_of_us=20).ok
    assert proven.mark(A, {"SYM": "-0.9"}, as_of_us=19).flags == ("older",)
    account = proven.account(A)
    assert (account.free, account.withdrawable) == (Decimal("0.499992"), Decimal("0.499992"))
    proven.mark(A, {"SYM": "0.5"}, as_of_us=21)
    account = proven.account(A)
    assert (account.free, account.equity) == (Decimal("0.999992"), Decimal("1.5"))
    assert account.version == 2


@pytest.mark.parametrize("how", ["fill", "flip", "execute", "hedge"])
def test_a_margin_from_before_a_position_was_closed_is_not_for_the_next_one(
    proven: ReservationBook, order: Make, clock: Any, how: str
) -> None:
    """Late on its way, it would hold what the venue held for the old position."""
    leg = "long" if how == "hedge" else None
    proven.open_account(A, 1, positions="hedge" if how == "hedge" else "net")

    def trade(side: str, lots: int, name: str, hold: int = 0) -> None:
        if how == "fill":
            assert proven.reserve(A, [order(side, lots, hold, order_id=name)], request_id=name).ok
            assert proven.fill(A, name, lots, fill_id="f", margin=Decimal(hold) / 10**6, realised_pnl=0).ok
        else:
            assert proven.execute(
                A, order(side, lots, hold, leg=leg, order_id=name), request_id=name, realised_pnl=0
            ).ok

    def revalue(margin: str, as_of_us: int) -> Outcome:
        return proven.revalue(A, "SYM", margin, leg=leg, as_of_us=as_of_us)

    trade("bid", 3, "a", 8)
    late_us = clock()
    clock.advance(1)
    if how == "flip":
        trade("ask", 5, "b", 9)
    else:
        trade("ask", 3, "b")
        trade("bid", 5, "c", 9)
    assert proven.account(A).executed_units == 9
    assert revalue("0.000002", late_us).flags == ("older",)
    assert proven.account(A).executed_units == 9
    assert revalue("0.000007", clock()).flags == ()
    assert proven.account(A).executed_units == 7


@pytest.mark.parametrize("how", ["fill", "flip", "execute", "hedge", "ticket"])
def test_a_mark_from_before_a_position_was_closed_is_not_for_the_next_one(
    proven: ReservationBook, order: Make, clock: Any, how: str
) -> None:
    """Late on its way, it would give the new position the old one's result, which is free margin under `all`."""
    positions = {"hedge": "hedge", "ticket": "tickets"}.get(how, "net")
    leg = "long" if how == "hedge" else None
    proven.open_account(A, 1, pnl_policy="all", positions=positions, mark_age_ms_max=10_000)

    def execute(side: str, lots: int, name: str) -> None:
        opened = order(side, lots, 8, leg=leg, order_id=name)
        assert proven.execute(A, opened, request_id=name, realised_pnl=None if positions == "tickets" else 0).ok

    def mark(value: str, as_of_us: int) -> Outcome:
        return proven.mark(A, {("SYM", leg): value}, as_of_us=as_of_us)

    execute("bid", 3, "a")
    late_us = clock()
    assert mark("0.2", late_us).flags == ()
    clock.advance(1)
    if how == "ticket":
        assert proven.close(A, "a", 1, event_id="c1", realised_pnl=0).ok
        assert mark("0.1", clock()).flags == ()  # not closed yet
        clock.advance(1)
        assert proven.close(A, "a", 2, event_id="c2", realised_pnl=0).ok
        execute("bid", 3, "b")
    elif how == "flip":
        execute("ask", 5, "b")
    elif how == "fill":
        assert proven.reserve(
            A, [order("ask", 3, 0, order_id="b"), order("bid", 1, 9, order_id="c")], request_id="r"
        ).ok
        assert proven.fill(A, "b", 2, fill_id="f", realised_pnl=0).ok
        assert mark("0.1", clock()).flags == ()  # not closed yet
        clock.advance(1)
        assert proven.fill(A, "b", 1, fill_id="g", realised_pnl=0).ok
        assert proven.fill(A, "c", 1, fill_id="f").ok
    else:
        execute("ask", 3, "b")
        execute("bid", 1, "c")
    closed_us = clock()
    assert mark("0.7", closed_us - 1).flags == ("older",)
    assert proven.account(A).open_pnl_units == 0
    # Nothing was open at that moment, so the age of the marks counts from there.
    assert proven.reserve(A, [order(hold=1, leg=leg)], request_id="fresh").ok
    clock.advance(10.001)
    assert proven.reserve(A, [order(hold=1, leg=leg)], request_id="stale").code is Code.STALE_MARK
    assert mark("-0.1", closed_us).flags == ()
    assert proven.account(A).open_pnl_units == -100_000


def test_an_open_result_is_marked_once_per_symbol_and_leg(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 100, pnl_policy="all")
    proven.execute(A, order(), request_id="x")
    for marks in (
        {"SYM": 100, ("SYM", ""): 100},
        {("SYM", ""): 1, ("SYM", None): 1},
        {("SYM", "up"): 1},
        {("SYM",): 1},
    ):
        with pytest.raises(InputError) as caught:
            proven.mark(A, marks)
        assert caught.value.argument in ("open_pnl", "leg")
    assert proven.account(A).free == 100
    assert proven.mark(A, {("SYM", ""): 100}).flags == ()
    assert proven.account(A).free == 200


def test_pnl_policy_all_counts_open_profit_into_free_but_not_into_withdrawable(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "1", pnl_policy="all")
    proven.execute(A, order(lots=2, hold=0), request_id="x")
    proven.mark(A, {"SYM": "0.5"})
    assert (proven.account(A).free, proven.account(A).withdrawable) == (Decimal("1.5"), 1)
    assert proven.reserve(A, [order()], request_id="r", holds=["1.2"]).ok
    assert proven.history(A)[-1].before.open_pnl == 500_000


def test_i5_executed_margin_moves_only_with_positions(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(lots=2, hold=8)] * 3, request_id="r")
    proven.fill(A, "r:0", 2, fill_id="f")
    proven.cancel(A, "r:1")
    proven.request_cancel(A, "r:2")
    proven.deposit(A, 1, request_id="d")
    proven.revalue(A, "SYM", "0.000007")
    moved = {r.op for r in proven.history(A) if r.before.executed != r.after.executed}
    assert moved == {"fill", "revalue"}


def test_i3_every_hold_ends_exactly_once(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    rng = random.Random(7)
    proven.reserve(A, [order(lots=rng.randint(1, 9), hold=rng.randint(0, 99)) for _ in range(60)], request_id="r")
    for place in range(60):
        name = f"r:{place}"
        events = [
            lambda name=name: proven.fill(A, name, rng.randint(1, 9), fill_id="f", margin=0),
            lambda name=name: proven.cancel(A, name),
            lambda name=name: proven.reject(A, name),
            lambda name=name: proven.expire(A, name),
        ]
        for event in rng.sample(events, 4):
            event()
    assert proven.orders(A) == ()
    assert proven.account(A).all_units == proven.account(A).executed_units == 0


def test_i16_every_change_has_a_journal_record_with_cause_before_and_after(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=5, order_id="o")], request_id="r")
    proven.fill(A, "o", 1, fill_id="f", margin="0.000004", fee="0.000001")
    opened, reserved, filled = proven.history(A)
    assert [opened.version, reserved.version, filled.version] == [1, 2, 3]
    assert (reserved.op, reserved.ident, filled.ident, filled.order_id) == ("reserve", "r", "f", "o")
    assert (filled.before.all, filled.after.all, filled.after.balance) == (5, 4, 999_999)
    change = filled.orders[0]
    assert change.before is not None
    assert (change.before[0], change.after[0]) == (OrderState.RESERVED, OrderState.FILLED)
    assert dict(filled.details)["margin"] == 4
    assert proven.history(A, after_version=2) == (filled,)
    assert proven.history(A, limit=1) == (opened,)


def test_holds_and_releases_of_unicode_and_16_digit_ids_round_trip(proven: ReservationBook, order: Make) -> None:
    proven.open_account("счёт-7", 2**53 - 1, "USD", scale=0)
    name = "заявка-№9007199254740991"
    assert proven.reserve("счёт-7", [order(order_id=name)], request_id="请求", holds=[2**53 - 1]).ok
    proven.acknowledge("счёт-7", name, "venue null")
    found = proven.order("счёт-7", "venue null")
    assert found is not None
    assert (found.order_id, found.hold) == (name, 2**53 - 1)


@pytest.mark.parametrize("scale", range(10))
def test_amounts_of_every_scale_are_exact(proven: ReservationBook, order: Make, scale: int) -> None:
    unit = Decimal(1).scaleb(-scale)
    proven.open_account(A, 3 * unit, scale=scale)
    assert proven.reserve(A, [order()], request_id="r", holds=[2 * unit]).ok
    assert proven.account(A).free == unit
    assert proven.reserve(A, [order()], request_id="q", holds=[2 * unit]).shortfall == unit


@pytest.mark.parametrize("end", ["fill", "cancel"])
def test_larger_leg_counts_no_rate_of_a_reduce_only_order_that_fits_and_takes_none_out(
    proven: ReservationBook, order: Make, end: str
) -> None:
    proven.open_account(A, "1", rule="larger_leg")
    proven.execute(A, order(lots=1), request_id="x", margin="0.000004")
    proven.reserve(A, [order("bid", 2, 20), order("ask", 1, 90, reduce_only=True)], request_id="r")
    assert proven.account(A).all_units == 10 * 3
    if end == "fill":
        proven.fill(A, "r:1", 1, fill_id="f", realised_pnl=0)
    else:
        proven.cancel(A, "r:1")
    assert proven.audit(A).findings == ()
    proven.cancel(A, "r:0")
    assert proven.account(A).all_units == (0 if end == "fill" else 4)


@pytest.mark.parametrize("end", ["fill", "cancel", "sweep", "amend"])
def test_i2_larger_leg_counts_lots_and_rate_of_a_reduce_only_order_that_does_not_fit(
    proven: ReservationBook, order: Make, clock: Any, end: str
) -> None:
    proven.open_account(A, "0.000100", rule="larger_leg", position_lots_max={"SYM": 9})

    def ask(lots: int, hold: int, request_id: str, **named: Any) -> Code:
        reduce = order("ask", lots, hold, reduce_only=True, order_id=f"o{request_id}")
        return proven.reserve(A, [reduce], request_id=request_id, **named).code

    assert ask(5, 101, "1") is Code.INSUFFICIENT_MARGIN
    assert ask(10, 10, "1") is Code.POSITION_LIMIT
    assert ask(5, 50, "1", send="claim" if end == "sweep" else "caller") is Code.OK
    assert proven.account(A).all_units == 50
    assert proven.withdraw(A, "0.000051", request_id="w").code is Code.INSUFFICIENT_MARGIN
    # The second is charged for both, at the dearer rate.
    assert ask(4, 48, "2") is Code.INSUFFICIENT_MARGIN
    assert ask(4, 40, "2") is Code.OK
    assert proven.account(A).all_units == 90
    proven.cancel(A, "o2")
    assert proven.account(A).all_units == 50
    if end == "fill":
        proven.fill(A, "o1", 3, fill_id="f")
        assert units(proven)[1:] == (30, 50)
        proven.fill(A, "o1", 2, fill_id="g")
        assert units(proven)[1:] == (50, 50)
        return
    if end == "amend":
        assert proven.amend(A, "o1", 6, "0.000120", event_id="a").code is Code.INSUFFICIENT_MARGIN
        assert proven.amend(A, "o1", 6, "0.000090", event_id="a").ok
        assert proven.account(A).all_units == 90
        proven.settle_amend(A, "o1", "accepted", amend_id="a")
        assert proven.account(A).all_units == 90
    if end == "sweep":
        clock.advance(3_600)
        proven.sweep(A)
    else:
        proven.cancel(A, "o1")
    assert units(proven)[1:] == (0, 0)


@pytest.mark.parametrize("end", ["fill", "cancel", "sweep"])
def test_an_owner_gets_its_room_back_whichever_way_the_hold_ends(
    proven: ReservationBook, order: Make, clock: Any, end: str
) -> None:
    proven.open_account(A, "1", owner_margin_max={"ann": "0.000010"})
    assert proven.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="1", owner="ann").ok
    assert proven.reserve(A, [order(hold=1)], request_id="2", owner="ann").code is Code.OWNER_LIMIT
    if end == "fill":
        proven.fill(A, "o", 2, fill_id="f")
    elif end == "cancel":
        proven.cancel(A, "o")
    else:
        clock.advance(3_600)
        proven.sweep(A)
    assert proven.reserve(A, [order(hold=10)], request_id="2", owner="ann").ok


@pytest.mark.parametrize("store", ["memory", "valkey"])
def test_whatever_fills_first_no_position_passes_its_limit_beside_what_may_only_reduce(order: Make, store: str) -> None:
    """And no more is refused than could pass it: filled after all that closes, what was refused would."""
    numbers = itertools.count()
    lots = st.integers(1, 9)

    @given(
        side=st.sampled_from(["bid", "ask"]),
        had=lots,
        room=st.integers(0, 4),
        closing=st.lists(lots, max_size=3),
        plain=st.lists(st.integers(1, 14), min_size=1, max_size=4),
        chance=st.randoms(use_true_random=False),
    )
    def live(side: str, had: int, room: int, closing: list[int], plain: list[int], chance: random.Random) -> None:
        name, limit = f"limit{next(numbers)}", had + room
        book.open_account(name, 1, position_lots_max={"SYM": limit})
        against, position, closes, rests = "ask" if side == "bid" else "bid", -had, 0, 0
        assert book.execute(name, order(against, had), request_id="x", margin="0.00001").ok
        left: dict[str, int] = {}
        for n, size in enumerate(closing):
            if closes + size <= had:
                assert book.reserve(
                    name, [order(side, size, order_id=f"c{n}", reduce_only=True)], request_id=f"c{n}"
                ).ok
                closes, left[f"c{n}"] = closes + size, size
        for n, size in enumerate(plain):
            code = book.reserve(name, [order(side, size, order_id=f"p{n}")], request_id=f"p{n}").code
            assert code is (Code.OK if position + closes + rests + size <= limit else Code.POSITION_LIMIT)
            if code is Code.OK:
                rests, left[f"p{n}"] = rests + size, size
        while left:
            chosen = chance.choice(sorted(left))
            # The venue fills no more of what may only reduce than there is to close.
            most = min(left[chosen], max(0, -position)) if chosen[0] == "c" else left[chosen]
            if most:
                size = chance.randint(1, most)
                fill_id = f"{chosen} {left[chosen]}"
                assert book.fill(name, chosen, size, fill_id=fill_id, margin="0.00001", realised_pnl=0).ok
                position, left[chosen] = position + size, left[chosen] - size
            if not most or not left[chosen]:
                del left[chosen]
            assert position <= limit
        assert book.symbols(name)[0].lots == (position if side == "bid" else -position)

    with ReservationBook.connect("memory:" if store == "memory" else servers.shared().url) as book:
        live()
