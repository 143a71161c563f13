"""The book against the venue: what a view shows that the book does not, and what would repair it.

Looking is pure, as in `reconcile_self`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

from equipoise.reservation.audit import Holdings, JournalBase
from equipoise.reservation.codes import OrderState
from equipoise.reservation.discrepancies import Discrepancy, Plan
from equipoise.reservation.ids import derived_id
from equipoise.reservation.money import Amount, held
from equipoise.reservation.reconcile_self import folded, owning_of
from equipoise.reservation.records import STATE_AT, BookOrder
from equipoise.reservation.steps import NOT_TERMINAL
from equipoise.reservation.steps.fills import at_home
from equipoise.reservation.venue import VenueOrder, VenueView

__all__ = ["beside_venue"]

REOPENED = "#live"
"""Added to the id of an order that has ended in the book and is open at the venue."""
_HOLD = BookOrder._fields.index("hold") - STATE_AT


def beside_venue(
    kept: Holdings,
    view: VenueView,
    settled_us: int,
    units: Callable[[Amount, bool], int],
    knows_event: Callable[[str, str], bool],
) -> tuple[list[Plan], tuple[str, ...]]:
    """Findings against the venue, with their repairs, and the orders that cannot be judged yet.

    `settled_us`: until when the view shows what has happened; `units(amount, round_up)` turns an amount into units of
    the account; `knows_event(order_id, ident)` says whether an event has been booked.
    """
    desk = _Desk(kept, view, settled_us, units, knows_event)
    desk.look_at_fills()
    desk.look_at_orders()
    desk.look_for_absent()
    desk.look_at_totals()
    if kept.account.status.recovering:
        desk.look_at_recovery()
    return desk.plans, tuple(desk.unjudged)


class _Desk:
    """Looks at everything the venue says, and remembers what the fills it reports will change."""

    def __init__(
        self,
        kept: Holdings,
        view: VenueView,
        settled_us: int,
        units: Callable[[Amount, bool], int],
        knows_event: Callable[[str, str], bool],
    ) -> None:
        self.kept, self.view, self.settled_us, self.units = kept, view, settled_us, units
        self.plans: list[Plan] = []
        self.unjudged: list[str] = []
        self.seen: set[str] = set()
        self.missed: dict[str, int] = {}
        self.money = 0
        self.unexplained = False
        """Some fill of the venue cannot be booked: the balance cannot be compared."""
        self.moved: dict[tuple[str, str, str], int] = {}
        """Lots that missed fills trade, by symbol, leg and side."""
        self.knows_event = knows_event
        self.tickets = kept.account.terms.positions == "tickets"
        at_venue = {name for order in view.orders for name in (order.order_id, order.venue_id) if name}
        self.names_at_venue = at_venue

    @cached_property
    def journal(self) -> JournalBase:
        """State of the account as the journal alone says."""
        return folded(self.kept)

    @cached_property
    def fills(self) -> set[tuple[str, str]]:
        """(order, fill) of the fills in the journal: what was booked on an order whose record is lost."""
        return {(record.order_id, record.ident) for record in self.kept.journal if record.op == "fill"}

    @cached_property
    def owning(self) -> list[str]:
        """Tickets whose records are lost while they had a position."""
        return owning_of(self.kept, self.journal)

    def real(self, name: str) -> str:
        """The order that a name leads to, whether its record is there or not."""
        return self.kept.aliases.get(name, name)

    def is_booked(self, fill_id: str, names: Iterable[str]) -> bool:
        """Whether a fill is booked, on the order or on one that had a name of it before."""
        orders = dict.fromkeys(map(self.real, names))
        for order in list(orders):
            while order.endswith(REOPENED):
                order = order.removesuffix(REOPENED)
                orders[order] = None
        known = any((order, fill_id) in self.fills for order in orders)
        return known or any(self.knows_event(order, fill_id) for order in orders)

    def find(self, *names: str | None) -> BookOrder | None:
        """The book's order under one of its names."""
        for name in names:
            if name is not None:
                found = self.kept.orders.get(self.real(name))
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
            names = [fill.order_id, *(() if venue is None else _names(venue))]
            order = self.find(*names)
            if order is None and venue is not None:
                order = self.last_adopted(venue)
            if self.is_booked(fill.fill_id, names if order is None else [order.order_id, *names]):
                continue
            if order is None and venue is None:
                self.unexplained = True
                item = Discrepancy("fill_of_unknown_order", fill.order_id, fill.lots, None)
                self.add(replace(item, note="neither the book nor the venue has the order: book it by hand"))
                continue
            if order is not None:
                name = order.order_id
            else:
                assert venue is not None  # noqa: S101 - one of them is there
                name = self.adopted_name(_names(venue)[0], None)
            if (name, fill.fill_id) in seen:
                continue
            seen.add((name, fill.fill_id))
            fill = replace(fill, order_id=name)
            self.missed[name] = self.missed.get(name, 0) + fill.lots
            if order is not None:
                order = at_home(order, hedge=self.kept.account.terms.positions == "hedge")
                place = (order.symbol, order.leg, order.side)
            elif venue is not None:
                place = (venue.symbol, venue.leg or "", venue.side.value)
            self.moved[place] = self.moved.get(place, 0) + fill.lots
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
                adopted = self.adopted_name(name, order)
                missed = sum(self.missed.get(known, 0) for known in {adopted, *_names(venue)})
                lots = min(max(venue.lots - venue.filled + (missed if order is None else 0), 1), venue.lots)
                hold = held(self.units(venue.hold, True), venue.lots, lots)
                told = None if order is not None else self.journal.orders.get(self.real(name))
                if told is not None and told[0] in NOT_TERMINAL:
                    # An amendment may have been open when the record was lost, and yet be accepted.
                    hold = max(hold, told[_HOLD])
                if self.tickets:
                    # No order reduces another one's ticket.
                    venue = replace(venue, reduce_only=False)
                item = Discrepancy(
                    "unheld_order",
                    name,
                    (venue.lots - venue.filled, hold),
                    None if order is None else str(order.state),
                    f"hold for it as {adopted}, flagged adopted",
                )
                # The venue's id leads to the order that has ended, where fills by the other id are booked too.
                named = order if order is not None and self.find(venue.venue_id) is None else None
                adoptions.append(Plan(item, "adopt", (venue, adopted, lots, hold), named and named.order_id))
                continue
            self.seen.add(order.order_id)
            self.look_at_order(venue, order)
        # An adopted order must be there before its fills are booked.
        self.plans = adoptions + self.plans

    def adopted_name(self, name: str, order: BookOrder | None) -> str:
        """The id under which an order of the venue is held for; `order`: the one of that name, which has ended."""
        if order is not None:
            return derived_id("", order.order_id, REOPENED)
        # A ticket whose record is lost keeps its id: the journal is all that tells of its position.
        return derived_id("", name, REOPENED) if self.real(name) in self.owning else name

    def last_adopted(self, venue: VenueOrder) -> BookOrder | None:
        """The book's order under one of the venue's names; where it has ended, the last one adopted in its place."""
        names = _names(venue)
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
        lots, filled = order.lots, order.filled + missed
        if "adopted" in order.flags:
            # What had traded before it was adopted the book does not know: no more may be left of it than is held for.
            lots, filled = min(venue.lots, venue.filled + order.working - missed), venue.filled
        if venue.lots != lots and not order.amend_lots:
            item = Discrepancy("quantity", order.order_id, venue.lots, lots)
            self.add(replace(item, note="cancel it at the venue, or amend"))
        if venue.filled > filled:
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
            if order.state is OrderState.LIVE or self.missed.get(order.order_id):
                # A fill that was missed shows that the venue had it.
                item = Discrepancy("ended", order.order_id, "not open", str(order.state), "release what it still holds")
                self.add(item, "cancel", order=order)
                continue
            # One that is not there yet may be taken after the view for as long as it is valid.
            expired = order.good_till_us is not None and self.settled_us > order.good_till_us
            if order.state is OrderState.UNKNOWN and expired:
                item = Discrepancy("absent", order.order_id, "not open", "UNKNOWN", "resolve: its validity has passed")
                self.add(item, "resolve", order=order)
            else:
                item = Discrepancy("absent", order.order_id, "not open", str(order.state))
                self.add(replace(item, note="absence alone releases nothing: ask the venue by client id"))

    def look_at_totals(self) -> None:
        """Positions and balance, after the fills that are missing."""
        if self.view.positions is not None:
            mine = self.positions_after()
            for key in sorted({*self.said, *mine}):
                found = mine.get(key, 0)
                if self.said.get(key, 0) != found:
                    self.unexplained = True
                    item = Discrepancy("position", " ".join(key).strip(), self.said.get(key, 0), found)
                    self.add(replace(item, note="no fill of the view explains it"))
        if self.view.balance is not None:
            said_units = self.units(self.view.balance, False)
            found = self.kept.account.balance_units + self.money
            if said_units != found:
                account_id = self.kept.account.account_id
                item = Discrepancy("balance", account_id, said_units, found)
                if not self.shows_positions and self.trades():
                    note = f"without {self.lacking} a view does not show that every fill is booked"
                    self.add(replace(item, note=note))
                elif self.unexplained:
                    self.add(replace(item, note="waits for the fills that the view does not explain"))
                elif self.moved_later():
                    self.add(replace(item, note="the balance moved later, or shortly before: take a later view"))
                else:
                    self.add(replace(item, repair="adjust(venue_sync)"), "adjust", said_units - found)

    @cached_property
    def said(self) -> dict[tuple[str, str], int]:
        """The venue's positions by symbol and leg."""
        positions = self.view.positions or {}
        return {(key, "") if isinstance(key, str) else key: lots for key, lots in positions.items()}

    def by_leg(self, symbol: str) -> bool:
        """Whether a symbol's tickets are told of as long and short lots: net ones hide two that are lost."""
        return self.tickets and ((symbol, "long") in self.said or (symbol, "short") in self.said)

    @property
    def shows_positions(self) -> bool:
        """Whether the view would show every fill that is lost."""
        if self.view.positions is None:
            return False
        symbols = {row.symbol for row in self.kept.symbols} | {order.symbol for order in self.view.orders}
        return not self.tickets or all(map(self.by_leg, symbols))

    @property
    def lacking(self) -> str:
        """What a view is without that does not show every position."""
        return "lots long and short" if self.tickets else "positions"

    def positions_after(self) -> dict[tuple[str, str], int]:
        """The book's positions by symbol and leg, after the fills that are missing."""
        mine: dict[tuple[str, str], int] = {}
        lots = [(row.symbol, row.leg, row.lots) for row in self.kept.symbols if not self.by_leg(row.symbol)]
        for row in self.kept.symbols:
            if self.by_leg(row.symbol):
                lots += [(row.symbol, "long", row.long_lots), (row.symbol, "short", -row.short_lots)]
        for (symbol, leg, side), traded in self.moved.items():
            own = "long" if side == "bid" else "short"
            lots.append((symbol, own if self.by_leg(symbol) else leg, traded if side == "bid" else -traded))
        for symbol, leg, count in lots:
            mine[symbol, leg] = mine.get((symbol, leg), 0) + count
        return mine

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
        elif not self.shows_positions:
            note = f"a view without {self.lacking} does not show fills that were lost"
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


def _names(order: VenueOrder) -> list[str]:
    return [name for name in (order.order_id, order.venue_id) if name is not None]
