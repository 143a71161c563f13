"""All stores, side by side, against an oracle that keeps only a list of orders and sums over it.

The oracle shares no code with the book: it lays a hold out lot by lot, and recomputes every total from all orders and
positions after each step.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests import servers

from equipoise.orders import Order, Side
from equipoise.reservation import Code, OrderState, Outcome, ReservationBook, VenueFill, VenueOrder, VenueView

A = "acc"
SYMBOLS = ("AAA", "BBB")
LIVE = {"RESERVED", "SENT", "LIVE", "UNKNOWN"}


def coins(amount: int, lots: int) -> list[int]:
    """An amount laid out over its lots, the larger shares first."""
    shares = [0] * lots
    for place in range(lots):
        shares[place] = amount // lots
    for place in range(amount - sum(shares)):
        shares[place] += 1
    return shares


@dataclass
class Paper:
    """One order as the oracle sees it."""

    name: str
    symbol: str
    leg: str | None
    side: str
    lots: int
    price: list[int]
    only_reduces: bool
    """Marked so, or on the side that closes its leg."""
    state: str
    filled: int = 0
    released: int = 0
    over: int = 0
    entry: str | None = None
    wish: list[int] | None = None
    """Shares of the amended order, lot by lot, while the venue has not answered."""
    wish_id: str = ""
    due: int = 0
    """Until when it may leave."""
    unwanted: bool = False
    """A cancel has been asked for."""

    @property
    def versions(self) -> list[list[int]]:
        return [self.price] if self.wish is None else [self.price, self.wish]

    @property
    def working(self) -> int:
        return max(max(len(price) - self.filled, 0) for price in self.versions) if self.state in LIVE else 0

    @property
    def hold(self) -> int:
        if self.state not in LIVE:
            return 0
        return max(sum(price[: max(len(price) - self.filled, 0)]) for price in self.versions)

    @property
    def rate(self) -> int:
        return max(-(-sum(price) // len(price)) for price in self.versions)

    @property
    def weighs(self) -> bool:
        """Whether its lots and its rate are part of what the larger leg costs.

        Every order does, except one that is held for nothing because it only takes away from the position.
        """
        return not self.only_reduces or any(any(price) for price in self.versions)

    def drop_wish(self) -> None:
        """The end of an order settles its amendment: taken if more has traded than was agreed."""
        if self.wish is not None and self.filled > self.lots:
            self.price, self.lots = self.wish, len(self.wish)
        self.wish = None

    def end(self, state: str) -> None:
        self.drop_wish()
        self.released = self.lots - self.filled
        self.state = state


@dataclass
class Oracle:
    """Everything recomputed from the orders, every time."""

    combine: str
    balance: int
    papers: dict[str, Paper] = field(default_factory=dict)
    lots: dict[tuple[str, str | None], int] = field(default_factory=dict)
    margin: dict[tuple[str, str | None], list[int]] = field(default_factory=dict)
    pnl: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def require(self, place: tuple[str, str | None], *, with_orders: bool) -> int:
        mine = [p for p in self.papers.values() if (p.symbol, p.leg) == place and with_orders]
        position, lots = sum(self.margin.get(place, [])), self.lots.get(place, 0)
        buys = sum(p.hold for p in mine if p.side == "bid")
        sells = sum(p.hold for p in mine if p.side == "ask")
        if self.combine in ("sum", "hedge_legs"):
            return position + buys + sells
        if self.combine in ("worst_side", "per_side"):
            if lots > 0:
                return max(position + buys, abs(position - sells))
            return max(abs(buys - position), position + sells)
        mine = [p for p in mine if p.working and p.weighs]
        rates = [p.rate for p in mine]
        if lots:
            rates.append(-(-position // abs(lots)))
        longs = max(lots, 0) + sum(p.working for p in mine if p.side == "bid")
        shorts = max(-lots, 0) + sum(p.working for p in mine if p.side == "ask")
        return max(rates, default=0) * max(longs, shorts)

    @property
    def places(self) -> set[tuple[str, str | None]]:
        return {(p.symbol, p.leg) for p in self.papers.values()} | set(self.lots)

    @property
    def executed(self) -> int:
        return sum(self.require(place, with_orders=False) for place in self.places)

    @property
    def all(self) -> int:
        return sum(self.require(place, with_orders=True) for place in self.places)

    @property
    def free(self) -> int:
        return self.balance + min(sum(self.pnl.values()), 0) - self.all

    def room_to_reduce(self, place: tuple[str, str | None], side: str, without: str | None = None) -> int:
        """Lots of the position that no resting order of the side is there to reduce yet, beside the one left out."""
        opposing = self.lots.get(place, 0) * (1 if side == "ask" else -1)
        mine = [p for p in self.papers.values() if (p.symbol, p.leg, p.side) == (*place, side) and p.name != without]
        return max(0, opposing) - sum(p.working for p in mine if p.only_reduces)

    def admit(self, order: Order, hold: int, state: str) -> None:
        assert order.order_id is not None
        place = (order.symbol, order.leg)
        closes = (order.leg, order.side.value) in {("long", "ask"), ("short", "bid")}
        only_reduces = order.reduce_only or closes
        if only_reduces and order.lots <= self.room_to_reduce(place, order.side.value):
            hold = 0
        shares = coins(hold, order.lots)
        self.papers[order.order_id] = Paper(
            order.order_id, order.symbol, order.leg, order.side.value, order.lots, shares, only_reduces, state
        )

    def trade(self, paper: Paper, lots: int, margin: int, pnl: int, fee: int) -> None:
        place = (paper.symbol, paper.leg)
        before = self.lots.get(place, 0)
        sign = 1 if paper.side == "bid" else -1
        for _ in range(lots):
            now = self.lots.get(place, 0)
            if now * sign < 0:
                shares = coins(sum(self.margin[place]), abs(now))
                self.margin[place] = shares[: abs(now) - 1]
                mark = self.pnl.get(place, 0)
                kept = sum(coins(abs(mark), abs(now))[: abs(now) - 1])
                self.pnl[place] = kept if mark >= 0 else -kept
            self.lots[place] = now + sign
        opened = lots - (min(lots, abs(before)) if before * sign < 0 else 0)
        if opened:
            self.margin[place] = [*self.margin.get(place, []), margin]
        self.balance += pnl - fee


def micros(count: int) -> Decimal:
    return Decimal(count).scaleb(-6)


class Books(RuleBasedStateMachine):
    """I1, I2, I3, I6, I9, I11, I14, I15, I16 and I18 after every step of any history."""

    @initialize(
        combine=st.sampled_from(["sum", "worst_side", "per_side", "hedge_legs", "larger_leg"]),
        balance=st.integers(0, 300),
    )
    def open(self, combine: str, balance: int) -> None:
        self.now = 10**15
        self.count = 0
        self.folder = tempfile.TemporaryDirectory()
        clock = lambda: self.now  # noqa: E731
        path = Path(self.folder.name) / "margin.db"
        with servers.shared().client() as client:
            client.flushall()
        urls = ("memory:", f"sqlite:///{path}?durability=normal", servers.shared().url)
        self.books = [ReservationBook.connect(url, clock=clock) for url in urls]
        self.oracle = Oracle(combine, balance)
        self.hedge = combine == "hedge_legs"
        self.past: list[tuple[str, tuple[Any, ...], dict[str, Any], Outcome]] = []
        self.ask("open_account", A, micros(balance), rule=combine)

    def ask(self, name: str, *values: Any, **named: Any) -> Any:
        """Put the same question to every store; they must agree (I18)."""
        first, *others = [getattr(book, name)(*values, **named) for book in self.books]
        for other in others:
            assert other == first
        if first.ok and name in ("reserve", "execute", "amend"):
            assert first.after.free >= 0 or first.after.all <= first.before.all
        elif first.ok and name == "withdraw":
            assert first.after.free >= 0 or first.after == first.before
        if first.ok and name not in ("archive", "sweep", "mark", "revalue", "reconcile"):
            self.past.append((name, values, named, first))
        return first

    def fresh(self) -> str:
        self.count += 1
        return f"id{self.count}"

    def some(self, data: st.DataObject) -> Paper:
        return data.draw(st.sampled_from(list(self.oracle.papers.values())))

    def ladder(self, data: st.DataObject, most: int) -> list[tuple[Order, int]]:
        """Orders with their hold in units."""
        made = []
        for _ in range(data.draw(st.integers(1, most))):
            lots, hold = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 60))
            made.append(
                (
                    Order(
                        symbol=data.draw(st.sampled_from(SYMBOLS)),
                        side=data.draw(st.sampled_from(list(Side))),
                        lots=lots,
                        price_ticks=1,
                        hold=hold,
                        price=Decimal(1),
                        size=Decimal(lots),
                        order_id=self.fresh(),
                        reduce_only=data.draw(st.integers(0, 2)) == 0,
                        leg=data.draw(st.sampled_from(["long", "short"])) if self.hedge else None,
                    ),
                    hold,
                )
            )
        return made

    @rule(data=st.data(), best_effort=st.booleans(), send=st.sampled_from(["claim", "caller", "outbox"]))
    def reserve(self, data: st.DataObject, best_effort: bool, send: str) -> None:
        owner = data.draw(st.sampled_from(["", "ann", "bob"]))
        ladder = self.ladder(data, 4)
        before_all, before_free = self.oracle.all, self.oracle.free
        kept = dict(self.oracle.papers)
        granted = []
        for order, hold in ladder:
            was_all, was_free = self.oracle.all, self.oracle.free
            self.oracle.admit(order, hold, "SENT" if send == "caller" else "RESERVED")
            if best_effort and self.oracle.all > was_all and self.oracle.free < 0:
                assert was_free >= 0 or self.oracle.free < was_free
                del self.oracle.papers[order.order_id or ""]
            else:
                granted.append(order.order_id)
        fits = bool(granted) if best_effort else self.oracle.all <= before_all or self.oracle.free >= 0
        request = self.fresh()
        outcome = self.ask(
            "reserve",
            A,
            [order for order, _ in ladder],
            request_id=request,
            policy="best_effort" if best_effort else "all_or_nothing",
            send=send,
            owner=owner,
        )
        if not fits:
            self.oracle.papers = kept
            assert outcome.code is Code.INSUFFICIENT_MARGIN
            assert outcome.shortfall_units is not None
            assert outcome.shortfall_units > 0
            assert best_effort or outcome.free_units == before_free
        else:
            assert outcome.code is Code.OK
            assert outcome.granted == tuple(granted)
            for name in granted:
                self.oracle.papers[name or ""].due = self.now + 30_000_000
            for name in granted if send == "outbox" else ():
                self.oracle.papers[name or ""].entry = request

    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        order, margin = self.ladder(data, 1)[0]
        fee = data.draw(st.integers(-2, 5))
        old = self.oracle
        before_all = old.all
        trial = Oracle(old.combine, old.balance, dict(old.papers), dict(old.lots), dict(old.margin), dict(old.pnl))
        name = order.order_id or ""
        paper = Paper(name, order.symbol, order.leg, order.side.value, order.lots, [0] * order.lots, False, "FILLED")
        paper.only_reduces = order.reduce_only
        paper.filled = order.lots
        trial.papers[name] = paper
        trial.trade(paper, order.lots, margin, 0, fee)
        outcome = self.ask("execute", A, order, request_id=self.fresh(), realised_pnl=0, fee=micros(fee))
        if trial.all <= before_all or trial.free >= 0:
            assert outcome.code is Code.OK
            self.oracle = trial
        else:
            assert outcome.code is Code.INSUFFICIENT_MARGIN

    @precondition(lambda self: self.oracle.papers)
    @rule(
        data=st.data(), lots=st.integers(1, 9), margin=st.integers(0, 90), pnl=st.integers(-9, 9), fee=st.integers(0, 3)
    )
    def fill(self, data: st.DataObject, lots: int, margin: int, pnl: int, fee: int) -> None:
        paper = self.some(data)
        late = paper.state not in LIVE
        outcome = self.ask(
            "fill",
            A,
            paper.name,
            lots,
            fill_id=self.fresh(),
            margin=micros(margin),
            realised_pnl=micros(pnl),
            fee=micros(fee),
        )
        assert outcome.code is Code.OK
        room = paper.released if late else paper.working
        assert ("overfill" in outcome.flags) == (lots > room)
        assert ("late_fill" in outcome.flags) == (late and paper.state != "FILLED")
        if late:
            paper.released -= min(lots, paper.released)
        paper.filled += min(lots, room)
        paper.over += max(0, lots - room)
        if not late:
            paper.state = "LIVE" if paper.working else "FILLED"
            if paper.state == "FILLED":
                paper.drop_wish()
        self.oracle.trade(paper, lots, margin, pnl, fee)

    @precondition(lambda self: self.oracle.papers)
    @rule(data=st.data(), event=st.sampled_from(["reject", "cancel", "expire"]))
    def end(self, data: st.DataObject, event: str) -> None:
        paper = self.some(data)
        was_live = paper.state in LIVE
        outcome = self.ask(event, A, paper.name, event_id=self.fresh())
        if was_live:
            assert outcome.code is Code.OK
            names = {"reject": "CANCELLED" if paper.filled else "REJECTED", "cancel": "CANCELLED", "expire": "EXPIRED"}
            paper.end(names[event])
        else:
            assert outcome.code in (Code.DUPLICATE, Code.ILLEGAL_TRANSITION)

    @precondition(lambda self: self.oracle.papers)
    @rule(data=st.data(), event=st.sampled_from(["claim", "acknowledge", "request_cancel"]))
    def note(self, data: st.DataObject, event: str) -> None:
        paper = self.some(data)
        before = self.oracle.all
        if event == "acknowledge":
            outcome = self.ask(event, A, paper.name, self.fresh(), event_id=self.fresh())
        else:
            outcome = self.ask(event, A, paper.name, event_id=self.fresh())
        if event == "claim":
            assert outcome.ok == (paper.state == "RESERVED" and self.now <= paper.due and not paper.unwanted)
            paper.state = "SENT" if outcome.ok else paper.state
        else:
            assert outcome.ok == (paper.state in LIVE)
            if event == "acknowledge" and outcome.ok:
                paper.state = "LIVE"
            if event == "request_cancel" and outcome.ok:
                paper.unwanted = True
        assert self.oracle.all == before

    @precondition(lambda self: self.oracle.papers)
    @rule(data=st.data(), lots=st.integers(1, 9), hold=st.integers(0, 90))
    def amend(self, data: st.DataObject, lots: int, hold: int) -> None:
        live = [p for p in self.oracle.papers.values() if p.state in ("SENT", "LIVE")]
        paper = data.draw(st.sampled_from(live)) if live else self.some(data)
        ident = self.fresh()
        oracle, before_all = self.oracle, self.oracle.all
        legal = paper.state in ("SENT", "LIVE") and paper.wish is None
        if legal:
            rests = max(paper.working, lots - paper.filled)
            fits = rests <= oracle.room_to_reduce((paper.symbol, paper.leg), paper.side, without=paper.name)
            # One that was free and asks for no more lots is free still, whatever has become of the position.
            free_before = not any(paper.price) and rests == paper.working
            paper.wish = coins(0 if paper.only_reduces and (fits or free_before) else hold, lots)
        # Nothing but the totals decides: free may not be negative where the requirement has risen (I2).
        fits = oracle.all <= before_all or oracle.free >= 0
        if legal and not fits:
            paper.wish = None
        outcome = self.ask("amend", A, paper.name, lots, micros(hold), event_id=ident)
        assert outcome.code is (
            Code.OK if legal and fits else Code.INSUFFICIENT_MARGIN if legal else Code.ILLEGAL_TRANSITION
        )
        if outcome.ok:
            paper.wish_id = ident

    @precondition(lambda self: any(p.wish is not None for p in self.oracle.papers.values()))
    @rule(data=st.data(), accepted=st.booleans())
    def settle_amend(self, data: st.DataObject, accepted: bool) -> None:
        paper = data.draw(st.sampled_from([p for p in self.oracle.papers.values() if p.wish is not None]))
        word = "accepted" if accepted else "refused"
        outcome = self.ask("settle_amend", A, paper.name, word, amend_id=paper.wish_id, event_id=self.fresh())
        assert outcome.ok
        assert paper.wish is not None
        if accepted:
            paper.price, paper.lots = paper.wish, max(len(paper.wish), paper.filled)
            paper.state = "LIVE"
        over = max(0, paper.filled - paper.lots)
        paper.filled, paper.over, paper.wish = paper.filled - over, paper.over + over, None
        assert ("overfill" in outcome.flags) == (over > 0)
        if not paper.working:
            paper.state = "FILLED"

    @precondition(lambda self: any(self.oracle.lots.values()))
    @rule(data=st.data(), margin=st.integers(0, 90))
    def revalue(self, data: st.DataObject, margin: int) -> None:
        place = data.draw(st.sampled_from([place for place, lots in self.oracle.lots.items() if lots]))
        assert self.ask("revalue", A, place[0], micros(margin), leg=place[1]).ok
        self.oracle.margin[place] = [margin]

    @rule(data=st.data(), pnl=st.integers(-40, 40))
    def mark(self, data: st.DataObject, pnl: int) -> None:
        symbol = data.draw(st.sampled_from(SYMBOLS))
        leg = data.draw(st.sampled_from(["long", "short"])) if self.hedge else None
        outcome = self.ask("mark", A, {(symbol, leg or ""): micros(pnl)})
        if self.oracle.lots.get((symbol, leg)):
            self.oracle.pnl[symbol, leg] = pnl
        else:
            assert outcome.flags == ("no_position",)

    @rule(amount=st.integers(0, 60), out=st.booleans())
    def move_money(self, amount: int, out: bool) -> None:
        if not out:
            assert self.ask("deposit", A, micros(amount), request_id=self.fresh()).ok
            self.oracle.balance += amount
            return
        room = max(0, self.oracle.free)
        outcome = self.ask("withdraw", A, micros(amount), request_id=self.fresh())
        assert outcome.code is (Code.OK if amount <= room else Code.INSUFFICIENT_MARGIN)
        if outcome.ok:
            self.oracle.balance -= amount

    @rule(seconds=st.sampled_from([1, 20, 60]), sweeper=st.sampled_from([None, "one", "two"]))
    def sweep(self, seconds: int, sweeper: str | None) -> None:
        self.now += seconds * 1_000_000
        before = self.books[0].account(A)
        leased = "leased" in self.ask("sweep", A, sweeper=sweeper).flags
        assert not leased or (sweeper is not None and seconds == 1 and self.books[0].account(A) == before)
        # Deadlines are the book's own business; what a sweep may do to each order is checked here.
        for order in self.books[0].orders(A, every=True):
            paper = self.oracle.papers[order.order_id]
            if order.state != paper.state:
                moves = {("RESERVED", "CANCELLED"), ("SENT", "UNKNOWN"), ("LIVE", "UNKNOWN")}
                assert (paper.state, order.state.value) in moves
                assert order.overdue_us is None or order.overdue_us < self.now or order.state is OrderState.UNKNOWN
                paper.state = order.state.value
                if paper.state == "CANCELLED":
                    paper.end("CANCELLED")

    @rule(days=st.sampled_from([0, 0, 0, 2]), confirm=st.booleans())
    def archive(self, days: int, confirm: bool) -> None:
        self.now += days * 86_400_000_000
        version = self.books[0].account(A).version
        chunks = [book.export(A, limit=10**6) for book in self.books]
        assert all(chunk == chunks[0] for chunk in chunks)
        for book in self.books if confirm else ():
            book.export(A, confirmed_version=version)
        self.ask("archive", A)
        kept = {order.order_id for order in self.books[0].orders(A, every=True)}
        for name in list(self.oracle.papers):
            if name not in kept:
                assert self.oracle.papers.pop(name).state not in LIVE
        # Ids of events go with what an order shrinks by.
        shrunk = {order.order_id for order in self.books[0].orders(A, every=True) if order.compacted}
        self.past = [
            asked for asked in self.past if not shrunk.intersection([v for v in asked[1] if isinstance(v, str)])
        ]
        if days:
            self.past.clear()

    @precondition(lambda self: self.oracle.papers)
    @rule(data=st.data())
    def reconcile(self, data: st.DataObject) -> None:
        """The venue has some of the orders in flight open, and reports a fill or two; all stores repair alike."""
        live = [paper for paper in self.oracle.papers.values() if paper.state in LIVE]
        opened = [paper for paper in live if paper.wish is not None or data.draw(st.booleans())]
        traded = data.draw(st.lists(st.sampled_from(list(self.oracle.papers.values())), max_size=2, unique_by=id))
        orders = tuple(
            [
                VenueOrder(
                    symbol=p.symbol,
                    side=Side(p.side),
                    lots=p.lots,
                    price_ticks=1,
                    hold=0,
                    order_id=p.name,
                    leg=p.leg,
                )
                for p in opened
            ]
        )
        fills = tuple(
            [VenueFill(fill_id=self.fresh(), order_id=p.name, lots=1, margin=micros(3), realised_pnl=0) for p in traded]
        )
        view = VenueView(as_of_us=self.now, orders=orders, fills=fills)
        before, states = [book.account(A) for book in self.books], {p.name: p.state for p in live}
        dry = self.ask("reconcile", A, view, grace_ms=0)
        assert [book.account(A) for book in self.books] == before
        done = self.ask("reconcile", A, view, grace_ms=0, apply=True)
        assert [(d.kind, d.where) for d in done.discrepancies] == [(d.kind, d.where) for d in dry.discrepancies]
        for item in done.discrepancies:
            paper = self.oracle.papers[item.where]
            if item.kind == "missed_fill":
                assert item.state == "applied"
                self.trade(paper, 1, 3)
            elif item.kind == "unacknowledged":
                assert (paper in opened, item.state) == (True, "applied")
                paper.state = "LIVE"
            elif item.kind == "ended":
                assert (paper in opened, paper.state, item.state) == (False, "LIVE", "applied")
                paper.end("CANCELLED")
            else:
                assert (item.kind, item.state) == ("absent", "skipped")
                assert states[paper.name] in ("SENT", "UNKNOWN")
        for paper in live:
            if paper not in opened and paper not in traded:
                assert paper.state != "LIVE"

    def trade(self, paper: Paper, lots: int, margin: int) -> None:
        """Book a fill in the oracle."""
        late, room = paper.state not in LIVE, paper.released if paper.state not in LIVE else paper.working
        if late:
            paper.released -= min(lots, paper.released)
        paper.filled += min(lots, room)
        paper.over += max(0, lots - room)
        if not late:
            paper.state = "LIVE" if paper.working else "FILLED"
            if paper.state == "FILLED":
                paper.drop_wish()
        self.oracle.trade(paper, lots, margin, 0, 0)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        name, values, named, first = data.draw(st.sampled_from(self.past))
        before = self.books[0].account(A)
        again = self.ask(name, *values, **named)
        assert again.code is Code.DUPLICATE
        assert (again.version, again.before, again.after, again.orders) == (
            first.version,
            first.before,
            first.after,
            first.orders,
        )
        assert self.books[0].account(A) == before

    @invariant()
    def totals_equal_the_oracle(self) -> None:
        for book in getattr(self, "books", ()):
            account = book.account(A)
            found = (account.balance_units, account.executed_units, account.all_units, account.free_units)
            assert found == (self.oracle.balance, self.oracle.executed, self.oracle.all, self.oracle.free)
            assert account.withdrawable_units <= max(0, account.free_units)
            assert account.live_orders == sum(p.state in LIVE for p in self.oracle.papers.values())
            live = {
                p.name: (p.state, p.hold, p.filled, p.working) for p in self.oracle.papers.values() if p.state in LIVE
            }
            orders = book.orders(A)
            assert {o.order_id: (o.state, o.hold, o.filled, o.working) for o in orders} == live
            assert set(book._awaiting(A)) == {order for order in orders if order.overdue_us is not None}

    @invariant()
    def outbox_holds_what_nobody_has_answered_for(self) -> None:
        """An order leaves it for good with the first state that is neither RESERVED, SENT nor UNKNOWN."""
        waiting: dict[str, int] = {}
        for paper in self.oracle.papers.values() if hasattr(self, "books") else ():
            if paper.entry is not None and paper.state not in ("RESERVED", "SENT", "UNKNOWN"):
                paper.entry = None
            if paper.entry is not None:
                waiting[paper.entry] = waiting.get(paper.entry, 0) + 1
        for book in getattr(self, "books", ()):
            assert {entry.request_id: entry.open_orders for entry in book.outbox(A)} == waiting

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        for paper in list(self.oracle.papers.values()):
            if paper.state in LIVE:
                self.ask("cancel", A, paper.name, event_id=self.fresh())
        for (symbol, leg), lots in list(self.oracle.lots.items()):
            if lots:
                side = Side.ASK if lots > 0 else Side.BID
                out = Order(
                    symbol=symbol,
                    side=side,
                    lots=abs(lots),
                    price_ticks=1,
                    hold=0,
                    price=Decimal(1),
                    size=Decimal(1),
                    leg=leg,
                )
                assert self.ask("execute", A, out, request_id=self.fresh(), realised_pnl=0).ok
        kept = [book.history(A, limit=10**6) for book in self.books]
        assert all(journal == kept[0] for journal in kept)
        orders = [book.orders(A, every=True) for book in self.books]
        assert all(found == orders[0] for found in orders)
        for book in self.books:
            account = book.account(A)
            assert (account.executed_units, account.all_units, account.open_pnl_units) == (0, 0, 0)
            assert book.audit(A).findings == ()
            book.close_book()
        self.folder.cleanup()


Books.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestBooks = Books.TestCase
