"""Steps that put an account right after something outside the book has changed or lost part of it.

A repair recomputes what can be derived from the orders, inside the step, and is refused when the account has moved on
since it was looked at. Its journal record is the one place where `before` need not be the last `after`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from equipoise._rust import requirement, rested
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.records import SYMBOL_START, BookOrder, BookSymbol, OutboxEntry
from equipoise.reservation.requests import Adopt, Repair
from equipoise.reservation.steps.draft import Draft, answer_again, given_back, refuse, without_amendment
from equipoise.reservation.steps.grants import hold_of, new_order
from equipoise.reservation.steps.rules import (
    counted,
    counted_rate,
    misleads,
    needs_alias,
    order_rate,
    standing,
)
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, Indexes, RateKey, Upkeep, View

__all__ = ["adopt", "indexes_of", "mended_order", "mended_symbols", "repair"]

ALWAYS_US = 2**62


def mended_order(order: BookOrder, owns: tuple[int, int] | None = None) -> BookOrder:
    """The order with the lots and the hold that its state and its fills imply.

    `owns`: of a ticket, the open lots and their margin as the journal has them.
    """
    if owns is not None:
        order = order._replace(open_lots=owns[0], margin=owns[1])
    elif not order.open_lots:
        order = order._replace(margin=0)
    if order.state in NOT_TERMINAL:
        working, hold = standing(order, order.filled)
        order = order._replace(working=working, hold=hold, released=order.ordered - order.filled - working)
        if working:
            return order
        # Nothing else would ever end an order of which nothing works.
        order = order._replace(state=OrderState.FILLED, cancel_deadline_us=None, outbox=False)
    if order.amend_lots:
        order = without_amendment(order)
    return order._replace(
        working=0,
        hold=0,
        released=order.lots - order.filled,
        hold_released=given_back(order, order.hold),
    )


def mended_symbols(
    rows: Iterable[BookSymbol],
    orders: Iterable[BookOrder],
    positions: Mapping[tuple[str, str], tuple[int, int]],
    *,
    tickets: bool,
    larger_leg: bool,
) -> dict[tuple[str, str], BookSymbol]:
    """Totals of every symbol and leg as the orders say; (lots, margin) of a netted position as `positions` says."""
    mended: dict[tuple[str, str], BookSymbol] = {}
    known = {(row.symbol, row.leg): row for row in rows}
    for symbol, leg in () if tickets else positions.keys() - known.keys():
        known[symbol, leg] = SYMBOL_START._replace(symbol=symbol, leg=leg)
    for row in known.values():
        lots, margin = (0, 0) if tickets else positions.get((row.symbol, row.leg), (row.lots, row.margin))
        margin = margin if lots else 0
        blank = SYMBOL_START._replace(symbol=row.symbol, leg=row.leg, lots=lots, margin=margin)
        mended[row.symbol, row.leg] = blank._replace(
            open_pnl=row.open_pnl, marked_us=row.marked_us, revalued_us=row.revalued_us
        )
    for order in orders:
        key = (order.symbol, order.leg)
        row = mended.get(key, SYMBOL_START._replace(symbol=order.symbol, leg=order.leg))
        bid = order.side == "bid"
        rests, working = ("hold_bids", "bid_lots") if bid else ("hold_asks", "ask_lots")
        changes: dict[str, Any] = {rests: getattr(row, rests) + order.hold}
        if order.reduces:
            changes[f"reduce_{working}"] = getattr(row, f"reduce_{working}") + order.working
        if counted(order):
            changes[working] = getattr(row, working) + order.working
        if larger_leg and order.working and counted(order):
            changes["rate_orders"] = max(row.rate_orders, counted_rate(order))
        if tickets and order.open_lots:
            side = "long_lots" if bid else "short_lots"
            changes[side] = getattr(row, side) + order.open_lots
            changes["lots"] = row.lots + (order.open_lots if bid else -order.open_lots)
            changes["margin"] = row.margin + order.margin
            if larger_leg:
                changes["rate_tickets"] = max(row.rate_tickets, order_rate(order.margin, order.open_lots))
        mended[key] = row._replace(**changes)
    # Without a position there is no open result.
    flat = [key for key, row in mended.items() if row.open_pnl and not (row.lots or row.long_lots or row.short_lots)]
    return mended | {key: mended[key]._replace(open_pnl=0) for key in flat}


def indexes_of(view: View, orders: Iterable[BookOrder], *, larger_leg: bool, sums: bool) -> Indexes:
    """Everything a store keeps beside the orders to find them and, with `sums`, to sum over them."""
    entries = {entry.request_id: entry for entry in view.outbox_entries()}
    aliases: list[tuple[str, str]] = []
    owners: dict[str, int] = {}
    rates: dict[RateKey, dict[int, int]] = {}
    live: list[str] = []
    waiting: dict[str, list[BookOrder]] = {}
    for order in orders:
        if order.state in NOT_TERMINAL:
            live.append(order.order_id)
        if order.owner and order.hold:
            owners[order.owner] = owners.get(order.owner, 0) + order.hold
        if order.outbox:
            waiting.setdefault(order.request_id, []).append(order)
        venue_id = order.venue_id or ""
        if needs_alias(order) and misleads(venue_id, view.order(venue_id)):
            aliases.append((venue_id, order.order_id))
        if larger_leg and order.working and counted(order):
            _count(rates, (order.symbol, order.leg, "orders"), counted_rate(order))
        if larger_leg and order.open_lots:
            _count(rates, (order.symbol, order.leg, "tickets"), order_rate(order.margin, order.open_lots))
    outbox = []
    taken = {entries[request_id].version for request_id in waiting if request_id in entries}
    for request_id, mine in waiting.items():
        first, ids = mine[0], tuple([order.order_id for order in mine])
        entry = entries.get(request_id)
        if entry is None:
            # When it was written is lost; entries are listed by version, so no two may have the same.
            version = first.version
            while version in taken:
                version -= 1
            taken.add(version)
            entry = OutboxEntry(request_id, version, first.created_us, first.deadline_us, ids, len(ids))
        outbox.append(entry._replace(open_orders=len(ids)))
    found = Indexes(tuple(live), None, None, tuple(outbox), tuple(aliases))
    if sums:
        found.owners, found.rates = tuple(owners.items()), rates
    return found


def _count(rates: dict[RateKey, dict[int, int]], key: RateKey, rate: int) -> None:
    counts = rates.setdefault(key, {})
    counts[rate] = counts.get(rate, 0) + 1


def repair(view: View, request: Repair, now: int) -> Effect:
    """Put one thing right: an order, a symbol, the indexes, the totals, the journal's base or the status."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    if account.version != request.expected_version:
        return refuse(Code.ILLEGAL_TRANSITION, request, account)
    draft = Draft(view, request, account, now)
    draft.details = (("kind", request.kind), ("where", request.where), ("operator", request.operator))
    orders = {order.order_id: order for order in view.every()}
    larger_leg = account.terms.combine == "larger_leg"
    rows = {(row.symbol, row.leg): row for row in view.symbols()}
    if request.kind == "order" and request.where in orders:
        order = orders[request.where]
        mended = mended_order(order, request.position)._replace(changed_us=now, version=draft.version)
        orders[request.where] = mended
        draft.order_pairs.append((order, mended))
    if request.kind in ("order", "symbol"):
        positions = {}
        if request.kind == "symbol" and request.position is not None:
            positions = {(request.where, request.leg): request.position}
        tickets = account.terms.positions == "tickets"
        fresh = mended_symbols(rows.values(), orders.values(), positions, tickets=tickets, larger_leg=larger_leg)
        touched = (request.where, request.leg)
        if request.kind == "order" and request.where in orders:
            touched = (orders[request.where].symbol, orders[request.where].leg)
        # A symbol that is lost comes back with its position, or not at all.
        if touched in fresh and (touched in rows or request.kind == "symbol"):
            row = fresh[touched]
            if touched not in rows and (row.lots or row.long_lots or row.short_lots):
                # And with its open result, which is what no other symbol has.
                row = row._replace(open_pnl=account.open_pnl_units - sum([row.open_pnl for row in rows.values()]))
            draft.put_row(row)
            rows[touched] = row
    sums = [requirement(account.terms.combine, row) for row in rows.values()]
    executed_units, all_units = sum([executed for executed, _ in sums]), sum([everything for _, everything in sums])
    open_pnl_units = sum([row.open_pnl for row in rows.values()])
    if request.kind != "totals":
        # A symbol may be lost: what it takes, and its open loss, is in the totals only, until it is back.
        executed_units, all_units = max(executed_units, account.executed_units), max(all_units, account.all_units)
        open_pnl_units = min(open_pnl_units, account.open_pnl_units)
    draft.status = account.status.changed(recovering=False) if request.kind == "status" else account.status
    after = draft.next_account()._replace(
        executed_units=executed_units,
        all_units=all_units,
        open_pnl_units=open_pnl_units,
        live_orders=sum([order.state in NOT_TERMINAL for order in orders.values()]),
        records=len(orders) + view.forgotten(ALWAYS_US),
    )
    effect = draft.finish(after=after)
    if effect.journal is not None:
        if request.kind in ("index", "lookups"):
            everything = request.kind == "index"
            indexes = indexes_of(view, orders.values(), larger_leg=larger_leg, sums=everything)
            return effect._replace(upkeep=Upkeep(indexes=indexes))
        if request.kind == "journal":
            return effect._replace(upkeep=Upkeep(rebase=True))
    return effect


def adopt(view: View, request: Adopt, now: int) -> Effect:
    """Hold for an order that the venue has and the book has not; a fact, so never refused for margin."""
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    ask = request.ask
    known = view.order(ask.order_id)
    if known is not None:
        found = view.event(known.order_id, request.ident)
        if found is not None:
            return answer_again(found, request, account)
        return refuse(Code.ORDER_EXISTS, request, account, order_id=known.order_id, state=known.state)
    if (account.terms.positions == "hedge") != bool(ask.leg):
        return refuse(Code.TERMS_INVALID, request, account)
    draft = Draft(view, request, account, now)
    row = draft.row(ask.symbol, ask.leg)
    hold, reduces = hold_of(account.terms, row, ask)
    counts = not reduces or hold > 0
    row = rested(row, ask.side, hold, ask.lots, reduces=reduces, counts=counts)
    if account.terms.combine == "larger_leg" and counts:
        row = draft.rate(row, "orders", order_rate(hold, ask.lots), 1)
    order = new_order(request, ask, 0, hold, reduces, OrderState.LIVE, account.scale, draft.version, now)
    order = order._replace(flags=("adopted",), venue_id=request.venue_id)
    draft.put_row(row)
    draft.order_pairs.append((None, order))
    draft.live += 1
    # An order that has ended keeps its venue id: fills that are booked are known by it.
    if request.venue_id is not None and request.venue_id != ask.order_id and view.order(request.venue_id) is None:
        draft.aliases = ((request.venue_id, ask.order_id),)
    return draft.finish(order_id=ask.order_id, state=OrderState.LIVE, flags=("adopted",))
