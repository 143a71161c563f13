"""Steps that move a position: fills, and closing a ticket."""

from __future__ import annotations

from typing import Any, NamedTuple

from equipoise.errors import StoreCorrupt
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.money import held
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol, new_record
from equipoise.reservation.requests import Close, Fill
from equipoise.reservation.steps.draft import (
    Draft,
    changed_order,
    less_resting,
    order_step,
    refuse,
    replaces,
    without_amendment,
)
from equipoise.reservation.steps.rules import counted, counted_rate, order_rate, standing
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, View

__all__ = ["book_trade", "close", "fill"]

LIVE, FILLED, CLOSED = OrderState.LIVE, OrderState.FILLED, OrderState.CLOSED


LOTS, MARGIN, OPEN_PNL, MARKED, REVALUED = [
    BookSymbol._fields.index(name) for name in ("lots", "margin", "open_pnl", "marked_us", "revalued_us")
]


class Trade(NamedTuple):
    """What lots that traded did to the position."""

    row: BookSymbol
    order: BookOrder
    opened: int
    margin: int
    flags: tuple[str, ...]
    pnl_missing: int


def book_trade(
    draft: Draft, row: BookSymbol, order: BookOrder, lots: int, margin: int, pnl: int | None, fee: int
) -> Trade:
    """Move position and balance by lots that traded; `margin` is for the lots that open."""
    bid = order.side == "bid"
    signed = lots if bid else -lots
    flags: tuple[str, ...] = ()
    closed, open_pnl, before_pnl = 0, row.open_pnl, draft.row(row.symbol, row.leg).open_pnl
    if draft.account.terms.positions == "tickets":
        if draft.terms.combine == "larger_leg":
            row = _ticket_rate(draft, row, order, lots, margin)
        order = order._replace(open_lots=order.open_lots + lots, margin=order.margin + margin)
        row = row._replace(
            lots=row.lots + signed,
            margin=row.margin + margin,
            long_lots=row.long_lots + (lots if bid else 0),
            short_lots=row.short_lots + (0 if bid else lots),
        )
    else:
        size = abs(row.lots)
        if (row.lots < 0) if bid else (row.lots > 0):
            closed = min(lots, size)
        kept = row.margin
        if closed:
            kept = held(kept, size, size - closed)
            open_pnl = _pro_rata(open_pnl, size, size - closed)
        if closed < lots:
            kept += margin
        elif margin:
            flags = ("margin_ignored",)
            margin = 0
        values: list[Any] = list(row)
        values[LOTS] += signed
        values[MARGIN], values[OPEN_PNL] = kept, open_pnl
        if 0 < size == closed:
            values[MARKED] = _once_flat(row.marked_us, draft.account, draft.now)
            # What the venue held for that position is not what it holds for the next one.
            values[REVALUED] = _once_flat(row.revalued_us, draft.account, draft.now)
        row = new_record(BookSymbol, values)
        if row.leg and row.lots and (row.lots > 0) != (row.leg == "long"):
            flags += ("leg_overshoot",)
    missing = int(pnl is None and closed > 0)
    if missing:
        flags += ("pnl_missing",)
    draft.balance += (pnl or 0) - fee
    draft.pnl += open_pnl - before_pnl
    draft.details += (("lots", lots), ("margin", margin), ("realised_pnl", pnl), ("fee", fee))
    return Trade(row, order, lots - closed, margin, flags, missing)


def _once_flat(last_us: int, account: BookAccount, now: int) -> int:
    """A mark from before a position was closed is not for the next one, which begins with no open result."""
    return now if replaces(now, last_us, account, now) else last_us


def _pro_rata(amount: int, lots: int, left: int) -> int:
    """Signed amount for the lots that are left."""
    return held(amount, lots, left) if amount >= 0 else -held(-amount, lots, left)


def _ticket_rate(draft: Draft, row: BookSymbol, order: BookOrder, lots: int, margin: int) -> BookSymbol:
    """Exchange a ticket's rate when it grows (lots > 0) or shrinks."""
    if order.open_lots:
        row = draft.rate(row, "tickets", order_rate(order.margin, order.open_lots), -1)
    if order.open_lots + lots:
        row = draft.rate(row, "tickets", order_rate(order.margin + margin, order.open_lots + lots), 1)
    return row


def at_home(order: BookOrder, *, hedge: bool) -> BookOrder:
    """The order at the leg where the account's terms keep positions.

    The position mode changes when nothing is live, and an order that ended before may be filled after it. A position
    that it opened at the leg of the old mode could never be reduced.
    """
    if hedge == bool(order.leg):
        return order
    own = "long" if order.side == "bid" else "short"
    return order._replace(leg=own if hedge else "")


def fill(view: View, request: Fill, now: int) -> Effect:
    """Book lots that traded: hold to position, result and fee to the balance, in any state of the order."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    order = at_home(order, hedge=account.terms.positions == "hedge")
    draft = Draft(view, request, account, now)
    lots, was_terminal = request.lots, order.state not in NOT_TERMINAL
    taken = min(lots, order.working)
    working = order.working - taken
    late = min(lots - taken, order.released)
    over = lots - taken - late
    if not taken:
        hold = order.hold
    elif order.amend_lots:
        hold = standing(order, order.filled + taken)[1]
    else:
        hold = held(order.hold_start, order.lots, working)
    given = order.hold - hold
    row = draft.row(order.symbol, order.leg)
    if taken:
        row = less_resting(row, order, given, taken)
        if not working and account.terms.combine == "larger_leg" and counted(order):
            row = draft.rate(row, "orders", counted_rate(order), -1)
    flags: tuple[str, ...] = ()
    if late or (was_terminal and order.state is not FILLED and order.state is not CLOSED):
        flags += ("late_fill",)
    if over:
        flags += ("overfill",)
    margin = request.margin
    if margin is None:
        tickets = account.terms.positions == "tickets"
        margin, flags = _margin_from_hold(row, order, lots, given, flags, tickets=tickets)
    trade = book_trade(draft, row, order, lots, margin, request.realised_pnl, request.fee)
    row = trade.row
    if trade.opened and trade.margin > given:
        flags += ("under_reserved",)
    if (row.reduce_bid_lots or row.reduce_ask_lots) and row.reduce_surplus_lots:
        flags += ("reduce_only_surplus",)
    flags += trade.flags
    state = order.state if was_terminal else (LIVE if working else FILLED)
    ended = not was_terminal and not working
    if flags:
        late_fills, overfills, under_reserved, pnl_missing = draft.counts
        draft.counts = (
            late_fills + ("late_fill" in flags),
            overfills + ("overfill" in flags),
            under_reserved + ("under_reserved" in flags),
            pnl_missing + trade.pnl_missing,
        )
    after = changed_order(
        order,
        draft,
        state,
        hold,
        order.filled + taken + late,
        working,
        order.released - late,
        order.overfilled + over,
        trade.order.open_lots,
        trade.order.margin,
        order.hold_released,
        tuple(sorted({*order.flags, *flags})) if flags else order.flags,
        order.reason,
        order.venue_id,
        None if ended else order.cancel_deadline_us,
    )
    if ended and order.amend_lots:
        after = without_amendment(after)
    draft.put_row(row)
    draft.order_pairs.append((order, after))
    draft.own(order.owner, -given)
    draft.live -= ended
    return draft.finish(order_id=order.order_id, state=state, flags=flags)


def _margin_from_hold(
    row: BookSymbol, order: BookOrder, lots: int, given: int, flags: tuple[str, ...], *, tickets: bool
) -> tuple[int, tuple[str, ...]]:
    """Margin of a fill that does not name one: the released hold's part for the lots that open (all, of a ticket)."""
    opposes = not tickets and ((row.lots < 0) if order.side == "bid" else (row.lots > 0))
    closed = min(lots, abs(row.lots)) if opposes else 0
    opened = lots - closed
    margin = held(given, lots, opened)
    if opened and not margin:
        flags += ("margin_missing",)
    return margin, flags


def close(view: View, request: Close, now: int) -> Effect:
    """Close lots of a ticket: margin and result in one step."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    lots = order.open_lots if request.lots is None else request.lots
    if not order.open_lots or lots > order.open_lots:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = Draft(view, request, account, now)
    left = order.open_lots - lots
    margin = held(order.margin, order.open_lots, left)
    row = draft.row(order.symbol, order.leg)
    bid = order.side == "bid"
    if (row.long_lots if bid else row.short_lots) < lots or row.margin < order.margin - margin:
        # The totals are lost or are those of other tickets.
        raise StoreCorrupt(f"less of {order.symbol} is open than of {order.order_id}")
    if account.terms.combine == "larger_leg":
        row = _ticket_rate(draft, row, order, -lots, margin - order.margin)
    gross = row.long_lots + row.short_lots
    open_pnl = _pro_rata(row.open_pnl, gross, gross - lots)
    draft.pnl += open_pnl - row.open_pnl
    draft.put_row(
        row._replace(
            lots=row.lots - (lots if bid else -lots),
            margin=row.margin - (order.margin - margin),
            long_lots=row.long_lots - (lots if bid else 0),
            short_lots=row.short_lots - (0 if bid else lots),
            open_pnl=open_pnl,
            marked_us=_once_flat(row.marked_us, account, now) if lots == gross else row.marked_us,
        )
    )
    missing = request.realised_pnl is None
    flags = ("pnl_missing",) if missing else ()
    draft.counts = (*draft.counts[:3], draft.counts[3] + missing)
    draft.balance += (request.realised_pnl or 0) - request.fee
    draft.details = (("lots", lots), ("realised_pnl", request.realised_pnl), ("fee", request.fee))
    terminal = order.state not in NOT_TERMINAL
    state = CLOSED if terminal and not left else order.state
    after = order._replace(state=state, open_lots=left, margin=margin, changed_us=now, version=draft.version)
    draft.order_pairs.append((order, after))
    return draft.finish(order_id=order.order_id, state=state, flags=flags)
