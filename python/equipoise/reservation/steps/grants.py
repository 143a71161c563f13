"""Steps that ask for margin: a ladder that is held, an order that is executed at placement."""

from __future__ import annotations

from typing import cast

from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.money import AMOUNT_MAX, MICRO_SCALE
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol, OrderRow, OutboxEntry, Terms
from equipoise.reservation.requests import Adopt, Ask, Execute, Reserve
from equipoise.reservation.steps.draft import (
    Draft,
    account_fits,
    account_step,
    growth_gate,
    marks_stale,
    refuse,
    rested,
    row_fits,
    row_of,
)
from equipoise.reservation.steps.fills import book_trade
from equipoise.reservation.steps.rules import COMBINE_RULES, order_rate
from equipoise.reservation.steps.view import Effect, View

__all__ = ["execute", "hold_of", "new_order", "over_position_limit", "reserve", "with_order"]

OK = Code.OK
RESERVED, SENT, FILLED = OrderState.RESERVED, OrderState.SENT, OrderState.FILLED


def terms_allow(terms: Terms, account: BookAccount, ask: Ask, *, in_micros: bool) -> bool:
    """Whether the account's terms can carry this order at all."""
    if in_micros and account.scale != MICRO_SCALE:
        return False
    if (terms.positions == "hedge") != bool(ask.leg):
        return False
    return not (ask.reduce_only and terms.positions == "tickets")


def closes_leg(ask: Ask) -> bool:
    return (ask.leg == "long" and ask.side == "ask") or (ask.leg == "short" and ask.side == "bid")


def with_order(row: BookSymbol, ask: Ask, hold: int, *, reduces: bool) -> BookSymbol:
    """The symbol's totals with one more resting order."""
    if ask.side == "bid":
        if reduces:
            return row._replace(hold_bids=row.hold_bids + hold, reduce_bid_lots=row.reduce_bid_lots + ask.lots)
        return rested(row, hold, 0, ask.lots, 0)
    if reduces:
        return row._replace(hold_asks=row.hold_asks + hold, reduce_ask_lots=row.reduce_ask_lots + ask.lots)
    return rested(row, 0, hold, 0, ask.lots)


def over_position_limit(terms: Terms, row: BookSymbol, side: str) -> bool:
    """Whether the position would exceed its limit if everything resting on this side filled."""
    limit = terms.lots_limit.get(row.symbol)
    if limit is None:
        return False
    if terms.positions == "tickets":
        return (row.long_lots + row.bid_lots if side == "bid" else row.short_lots + row.ask_lots) > limit
    return (row.lots + row.bid_lots if side == "bid" else row.ask_lots - row.lots) > limit


class _Ladder:
    """Running state while the orders of one `reserve` are judged one by one."""

    __slots__ = ("account", "all_units", "count", "draft", "owned", "records", "require", "seen", "stale", "terms")

    def __init__(self, draft: Draft, owner: str, *, stale: bool) -> None:
        self.draft = draft
        self.account = draft.account
        self.terms = draft.account.terms
        self.require = COMBINE_RULES[self.terms.combine]
        self.all_units = self.account.all_units
        self.count = self.account.live_orders
        self.records = self.account.records + 1
        self.owned = draft.view.owned(owner) if owner in self.terms.owner_limit else 0
        self.stale = stale
        self.seen: dict[tuple[str, str], BookSymbol] = {}

    def judge(self, request: Reserve, ask: Ask) -> tuple[Code, int, int, bool]:
        """(code, hold, rise of used_margin_all, reduces) of one order; takes it in when nothing forbids it."""
        draft, terms = self.draft, self.terms
        if draft.view.order(ask.order_id) is not None:
            return Code.ORDER_EXISTS, 0, 0, False
        if not terms_allow(terms, self.account, ask, in_micros=request.in_micros):
            return Code.TERMS_INVALID, 0, 0, False
        key = (ask.symbol, ask.leg)
        row = self.seen.get(key)
        if row is None:
            row = row_of(draft.view, ask.symbol, ask.leg)
        hold, reduces = hold_of(terms, row, ask)
        after = with_order(row, ask, hold, reduces=reduces)
        larger = terms.combine == "larger_leg" and not reduces
        if larger:
            after = draft.rate(after, "orders", order_rate(hold, ask.lots), 1)
        rise = self.require(after)[1] - self.require(row)[1]
        code = self._limits(request, ask, after, hold, rise, reduces=reduces)
        if code is OK and request.best_effort and rise > 0:
            free = self.account.free_units - (self.all_units - self.account.all_units)
            if free < rise:
                code = Code.INSUFFICIENT_MARGIN
        if code is not OK:
            if larger:
                draft.rate(after, "orders", order_rate(hold, ask.lots), -1)
            return code, hold, rise, reduces
        self.seen[key] = after
        self.all_units += rise
        self.count += 1
        self.records += 1
        self.owned += hold
        return OK, hold, rise, reduces

    def _limits(self, request: Reserve, ask: Ask, after: BookSymbol, hold: int, rise: int, *, reduces: bool) -> Code:
        """First limit, in order of precedence, that the order meets."""
        terms = self.terms
        if self.all_units + rise > AMOUNT_MAX or not row_fits(after):
            return Code.AMOUNT_OVERFLOW
        if self.stale:
            return Code.STALE_MARK
        if not reduces and over_position_limit(terms, after, ask.side):
            return Code.POSITION_LIMIT
        if (
            (terms.orders_max is not None and self.count >= terms.orders_max)
            or (terms.records_max is not None and self.records >= terms.records_max)
            or (terms.order_margin_max is not None and hold > terms.order_margin_max)
            or (terms.margin_max is not None and rise > 0 and self.all_units + rise > terms.margin_max)
        ):
            return Code.ORDER_LIMIT
        limit = terms.owner_limit.get(request.owner)
        if limit is not None and hold and self.owned + hold > limit:
            return Code.OWNER_LIMIT
        return OK


def hold_of(terms: Terms, row: BookSymbol, ask: Ask) -> tuple[int, bool]:
    """(what an order holds, whether it counts as reducing)."""
    if terms.positions == "hedge" and closes_leg(ask):
        return 0, True
    if not ask.reduce_only:
        return ask.hold, False
    if ask.side == "bid":
        fits = row.reduce_bid_lots + ask.lots <= -row.lots
    else:
        fits = row.reduce_ask_lots + ask.lots <= row.lots
    return (0 if fits else ask.hold), True


def reserve(view: View, request: Reserve, now: int) -> Effect:
    """Hold margin for a whole ladder: all of it, or what fits in the caller's order."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    if request.outbox and view.outbox_entry(request.ident) is not None:
        # The id was archived, its entry still waits for an answer: a second one under it could not be told apart.
        return refuse(Code.REQUEST_CONFLICT, request, account)
    refusal = growth_gate(request, account)
    if refusal is not None:
        return refusal
    draft = Draft(view, request, account, now)
    ladder = _Ladder(draft, request.owner, stale=marks_stale(view, account, now))
    changed = request.terms_version is not None and request.terms_version != account.terms_version
    outcomes: list[OrderRow] = []
    worst = OK
    state = SENT if request.sent else RESERVED
    version, scale, free = account.version + 1, account.scale, account.free_units
    pairs = draft.order_pairs
    holds = 0
    for place, ask in enumerate(request.asks):
        code, hold, rise, reduces = ladder.judge(request, ask)
        if changed and (code is OK or code.precedence > Code.TERMS_CHANGED.precedence):
            code = Code.TERMS_CHANGED
        if code is not OK:
            if worst is OK or code.precedence < worst.precedence:
                worst = code
            met = free - (ladder.all_units - account.all_units)
            asked = (rise, met) if code is Code.INSUFFICIENT_MARGIN else (0, 0)
            outcomes.append((ask.order_id, code._value_, 0, *asked))
            continue
        outcomes.append((ask.order_id, "OK", hold, 0, 0))
        holds += hold
        pairs.append((None, new_order(request, ask, place, hold, reduces, state, scale, version, now)))
    if not request.best_effort:
        rise = ladder.all_units - account.all_units
        if worst is OK and rise > 0 and free < rise:
            worst = Code.INSUFFICIENT_MARGIN
        if worst is not OK:
            return _refuse_ladder(request, account, worst, outcomes, rise)
    elif not pairs:
        return _refuse_ladder(request, account, worst, outcomes, 0)
    for row in ladder.seen.values():
        draft.put_row(row)
    draft.live = ladder.count
    draft.own(request.owner, holds)
    draft.details = (("owner", request.owner),) if request.owner else ()
    if request.outbox:
        draft.details += (("send", "outbox"),)
        ids = tuple([order.order_id for _, order in pairs])
        draft.entries = {request.ident: OutboxEntry(request.ident, version, now, request.deadline_us, ids, len(ids))}
    return draft.finish(orders=tuple(outcomes))


def _refuse_ladder(request: Reserve, account: BookAccount, code: Code, outcomes: list[OrderRow], rise: int) -> Effect:
    """Nothing of the ladder is held; orders without a fault of their own carry the ladder's code."""
    orders = tuple([row if row[1] != "OK" else (row[0], code._value_, 0, 0, 0) for row in outcomes])
    if code is not Code.INSUFFICIENT_MARGIN:
        return refuse(code, request, account, order_rows=orders)
    if request.best_effort:
        first = next(row for row in outcomes if row[1] == code)
        return refuse(code, request, account, order_rows=orders, required_units=first[3], free_units=first[4])
    return refuse(code, request, account, order_rows=orders, required_units=rise, free_units=account.free_units)


def new_order(
    request: Reserve | Execute | Adopt,
    ask: Ask,
    place: int,
    hold: int,
    reduces: bool,
    state: OrderState,
    scale: int,
    version: int,
    now: int,
) -> BookOrder:
    """Record of an order that has just got its hold."""
    timed = isinstance(request, Reserve)
    outbox = isinstance(request, Reserve) and request.outbox
    return BookOrder(
        ask.order_id,
        ask.symbol,
        ask.leg,
        ask.side,
        ask.lots,
        ask.price_ticks,
        scale,
        hold,
        ask.reduce_only,
        reduces,
        request.order_type,
        request.owner,
        request.ident,
        place,
        now,
        request.deadline_us if timed else now,  # type: ignore[union-attr]
        request.good_till_us if timed else None,  # type: ignore[union-attr]
        state,
        hold,
        0,
        ask.lots,
        0,
        0,
        0,
        0,
        0,
        (),
        "",
        None,
        None,
        outbox,
        None,
        0,
        0,
        0,
        None,
        now,
        version,
    )


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
    before = row_of(view, ask.symbol, ask.leg)
    trade = book_trade(draft, before, order, ask.lots, ask.hold, request.realised_pnl, request.fee)
    row, order = trade.row, trade.order
    order = order._replace(filled=ask.lots, working=0, flags=trade.flags)
    draft.put_row(row)
    draft.order_pairs.append((None, order))
    draft.counts = (*draft.counts[:3], draft.counts[3] + trade.pnl_missing)
    after = draft.next_account()
    code = _execute_limits(draft, before, after, ask, row, stale=marks_stale(view, account, now))
    if code is Code.INSUFFICIENT_MARGIN:
        rise = account.free_units - after.free_units
        return refuse(code, request, account, required_units=rise, free_units=account.free_units)
    if code is not OK:
        return refuse(code, request, account)
    return draft.finish(after=after, order_id=order.order_id, state=order.state, flags=trade.flags)


def _execute_limits(
    draft: Draft, before: BookSymbol, after: BookAccount, ask: Ask, row: BookSymbol, *, stale: bool
) -> Code:
    """First limit that an immediate execution meets."""
    account = draft.account
    terms = account.terms
    rise = after.all_units - account.all_units
    if not account_fits(after) or not row_fits(row):
        return Code.AMOUNT_OVERFLOW
    if stale:
        return Code.STALE_MARK
    if abs(row.lots) > abs(before.lots) and over_position_limit(terms, row, ask.side):
        return Code.POSITION_LIMIT
    if (
        (terms.order_margin_max is not None and ask.hold > terms.order_margin_max)
        or (terms.margin_max is not None and rise > 0 and after.all_units > terms.margin_max)
        or (terms.records_max is not None and after.records > terms.records_max)
    ):
        return Code.ORDER_LIMIT
    if rise > 0 and after.free_units < 0:
        return Code.INSUFFICIENT_MARGIN
    return OK
