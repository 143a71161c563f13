"""The step that holds margin for a ladder: what every order goes through first.

The orders are judged in the compiled part (`hold_ladder`), which notes what each changes in the shape in which it will
be written. What few accounts have, limits among it, is asked for here.
"""

from __future__ import annotations

from functools import partial
from typing import cast

from equipoise._rust import hold_ladder
from equipoise.reservation.codes import PRECEDENCE, Code, OrderState
from equipoise.reservation.money import AMOUNT_MAX, MICRO_SCALE
from equipoise.reservation.records import (
    BookAccount,
    BookSymbol,
    OrderRow,
    Outcome,
)
from equipoise.reservation.requests import Ask, Reserve
from equipoise.reservation.steps.draft import (
    Draft,
    account_step,
    blank_row,
    growth_gate,
    marks_stale,
    refuse,
)
from equipoise.reservation.steps.grants import hold_of, over_position_limit
from equipoise.reservation.steps.rules import order_rate
from equipoise.reservation.steps.view import Effect, View

__all__ = ["reserve"]

OK = Code.OK
_ASKED = (None,) * 6
"""Places of an order's record for what it was asked for with."""
_FRESH = (0, 0, 0, 0, 0, 0, 0, 0, (), "", None, None)
"""`hold` to `cancel_deadline_us` of an order that has just been made, but for the first and the third."""
RESERVED, SENT = OrderState.RESERVED._value_, OrderState.SENT._value_


def reserve(view: View, request: Reserve, now: int) -> Effect:
    """Hold margin for a whole ladder: all of it, or what fits in the caller's order."""
    account, refusal = account_step(view, request, now)
    if refusal is None and account is not None:
        if request.outbox and view.outbox_entry(request.ident) is not None:
            # The id was archived, its entry still waits for an answer: a second one under it could not be told apart.
            return refuse(Code.REQUEST_CONFLICT, request, account)
        refusal = growth_gate(request, account)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    terms, scale, owner, ident = account.terms, account.scale, request.owner, request.ident
    # Keeps the counted charges per lot, where the rule has them.
    draft = Draft(view, request, account, now) if terms.combine == "larger_leg" else None
    taken: set[str] = set()
    read: dict[tuple[str, str], tuple[BookSymbol, bool]] = {}
    known = view.order
    for ask in request.asks:
        if known(ask[0]) is not None:
            taken.add(ask[0])
        elif (key := ask[1:3]) not in read:
            row = view.symbol(*key)
            read[key] = (blank_row(*key), False) if row is None else (row, True)
    details = [("owner", owner)] if owner else []
    if request.outbox:
        details.append(("send", "outbox"))
    state = SENT if request.sent else RESERVED
    about = (request.order_type, owner, ident, 0, now, request.deadline_us, request.good_till_us, state)
    # One sum of short tuples: see `new_record`.
    blank = _ASKED + (scale, 0, False, False) + about + _FRESH + (request.outbox, None, 0, 0, 0, None)  # noqa: RUF005
    judged = hold_ladder(
        account,
        terms,
        request.asks,
        taken,
        list(read.values()),
        account.totals,
        now,
        blank + (now, account.version + 1),  # noqa: RUF005
        (request.op, ident, request.fingerprint, request.issued_us, details),
        (Outcome, OK),
        request.best_effort,
        request.in_micros and scale != MICRO_SCALE,
        terms.mark_age_ms_max is not None and marks_stale(view, account, now),
        request.terms_version is not None and request.terms_version != account.terms_version,
        (
            hold_of,
            partial(_limit, view, request, account) if terms.limited else None,
            None if draft is None else partial(_count, draft),
        ),
    )
    if judged is None:
        return refuse(Code.AMOUNT_OVERFLOW, request, account)
    if len(judged) == 4:
        return _refuse_ladder(view, request, account, *judged)
    outcome, after, symbols, orders, kept, held_ids, holds = judged
    # Under rules that do not add up an owner's holds can exceed what the account holds.
    owned = view.owned(owner) + holds if owner and holds else 0
    if owned > AMOUNT_MAX:
        return refuse(Code.AMOUNT_OVERFLOW, request, account)
    effect = Effect(outcome, after, symbols, orders, kept=(ident, kept))
    if owned:
        effect.owners = ((owner, owned),)
    if request.outbox:
        entry = (ident, after.version, now, request.deadline_us, held_ids, len(held_ids))
        effect.outbox = ((ident, entry),)
    if draft is not None:
        effect.rates = draft.rates
    return effect


def _count(draft: Draft, row: BookSymbol, hold: int, lots: int, change: int) -> BookSymbol:
    """Count an order's charge per lot in or out; the row with the highest one renewed."""
    return draft.rate(row, "orders", order_rate(hold, lots), change)


def _limit(
    view: View,
    request: Reserve,
    account: BookAccount,
    ask: Ask,
    row: BookSymbol,
    holding: tuple[int, int],
    requiring: tuple[int, int],
    count: int,
    reduces: bool,
    counts: bool,
) -> Code:
    """First limit of the terms, in order of precedence, that an order meets.

    `holding` is its hold and those of the ladder before it, `requiring` its rise of used_margin_all and that before it.
    """
    terms, (hold, holds), (rise, all_units) = account.terms, holding, requiring
    if over_position_limit(terms, row, ask.side, reduces=reduces, counts=counts):
        return Code.POSITION_LIMIT
    if (
        (terms.orders_max is not None and account.live_orders + count >= terms.orders_max)
        or (terms.records_max is not None and account.records + 1 + count >= terms.records_max)
        or (terms.order_margin_max is not None and hold > terms.order_margin_max)
        or (terms.margin_max is not None and rise > 0 and all_units + rise > terms.margin_max)
    ):
        return Code.ORDER_LIMIT
    most = terms.owner_limit.get(request.owner)
    if most is not None and hold and view.owned(request.owner) + holds + hold > most:
        return Code.OWNER_LIMIT
    return OK


def _refuse_ladder(
    view: View,
    request: Reserve,
    account: BookAccount,
    faults: tuple[str, ...],
    outcomes: tuple[OrderRow, ...],
    rise: int,
    holds: int,
) -> Effect:
    """Nothing of the ladder is held; orders without a fault of their own carry the ladder's code."""
    code = min(map(Code, faults), key=PRECEDENCE.__getitem__, default=Code.INSUFFICIENT_MARGIN)
    if not request.best_effort and code.precedence > Code.AMOUNT_OVERFLOW.precedence:
        # No order has a fault of its own: the ladder as a whole meets a limit, or margin. Its range comes before.
        owned = view.owned(request.owner) + holds if request.owner else 0
        if not -AMOUNT_MAX <= account.free_units - rise <= AMOUNT_MAX or owned > AMOUNT_MAX:
            code = Code.AMOUNT_OVERFLOW
    orders = tuple([row if row[1] != "OK" else (row[0], code._value_, 0, 0, 0) for row in outcomes])
    if code is not Code.INSUFFICIENT_MARGIN:
        return refuse(code, request, account, order_rows=orders)
    if request.best_effort:
        first = next(row for row in outcomes if row[1] == code)
        return refuse(code, request, account, order_rows=orders, required_units=first[3], free_units=first[4])
    return refuse(code, request, account, order_rows=orders, required_units=rise, free_units=account.free_units)
