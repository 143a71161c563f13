"""The book against itself: what an audit finds, and what would repair it.

Looking is pure: it takes what the book keeps and returns a list. Repairing goes through the book's ordinary steps, one
for each finding, with the version the finding was made on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from equipoise._rust import requirement
from equipoise.reservation.audit import Finding, Holdings, JournalBase, audit
from equipoise.reservation.discrepancies import Discrepancy, Plan
from equipoise.reservation.records import STATE_AT, BookOrder, BookSymbol
from equipoise.reservation.steps import NOT_TERMINAL
from equipoise.reservation.steps.repairs import mended_order, mended_symbols

__all__ = ["folded", "owning_of", "within"]

_OPEN_LOTS, _MARGIN = (BookOrder._fields.index(name) - STATE_AT for name in ("open_lots", "margin"))


def within(kept: Holdings, settled_us: int | None) -> list[Plan]:
    """Repairs for what an audit finds, in the order in which they must be done.

    `settled_us`: until when the venue's open orders show what has happened; None: they are not known.
    """
    found: dict[str, list[Finding]] = {}
    for finding in audit(kept).findings:
        found.setdefault(finding.kind, []).append(finding)
    if not found:
        return []
    plans: list[Plan] = []
    orders = dict(kept.orders)
    journal = folded(kept)
    tickets = kept.account.terms.positions == "tickets"
    whole = found.keys().isdisjoint(("journal_gap", "journal_chain"))
    for order in kept.orders.values():
        told = journal.orders.get(order.order_id) if tickets and whole else None
        owns = None if told is None else _owned(told)
        mended = mended_order(order, owns)
        if mended != order:
            item = Discrepancy(
                "order",
                order.order_id,
                (mended.working, mended.hold),
                (order.working, order.hold),
                "working lots and hold as state and fills imply",
            )
            if (mended.open_lots, mended.margin) != (order.open_lots, order.margin):
                item = replace(
                    item,
                    expected=(mended.working, mended.hold, mended.open_lots, mended.margin),
                    found=(order.working, order.hold, order.open_lots, order.margin),
                    repair="as state and fills imply; open lots and their margin as the journal has them",
                )
            plans.append(Plan(item, "order", (order.order_id, "", owns)))
            orders[order.order_id] = mended
    gone = [name for name in sorted(journal.orders) if name not in kept.orders]
    lost = [name for name in gone if journal.orders[name][0] in NOT_TERMINAL]
    # No view of open orders says what became of a ticket's position.
    owning = owning_of(kept, journal)
    hidden = [name for name in lost if settled_us is None or _told_us(kept, name) > settled_us]
    began_anew = _began_anew(kept) if not tickets else set()
    # Without a gap the journal names every order. A netted position it does not tell once it contradicts itself.
    gap = "journal_gap" in found
    beyond = (gap if tickets else not whole) and _beyond(kept, orders.values(), asked=not gap or settled_us is not None)
    waits = bool(owning or hidden or began_anew or beyond)
    restored, summed, unknown = _symbols(kept, orders, journal if whole else None, waits=waits)
    waits = waits or unknown
    plans = restored + plans + summed
    for name in sorted({*lost, *owning}):
        item = Discrepancy("record", name, journal.orders[name][0], None)
        if name in owning:
            item = replace(item, note="what its position takes stays taken: close it at the venue, book it by hand")
        elif name in hidden:
            item = replace(item, note="what it held stays held until the venue's open orders say more")
        elif waits:
            item = replace(item, note="waits for the lost records")
        else:
            item = replace(item, repair="adopted again if it is open at the venue, released if not")
        plans.append(Plan(item, "noted" if item.repair else None))
    for symbol, leg in sorted(began_anew):
        item = Discrepancy("symbol", f"{symbol} {leg}".strip(), None, None)
        note = "it was lost and began anew: what its position took stays taken; close it at the venue, book it by hand"
        plans.append(Plan(replace(item, note=note)))
    lost = sorted({*lost, *owning})
    account = kept.account
    # What owners hold and the charges per lot are sums: the part of what is lost is not let go of before the rest.
    lookups, sums = ("index", "alias", "outbox"), ("owner", "rates")
    for kinds, step in [(lookups, "lookups"), (sums, None)] if waits else [((*sums, *lookups), "index")]:
        named = [finding for kind in kinds for finding in found.get(kind, ())]
        if named:
            where = ", ".join(sorted({finding.kind for finding in named}))
            repair, note = ("derived anew from the orders", "") if step else ("", "waits for the lost records")
            item = Discrepancy("index", where, named[0].expected, named[0].found, repair, "found", note)
            plans.append(Plan(item, step, (where, "", None)))
    for kind in ("executed", "all", "live_orders", "open_pnl", "records"):
        for finding in found.get(kind, ()):
            note = "waits for the lost records" if waits else ""
            repair = "" if note else "summed anew over symbols"
            item = Discrepancy("totals", kind, finding.expected, finding.found, repair, "found", note)
            plans.append(Plan(item, None if note else "totals", (kind, "", None)))
    broken = [*found.get("journal_gap", ()), *found.get("journal_chain", ())]
    if not broken and not plans:
        broken = found.get("journal_state", [])
    if broken or lost:
        first = broken[0] if broken else Finding("journal_state", lost[0], journal.orders[lost[0]], None)
        note = "waits for the lost records" if waits else ""
        repair = "" if note else "the audit begins at this version; the records stay"
        item = Discrepancy("journal", first.where, first.expected, first.found, repair, "found", note)
        plans.append(Plan(item, None if note else "journal", (account.account_id, "", None)))
    return plans


def folded(kept: Holdings) -> JournalBase:
    """State of the account as the journal alone says."""
    state = kept.base.copy()
    for record in kept.journal:
        if record.version > state.version:
            state.fold(record)
    return state


def _told_us(kept: Holdings, name: str) -> int:
    """When the journal last told of an order; from before its first record: then at the latest."""
    told = [record.at_us for record in kept.journal if any(change.order_id == name for change in record.orders)]
    return told[-1] if told else (kept.journal[0].at_us if kept.journal else kept.account.changed_us)


def _began_anew(kept: Holdings) -> set[tuple[str, str]]:
    """Symbols with a position that a step found gone: what it took is in no row any more."""
    state, found = kept.base.copy(), set[tuple[str, str]]()
    for record in kept.journal:
        if record.version <= state.version:
            continue
        # A repair that finds one gone puts it back with its position.
        for change in record.symbols if record.op != "repair" else ():
            key = (change.symbol, change.leg)
            before = state.symbols.get(key)
            if change.before is None and before is not None and (before[0] or before[1]):
                found.add(key)
        state.fold(record)
    return found


def _beyond(kept: Holdings, orders: Iterable[BookOrder], *, asked: bool) -> bool:
    """Whether more is held than the records that are there explain: they and their journal may both be gone.

    `asked`: what rests beyond them is judged by the venue's open orders; no view of those tells of a position.
    """
    terms = kept.account.terms
    tickets, larger_leg = terms.positions == "tickets", terms.combine == "larger_leg"
    mended = mended_symbols(kept.symbols, orders, {}, tickets=tickets, larger_leg=larger_leg)
    sums = [requirement(terms.combine, row) for row in mended.values()]
    if kept.account.executed_units > sum([executed for executed, _ in sums]):
        return True
    # Totals do not show all of it: of two sides the larger may count.
    rows = [(row, mended[row.symbol, row.leg]) for row in kept.symbols]
    if tickets and any(_exceeds(row, mine, ("margin", "long_lots", "short_lots")) for row, mine in rows):
        return True
    resting = ("hold_bids", "hold_asks", "bid_lots", "ask_lots", "reduce_bid_lots", "reduce_ask_lots")
    return not asked and (
        kept.account.all_units > sum([everything for _, everything in sums])
        or any(_exceeds(row, mine, resting) for row, mine in rows)
    )


def _exceeds(row: BookSymbol, other: BookSymbol, names: Iterable[str]) -> bool:
    return any(getattr(row, name) > getattr(other, name) for name in names)


def owning_of(kept: Holdings, journal: JournalBase) -> list[str]:
    """Tickets whose records are lost while they had a position."""
    if kept.account.terms.positions != "tickets":
        return []
    return [name for name in journal.orders if name not in kept.orders and _owned(journal.orders[name]) != (0, 0)]


def _owned(figures: tuple[Any, ...]) -> tuple[int, int]:
    """(open lots, their margin) of an order as the journal has it."""
    return figures[_OPEN_LOTS], figures[_MARGIN]


def _symbols(
    kept: Holdings, orders: Mapping[str, BookOrder], journal: JournalBase | None, *, waits: bool
) -> tuple[list[Plan], list[Plan], bool]:
    """Symbols whose totals are not what the orders, and for a netted position the journal, say.

    `journal`: its state where it is whole. Returns those that are restored, which comes before any sum is made anew,
    those that are summed anew, and whether some of them cannot be restored.
    """
    terms = kept.account.terms
    tickets = terms.positions == "tickets"
    positions = {} if journal is None else {key: (state[0], state[1]) for key, state in journal.symbols.items()}
    mended = mended_symbols(
        kept.symbols, orders.values(), positions, tickets=tickets, larger_leg=terms.combine == "larger_leg"
    )
    rows = {(row.symbol, row.leg): row for row in kept.symbols}
    unknown = not tickets and journal is None and not mended.keys() <= rows.keys()
    restored, summed = list[Plan](), list[Plan]()
    for key, row in mended.items():
        before = rows.get(key)
        if row == before:
            continue
        position = None if key not in positions or tickets else positions[key]
        note = "waits for the lost records" if waits else ""
        if before is None and not tickets and position is None:
            note = "its position is lost, and the journal is not whole: what it takes stays taken"
        item = Discrepancy(
            "symbol",
            " ".join(key).strip(),
            tuple(row[2:10]),
            None if before is None else tuple(before[2:10]),
            "" if note else "summed anew over its orders",
            "found",
            note,
        )
        plan = Plan(item, None if note else "symbol", (*key, position))
        (restored if before is None else summed).append(plan)
    return restored, summed, unknown
