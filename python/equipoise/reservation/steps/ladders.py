"""The step that holds margin for a ladder: what every order goes through first.

Each thing that an order changes is noted while the order is judged, in the shape in which it will be written.
"""

from __future__ import annotations

from typing import Any, cast

from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.money import AMOUNT_MAX, MICRO_SCALE
from equipoise.reservation.records import (
    BookAccount,
    BookSymbol,
    OrderRow,
    RawOrder,
    new_record,
)
from equipoise.reservation.requests import Ask, Reserve
from equipoise.reservation.steps.draft import (
    Draft,
    account_step,
    blank_row,
    effect_of,
    growth_gate,
    marks_stale,
    refuse,
    rested,
    row_fits,
)
from equipoise.reservation.steps.grants import hold_of, over_position_limit
from equipoise.reservation.steps.rules import COMBINE_RULES, order_rate
from equipoise.reservation.steps.view import Effect, View

__all__ = ["reserve"]

OK = Code.OK
_VERSION, _ALL_UNITS, _LIVE_ORDERS, _CHANGED_US, _RECORDS = map(
    BookAccount._fields.index, ("version", "all_units", "live_orders", "changed_us", "records")
)
LIMITS = frozenset({Code.STALE_MARK, Code.POSITION_LIMIT, Code.ORDER_LIMIT, Code.OWNER_LIMIT})
RESERVED, SENT = OrderState.RESERVED._value_, OrderState.SENT._value_


def reserve(view: View, request: Reserve, now: int) -> Effect:
    """Hold margin for a whole ladder: all of it, or what fits in the caller's order.

    What every order goes through first: what changes is noted at once, in the shape in which it will be written.
    """
    account, refusal = account_step(view, request, now)
    if refusal is None and account is not None:
        if request.outbox and view.outbox_entry(request.ident) is not None:
            # The id was archived, its entry still waits for an answer: a second one under it could not be told apart.
            return refuse(Code.REQUEST_CONFLICT, request, account)
        refusal = growth_gate(request, account)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    terms, scale, best_effort = account.terms, account.scale, request.best_effort
    was = account.totals
    free, all_units, holds, worst = was[0] + was[1] - was[3], was[3], 0, OK
    require, known, hedge = COMBINE_RULES[terms.combine], view.order, terms.positions == "hedge"
    foreign, tickets = request.in_micros and scale != MICRO_SCALE, terms.positions == "tickets"
    stale = terms.mark_age_ms_max is not None and marks_stale(view, account, now)
    changed = request.terms_version is not None and request.terms_version != account.terms_version
    # Keeps the counted charges per lot, where the rule has them.
    draft = Draft(view, request, account, now) if terms.combine == "larger_leg" else None
    text = SENT if request.sent else RESERVED
    owner, ident = request.owner, request.ident
    deadline, good_till = request.deadline_us, request.good_till_us
    whole = (request.order_type, owner, ident)
    untouched = (0, 0, 0, 0, 0, (), "", None, None, request.outbox, None, 0, 0, 0, None, now, account.version + 1)
    outcomes: list[OrderRow] = []
    held_ids: list[str] = []
    orders: list[RawOrder] = []
    changes: list[tuple[Any, ...]] = []
    count = 0
    rows: _Rows = {}
    for place, ask in enumerate(request.asks):
        order_id, symbol, leg, side, lots, price, hold, reduce_only = ask
        code, rise, reduces, counts = OK, 0, False, True
        if known(order_id) is not None:
            code = Code.ORDER_EXISTS
        elif foreign or hedge != bool(leg) or (tickets and reduce_only):
            code = Code.TERMS_INVALID
        else:
            found = rows.get((symbol, leg))
            if found is None:
                first = view.symbol(symbol, leg)
                row = first if first is not None else blank_row(symbol, leg)
                before = require(row)[1]
            else:
                first, row, before = found
            if reduce_only or hedge:
                hold, reduces = hold_of(terms, row, ask)
                # One that may only reduce and does not fit holds its charge, and counts like any other.
                counts = not reduces or hold > 0
            row = rested(row, side, hold, lots, reduces=reduces, counts=counts)
            if draft is not None and counts:
                row = draft.rate(row, "orders", order_rate(hold, lots), 1)
            after = require(row)[1]
            rise = after - before
            # Neither sum is negative, so where both fit each part does; the position has not moved.
            fits = row[4] + row[5] <= AMOUNT_MAX and row[6] + row[7] + row[8] + row[9] <= AMOUNT_MAX
            if all_units + rise > AMOUNT_MAX or (not fits and not row_fits(row)):
                code = Code.AMOUNT_OVERFLOW
            elif stale and counts:
                code = Code.STALE_MARK
            elif terms.limited:
                code = _limit(
                    view, request, account, ask, row, (hold, holds), (rise, all_units), count, reduces, counts
                )
            if best_effort and code is OK and rise > 0 and free - (all_units - was[3]) < rise:
                code = Code.INSUFFICIENT_MARGIN
            # A ladder that is held whole or not at all meets the limits as a whole, whichever order is beyond them.
            if code is OK or (not best_effort and code in LIMITS):
                rows[symbol, leg] = (first, row, after)
                all_units += rise
                holds += hold
                count += 1
            elif draft is not None and counts:
                draft.rate(row, "orders", order_rate(hold, lots), -1)
        if changed and (code is OK or code.precedence > Code.TERMS_CHANGED.precedence):
            code = Code.TERMS_CHANGED
        if code is OK:
            outcomes.append((order_id, "OK", hold, 0, 0))
            held_ids.append(order_id)
            asked = (order_id, symbol, leg, side, lots, price, scale, hold, reduce_only, reduces)
            orders.append(asked + whole + (place, now, deadline, good_till, text, hold, 0, lots) + untouched)
            changes.append((order_id, None, (text, hold, 0, lots, 0, 0, 0, 0, 0)))
            continue
        if worst is OK or code.precedence < worst.precedence:
            worst = code
        short = (rise, free - (all_units - was[3])) if code is Code.INSUFFICIENT_MARGIN else (0, 0)
        outcomes.append((order_id, code._value_, 0, *short))
    rise = all_units - was[3]
    if best_effort:
        if not orders:
            return _refuse_ladder(request, account, worst, outcomes, 0)
    else:
        if worst is OK and rise > 0 and free < rise:
            worst = Code.INSUFFICIENT_MARGIN
        if worst is not OK:
            return _refuse_ladder(request, account, worst, outcomes, rise)
    then = (was[0], was[1], was[2], all_units)
    # Under rules that do not add up the requirement can fall, and an owner's holds exceed what the account holds.
    owned = view.owned(owner) + holds if owner and holds else 0
    if all_units < 0 or not -AMOUNT_MAX <= free - rise <= AMOUNT_MAX or owned > AMOUNT_MAX:
        return refuse(Code.AMOUNT_OVERFLOW, request, account)
    symbols, moves = [], []
    for (symbol, leg), (first, row, _) in rows.items():
        symbols.append(row)
        moves.append((symbol, leg, None if first is None else first[2:6], row[2:6]))
    details: tuple[tuple[str, Any], ...] = (("owner", owner),) if owner else ()
    if request.outbox:
        details += (("send", "outbox"),)
    ending = _account_after(account, all_units, len(orders), now)
    answers = tuple(outcomes)
    effect = effect_of(
        request, ending, was, then, now, OK, None, None, (), answers, symbols, moves, orders, changes, details
    )
    if owned:
        effect.owners = ((owner, owned),)
    if request.outbox:
        effect.outbox = ((ident, (ident, ending.version, now, deadline, tuple(held_ids), len(held_ids))),)
    if draft is not None:
        effect.rates = draft.rates
    return effect


_Rows = dict[tuple[str, str], tuple[BookSymbol | None, BookSymbol, int]]
"""Per symbol and leg: totals before the ladder and now, and what they require now."""


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


def _account_after(before: BookAccount, all_units: int, count: int, now: int) -> BookAccount:
    """The account with a request and `count` orders more."""
    values: list[Any] = list(before)
    values[_VERSION] += 1
    values[_ALL_UNITS] = all_units
    values[_LIVE_ORDERS] += count
    values[_CHANGED_US] = now
    values[_RECORDS] += count + 1
    return new_record(BookAccount, values)


def _refuse_ladder(request: Reserve, account: BookAccount, code: Code, outcomes: list[OrderRow], rise: int) -> Effect:
    """Nothing of the ladder is held; orders without a fault of their own carry the ladder's code."""
    orders = tuple([row if row[1] != "OK" else (row[0], code._value_, 0, 0, 0) for row in outcomes])
    if code is not Code.INSUFFICIENT_MARGIN:
        return refuse(code, request, account, order_rows=orders)
    if request.best_effort:
        first = next(row for row in outcomes if row[1] == code)
        return refuse(code, request, account, order_rows=orders, required_units=first[3], free_units=first[4])
    return refuse(code, request, account, order_rows=orders, required_units=rise, free_units=account.free_units)
