"""A small exchange, and the line to it, for tests of what a book makes of events that never come.

The exchange knows nothing of the book. Its own state is the truth: it keeps every moment of it, so that a view may be
taken as of any of them. Letters to it and from it may be lost, late, doubled and out of order; it takes an order, a
cancel and an amendment once by their ids, as venues do.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.reservation.terms_oracle import Place

from equipoise.orders import Side
from equipoise.reservation import VenueFill, VenueOrder, VenueView
from equipoise.reservation.money import from_micros

__all__ = ["Exchange", "Letter", "Line", "Listed", "Traded"]

Names = Callable[["Listed"], str]
"""The name by which the venue speaks of an order: the client's id or its own."""


class Letter(NamedTuple):
    """Something said between client and exchange."""

    to_venue: bool
    kind: str
    """To the venue: new, cancel, amend. From it: taken, refused, fill, cancelled, amended, amend_refused."""
    name: str
    content: Any = None


class Line:
    """Carries letters, badly."""

    def __init__(self, rng: random.Random, clock: Callable[[], int]) -> None:
        self.rng, self.clock = rng, clock
        self.count = 0
        self.silent_until_us = {True: 0, False: 0}
        """Nothing to the venue, and nothing from it, arrives before."""
        self.waiting: list[tuple[int, int, Letter]] = []

    def send(self, letter: Letter, *, lost: float = 0.2) -> None:
        rng = self.rng
        for _ in range(0 if rng.random() < lost else rng.choice([1, 1, 1, 1, 1, 2])):
            self.count += 1
            due = self.clock() + rng.choice([0, 0, 0, 1, 5, 40, 40]) * rng.randint(100_000, 1_000_000)
            due = max(due, self.silent_until_us[letter.to_venue])
            heapq.heappush(self.waiting, (due, self.count, letter))

    def due(self) -> Iterator[Letter]:
        """Letters that have arrived by now, and those that are written in answer and arrive at once."""
        while self.waiting and self.waiting[0][0] <= self.clock():
            yield heapq.heappop(self.waiting)[2]

    def under_way(self, kind: str) -> dict[str, Any]:
        """What is on its way to the venue, by name."""
        return {letter.name: letter.content for _, _, letter in self.waiting if letter.to_venue and letter.kind == kind}


@dataclass
class Listed:
    """An order as the exchange has it."""

    name: str
    symbol: str
    side: Side
    lots: int
    hold: int
    """Charge of the whole order, micro-units."""
    leg: str | None = None
    good_till_us: int | None = None
    """Until when it may be taken; once taken it rests for as long as it likes."""
    nameless: bool = False
    """Placed without a client's id: the venue's is its only name."""
    venue_id: str = ""
    filled: int = 0
    open: bool = True
    amendments: set[str] = field(default_factory=set)
    """Ids of those that have been answered."""

    @property
    def remaining(self) -> int:
        return self.lots - self.filled if self.open else 0

    @property
    def place(self) -> Place:
        return (self.symbol, self.leg)

    @property
    def closes(self) -> bool:
        """Whether it takes away from a leg."""
        return (self.leg, self.side) in (("long", Side.ASK), ("short", Side.BID))


class Traded(NamedTuple):
    """A fill."""

    fill_id: str
    order: Listed
    lots: int
    margin: int
    """Of the lots that opened."""
    pnl: int | None
    """Result of the lots that reduced."""
    fee: int

    def said(self, name: str) -> VenueFill:
        pnl = None if self.pnl is None else from_micros(self.pnl)
        return VenueFill(
            fill_id=self.fill_id,
            order_id=name,
            lots=self.lots,
            margin=from_micros(self.margin),
            realised_pnl=pnl,
            fee=from_micros(self.fee),
        )


class _Moment(NamedTuple):
    at_us: int
    orders: tuple[Listed, ...]
    fills: int
    positions: dict[Place, int]
    balance: int


class Exchange:
    """Takes orders, refuses some, fills and cancels them as it likes."""

    def __init__(self, rng: random.Random, clock: Callable[[], int], line: Line, balance: int) -> None:
        self.rng, self.clock, self.line, self.balance = rng, clock, line, balance
        self.paid = [0]
        """Sum of what has moved the balance beside fills, after each time."""
        self.orders: dict[str, Listed] = {}
        self.refused: set[str] = set()
        self.fills: list[Traded] = []
        self.lots: dict[Place, int] = {}
        self.count = 0
        self.moments: list[_Moment] = []
        self.keep()

    def keep(self) -> None:
        """Remember how everything is now."""
        orders = tuple([replace(order) for order in self.orders.values() if order.open])
        self.moments.append(_Moment(self.clock(), orders, len(self.fills), dict(self.lots), self.balance))

    def fills_by(self, as_of_us: int) -> int:
        """How many there had been."""
        return next(moment.fills for moment in reversed(self.moments) if moment.at_us <= as_of_us)

    def view(self, as_of_us: int, names: Names, *, first_fill: int = 0) -> VenueView:
        """What was true at a moment; fills from a cursor on. An order is listed by all its names or by `names`."""
        moment = next(moment for moment in reversed(self.moments) if moment.at_us <= as_of_us)
        return VenueView(
            as_of_us=as_of_us,
            orders=tuple([self.listing(order, names) for order in moment.orders]),
            fills=tuple([fill.said(names(fill.order)) for fill in self.fills[first_fill : moment.fills]]),
            positions={(symbol, leg or ""): lots for (symbol, leg), lots in moment.positions.items()},
            balance=from_micros(moment.balance),
        )

    def listing(self, order: Listed, names: Names) -> VenueOrder:
        whole, name = not order.nameless and self.rng.random() < 0.5, names(order)
        return VenueOrder(
            symbol=order.symbol,
            side=order.side,
            lots=order.lots,
            filled=order.filled,
            price_ticks=1,
            hold=from_micros(order.hold),
            leg=order.leg,
            order_id=None if order.nameless or not (whole or name == order.name) else order.name,
            venue_id=order.venue_id if whole or name == order.venue_id else None,
        )

    # What a client asks -----------------------------------------------------------------------------------------------

    def receive(self, letter: Letter) -> None:
        getattr(self, f"_{letter.kind}")(letter.name, letter.content)
        self.keep()

    def may_take(self, order: Listed) -> bool:
        """Whether an order that is on its way can still become open."""
        late = order.good_till_us is not None and order.good_till_us < self.clock()
        return not late and order.name not in self.orders and order.name not in self.refused

    def _new(self, name: str, order: Listed) -> None:
        if name in self.orders or name in self.refused:
            return
        if not self.may_take(order) or not self._fits(order) or self.rng.random() < 0.08:
            self.refused.add(name)
            self._tell("refused", name)
            return
        self.list(replace(order))
        if self.rng.random() < 0.2:
            self.trade(self.orders[name])

    def list(self, order: Listed) -> None:
        self.count += 1
        order.venue_id = f"v{self.count}"
        if order.nameless:
            order.name = order.venue_id
        self.orders[order.name] = order
        self._tell("taken", order.name, order.venue_id)

    def _fits(self, order: Listed) -> bool:
        """What closes a leg must find lots to close, beside what rests to do so: no leg ever turns over."""
        if not order.closes:
            return True
        beside = sum(other.remaining for other in self.orders.values() if other.closes and other.place == order.place)
        return beside + order.lots <= abs(self.lots.get(order.place, 0))

    def _cancel(self, name: str, _content: None) -> None:
        if name in self.orders and self.orders[name].open:
            self.end(self.orders[name])

    def _amend(self, name: str, wanted: tuple[str, int, int]) -> None:
        ident, lots, hold = wanted
        order = self.orders.get(name)
        if order is None or ident in order.amendments:
            return
        order.amendments.add(ident)
        if order.open and lots > order.filled and self.rng.random() < 0.8:
            order.lots, order.hold = lots, hold
            self._tell("amended", name, ident)
        else:
            self._tell("amend_refused", name, ident)

    # What happens ----------------------------------------------------------------------------------------------------

    def trade(self, order: Listed) -> None:
        """Some of an order's lots change hands."""
        rng, place = self.rng, order.place
        lots = rng.randint(1, order.remaining)
        sign, had = (1 if order.side is Side.BID else -1), self.lots.get(place, 0)
        reduced = min(lots, abs(had)) if had * sign < 0 else 0
        opened = lots - reduced
        self.lots[place] = had + sign * lots
        # Dearer than what was held as often as not.
        margin = rng.randint(0, 2 * opened * order.hold // order.lots + 1) if opened else 0
        pnl = rng.randint(-50, 50) if reduced else rng.choice([None, 0])
        fill = Traded(f"f{len(self.fills)}", order, lots, margin, pnl, rng.randint(-1, 3))
        self.balance += (fill.pnl or 0) - fill.fee
        self.fills.append(fill)
        order.filled += lots
        order.open = order.remaining > 0
        self._tell("fill", order.name, fill)

    def end(self, order: Listed) -> None:
        order.open = False
        self._tell("cancelled", order.name)

    def move(self) -> None:
        """The market does something to an open order, or somebody does something to the account by hand."""
        rng = self.rng
        resting = [order for order in self.orders.values() if order.open]
        part = rng.random()
        if resting and part < 0.75:
            self.trade(rng.choice(resting))
        elif resting and part < 0.87:
            self.end(rng.choice(resting))
        elif part > 0.96:
            paid = rng.randint(-20, 20)
            self.balance += paid
            self.paid.append(self.paid[-1] + paid)
        self.keep()

    def place_by_hand(self, order: Listed, *, there_and_back: bool) -> None:
        """An order that no book was asked about; back again at once, and no position tells of the two."""
        self.list(order)
        if there_and_back:
            opposite = Side.ASK if order.side is Side.BID else Side.BID
            back = replace(order, name=f"{order.name}-back", side=opposite)
            self.list(back)
            for each in (order, back):
                while each.open:
                    self.trade(each)
        elif self.rng.random() < 0.5:
            self.trade(order)
        self.keep()

    def _tell(self, kind: str, name: str, content: Any = None) -> None:
        self.line.send(Letter(False, kind, name, content))
