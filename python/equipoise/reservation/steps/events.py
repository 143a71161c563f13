"""Steps on one order that move no position: sending, answers of the venue, ends, the sweeper."""

from __future__ import annotations

from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.records import STATE_AT, STATE_END, BookAccount, BookOrder, OrderRow, Outcome
from equipoise.reservation.requests import OrderEvent, Request, Resolve, Sweep
from equipoise.reservation.steps.draft import (
    Draft,
    changed_order,
    given_back,
    less_resting,
    order_step,
    refuse,
    without_amendment,
)
from equipoise.reservation.steps.rules import counted, counted_rate
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, Lease, View

__all__ = ["acknowledge", "claim", "end_order", "request_cancel", "resolve", "sweep"]

OK = Code.OK
RESERVED, SENT, LIVE, UNKNOWN = OrderState.RESERVED, OrderState.SENT, OrderState.LIVE, OrderState.UNKNOWN
REJECTED, CANCELLED, EXPIRED = OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED


def noted(draft: Draft, order: BookOrder, code: Code) -> Effect:
    """Journal an event that changes nothing, so that its repeat gets the same answer."""
    return draft.finish(code=code, order_id=order.order_id, state=order.state)


def ended(draft: Draft, order: BookOrder, state: OrderState, reason: str) -> BookOrder:
    """Release what an order still holds and give it a terminal state."""
    after = _released(draft, order, state, reason)
    _renew_tops(draft)
    return after


def _renew_tops(draft: Draft) -> None:
    """The highest rate of each symbol from which orders were taken: once for all of them, because it looks at each."""
    for symbol, leg, kind in draft.rates or ():
        draft.put_row(draft.with_top(draft.row(symbol, leg), kind))


def _released(draft: Draft, order: BookOrder, state: OrderState, reason: str) -> BookOrder:
    """Release and end an order; the highest rate of its symbol is still to be renewed."""
    row = draft.row(order.symbol, order.leg)
    row = less_resting(row, order, order.hold, order.working)
    if draft.account.terms.combine == "larger_leg" and counted(order):
        draft.count_rate((order.symbol, order.leg, "orders"), counted_rate(order), -1)
    final = without_amendment(order) if order.amend_lots else order
    after = changed_order(
        final,
        draft,
        state,
        0,
        order.filled,
        0,
        final.lots - order.filled,
        order.overfilled,
        order.open_lots,
        order.margin,
        given_back(order, order.hold),
        order.flags,
        reason,
        order.venue_id,
        None,
    )
    draft.put_row(row)
    draft.order_pairs.append((order, after))
    draft.own(order.owner, -order.hold)
    draft.live -= 1
    return after


def restated(
    draft: Draft, order: BookOrder, state: OrderState, venue_id: str | None, cancel_deadline_us: int | None
) -> BookOrder:
    """Give an order another state that still holds what it held."""
    after = changed_order(
        order, draft, state, *order[STATE_AT + 1 : STATE_END], order.flags, order.reason, venue_id, cancel_deadline_us
    )
    draft.order_pairs.append((order, after))
    return after


def _not_recovering(request: Request, account: BookAccount) -> Effect | None:
    """Where steps may be lost nothing leaves, whether or not the order is there."""
    return refuse(Code.ACCOUNT_RECOVERING, request, account) if account.status.recovering else None


def claim(view: View, request: OrderEvent, now: int) -> Effect:
    """Take an order into a sender's hands; only this call's OK permits the bytes."""
    found = order_step(view, request, request.order_id, gate=_not_recovering)
    if isinstance(found, Effect):
        return found
    account, order = found
    # What the next sweep cancels, the venue cannot take any more, or nobody wants any more does not leave.
    late = order.deadline_us < now or (order.good_till_us is not None and order.good_till_us < now)
    if order.state is not RESERVED or late or order.cancel_deadline_us is not None:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = Draft(view, request, account, now)
    restated(draft, order, SENT, order.venue_id, order.cancel_deadline_us)
    return draft.finish(order_id=order.order_id, state=SENT)


def acknowledge(view: View, request: OrderEvent, now: int) -> Effect:
    """The venue knows the order, under its own id."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    draft = Draft(view, request, account, now)
    venue_id = request.venue_id
    known = view.order(venue_id) if venue_id is not None else None
    flags: tuple[str, ...] = ()
    if known is not None and known.order_id != order.order_id:
        flags = ("alias_taken",)
    elif venue_id is not None and known is None:
        draft.aliases = ((venue_id, order.order_id),)
    draft.details = (("venue_id", venue_id),)
    kept_id = order.venue_id if order.venue_id is not None or flags else venue_id
    terminal = order.state not in NOT_TERMINAL
    if order.state is LIVE and not draft.aliases and kept_id == order.venue_id and not flags:
        return refuse(Code.DUPLICATE, request, account, order_id=order.order_id, state=LIVE)
    state = order.state if terminal else LIVE
    restated(draft, order, state, kept_id, order.cancel_deadline_us)
    code = Code.ILLEGAL_TRANSITION if terminal else OK
    return draft.finish(code=code, order_id=order.order_id, state=state, flags=flags)


def request_cancel(view: View, request: OrderEvent, now: int) -> Effect:
    """Note that a cancel has been asked of the venue; frees nothing."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    if order.state not in NOT_TERMINAL:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = Draft(view, request, account, now)
    draft.details = (("deadline_us", request.deadline_us),)
    restated(draft, order, order.state, order.venue_id, request.deadline_us)
    return draft.finish(order_id=order.order_id, state=order.state)


ENDS = {"reject": REJECTED, "cancel": CANCELLED, "expire": EXPIRED}


def end_order(view: View, request: OrderEvent, now: int) -> Effect:
    """The venue refused, cancelled or expired the order: release what it still holds."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    draft = Draft(view, request, account, now)
    target, reason = _end_of(order, ENDS[request.op], request.reason)
    if request.reason:
        draft.details = (("reason", request.reason),)
    if order.state not in NOT_TERMINAL:
        same = order.state is target
        if request.op == "reject":
            same = order.state is REJECTED or (order.state is CANCELLED and _of_refusal(order.reason))
        return noted(draft, order, Code.DUPLICATE if same else Code.ILLEGAL_TRANSITION)
    ended(draft, order, target, reason)
    return draft.finish(order_id=order.order_id, state=target)


def _of_refusal(reason: str) -> bool:
    """Whether a reason is what a refusal leaves; no other end leaves one like it, whatever it was given."""
    return reason == "rejected" or reason.startswith("rejected: ")


def _end_of(order: BookOrder, asked: OrderState, reason: str) -> tuple[OrderState, str]:
    """(terminal state, reason): a refusal after a fill only ends the remainder."""
    if asked is not REJECTED:
        return asked, f"{asked.lower()}: {reason}" if _of_refusal(reason) else reason
    reason = f"rejected: {reason}" if reason else "rejected"
    return (CANCELLED if order.filled or order.overfilled else REJECTED), reason


def resolve(view: View, request: Resolve, now: int) -> Effect:
    """End the UNKNOWN state of an order by evidence."""
    found = order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    # That a venue does not know an id proves nothing while the order could still arrive there.
    premature = request.evidence == "not_at_venue" and (order.good_till_us is None or now <= order.good_till_us)
    if order.state is not UNKNOWN or premature:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = Draft(view, request, account, now)
    draft.details = (("evidence", request.evidence), ("operator", request.operator))
    if request.outcome is LIVE:
        restated(draft, order, LIVE, order.venue_id, None)
        return draft.finish(order_id=order.order_id, state=LIVE)
    target, reason = _end_of(order, request.outcome, request.evidence)
    ended(draft, order, target, reason)
    return draft.finish(order_id=order.order_id, state=target)


def sweep(view: View, request: Sweep, now: int) -> Effect:
    """Cancel what was never sent, and label what is overdue UNKNOWN. Frees nothing that may be live."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    lease = (request.sweeper, now, now + request.lease_us) if request.sweeper else None
    if lease is not None:
        held = view.lease()
        # One that begins in the future is from before the clock went back: it would last longer than anybody asked.
        if held is not None and held[0] != request.sweeper and held[1] <= now < held[2]:
            return _nothing_swept(request, account, ("leased",), None)
    draft = Draft(view, request, account, now)
    outcomes: list[OrderRow] = []
    for order in sorted(view.due(now), key=lambda order: (order.created_us, order.version, order.place)):
        if order.state is RESERVED:
            _released(draft, order, CANCELLED, "never_sent")
        elif order.state is not UNKNOWN:
            restated(draft, order, UNKNOWN, order.venue_id, order.cancel_deadline_us)
        else:
            continue
        outcomes.append((order.order_id, "OK", draft.order_pairs[-1][1].hold, 0, 0))
    if not outcomes:
        return _nothing_swept(request, account, (), lease)
    _renew_tops(draft)
    return draft.finish(orders=tuple(outcomes))._replace(lease=lease)


def _nothing_swept(request: Sweep, account: BookAccount, flags: tuple[str, ...], lease: Lease | None) -> Effect:
    """Nothing to journal; the lease alone may be written."""
    totals, version = account.totals, account.version
    outcome = Outcome(OK, request.op, account.account_id, version, account.scale, totals, totals, flags=flags)
    return Effect(outcome, lease=lease)
