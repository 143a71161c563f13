"""What an order holds and counts for, and the step that executes one at placement."""

from __future__ import annotations

from typing import cast

from equipoise._rust import row_fits
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    Terms,
    new_record,
)
from equipoise.reservation.requests import Adopt, Ask, Execute
from equipoise.reservation.steps.draft import (
    Draft,
    account_fits,
    account_step,
    growth_gate,
    marks_stale,
    refuse,
    row_of,
)
from equipoise.reservation.steps.fills import Trade, book_trade
from equipoise.reservation.steps.view import Effect, View

__all__ = ["execute", "hold_of", "new_order", "over_position_limit"]

OK = Code.OK
FILLED = OrderState.FILLED


def terms_allow(terms: Terms, account: BookAccount, ask: Ask, *, in_micros: bool) -> bool:
    """Whether the account's terms can carry this order at all."""
    if in_micros and account.scale != MICRO_SCALE:
        return False
    if (terms.positions == "hedge") != bool(ask.leg):
        return False
    return not (ask.reduce_only and terms.positions == "tickets")


def closes_leg(ask: Ask) -> bool:
    """Whether an order is on the side that closes its leg."""
    return (ask.leg == "long" and ask.side == "ask") or (ask.leg == "short" and ask.side == "bid")


def over_position_limit(
    terms: Terms, row: BookSymbol, side: str, *, reduces: bool = False, counts: bool = True
) -> bool:
    """Whether the position would exceed its limit if everything resting on this side filled.

    Before plain orders, what may only reduce can fill: as much of it as the position has lots to close, charged or not.
    Such an order is asked about by itself: while all of its kind fits the position it meets no limit.
    """
    limit = terms.lots_limit.get(row.symbol)
    if limit is None:
        return False
    if terms.positions == "tickets":
        return (row.long_lots + row.bid_lots if side == "bid" else row.short_lots + row.ask_lots) > limit
    if side == "bid":
        position, resting, reducing = row.lots, row.bid_lots, row.reduce_bid_lots
    else:
        position, resting, reducing = -row.lots, row.ask_lots, row.reduce_ask_lots
    if reduces:
        return position + max(resting if counts else 0, reducing) > limit
    return position + max(0, min(reducing, -position)) + resting > limit


def hold_of(terms: Terms, row: BookSymbol, ask: Ask) -> tuple[int, bool]:
    """(what an order holds, whether it may only reduce): nothing while all that may only reduce fits the position."""
    if not ask.reduce_only and not (terms.positions == "hedge" and closes_leg(ask)):
        return ask.hold, False
    if ask.side == "bid":
        fits = row.reduce_bid_lots + ask.lots <= -row.lots
    else:
        fits = row.reduce_ask_lots + ask.lots <= row.lots
    return (0 if fits else ask.hold), True


def new_order(
    request: Execute | Adopt,
    ask: Ask,
    place: int,
    hold: int,
    reduces: bool,
    state: OrderState,
    scale: int,
    version: int,
    now: int,
) -> BookOrder:
    """Record of an order that nobody has to send any more, executed or known at the venue."""
    terms = (scale, hold, ask.reduce_only, reduces, request.order_type, request.owner, request.ident, place)
    figures = (now, now, None, state, hold, 0, ask.lots, 0, 0, 0, 0, 0)
    rest = ((), "", None, None, False, None, 0, 0, 0, None, now, version)
    return new_record(BookOrder, ask[:6] + terms + figures + rest)


def execute(view: View, request: Execute, now: int) -> Effect:
    """Local flow: take the margin and open the position in one step, if it is free."""
    account, refusal = account_step(view, request, now)
    if refusal is None and account is not None:
        refusal = growth_gate(request, account)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    ask, terms = request.ask, account.terms
    if view.order(ask.order_id) is not None:
        return refuse(Code.ORDER_EXISTS, request, account)
    if request.terms_version is not None and request.terms_version != account.terms_version:
        return refuse(Code.TERMS_CHANGED, request, account)
    if not terms_allow(terms, account, ask, in_micros=request.in_micros):
        return refuse(Code.TERMS_INVALID, request, account)
    draft = Draft(view, request, account, now)
    order = new_order(request, ask, 0, 0, ask.reduce_only, FILLED, account.scale, draft.version, now)
    trade = book_trade(
        draft, row_of(view, ask.symbol, ask.leg), order, ask.lots, ask.hold, request.realised_pnl, request.fee
    )
    row, order = trade.row, trade.order
    order = order._replace(filled=ask.lots, working=0, flags=trade.flags)
    draft.put_row(row)
    draft.order_pairs.append((None, order))
    draft.counts = (*draft.counts[:3], draft.counts[3] + trade.pnl_missing)
    after = draft.next_account()
    code = _execute_limits(draft, after, trade, stale=marks_stale(view, account, now))
    if code is Code.INSUFFICIENT_MARGIN:
        rise = account.free_units - after.free_units
        return refuse(code, request, account, required_units=rise, free_units=account.free_units)
    if code is not OK:
        return refuse(code, request, account)
    return draft.finish(after=after, order_id=order.order_id, state=order.state, flags=trade.flags)


def _execute_limits(draft: Draft, after: BookAccount, trade: Trade, *, stale: bool) -> Code:
    """First limit that an immediate execution meets; one that only reduces asks for nothing that they limit."""
    account, order = draft.account, trade.order
    terms = account.terms
    rise = after.all_units - account.all_units
    if not account_fits(after) or not row_fits(trade.row):
        return Code.AMOUNT_OVERFLOW
    if stale and (trade.opened or rise > 0):
        return Code.STALE_MARK
    if trade.opened and over_position_limit(terms, trade.row, order.side):
        return Code.POSITION_LIMIT
    if (
        (terms.order_margin_max is not None and trade.margin > terms.order_margin_max)
        or (terms.margin_max is not None and rise > 0 and after.all_units > terms.margin_max)
        or (terms.records_max is not None and after.records > terms.records_max)
    ):
        return Code.ORDER_LIMIT
    most = terms.owner_limit.get(order.owner)
    if most is not None and trade.margin and draft.view.owned(order.owner) + trade.margin > most:
        return Code.OWNER_LIMIT
    if rise > 0 and after.free_units < 0:
        return Code.INSUFFICIENT_MARGIN
    return OK
