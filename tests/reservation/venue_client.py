"""A client of the simulated exchange: a strategy, its book, and all that may go wrong between them and the venue."""

from __future__ import annotations

import random
from typing import Any

from tests.reservation.venue_sim import Exchange, Letter, Line, Listed

from equipoise.orders import Order, Side
from equipoise.reservation import Code, OrderState, ReservationBook
from equipoise.reservation.money import from_micros

__all__ = ["Client", "root"]

BALANCE = 6_000
Mode = tuple[str, str]
"""Combine rule and kind of positions."""


class Client:
    """Has no memory of its own: what it did before it died it finds in the book."""

    def __init__(self, book: ReservationBook, clock: Any, seed: int, mode: Mode) -> None:
        self.book, self.clock, self.rng = book, clock, random.Random(f"{seed}:{mode}")
        self.account = f"life{seed}"
        self.hedge = mode[1] == "hedge"
        self.line = Line(self.rng, clock)
        self.venue = Exchange(self.rng, clock, self.line, BALANCE)
        self.wishes: dict[str, Listed] = {}
        """What the strategy wants, with the charges that the account's terms make of it."""
        self.count = 0
        self.unseen: set[str] = set()
        """Orders that the book has no reason to hold for until a view shows them."""
        self.amended: set[str] = set()
        self.mistaken: set[str] = set()
        """Orders that somebody has ended by hand in the book."""
        assert book.open_account(self.account, from_micros(BALANCE), rule=mode[0], positions=mode[1]).ok

    def act(self) -> None:
        """One thing that the client, the market, an operator or the line does."""
        of_the_client = (self.reserve, self.send_one, self.cancel, self.amend, self.sweep)
        of_others = (self.venue.move, self.by_hand, self.mistake, self.fall_silent)
        self.rng.choices((*of_the_client, *of_others), [22, 20, 5, 12, 16, 24, 2, 2, 5])[0]()

    def fresh(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def wanted(self, name: str) -> Listed:
        rng = self.rng
        lots = rng.randint(1, 9)
        good_till = rng.choice([None, self.clock() + rng.randint(0, 50_000_000)])
        leg = rng.choice(["long", "short"]) if self.hedge else None
        return Listed(name, rng.choice("PQ"), rng.choice(list(Side)), lots, rng.randint(1, 60 * lots), leg, good_till)

    def reserve(self) -> None:
        rng, name = self.rng, self.fresh()
        ladder = [self.wanted(f"{name}.{place}") for place in range(rng.randint(1, 3))]
        good_till = ladder[0].good_till_us
        for order in ladder:
            order.good_till_us = good_till
            self.wishes[order.name] = order
        send = rng.choice(["claim", "caller", "outbox"])
        asked: dict[str, Any] = {
            "request_id": name,
            "send": send,
            "policy": "best_effort",
            "good_till_us": good_till,
            "deadline_us": self.clock() + rng.randint(1, 12) * 1_000_000,
            "issued_at_us": self.clock(),
        }
        orders = [as_order(order) for order in ladder]
        outcome = self.book.reserve(self.account, orders, **asked)
        if rng.random() < 0.1:
            # It died before the answer came, and asks again.
            assert self.book.reserve(self.account, orders, **asked).code is (
                Code.DUPLICATE if outcome.ok else outcome.code
            )
        for order in ladder if send == "caller" else ():
            if order.name in outcome.granted:
                self.leave(order)

    def send_one(self) -> None:
        """Whoever has read of an order, before it was swept perhaps, claims it and sends it, or dies in between."""
        if self.wishes:
            name = self.rng.choice(list(self.wishes)[-9:])
            if self.book.claim(self.account, name, event_id=self.fresh()).ok:
                self.leave(self.wishes[name])

    def leave(self, order: Listed) -> None:
        if self.rng.random() < 0.9:
            self.line.send(Letter(True, "new", order.name, order))

    def cancel(self) -> None:
        if live := self.book.orders(self.account):
            order = self.rng.choice(live)
            deadline = self.clock() + self.rng.randint(1, 20) * 1_000_000
            self.book.request_cancel(self.account, order.order_id, deadline_us=deadline)
            self.line.send(Letter(True, "cancel", root(order.order_id)))

    def amend(self) -> None:
        rng = self.rng
        sent = self.book.orders(self.account, (OrderState.LIVE, OrderState.SENT))
        # One adopted in the place of another has fewer lots than the order that the venue would amend.
        if live := [order for order in sent if not order.reduces and order.order_id == root(order.order_id)]:
            order, ident = rng.choice(live), self.fresh()
            lots = rng.choice([lots for lots in range(1, 12) if lots != order.lots])
            hold = rng.randint(1, 60 * lots)
            self.amended.add(order.order_id)
            if self.book.amend(self.account, order.order_id, lots, from_micros(hold), event_id=ident).ok:
                self.line.send(Letter(True, "amend", order.order_id, (ident, lots, hold)))

    def sweep(self) -> None:
        self.book.sweep(self.account)

    def by_hand(self) -> None:
        order = self.wanted(f"hand{self.fresh()}")
        order.nameless = self.rng.random() < 0.5
        if not order.closes:
            self.venue.place_by_hand(order, there_and_back=self.rng.random() < 0.3)
            self.unseen.add(order.name)

    def mistake(self) -> None:
        """An operator ends an order without having asked the venue; only the next view can tell."""
        unknown = self.book.orders(self.account, OrderState.UNKNOWN)
        # An amendment that then arrives would make more of it than any view has shown.
        if surmised := [order for order in unknown if order.amend_id is None]:
            name = self.rng.choice(surmised).order_id
            ended = self.rng.choice([OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED])
            assert self.book.resolve(self.account, name, ended, evidence="operator", event_id=self.fresh()).ok
            self.unseen.add(root(name))
            self.mistaken.add(root(name))

    def fall_silent(self) -> None:
        """One direction of the line is down for a while."""
        self.line.silent_until_us[self.rng.random() < 0.5] = self.clock() + self.rng.randint(1, 60) * 1_000_000

    def deliver(self) -> None:
        for letter in self.line.due():
            self.venue.receive(letter) if letter.to_venue else self.hear(letter)

    def hear(self, letter: Letter) -> None:
        """Book what the venue says; no answer of the book's to it is wrong."""
        book, name = self.book, letter.name
        if letter.kind == "taken":
            book.acknowledge(self.account, name, letter.content)
        elif letter.kind == "fill":
            said = letter.content.said(self.called(letter.content.order))
            book.fill(
                self.account,
                said.order_id,
                said.lots,
                fill_id=said.fill_id,
                margin=said.margin,
                realised_pnl=said.realised_pnl,
                fee=said.fee,
            )
        elif letter.kind in ("amended", "amend_refused"):
            answer = "accepted" if letter.kind == "amended" else "refused"
            book.settle_amend(self.account, name, answer, amend_id=letter.content)  # type: ignore[arg-type]
        else:
            (book.reject if letter.kind == "refused" else book.cancel)(self.account, name)

    def called(self, order: Listed) -> str:
        """By the venue's id too, once the book has heard of it."""
        known = self.rng.random() < 0.3 and self.book.order(self.account, order.venue_id) is not None
        return order.venue_id if known else order.name


def root(name: str) -> str:
    """Name of the order in whose place another one was adopted."""
    return name.partition("#")[0]


def as_order(order: Listed) -> Order:
    return Order(
        symbol=order.symbol,
        side=order.side,
        lots=order.lots,
        price_ticks=1,
        hold=order.hold,
        price=from_micros(1),
        size=from_micros(1),
        order_id=order.name,
        leg=order.leg,
    )
