"""The book against itself and against the venue: what differs, what would repair it, and the repairs.

Looking is pure: `compare` takes what the book keeps and what the venue says, and returns a list. Repairing goes through
the book's ordinary steps, one a finding, each with the version the finding was made on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from equipoise.reservation.audit import Finding, Holdings, JournalBase, audit
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.ids import derived_id
from equipoise.reservation.money import Amount, held
from equipoise.reservation.records import STATE_AT, BookOrder, Outcome
from equipoise.reservation.steps import NOT_TERMINAL
from equipoise.reservation.steps.repairs import mended_order, mended_symbols
from equipoise.reservation.venue import VenueOrder, VenueView

__all__ = ["HARMLESS", "Discrepancy", "ReconcileReport", "compare", "within"]

HARMLESS = frozenset({"absent"})
"""Findings that may stay while an account grants again: what they are about is still held."""
_OPEN_LOTS, _MARGIN = (BookOrder._fields.index(name) - STATE_AT for name in ("open_lots", "margin"))
REOPENED = "#live"
"""Added to the id of an order that has ended in the book and is open at the venue."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind
        Within the book: order, record, symbol, index, totals, journal. Against the venue: unheld_order, missed_fill,
        unacknowledged, ended, absent, amended, quantity, fills_missing, fill_of_unknown_order, position, balance; and
        recovering.
    where
        Order, symbol or account.
    expected, found
        What the orders, the journal or the venue say, and what the book says.
    repair
        What `apply` does about it; empty: nothing.
    state
        "found" (dry run), "applied" or "skipped".
    note
        Why nothing is or was done.
    """

    kind: str
    where: str
    expected: Any
    found: Any
    repair: str = ""
    state: str = "found"
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What `reconcile` found and did. `ok`: nothing was found. `settled`: everything found was repaired."""

    account_id: str
    version: int
    """Version of the account the findings were made on."""
    applied: bool
    discrepancies: tuple[Discrepancy, ...]
    unjudged: tuple[str, ...] = field(default=())
    """Orders that changed too shortly before the view to be judged by it."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.discrepancies

    @property
    def settled(self) -> bool:
        """Whether nothing is left to repair."""
        return all(item.state == "applied" for item in self.discrepancies)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values ready for JSON."""
        return {
            "account_id": self.account_id,
            "version": self.version,
            "applied": self.applied,
            "ok": self.ok,
            "settled": self.settled,
            "unjudged": list(self.unjudged),
            "discrepancies": [
                {
                    "kind": item.kind,
                    "where": item.where,
                    "expected": _plain(item.expected),
                    "found": _plain(item.found),
                    "repair": item.repair,
                    "state": item.state,
                    "note": item.note,
                }
                for item in self.discrepancies
            ],
        }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else str(value)


class Plan(NamedTuple):
    """A finding with the call that repairs it: the name of a step and its arguments; None: there is none."""

    item: Discrepancy
    step: str | None = None
    values: tuple[Any, ...] = ()
    order_id: str | None = None
    """Order whose version must still be what it was."""


def compare(
    kept: Holdings,
    view: VenueView | None,
    now: int,
    settled_us: int | None,
    units: Callable[[Amount, bool], int],
    knows_event: Callable[[str, str], bool],
) -> tuple[list[Plan], list[Plan], tuple[str, ...]]:
    """Findings within the book and against the venue, with their repairs, and the orders that cannot be judged yet.

    `units(amount, round_up)` turns an amount into units of the account; `knows_event(order_id, ident)` says whether an
    event has been booked.
    """
    plans = within(kept, settled_us)
    if view is None or settled_us is None:
        return plans, [], ()
    desk = _Desk(kept, view, now, settled_us, units, knows_event)
    desk.look_at_fills()
    desk.look_at_orders()
    desk.look_for_absent()
    desk.look_at_totals()
    if kept.account.status.recovering:
        desk.look_at_recovery()
    return plans, desk.plans, tuple(desk.unjudged)


# --- the book against itself ----------------------------------------------------------------------------------------


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
    journal = _folded(kept)
    tickets = kept.account.terms.positions == "tickets"
    whole = "journal_gap" not in found and "journal_chain" not in found
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
    owning = [name for name in gone if tickets and _owned(journal.orders[name]) != (0, 0)]
    hidden = [name for name in lost if settled_us is None or _told_us(kept, name) > settled_us]
    began_anew = _began_anew(kept) if not tickets else set()
    held_by_nobody = not whole and settled_us is None and _holds_more(kept, orders.values())
    waits = bool(owning or hidden or began_anew or held_by_nobody)
    restored, summed, unknown = _symbols(kept, orders, journal if whole else None, waits=waits)
    waits = waits or unknown
    plans = restored + plans + summed
    for name in sorted({*lost, *owning}):
        item = Discrepancy("record", name, journal.orders[name][0], None)
        if name in owning:
            item = replace(item, note="what its position takes stays taken: close it at the venue, book it by hand")
        elif name in hidden:
            item = replace(item, note="what it held stays held until the venue's open orders say more")
        else:
            item = replace(item, repair="adopted again if it is open at the venue, released if not")
        plans.append(Plan(item, "noted" if item.repair else None))
    for symbol, leg in sorted(began_anew):
        item = Discrepancy("symbol", f"{symbol} {leg}".strip(), None, None)
        note = "it was lost and began anew: what its position took stays taken; close it at the venue, book it by hand"
        plans.append(Plan(replace(item, note=note)))
    lost = sorted({*lost, *owning})
    account = kept.account
    kinds = ("owner", "rates", "index", "alias", "outbox")
    named = [finding for kind in kinds for finding in found.get(kind, ())]
    if named:
        where = ", ".join(sorted({finding.kind for finding in named}))
        item = Discrepancy("index", where, named[0].expected, named[0].found, "derived anew from the orders")
        plans.append(Plan(item, "index", (where, "", None)))
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


def _folded(kept: Holdings) -> JournalBase:
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


def _holds_more(kept: Holdings, orders: Iterable[BookOrder]) -> bool:
    """Whether some symbol holds more than the orders that are there: records and their journal may both be gone."""
    sums: dict[tuple[str, str], int] = {}
    for order in orders:
        sums[order.symbol, order.leg] = sums.get((order.symbol, order.leg), 0) + order.hold
    return any(row.hold_bids + row.hold_asks > sums.get((row.symbol, row.leg), 0) for row in kept.symbols)


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


# --- the book against the venue -------------------------------------------------------------------------------------


class _Desk:
    """Looks at everything the venue says, and remembers what the fills it reports will change."""

    def __init__(
        self,
        kept: Holdings,
        view: VenueView,
        now: int,
        settled_us: int,
        units: Callable[[Amount, bool], int],
        knows_event: Callable[[str, str], bool],
    ) -> None:
        self.kept, self.view, self.now, self.settled_us, self.units = kept, view, now, settled_us, units
        self.plans: list[Plan] = []
        self.unjudged: list[str] = []
        self.seen: set[str] = set()
        self.missed: dict[str, int] = {}
        self.money = 0
        self.unexplained = False
        """Some fill of the venue cannot be booked: the balance cannot be compared."""
        self.moved: dict[tuple[str, str], int] = {}
        self.known_events = knows_event
        at_venue = {name for order in view.orders for name in (order.order_id, order.venue_id) if name}
        self.names_at_venue = at_venue

    def find(self, *names: str | None) -> BookOrder | None:
        """The book's order under one of its names."""
        for name in names:
            if name is not None:
                found = self.kept.orders.get(self.kept.aliases.get(name, name))
                if found is not None:
                    return found
        return None

    def add(self, item: Discrepancy, step: str | None = None, *values: Any, order: BookOrder | None = None) -> None:
        self.plans.append(Plan(item, step, values, None if order is None else order.order_id))

    def look_at_fills(self) -> None:
        """Fills the book has not booked. Orders it does not know are adopted first."""
        adopted = {name: order for order in self.view.orders for name in (order.order_id, order.venue_id) if name}
        seen = set[tuple[str, str]]()
        for fill in self.view.fills:
            # The fill may name the order by an id that the book is only going to learn from the view.
            venue = adopted.get(fill.order_id)
            order = self.find(fill.order_id, *(() if venue is None else (venue.order_id, venue.venue_id)))
            if order is None and venue is not None:
                order = self.last_adopted(venue)
            if order is not None and self.known_events(order.order_id, fill.fill_id):
                continue
            if order is None and venue is None:
                self.unexplained = True
                item = Discrepancy("fill_of_unknown_order", fill.order_id, fill.lots, None)
                self.add(replace(item, note="neither the book nor the venue has the order: book it by hand"))
                continue
            name = order.order_id if order is not None else (venue and (venue.order_id or venue.venue_id)) or ""
            if (name, fill.fill_id) in seen:
                continue
            seen.add((name, fill.fill_id))
            fill = replace(fill, order_id=name)
            self.missed[name] = self.missed.get(name, 0) + fill.lots
            if order is not None:
                side, place = order.side, (order.symbol, order.leg)
            else:
                assert venue is not None  # noqa: S101 - one of them is there
                side, place = venue.side.value, _place(venue)
            self.moved[place] = self.moved.get(place, 0) + (fill.lots if side == "bid" else -fill.lots)
            pnl = 0 if fill.realised_pnl is None else self.units(fill.realised_pnl, False)
            self.money += pnl - self.units(fill.fee, False)
            item = Discrepancy("missed_fill", name, (fill.fill_id, fill.lots), None, "book it")
            self.add(item, "fill", fill)

    def look_at_orders(self) -> None:
        """Every open order of the venue against the book's."""
        adoptions: list[Plan] = []
        for venue in self.view.orders:
            order = self.last_adopted(venue)
            name = venue.order_id or venue.venue_id
            if name is None:
                item = Discrepancy("unheld_order", venue.symbol, (venue.lots - venue.filled, str(venue.hold)), None)
                self.add(replace(item, note="the venue gives it no id: cancel it there, nothing is held for it"))
                continue
            if order is None or order.terminal:
                if order is not None and not self.judged(order):
                    continue
                adopted = name if order is None else derived_id("", order.order_id, REOPENED)
                missed = sum(self.missed.get(known, 0) for known in {venue.order_id, venue.venue_id} if known)
                lots = min(max(venue.lots - venue.filled + (missed if order is None else 0), 1), venue.lots)
                hold = held(self.units(venue.hold, True), venue.lots, lots)
                item = Discrepancy(
                    "unheld_order",
                    name,
                    (venue.lots - venue.filled, hold),
                    None if order is None else str(order.state),
                    f"hold for it as {adopted}, flagged adopted",
                )
                adoptions.append(Plan(item, "adopt", (venue, adopted, lots, hold)))
                continue
            self.seen.add(order.order_id)
            self.look_at_order(venue, order)
        # An adopted order must be there before its fills are booked.
        self.plans = adoptions + self.plans

    def last_adopted(self, venue: VenueOrder) -> BookOrder | None:
        """The book's order under one of the venue's names; where it has ended, the last one adopted in its place."""
        names = [name for name in (venue.order_id, venue.venue_id) if name is not None]
        order = self.find(*names, *[derived_id("", name, REOPENED) for name in names])
        while order is not None and order.terminal:
            again = self.find(derived_id("", order.order_id, REOPENED))
            if again is None:
                break
            order = again
        return order

    def look_at_order(self, venue: VenueOrder, order: BookOrder) -> None:
        """One order that both have open."""
        if not self.judged(order):
            return
        missed = self.missed.get(order.order_id, 0)
        if order.state is not OrderState.LIVE and not missed:
            item = Discrepancy("unacknowledged", order.order_id, "open", str(order.state), "acknowledge")
            self.add(item, "acknowledge", venue.venue_id, order=order)
        if order.amend_lots and venue.lots == order.amend_lots != order.lots:
            item = Discrepancy("amended", order.order_id, venue.lots, order.lots, "settle the amendment as accepted")
            self.add(item, "settle_amend", order.amend_id, order=order)
        elif venue.lots != order.lots and not order.amend_lots and "adopted" not in order.flags:
            item = Discrepancy("quantity", order.order_id, venue.lots, order.lots)
            self.add(replace(item, note="cancel it at the venue, or amend"))
        filled = order.filled + missed
        if venue.filled > filled and "adopted" not in order.flags:
            self.unexplained = True
            item = Discrepancy("fills_missing", order.order_id, venue.filled, filled)
            self.add(replace(item, note="the view has no such fills: fetch them from an earlier cursor"))

    def judged(self, order: BookOrder) -> bool:
        """Whether the order has been as it is for long enough before the view."""
        if order.changed_us <= self.settled_us:
            return True
        if order.order_id not in self.unjudged:
            self.unjudged.append(order.order_id)
        return False

    def look_for_absent(self) -> None:
        """Orders the book has in flight and the venue has not open."""
        for order in self.kept.orders.values():
            if order.terminal or order.state is OrderState.RESERVED or order.order_id in self.seen:
                continue
            if order.order_id in self.names_at_venue or self.missed.get(order.order_id, 0) >= order.working:
                continue
            if not self.judged(order):
                continue
            if order.state is OrderState.LIVE:
                item = Discrepancy("ended", order.order_id, "not open", "LIVE", "release what it still holds")
                self.add(item, "cancel", order=order)
                continue
            expired = order.good_till_us is not None and self.now > order.good_till_us
            if order.state is OrderState.UNKNOWN and expired:
                item = Discrepancy("absent", order.order_id, "not open", "UNKNOWN", "resolve: its validity has passed")
                self.add(item, "resolve", order=order)
            else:
                item = Discrepancy("absent", order.order_id, "not open", str(order.state))
                self.add(replace(item, note="absence alone releases nothing: ask the venue by client id"))

    def look_at_totals(self) -> None:
        """Positions and balance, after the fills that are missing."""
        if self.view.positions is not None:
            said = {(k, "") if isinstance(k, str) else k: lots for k, lots in self.view.positions.items()}
            mine = {(row.symbol, row.leg): row.lots for row in self.kept.symbols}
            for key in sorted({*said, *mine, *self.moved}):
                found = mine.get(key, 0) + self.moved.get(key, 0)
                if said.get(key, 0) != found:
                    self.unexplained = True
                    item = Discrepancy("position", " ".join(key).strip(), said.get(key, 0), found)
                    self.add(replace(item, note="no fill of the view explains it"))
        if self.view.balance is not None:
            said_units = self.units(self.view.balance, False)
            found = self.kept.account.balance_units + self.money
            if said_units != found:
                account_id = self.kept.account.account_id
                item = Discrepancy("balance", account_id, said_units, found)
                if self.view.positions is None and self.trades():
                    note = "without positions a view does not show that every fill is booked"
                    self.add(replace(item, note=note))
                elif self.unexplained:
                    self.add(replace(item, note="waits for the fills that the view does not explain"))
                elif self.moved_later():
                    self.add(replace(item, note="the balance moved later, or shortly before: take a later view"))
                else:
                    self.add(replace(item, repair="adjust(venue_sync)"), "adjust", said_units - found)

    def trades(self) -> bool:
        """Whether a fill may be on its way, or a position be open."""
        moving = any(row.lots or row.long_lots or row.short_lots for row in self.kept.symbols)
        return moving or self.kept.account.live_orders > 0 or bool(self.view.orders)

    def moved_later(self) -> bool:
        """Whether the balance changed too late for the view to be compared with it."""
        return any(
            record.at_us > self.settled_us and record.before.balance != record.after.balance
            for record in self.kept.journal
        )

    def look_at_recovery(self) -> None:
        """Whether the view can show everything that a promotion may have lost."""
        account = self.kept.account
        note = ""
        if self.view.as_of_us <= _promoted_us(self.kept):
            note = "the view is not later than the promotion"
        elif self.view.positions is None:
            note = "a view without positions does not show fills that were lost"
        elif self.unjudged:
            note = "orders changed too shortly before the view to be judged by it"
        repair = "" if note else "grant again once everything found is repaired"
        after = account.status.changed(recovering=False)
        item = Discrepancy("recovering", account.account_id, str(after), str(account.status), repair, "found", note)
        self.add(item, None if note else "status")


def _promoted_us(kept: Holdings) -> int:
    """When the account began to recover; later than that where the record of it has been trimmed."""
    promotions = [record.at_us for record in kept.journal if record.op == "promotion"]
    if promotions:
        return promotions[-1]
    return kept.journal[0].at_us if kept.journal else kept.account.changed_us


def _place(order: VenueOrder) -> tuple[str, str]:
    return order.symbol, order.leg or ""


def settled_by(outcome: Outcome) -> tuple[str, str]:
    """(state, note) of a finding whose repair was answered so."""
    if outcome.done:
        return "applied", ""
    why = "changed since it was looked at" if outcome.code is Code.ILLEGAL_TRANSITION else outcome.code.value
    return "skipped", why
