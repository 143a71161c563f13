"""What the book must say of one account, whatever its terms: an oracle that keeps orders and positions, nothing else.

Written from the rules alone, and sharing no code with the book: an amount lies out lot by lot, every total is summed
anew when it is asked for, and whether something is refused is read from two copies of the account, before the step and
after it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from equipoise.reservation import Code

Place = tuple[str, str | None]
"""Symbol, and leg where positions are hedged."""

IN_FLIGHT = ("RESERVED", "SENT", "LIVE", "UNKNOWN")
WHOLE = ("FILLED", "CLOSED")
"""States of an order of which nothing may be missing, so that more of it is an overfill and not late."""
ENDS = {"cancel": "CANCELLED", "expire": "EXPIRED", "reject": "REJECTED"}
MOST = 2**53 - 1
"""Of every figure of an account."""
MODES = (
    ("sum", "net"),
    ("sum", "tickets"),
    ("worst_side", "net"),
    ("per_side", "net"),
    ("hedge_legs", "hedge"),
    ("larger_leg", "net"),
    ("larger_leg", "tickets"),
)
"""Combine rules and the positions they go with; every other pair is invalid."""
CLOCKS_APART_US = 10_000_000
"""By how much the clocks of hosts may differ."""


def first(amount: int, lots: int, kept: int) -> int:
    """What `kept` of an amount's lots carry when it lies on them evenly and the first ones take what is left over."""
    laid = [amount // lots + (1 if place < amount % lots else 0) for place in range(lots)]
    return sum(laid[:kept])


def per_lot(amount: int, lots: int) -> int:
    """Charge per lot, rounded up."""
    return -(-amount // lots)


@dataclass(frozen=True)
class Sheet:
    """Terms of the account; amounts in units."""

    combine: str = "sum"
    positions: str = "net"
    pnl_policy: str = "loss_only"
    mark_age_ms_max: int | None = None
    orders_max: int | None = None
    order_margin_max: int | None = None
    margin_max: int | None = None
    records_max: int | None = None
    position_lots_max: tuple[tuple[str, int], ...] = ()
    owner_margin_max: tuple[tuple[str, int], ...] = ()

    @property
    def mode(self) -> tuple[str, str]:
        return (self.combine, self.positions)


@dataclass(frozen=True)
class Wish:
    """An order somebody wants."""

    name: str
    symbol: str
    leg: str | None
    side: str
    lots: int
    hold: int
    reduce_only: bool = False

    @property
    def place(self) -> Place:
        return (self.symbol, self.leg)

    @property
    def closes(self) -> bool:
        """Whether it is on the side that closes its leg."""
        return (self.leg, self.side) in (("long", "ask"), ("short", "bid"))


@dataclass
class Paper:
    """An order in the book."""

    wish: Wish
    charge: int
    """Held for all of its lots."""
    owner: str
    state: str
    filled: int = 0
    released: int = 0
    over: int = 0
    refused: bool = False
    open_lots: int = 0
    """As a ticket."""
    margin: int = 0

    @property
    def live(self) -> bool:
        return self.state in IN_FLIGHT

    @property
    def working(self) -> int:
        return self.wish.lots - self.filled if self.live else 0

    @property
    def hold(self) -> int:
        return first(self.charge, self.wish.lots, self.working)

    @property
    def free_of_charge(self) -> bool:
        """Held for nothing, because all it can do is take away from the position."""
        return (self.wish.reduce_only or self.wish.closes) and self.charge == 0


@dataclass
class Ledger:
    """The account."""

    sheet: Sheet
    balance: int
    opened_us: int = 0
    terms_version: int = 1
    suspended: bool = False
    ids: int = 1
    """Requests remembered; the one that opened the account is the first."""
    late_fills: int = 0
    overfills: int = 0
    papers: dict[str, Paper] = field(default_factory=dict)
    lots: dict[Place, int] = field(default_factory=dict)
    margin: dict[Place, int] = field(default_factory=dict)
    pnl: dict[Place, int] = field(default_factory=dict)
    marked_us: dict[Place, int] = field(default_factory=dict)

    def copy(self) -> Ledger:
        return copy.deepcopy(self)

    # Positions and totals --------------------------------------------------------------------------------------------

    @property
    def tickets(self) -> bool:
        return self.sheet.positions == "tickets"

    def resting(self, place: Place, side: str) -> list[Paper]:
        return [p for p in self.papers.values() if (p.wish.place, p.wish.side) == (place, side) and p.working]

    def open_on(self, place: Place, side: str) -> int:
        """Lots of the position on one side."""
        if self.tickets:
            return sum(p.open_lots for p in self.papers.values() if (p.wish.place, p.wish.side) == (place, side))
        return max(0, self.lots.get(place, 0) * (1 if side == "bid" else -1))

    def open_lots(self, place: Place) -> int:
        return self.open_on(place, "bid") + self.open_on(place, "ask")

    @property
    def places(self) -> set[Place]:
        return {p.wish.place for p in self.papers.values()} | set(self.lots)

    @property
    def flat(self) -> bool:
        return not any(self.open_lots(place) for place in self.places)

    def position_margin(self, place: Place) -> int:
        if self.tickets:
            return sum(p.margin for p in self.papers.values() if p.wish.place == place)
        return self.margin.get(place, 0)

    def required(self, place: Place, *, with_orders: bool) -> int:
        bids = self.resting(place, "bid") if with_orders else []
        asks = self.resting(place, "ask") if with_orders else []
        buys, sells, p = sum(o.hold for o in bids), sum(o.hold for o in asks), self.position_margin(place)
        if self.sheet.combine in ("sum", "hedge_legs"):
            return p + buys + sells
        if self.sheet.combine in ("worst_side", "per_side"):
            sign = -1 if self.lots.get(place, 0) < 0 else 1
            return max(abs(sign * p + buys), abs(sign * p - sells))
        weighing = [o for o in [*bids, *asks] if not o.free_of_charge]
        rates = [per_lot(o.charge, o.wish.lots) for o in weighing]
        if self.tickets:
            mine = [o for o in self.papers.values() if o.wish.place == place and o.open_lots]
            rates += [per_lot(o.margin, o.open_lots) for o in mine]
        elif self.lots.get(place):
            rates.append(per_lot(p, abs(self.lots[place])))
        sides = [
            self.open_on(place, side) + sum(o.working for o in weighing if o.wish.side == side)
            for side in ("bid", "ask")
        ]
        return max(rates, default=0) * max(sides)

    @property
    def executed(self) -> int:
        return sum(self.required(place, with_orders=False) for place in self.places)

    @property
    def all(self) -> int:
        return sum(self.required(place, with_orders=True) for place in self.places)

    @property
    def open_pnl(self) -> int:
        return sum(self.pnl.values())

    @property
    def free(self) -> int:
        counted = self.open_pnl if self.sheet.pnl_policy == "all" else min(0, self.open_pnl)
        return self.balance + counted - self.all

    @property
    def withdrawable(self) -> int:
        return max(0, self.balance + min(0, self.open_pnl) - self.all)

    @property
    def live(self) -> int:
        return sum(p.live for p in self.papers.values())

    @property
    def records(self) -> int:
        return self.ids + len(self.papers)

    def owned(self, owner: str) -> int:
        """Held by the orders of an owner."""
        return sum(p.hold for p in self.papers.values() if p.owner == owner)

    def reach(self, place: Place, side: str, *, only_reducing: bool) -> int:
        """Lots on a side of a symbol if everything that rests on it filled.

        Orders that can only take away from the position go no further than flat, unless there are more of them than
        fit: those are asked about by themselves. Others start from where those before them can have got: flat at most.
        """
        mine = self.resting(place, side)
        rests = sum(p.working for p in mine if not p.free_of_charge)
        if self.tickets:
            return self.open_on(place, side) + rests
        position = self.lots.get(place, 0) * (1 if side == "bid" else -1)
        takes = sum(p.working for p in mine if p.wish.reduce_only or p.wish.closes)
        if only_reducing:
            return position + max(rests, takes)
        while position < 0 and takes:
            position, takes = position + 1, takes - 1
        return position + rests

    def stale(self, now: int) -> bool:
        age = self.sheet.mark_age_ms_max
        if age is None:
            return False
        never = -(10**18)
        return any(abs(now - self.marked_us.get(at, never)) > age * 1000 for at in self.places if self.open_lots(at))

    # What may be asked -----------------------------------------------------------------------------------------------

    def fits(self, wish: Wish) -> bool:
        """Whether an order can only take away from the position, beside those that are there to do so already."""
        if not (wish.reduce_only or wish.closes) or self.tickets:
            return False
        queued = sum(p.working for p in self.resting(wish.place, wish.side) if p.wish.reduce_only or p.wish.closes)
        return queued + wish.lots <= self.open_on(wish.place, "ask" if wish.side == "bid" else "bid")

    def carries(self, wish: Wish) -> bool:
        """Whether the terms have such an order: a leg where positions are hedged, and no reduction of tickets."""
        if (wish.leg is not None) != (self.sheet.positions == "hedge"):
            return False
        return not (self.tickets and wish.reduce_only)

    def admit(self, wish: Wish, owner: str, state: str) -> None:
        charge = 0 if self.fits(wish) else wish.hold
        self.papers[wish.name] = Paper(wish, charge, owner, state)

    def marks(self, now: int) -> list[Code]:
        return [Code.STALE_MARK] if self.stale(now) else []

    def standing(self, terms_version: int | None, wishes: Iterable[Wish]) -> list[Code]:
        """Why orders would be refused whatever they would come to."""
        reasons = [Code.ACCOUNT_SUSPENDED] if self.suspended else []
        if any(wish.name in self.papers for wish in wishes):
            reasons.append(Code.ORDER_EXISTS)
        if terms_version not in (None, self.terms_version):
            reasons.append(Code.TERMS_CHANGED)
        if not all(self.carries(wish) for wish in wishes):
            reasons.append(Code.TERMS_INVALID)
        return reasons

    def beyond(
        self, before: Ledger, wishes: list[Wish], owner: str, *, opened: int = 0, reduces: bool = False
    ) -> list[Code]:
        """Why the step that led here from `before` is refused: the limits, and margin.

        `opened` is the margin of what was executed at once, which counts as if it were held first; `reduces` says that
        all of that took away from the position.
        """
        reasons, sheet = [], self.sheet
        if not -MOST <= self.free <= MOST or self.owned(owner) > MOST:
            reasons.append(Code.AMOUNT_OVERFLOW)
        lots_max, owner_max = dict(sheet.position_lots_max), dict(sheet.owner_margin_max)
        for wish in wishes:
            reached = self.reach(wish.place, wish.side, only_reducing=wish.reduce_only or wish.closes)
            if (
                not reduces
                and not self.papers[wish.name].free_of_charge
                and reached > lots_max.get(wish.symbol, reached)
            ):
                reasons.append(Code.POSITION_LIMIT)
        caps = (
            (sheet.orders_max, self.live, before.live),
            (sheet.order_margin_max, max(self.papers[wish.name].charge for wish in wishes), 0),
            (sheet.margin_max, self.all, before.all),
            (sheet.records_max, self.records, before.records),
        )
        if any(cap is not None and value > max(cap, had) for cap, value, had in caps):
            reasons.append(Code.ORDER_LIMIT)
        if self.owned(owner) + opened > max(owner_max.get(owner, 2**60), before.owned(owner)):
            reasons.append(Code.OWNER_LIMIT)
        if self.all > before.all and self.free < 0:
            reasons.append(Code.INSUFFICIENT_MARGIN)
        return reasons

    # What happens ----------------------------------------------------------------------------------------------------

    def trade(self, paper: Paper, lots: int, margin: int, pnl: int, fee: int, now: int) -> None:
        """Lots of an order change hands: those that oppose the position reduce it, the others open at `margin`."""
        self.balance += pnl - fee
        if self.tickets:
            paper.open_lots += lots
            paper.margin += margin
            return
        place, sign = paper.wish.place, 1 if paper.wish.side == "bid" else -1
        had = self.lots.get(place, 0)
        reduced = min(lots, abs(had)) if had * sign < 0 else 0
        if reduced:
            self.margin[place] = first(self.margin[place], abs(had), abs(had) - reduced)
            self.shrink_pnl(place, abs(had), abs(had) - reduced, now)
        if lots > reduced:
            self.margin[place] = self.margin.get(place, 0) + margin
        self.lots[place] = had + sign * lots

    def shrink_pnl(self, place: Place, had: int, kept: int, now: int) -> None:
        """Open profit or loss goes with the lots it is on. That nothing is left of a position is a mark, of zero."""
        pnl = self.pnl.get(place, 0)
        if not kept and self.is_newer(place, now, now):
            self.marked_us[place] = now
        self.pnl[place] = first(abs(pnl), had, kept) * (1 if pnl > 0 else -1)

    def fill(self, name: str, lots: int, margin: int | None, pnl: int, fee: int, now: int) -> dict[str, bool]:
        """Flags that go with it."""
        paper = self.papers[name]
        late, held = not paper.live, paper.hold
        if late and (paper.wish.leg is not None) != (self.sheet.positions == "hedge"):
            # Positions are kept in another way than when it was placed: it goes where an order of its side opens.
            own = "long" if paper.wish.side == "bid" else "short"
            paper.wish = replace(paper.wish, leg=own if paper.wish.leg is None else None)
        room = paper.released if late else paper.working
        taken = min(lots, room)
        paper.filled += taken
        paper.over += lots - taken
        if late:
            paper.released -= taken
        elif not paper.working:
            paper.state = "FILLED"
        else:
            paper.state = "LIVE"
        self.trade(paper, lots, held - paper.hold if margin is None else margin, pnl, fee, now)
        flags = {"late_fill": late and (taken > 0 or paper.state not in WHOLE), "overfill": lots > taken}
        self.late_fills += flags["late_fill"]
        self.overfills += flags["overfill"]
        return flags

    def end(self, name: str, event: str) -> Code:
        paper = self.papers[name]
        if paper.live:
            paper.released = paper.working
            paper.refused = event == "reject"
            paper.state = "CANCELLED" if paper.refused and paper.filled else ENDS[event]
            return Code.OK
        stands = paper.state == ENDS[event] or (event == "reject" and paper.refused and paper.state == "CANCELLED")
        return Code.DUPLICATE if stands else Code.ILLEGAL_TRANSITION

    def close(self, name: str, lots: int | None, pnl: int, fee: int, now: int) -> Code:
        """Lots of a ticket are closed, None: all of them."""
        paper = self.papers.get(name)
        if paper is None:
            return Code.ORDER_NOT_FOUND
        count = paper.open_lots if lots is None else lots
        if not self.tickets or not 0 < count <= paper.open_lots:
            return Code.ILLEGAL_TRANSITION
        gross = self.open_lots(paper.wish.place)
        self.shrink_pnl(paper.wish.place, gross, gross - count, now)
        paper.margin = first(paper.margin, paper.open_lots, paper.open_lots - count)
        paper.open_lots -= count
        self.balance += pnl - fee
        if not paper.live and not paper.open_lots:
            paper.state = "CLOSED"
        return Code.OK

    def is_newer(self, place: Place, as_of_us: int, now: int) -> bool:
        """Whether a mark of that time is the last there is of a symbol."""
        last = self.marked_us.get(place)
        if last is None or last <= as_of_us:
            return True
        # What a wrong clock has dated counts for nothing beside a time that the account has lived through.
        possible = range(self.opened_us, now + CLOCKS_APART_US + 1)
        return last > possible.stop - 1 and as_of_us in possible

    def mark(self, place: Place, pnl: int, as_of_us: int, now: int) -> str:
        """Flag that goes with it, if any."""
        if not self.open_lots(place):
            return "no_position"
        if not self.is_newer(place, as_of_us, now):
            return "older"
        self.pnl[place], self.marked_us[place] = pnl, as_of_us
        return ""

    def withdraw(self, amount: int, now: int) -> Code:
        if self.suspended:
            return Code.ACCOUNT_SUSPENDED
        if self.stale(now):
            return Code.STALE_MARK
        if amount > self.withdrawable:
            return Code.INSUFFICIENT_MARGIN
        self.balance -= amount
        return Code.OK

    def set_terms(self, sheet: Sheet) -> Code:
        changed = sheet.mode != self.sheet.mode
        if sheet.mode not in MODES or (changed and not (self.flat and not self.live)):
            return Code.TERMS_INVALID
        self.sheet = sheet
        self.terms_version += 1
        return Code.OK

    def picture(self, paper: Paper) -> tuple[Any, ...]:
        """An order as it must be read from a store."""
        done = (paper.filled, paper.working, paper.released, paper.over)
        return (paper.state, paper.hold, *done, paper.open_lots, paper.margin)
