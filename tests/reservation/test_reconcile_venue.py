"""Lives of a book beside a venue that it only hears of: events are lost, late, doubled and out of order, the client
forgets what it did, and views show how everything was some time ago. Nothing that may be open there is ever free here,
and in the end both say the same, to the lot and the micro-unit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import servers
from tests.reservation.terms_oracle import Ledger, Paper, Sheet, Wish, first
from tests.reservation.venue_client import BALANCE, Client, root
from tests.reservation.venue_sim import Listed

from equipoise.reservation import BookOrder, OrderState, ReconcileReport, ReservationBook, VenueView

LIVES = int(os.environ.get("VENUE_LIVES", "10"))
"""Of each rule in memory; a fifth of them on the other stores."""
STEPS = 90
MODES = (
    ("sum", "net"),
    ("worst_side", "net"),
    ("per_side", "net"),
    ("larger_leg", "net"),
    ("sum", "hedge"),
    ("hedge_legs", "hedge"),
)


class Life(Client):
    """A client whose book is compared with the venue, now and then by a view and after every step by the truth."""

    def __init__(self, book: ReservationBook, clock: Any, seed: int, mode: tuple[str, str]) -> None:
        super().__init__(book, clock, seed, mode)
        self.ledger = Ledger(Sheet(combine=mode[0], positions=mode[1]), BALANCE)
        """Positions as the venue's fills make them in the order in which the book booked them."""
        self.booked: set[str] = set()
        self.read = 0
        """Version up to which the journal has been read."""
        self.paid = 0
        """How many of the venue's payments are in the balance."""
        self.kinds: set[str] = set()
        """Findings there have been."""

    def step(self) -> None:
        self.clock.advance(self.rng.choice([0, 0.3, 1, 3, 15]))
        self.deliver()
        if self.rng.random() < 0.12:
            self.look()
        else:
            self.act()
        self.check()

    # Views -----------------------------------------------------------------------------------------------------------

    def view(self, as_of_us: int, *, whole: bool = True) -> VenueView:
        """With every fill by then that the book has not booked, and some that it has; else the cursor is anywhere."""
        self.read_journal()
        missing = [place for place, fill in enumerate(self.venue.fills) if fill.fill_id not in self.booked]
        cursor = self.rng.randint(0, missing[0] if missing and whole else len(self.venue.fills))
        return self.venue.view(as_of_us, self.called, first_fill=cursor)

    def look(self) -> None:
        rng, now = self.rng, self.clock()
        grace_ms = rng.choice([0, 0, 1_000, 5_000])
        as_of_us = now - rng.choice([0, 0, 1, 5, 60]) * rng.randint(100_000, 1_000_000)
        if (live := self.book.orders(self.account)) and rng.random() < 0.5:
            # About as old as a view must be that some order is judged by.
            as_of_us = min(now, rng.choice(live).changed_us + grace_ms * 1_000 + rng.randint(-1, 1))
        as_of_us = max(as_of_us, self.venue.moments[0].at_us)
        # An order that nobody has seen yet comes with all its fills, or what is held for it is not what is left of it.
        whole = bool(self.unseen) or rng.random() < 0.8
        view = self.view(as_of_us, whole=whole)
        # The venue's clock may be ahead by what the grace allows for, and of a view that is young enough by any time.
        ahead = rng.randint(0, 1_000 * grace_ms)
        if as_of_us >= now - 1_000 * grace_ms and rng.random() < 0.3:
            ahead += 3_600_000_000
        view = replace(view, as_of_us=as_of_us + ahead)
        before = self.book.account(self.account).version
        assert not self.book.reconcile(self.account, view, grace_ms=grace_ms).applied
        assert self.book.account(self.account).version == before
        if rng.random() < 0.8:
            kinds = {item.kind for item in self.apply(view, grace_ms).discrepancies}
            # A view of everything explains everything, but for orders that only their fills tell of.
            assert as_of_us < now or not whole or "fill_of_unknown_order" in kinds or "position" not in kinds

    def apply(self, view: VenueView, grace_ms: int) -> ReconcileReport:
        """Repair; the same view, applied again, does nothing."""
        book = self.book
        resting = book.orders(self.account, OrderState.LIVE)
        report = book.reconcile(self.account, view, apply=True, grace_ms=grace_ms)
        self.repaired(view, report, resting)
        after = book.account(self.account).version
        again = book.reconcile(self.account, view, apply=True, grace_ms=grace_ms)
        # Views as of now judge what the repairs have only just changed, and something may be left that they hid.
        if report.settled or view.as_of_us - grace_ms * 1_000 < self.clock():
            assert book.account(self.account).version == after, again
        assert book.audit(self.account).findings == ()
        self.kinds |= {item.kind for item in report.discrepancies}
        return report

    def repaired(self, view: VenueView, report: ReconcileReport, resting: Sequence[BookOrder]) -> None:
        """What is open is held for and has its name, what rested here and is not open there is gone."""
        book, unjudged = self.book, {root(name) for name in report.unjudged}
        by_venue_id = {order.venue_id: order.name for order in self.venue.orders.values()}
        names = {order.order_id or by_venue_id[order.venue_id or ""]: order for order in view.orders}
        orders = {root(order.order_id): order for order in book.orders(self.account)}
        before = {root(order.order_id) for order in resting}
        for name in names.keys() - unjudged:
            self.unseen.discard(name)
            mine, venue_id = orders.get(name), names[name].venue_id
            assert mine is None or mine.state is OrderState.LIVE, (mine, names[name], report)
            adopted = mine is not None and "adopted" in mine.flags and mine.created_us == self.clock()
            if adopted and name not in before and venue_id is not None:
                assert book.order(self.account, venue_id) is not None, (mine, names[name])
        for order in resting:
            if root(order.order_id) not in names.keys() | unjudged:
                assert book.order(self.account, order.order_id).terminal  # type: ignore[union-attr]

    # What must hold --------------------------------------------------------------------------------------------------

    def read_journal(self) -> None:
        """Trade what the book has booked since the last time: each fill of the venue's, and each once."""
        fills = {fill.fill_id: fill for fill in self.venue.fills}
        for record in self.book.history(self.account, after_version=self.read):
            self.read = record.version
            if record.op != "fill":
                continue
            assert record.ident not in self.booked, record
            self.booked.add(record.ident)
            fill = fills[record.ident]
            order = self.book.order(self.account, record.order_id)
            assert order is not None
            assert root(order.order_id) == fill.order.name
            self.ledger.trade(paper(fill.order), fill.lots, fill.margin, fill.pnl or 0, fill.fee, 0)

    def may_be_open(self) -> dict[str, Listed]:
        """Orders that are open at the venue, or on their way to it, of which the book can know."""
        under_way = self.line.under_way("new")
        arriving = {name: order for name, order in under_way.items() if self.venue.may_take(order)}
        resting = {name: order for name, order in self.venue.orders.items() if order.open}
        return {name: order for name, order in (arriving | resting).items() if name not in self.unseen}

    def check(self) -> None:
        """Nothing that may be open is free: order by order, and in sum."""
        self.read_journal()
        held: dict[str, list[BookOrder]] = {}
        for one in self.book.orders(self.account):
            held.setdefault(root(one.order_id), []).append(one)
        truth = self.may_be_open()
        for name, order in truth.items():
            mine = held.get(name, [])
            working, hold = sum(one.working for one in mine), sum(one.hold for one in mine)
            lots = order.remaining
            if name not in self.mistaken:
                # What the book has not heard of is still held for as well.
                fills = [fill for fill in self.venue.fills if fill.order.name == name]
                lots += sum(fill.lots for fill in fills if fill.fill_id not in self.booked)
            assert working >= lots, (order, mine)
            if not order.closes:
                assert hold >= first(order.hold, order.lots, lots), (order, mine)
            if all(one.amend_id is None for one in mine):
                # Nor for more, but where fills are booked to an order that was ended by hand.
                assert working == lots or name in self.mistaken
                assert hold == first(order.hold, order.lots, working) or order.closes
        # Only what somebody has ended without asking may be there still.
        assert self.mistaken >= {name for name, mine in held.items() if any("#" in one.order_id for one in mine)}
        account = self.book.account(self.account)
        assert account.all_units >= self.required([paper(order) for order in truth.values()])
        # What is taken from a view is never the money of a fill, which its own booking brings, nor older than before.
        self.paid = self.venue.paid.index(account.balance_units - self.ledger.balance, self.paid)

    def required(self, papers: list[Paper]) -> int:
        """What the rule asks for the positions and these orders."""
        ledger = self.ledger
        named = {each.wish.name: each for each in papers}
        return Ledger(ledger.sheet, 0, papers=named, lots=ledger.lots, margin=ledger.margin).all

    # The end ---------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everything arrives, or nothing more does; then the venue is asked, and the book must say what it says."""
        if self.rng.random() < 0.5:
            while self.line.waiting:
                self.clock.advance(5)
                self.deliver()
                self.check()
        self.line.waiting.clear()
        for name in self.mistaken & self.venue.orders.keys():
            # Fills of an order that has ended are booked to it, and do not lessen what is held in its place.
            if self.venue.orders[name].open:
                self.venue.end(self.venue.orders[name])
        self.line.waiting.clear()
        self.venue.keep()
        self.clock.advance(90)
        self.sweep()
        self.clock.advance(30)
        self.name_what_ended()
        self.ask_one_by_one()
        self.clock.advance(30)
        report = self.apply(self.view(self.clock()), 5_000)
        assert report.settled, report
        self.clock.advance(30)
        last = self.view(self.clock())
        version = self.book.account(self.account).version
        assert self.book.reconcile(self.account, last, apply=True).ok
        assert self.book.account(self.account).version == version
        self.agrees()

    def name_what_ended(self) -> None:
        """A trade of an order that the book has never had is booked by naming the order in the view."""
        view = self.view(self.clock())
        unknown = [
            item.where for item in self.book.reconcile(self.account, view).discrepancies if "unknown" in item.kind
        ]
        ended = [order for order in self.venue.orders.values() if {order.name, order.venue_id} & set(unknown)]
        named = [self.venue.listing(order, self.called) for order in ended]
        report = self.apply(replace(view, orders=(*view.orders, *named)), 5_000)
        assert all(item.state == "applied" or item.kind == "absent" for item in report.discrepancies), report
        self.check()

    def ask_one_by_one(self) -> None:
        """What no view of open orders can tell: whether an order has ended, or an amendment was refused."""
        for order in self.book.orders(self.account):
            there = self.venue.orders.get(root(order.order_id))
            if there is None or not there.open:
                self.book.cancel(self.account, order.order_id, event_id="asked")
            elif order.amend_id is not None:
                assert there.lots != order.amend_lots
                assert self.book.settle_amend(self.account, order.order_id, "refused", amend_id=order.amend_id).ok

    def agrees(self) -> None:
        book, venue = self.book, self.venue
        self.check()
        assert self.booked == {fill.fill_id for fill in venue.fills}
        account = book.account(self.account)
        assert account.balance_units == venue.balance
        rows = {(row.symbol, row.leg or None): row for row in book.symbols(self.account)}
        for place in rows.keys() | venue.lots.keys():
            said = (venue.lots.get(place, 0), self.ledger.margin.get(place, 0))
            assert (rows[place].lots, rows[place].margin) == said, place
        for name in venue.orders.keys() - self.mistaken - self.amended:
            each = book.order(self.account, name)
            done = (0, 0) if each is None else (each.filled, each.overfilled)
            assert done == (venue.orders[name].filled, 0), (each, venue.orders[name])
        resting = {order.name: order for order in venue.orders.values() if order.open}
        orders = {order.order_id: order for order in book.orders(self.account)}
        assert orders.keys() == resting.keys()
        papers = []
        for name, order in resting.items():
            mine = orders[name]
            # What closes a leg is charged only where it found too little to close.
            charge = order.hold if mine.hold or not order.closes else 0
            papers.append(paper(order, charge))
            figures = (mine.symbol, mine.leg or None, mine.side, mine.filled + mine.working, mine.working, mine.hold)
            lots = order.remaining
            hold = first(charge, order.lots, lots)
            assert figures == (*order.place, order.side, order.lots, lots, hold), (order, mine)
            assert mine.state is OrderState.LIVE
        assert account.all_units == self.required(papers)
        assert account.executed_units == self.required([])
        assert book.audit(self.account).findings == ()


def paper(order: Listed, charge: int | None = None) -> Paper:
    """The order for the oracle; what closes a leg is taken to be free unless its charge is said."""
    wish = Wish(order.name, order.symbol, order.leg, order.side.value, order.lots, order.hold)
    charge = (0 if order.closes else order.hold) if charge is None else charge
    return Paper(wish, charge, "", "LIVE", filled=order.filled)


def live(book: ReservationBook, clock: Any, mode: tuple[str, str], lives: int) -> set[str]:
    """Findings that there have been."""
    kinds = set[str]()
    for seed in range(lives):
        life = Life(book, clock, seed, mode)
        for _ in range(STEPS):
            life.step()
        life.end()
        kinds |= life.kinds
    return kinds


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_a_book_in_memory_holds_for_whatever_the_venue_may_have_and_ends_as_it_says(
    clock: Any, mode: tuple[str, str]
) -> None:
    with ReservationBook.connect("memory:", clock=clock) as book:
        kinds = live(book, clock, mode, LIVES)
    if LIVES >= 10:
        # All that there are, but for those of a damaged book or of a venue that contradicts itself; two are rare.
        of_orders = {"unheld_order", "unacknowledged", "ended", "absent"}
        of_money = {"missed_fill", "fill_of_unknown_order", "position", "balance"}
        assert kinds - {"amended", "fills_missing"} == of_orders | of_money


@pytest.mark.parametrize("mode", MODES, ids="-".join)
@pytest.mark.parametrize("store", ["sqlite", "valkey"])
def test_a_book_that_is_kept_holds_for_whatever_the_venue_may_have_and_ends_as_it_says(
    clock: Any, sqlite_path: Path, mode: tuple[str, str], store: str
) -> None:
    if store == "valkey":
        with servers.shared().client() as client:
            client.flushall()
    url = servers.shared().url if store == "valkey" else f"sqlite:///{sqlite_path}?durability=normal"
    with ReservationBook.connect(url, clock=clock) as book:
        live(book, clock, mode, -(-LIVES // 5))
