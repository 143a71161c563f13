"""Steps that change the quantity of an order: asking the venue for it, and the venue's answer."""

from __future__ import annotations

from equipoise._rust import row_fits
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol
from equipoise.reservation.requests import Amend, SettleAmend
from equipoise.reservation.steps.draft import (
    Draft,
    account_fits,
    answer_again,
    given_back,
    growth_gate,
    less_resting,
    marks_stale,
    order_step,
    refuse,
)
from equipoise.reservation.steps.grants import over_position_limit
from equipoise.reservation.steps.rules import counted, counted_rate, standing
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, View

__all__ = ["amend", "settle_amend"]

OK = Code.OK
SENT, LIVE, UNKNOWN, FILLED = OrderState.SENT, OrderState.LIVE, OrderState.UNKNOWN, OrderState.FILLED


def amend(view: View, request: Amend, now: int) -> Effect:
    """Hold for the larger of the old and the new order until the venue has answered."""
    account = view.account()
    order = None if account is None else view.order(request.order_id)
    if order is not None:
        found = view.event(order.order_id, request.ident)
        if found is not None:
            return answer_again(found, request, account)
    if now > request.not_after_us:
        return refuse(Code.REQUEST_EXPIRED, request, account)
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    if order is None:
        return refuse(Code.ORDER_NOT_FOUND, request, account)
    draft = Draft(view, request, account, now)
    row = draft.row(order.symbol, order.leg)
    price_ticks = order.price_ticks if request.price_ticks is None else request.price_ticks
    wanted = order._replace(
        amend_id=request.ident,
        amend_lots=request.lots,
        amend_hold=_amended_hold(row, order, request),
        amend_price_ticks=price_ticks,
        amend_deadline_us=request.deadline_us,
        changed_us=now,
        version=draft.version,
    )
    working, hold = standing(wanted, order.filled)
    after = wanted._replace(working=working, hold=hold)
    # Before the bytes have left there is nothing to amend, and nobody knows which version an UNKNOWN order has.
    legal = order.state in (SENT, LIVE) and not order.amend_lots
    if legal:
        _replace_resting(draft, row, order, after)
    then = draft.next_account()
    # A charge per lot can rise, and with it what every other order requires, where neither lots nor hold do.
    grows = working > order.working or hold > order.hold or then.all_units > account.all_units
    if grows:
        refusal = growth_gate(request, account)
        if refusal is not None:
            return refusal
    client_id = request.client_id
    known = None if client_id is None else view.order(client_id)
    if known is not None and known.order_id != order.order_id:
        return refuse(Code.ORDER_EXISTS, request, account, order_id=order.order_id, state=order.state)
    if not legal:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    if grows and request.terms_version is not None and request.terms_version != account.terms_version:
        return refuse(Code.TERMS_CHANGED, request, account, order_id=order.order_id, state=order.state)
    if grows:
        code, rise = _limit(draft, then, order, after, stale=marks_stale(view, account, now))
        if code is Code.INSUFFICIENT_MARGIN:
            free = account.free_units
            return refuse(code, request, account, order_id=order.order_id, required_units=rise, free_units=free)
        if code is not OK:
            return refuse(code, request, account, order_id=order.order_id, state=order.state)
    if client_id is not None and known is None:
        draft.aliases = ((client_id, order.order_id),)
    draft.details = (("lots", request.lots), ("hold", after.amend_hold), ("price_ticks", price_ticks))
    if client_id is not None:
        draft.details += (("client_id", client_id),)
    return draft.finish(after=then, order_id=order.order_id, state=order.state)


def _amended_hold(row: BookSymbol, order: BookOrder, request: Amend) -> int:
    """Charge of the amended order: nothing while it can only reduce, as at its placement."""
    if not order.reduces:
        return request.hold
    grown = max(order.working, request.lots - order.filled) - order.working
    # A surplus that has arisen since is never charged: only more lots are asked for anew.
    if not grown and not counted(order):
        return 0
    bid = order.side == "bid"
    resting, position = (row.reduce_bid_lots, -row.lots) if bid else (row.reduce_ask_lots, row.lots)
    return 0 if resting + grown <= position else request.hold


def _replace_resting(draft: Draft, row: BookSymbol, before: BookOrder, after: BookOrder) -> None:
    """Put an order that rests with other lots and another hold in the place of what rested."""
    row = less_resting(row, before, before.hold, before.working)
    row = less_resting(row, after, -after.hold, -after.working)
    if draft.account.terms.combine == "larger_leg":
        old, new = [counted_rate(order) if order.working and counted(order) else None for order in (before, after)]
        if new is not None and new != old:
            row = draft.rate(row, "orders", new, 1)
        if old is not None and old != new:
            row = draft.rate(row, "orders", old, -1)
    draft.put_row(row)
    draft.own(before.owner, after.hold - before.hold)
    draft.order_pairs.append((before, after))


def _limit(draft: Draft, then: BookAccount, before: BookOrder, after: BookOrder, *, stale: bool) -> tuple[Code, int]:
    """(first limit that the larger order meets, rise of used_margin_all)."""
    account, terms = draft.account, draft.account.terms
    row = draft.row(after.symbol, after.leg)
    rise = then.all_units - account.all_units
    more = after.hold - before.hold
    if not account_fits(then) or not row_fits(row):
        return Code.AMOUNT_OVERFLOW, rise
    if stale and counted(after):  # what can only reduce waits for no mark
        return Code.STALE_MARK, rise
    if after.working > before.working and over_position_limit(
        terms, row, after.side, reduces=after.reduces, counts=counted(after)
    ):
        return Code.POSITION_LIMIT, rise
    if (more and terms.order_margin_max is not None and after.hold > terms.order_margin_max) or (
        rise > 0 and terms.margin_max is not None and then.all_units > terms.margin_max
    ):
        return Code.ORDER_LIMIT, rise
    limit = terms.owner_limit.get(after.owner)
    if limit is not None and more and draft.owners[after.owner] > limit:
        return Code.OWNER_LIMIT, rise
    if rise > 0 and then.free_units < 0:
        return Code.INSUFFICIENT_MARGIN, rise
    return OK, rise


def settle_amend(view: View, request: SettleAmend, now: int) -> Effect:
    """The venue took the amendment or refused it: what is held beyond the version that stays is released."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    if order.state not in NOT_TERMINAL or order.amend_id != request.amend_id:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = Draft(view, request, account, now)
    filled = order.filled
    flags: tuple[str, ...] = ()
    agreed = order._replace(amend_id=None, amend_lots=0, amend_hold=0, amend_price_ticks=0, amend_deadline_us=None)
    if request.accepted:
        # A quantity below what had filled by then ends the order at what had filled.
        lots = max(order.amend_lots, filled)
        agreed = agreed._replace(lots=lots, hold_start=order.amend_hold, price_ticks=order.amend_price_ticks)
        state = LIVE
    else:
        over = max(0, filled - order.lots)
        if over:
            flags = ("overfill",)
            draft.counts = (draft.counts[0], draft.counts[1] + 1, *draft.counts[2:])
            agreed = agreed._replace(filled=order.lots, overfilled=order.overfilled + over)
            filled = order.lots
        # That a venue refuses to amend says nothing about an order that it may not have.
        state = order.state
    working, hold = standing(agreed, filled)
    ended = not working
    after = agreed._replace(
        state=FILLED if ended else state,
        working=working,
        hold=hold,
        hold_released=given_back(order, order.hold - hold),
        cancel_deadline_us=None if ended else order.cancel_deadline_us,
        flags=tuple(sorted({*order.flags, *flags})) if flags else order.flags,
        outbox=order.outbox and not ended and state is not LIVE,
        changed_us=now,
        version=draft.version,
    )
    if order.outbox and not after.outbox:
        draft.settle_outbox(order.request_id)
    _alias(draft, after, request.venue_id)
    _replace_resting(draft, draft.row(order.symbol, order.leg), order, after)
    draft.live -= ended
    draft.details = (("amend_id", request.amend_id), ("accepted", request.accepted), ("venue_id", request.venue_id))
    return draft.finish(order_id=order.order_id, state=after.state, flags=flags)


def _alias(draft: Draft, order: BookOrder, venue_id: str | None) -> None:
    """Keep the id under which the venue knows the amended order, unless it names another order already."""
    if venue_id is not None and draft.view.order(venue_id) is None:
        draft.aliases = ((venue_id, order.order_id),)
