"""The step that takes an account over from a flat layout."""

from __future__ import annotations

from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.records import SYMBOL_START, BookOrder, BookSymbol
from equipoise.reservation.requests import FlatOrder, ImportFlat
from equipoise.reservation.steps.accounts import blank_account
from equipoise.reservation.steps.draft import Draft, id_gate, refuse
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, View

__all__ = ["import_flat"]


def import_flat(view: View, request: ImportFlat, now: int) -> Effect:
    """Open the account with its orders and positions as they are; a fact, so never refused for margin."""
    account = view.account()
    refusal = id_gate(view, request, account, now)
    if refusal is not None:
        return refusal
    if account is not None:
        return refuse(Code.ACCOUNT_EXISTS, request, account)
    draft = Draft(view, request, blank_account(request, now), now)
    draft.balance = request.balance
    rows: dict[str, BookSymbol] = {}
    for place, flat in enumerate(request.orders):
        order = _order(request, flat, place, now)
        draft.order_pairs.append((None, order))
        draft.live += order.state in NOT_TERMINAL
        row = rows.get(flat.symbol, SYMBOL_START._replace(symbol=flat.symbol))
        rows[flat.symbol] = _counted(row, order)
    for row in rows.values():
        draft.put_row(row)
    draft.details = (("currency", request.currency), ("scale", request.scale), ("faults", request.faults))
    return draft.finish()


def _order(request: ImportFlat, flat: FlatOrder, place: int, now: int) -> BookOrder:
    live, filled = flat.state in NOT_TERMINAL, flat.state in (OrderState.FILLED, OrderState.CLOSED)
    return BookOrder(
        order_id=flat.order_id,
        symbol=flat.symbol,
        leg="",
        side=flat.side,
        lots=flat.lots,
        price_ticks=1,
        scale=request.scale,
        hold_start=flat.hold,
        reduce_only=False,
        reduces=False,
        order_type="limit",
        owner="",
        request_id=request.ident,
        place=place,
        created_us=now,
        deadline_us=now,
        good_till_us=None,
        state=flat.state,
        hold=flat.hold,
        filled=flat.lots if filled else 0,
        working=flat.lots if live else 0,
        released=0 if live or filled else flat.lots,
        overfilled=0,
        open_lots=flat.lots if flat.state is OrderState.FILLED else 0,
        margin=flat.margin,
        hold_released=0,
        flags=("imported",),
        reason="",
        venue_id=None,
        cancel_deadline_us=None,
        outbox=False,
        amend_id=None,
        amend_lots=0,
        amend_hold=0,
        amend_price_ticks=0,
        amend_deadline_us=None,
        changed_us=now,
        version=1,
    )


def _counted(row: BookSymbol, order: BookOrder) -> BookSymbol:
    """The symbol's totals with one more order and its ticket."""
    bid, open_lots = order.side == "bid", order.open_lots
    return row._replace(
        lots=row.lots + (open_lots if bid else -open_lots),
        margin=row.margin + order.margin,
        hold_bids=row.hold_bids + (order.hold if bid else 0),
        hold_asks=row.hold_asks + (0 if bid else order.hold),
        bid_lots=row.bid_lots + (order.working if bid else 0),
        ask_lots=row.ask_lots + (0 if bid else order.working),
        long_lots=row.long_lots + (open_lots if bid else 0),
        short_lots=row.short_lots + (0 if bid else open_lots),
    )
