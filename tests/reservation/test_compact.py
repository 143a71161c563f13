"""Orders that ended without a fill shrink after a minute, and every fact about them can still be booked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import BookOrder, Code, OrderState, ReservationBook

Make = Callable[..., Order]
A = "acc"
# How orders are asked for, and how they end.
ENDS: dict[str, Callable[[ReservationBook, str], Any]] = {
    "reject": lambda book, name: book.reject(A, name, reason="no"),
    "cancel": lambda book, name: book.cancel(A, name, event_id="c"),
    "expire": lambda book, name: book.expire(A, name),
}


def ended(book: ReservationBook, order: Make, end: str, **terms: Any) -> BookOrder:
    """An order that has ended without a fill, with much that a late fill does not need."""
    book.open_account(A, 1, **terms)
    leg = {"leg": "long"} if terms.get("rule") == "hedge_legs" else {}
    made = order(lots=5, hold=50, order_id="o", **leg)
    later = 2_000_000_000_000_000
    assert book.reserve(A, [made], request_id="r", owner="ann", good_till_us=later, send="outbox").ok
    book.claim(A, "o", event_id="w")
    if end != "reject":
        book.acknowledge(A, "o", "v-7")
    assert ENDS[end](book, "o").ok
    found = book.order(A, "o")
    assert found is not None
    return found


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize(
    "terms",
    [{}, {"positions": "tickets"}, {"rule": "worst_side"}, {"rule": "hedge_legs"}, {"rule": "larger_leg"}],
    ids=lambda terms: "-".join(terms.values()) or "sum",
)
def test_a_late_fill_of_a_shrunken_order_is_booked_as_that_of_a_whole_one(
    proven: ReservationBook, order: Make, clock: Any, end: str, terms: dict[str, str]
) -> None:
    whole = ended(proven, order, end, **terms)
    clock.advance(61)
    assert proven.archive(A).ok
    shrunk = proven.order(A, "o")
    assert shrunk is not None
    assert (shrunk.compacted, whole.compacted) == (True, False)
    kept = (
        "order_id symbol leg side lots scale place state filled working released hold_released changed_us version flags"
    )
    for name in kept.split():
        assert getattr(shrunk, name) == getattr(whole, name), name
    dropped = (shrunk.owner, shrunk.request_id, shrunk.reason, shrunk.venue_id, shrunk.good_till_us, shrunk.price_ticks)
    assert dropped == ("", "", "", None, None, 0)
    assert proven.audit(A).findings == ()
    name = "o" if end == "reject" else "v-7"
    late = proven.fill(A, name, 2, fill_id="f", margin="0.000020", fee="0.000001")
    assert (late.code, late.order_id, late.state) == (Code.OK, "o", whole.state)
    assert late.flags == ("late_fill", "under_reserved")
    assert proven.fill(A, name, 2, fill_id="f", margin="0.000020", fee="0.000001").code is Code.DUPLICATE
    over = proven.fill(A, name, 4, fill_id="g", margin="0.000040")
    assert over.flags == ("late_fill", "overfill", "under_reserved")
    booked = proven.order(A, "o")
    assert booked is not None
    assert (booked.filled, booked.released, booked.overfilled) == (5, 0, 1)
    assert (booked.order_status, booked.execution_status) == ("OPEN", "EXECUTED")
    account = proven.account(A)
    assert (account.executed_units, account.late_fills, account.overfills) == (60, 2, 1)
    assert account.balance_units == 999_999
    # An order with a fill stays as it is.
    clock.advance(61)
    proven.archive(A)
    assert proven.order(A, "o") == booked
    assert proven.fill(A, name, 2, fill_id="f", margin="0.000020", fee="0.000001").code is Code.DUPLICATE
    if terms.get("positions") == "tickets":
        assert proven.close(A, name, event_id="t", realised_pnl=0).state is OrderState.CLOSED
        closed = proven.order(A, "o")
        assert closed is not None
        assert (closed.state, closed.compacted, closed.open_lots, closed.margin) == (OrderState.CLOSED, True, 0, 0)
        assert proven.orders(A, every=True) == (closed,)


@pytest.mark.parametrize("end", list(ENDS))
def test_events_of_a_shrunken_order_are_answered_from_its_state(
    proven: ReservationBook, order: Make, clock: Any, end: str
) -> None:
    ended(proven, order, end)
    clock.advance(61)
    proven.archive(A)
    before = proven.account(A).totals
    assert ENDS[end](proven, "o").code is Code.DUPLICATE
    assert ENDS[end](proven, "o").code is Code.DUPLICATE
    for refused in (
        proven.claim(A, "o", event_id="w"),
        proven.acknowledge(A, "o", "v-7"),
        proven.request_cancel(A, "o"),
        proven.amend(A, "o", 3, 1, event_id="a"),
        proven.resolve(A, "o", OrderState.LIVE, evidence="operator"),
        proven.close(A, "o", event_id="x", realised_pnl=0),
    ):
        assert refused.code is Code.ILLEGAL_TRANSITION
    found = proven.order(A, "v-7")
    assert found is not None
    assert (found.order_id, proven.account(A).totals) == ("o", before)
    # The id stays taken, and the request is still answered with its first result.
    assert proven.reserve(A, [order(order_id="o")], request_id="q").code is Code.ORDER_EXISTS
    again = proven.reserve(
        A, [order(lots=5, hold=50, order_id="o")], request_id="r", owner="ann", good_till_us=2 * 10**15, send="outbox"
    )
    assert (again.code, again.granted) == (Code.DUPLICATE, ("o",))


def test_only_what_ended_without_a_fill_and_long_enough_ago_shrinks(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    names = ["live", "part", "full", "new", "old"]
    proven.reserve(A, [order(lots=2, hold=2, order_id=name) for name in names], request_id="r", send="caller")
    for name, lots in (("part", 1), ("full", 2)):
        proven.fill(A, name, lots, fill_id="f")
    proven.cancel(A, "part")
    proven.cancel(A, "old")
    clock.advance(30)
    proven.cancel(A, "new")
    clock.advance(31)

    def shrunk() -> list[str]:
        return [found.order_id for found in proven.orders(A, every=True) if found.compacted]

    assert proven.archive(A, compact_after_s=None).ok
    assert shrunk() == []
    clock.advance(1)
    records = proven.account(A).records
    outcome = proven.archive(A)
    assert shrunk() == ["old"]
    assert proven.account(A).records == records
    assert dict(proven.history(A)[-1].details)["compacted"] == 1
    assert outcome.version == proven.account(A).version
    clock.advance(1)
    proven.archive(A, compact_after_s=0)
    assert shrunk() == ["new", "old"]
    with pytest.raises(InputError):
        proven.archive(A, compact_after_s=-1)


def test_a_shrunken_order_leaves_with_the_horizon_and_its_aliases_with_it(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    ended(proven, order, "cancel")
    clock.advance(61)
    proven.archive(A)
    assert len(proven.orders(A, every=True)) == 1
    clock.advance(86_400)
    proven.archive(A)
    assert proven.orders(A, every=True) == ()
    assert proven.order(A, "v-7") is None
    assert proven.account(A).records == 0
    assert proven.reserve(A, [order(order_id="v-7")], request_id="q").ok


def test_a_shrunken_order_is_reconciled_like_a_whole_one(proven: ReservationBook, order: Make, clock: Any) -> None:
    from equipoise.orders import Side
    from equipoise.reservation import VenueFill, VenueOrder, VenueView

    ended(proven, order, "cancel")
    clock.advance(61)
    proven.archive(A)
    fill = VenueFill(fill_id="f", order_id="v-7", lots=1, margin="0.00001")
    standing = VenueOrder(
        symbol="SYM", side=Side.BID, lots=5, price_ticks=100, hold="0.00005", venue_id="v-7", filled=1
    )
    clock.advance(10)
    view = VenueView(as_of_us=clock(), orders=(standing,), fills=(fill,))
    done = proven.reconcile(A, view, apply=True)
    assert [(item.kind, item.state) for item in done.discrepancies] == [
        ("unheld_order", "applied"),
        ("missed_fill", "applied"),
    ]
    found = proven.order(A, "o#live")
    assert found is not None
    assert (found.state, found.working) == (OrderState.LIVE, 4)
    assert proven.order(A, "o").filled == 1  # type: ignore[union-attr]
