"""The step that holds margin for a ladder: what every order goes through first.

The orders are judged in the compiled part (`LadderStep`), which notes what each changes in the shape in which it will
be written. What few requests meet and few accounts have, limits among it, is asked for here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from equipoise._rust import LadderStep
from equipoise.reservation.codes import PRECEDENCE, AccountStatus, Code
from equipoise.reservation.money import AMOUNT_MAX
from equipoise.reservation.records import SYMBOL_START, BookAccount, BookSymbol, OrderRow, Outcome
from equipoise.reservation.requests import Ask, Reserve
from equipoise.reservation.steps.draft import (
    Draft,
    account_step,
    growth_gate,
    marks_stale,
    refuse,
)
from equipoise.reservation.steps.grants import hold_of, over_position_limit
from equipoise.reservation.steps.rules import order_rate
from equipoise.reservation.steps.view import Effect, RateDeltas, View

__all__ = ["reserve"]

_ByTerms = tuple[bool, Callable[..., Code] | None, Callable[..., BookSymbol] | None, RateDeltas | None]

OK = Code.OK


def _gates(view: View, request: Reserve, now: int) -> Effect | None:
    """What ends the step before an order is judged."""
    account, refusal = account_step(view, request, now)
    if refusal is not None or account is None:
        return refusal
    if request.outbox and view.outbox_entry(request.ident) is not None:
        # The id was archived, its entry still waits for an answer: a second one under it could not be told apart.
        return refuse(Code.REQUEST_CONFLICT, request, account)
    return growth_gate(request, account)


def _by_terms(view: View, request: Reserve, account: BookAccount, now: int) -> _ByTerms:
    """What terms that are not plain have: whether a mark is too old, limits, charges per lot that are counted."""
    terms = account.terms
    stale = terms.mark_age_ms_max is not None and marks_stale(view, account, now)
    limit = partial(_limit, view, request, account) if terms.limited else None
    if terms.combine != "larger_leg":
        return stale, limit, None, None
    draft = Draft(view, request, account, now)
    draft.rates = {}
    return stale, limit, partial(_count, draft), draft.rates


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


reserve = LadderStep(
    gates=_gates,
    refuse=_refuse_ladder,
    hold_of=hold_of,
    by_terms=_by_terms,
    active=AccountStatus.ACTIVE,
    effect=Effect,
    outcome=Outcome,
    ok=OK,
    start=SYMBOL_START,
)
"""Hold margin for a whole ladder: all of it, or what fits in the caller's order."""
