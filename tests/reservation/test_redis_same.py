"""I18 beyond the state machine: random histories over every operation and every kind of terms, in memory, on a real
server and in a file side by side. The script of an operation is a second implementation of its step; here they must not
differ."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests import servers

from equipoise.orders import Order, Side
from equipoise.reservation import Outcome, ReservationBook
from equipoise.reservation.codes import OrderState

A = "acc:∑ 7".replace(" ", "")
MOST = 2**53 - 1
TERMS: list[dict[str, Any]] = [
    {"rule": "sum"},
    {"rule": "sum", "positions": "tickets"},
    {"rule": "worst_side", "pnl_policy": "all"},
    {"rule": "per_side", "mark_age_ms_max": 30_000},
    {"rule": "hedge_legs"},
    {"rule": "larger_leg"},
    {"rule": "larger_leg", "positions": "tickets"},
    {
        "rule": "worst_side",
        "orders_max": 6,
        "records_max": 150,
        "order_margin_max": "0.000050",
        "margin_max": "0.000150",
        "position_lots_max": {"AAA": 12, 'q"\\': 3},
        "owner_margin_max": {"ann": "0.000060"},
    },
    {"rule": "sum", "positions": "tickets", "position_lots_max": {"AAA": 9}, "owner_margin_max": {"ann": "0.000060"}},
    {"rule": "hedge_legs", "position_lots_max": {"AAA": 6, "Ж∞": 4}, "owner_margin_max": {"ann": "0.000060"}},
    {"rule": "larger_leg", "position_lots_max": {"AAA": 9}, "margin_max": "0.000250", "mark_age_ms_max": 60_000},
]
SYMBOLS = ["AAA", 'q"\\', "Ж∞"]


@contextmanager
def side_by_side(clock: Any, path: Path) -> Iterator[list[ReservationBook]]:
    """An empty book in memory, one on a server, one in a file."""
    server = servers.shared()
    with server.client() as client:
        client.flushall()
    with (
        ReservationBook.connect("memory:", clock=clock) as memory,
        ReservationBook.connect(f"{server.url}?prefix=desk:", clock=clock) as hashes,
        ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=clock) as rows,
    ):
        yield [memory, hashes, rows]


class History:
    """One random history, put to several books."""

    def __init__(self, books: list[ReservationBook], clock: Any, seed: int, terms: dict[str, Any]) -> None:
        self.books, self.clock, self.rng = books, clock, random.Random(seed)
        self.hedge = terms["rule"] == "hedge_legs"
        self.ids: list[str] = []
        self.amended: list[tuple[str, str]] = []
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.count = self.confirmed = 0
        # Now and then figures at the edge of the range.
        self.large = seed % 5 == 0

    def fresh(self) -> str:
        self.count += 1
        return self.rng.choice(["id", 'i"', "i\\", "№"]) + str(self.count)

    def money(self, least: int, most: int) -> Decimal:
        if self.large and self.rng.random() < 0.15:
            return Decimal(self.rng.choice([MOST, MOST - 1, 2**52 + 1]) * (-1 if least < 0 else 1)).scaleb(-6)
        return Decimal(self.rng.randint(least, most)).scaleb(-6)

    def order(self) -> Order:
        rng = self.rng
        lots = rng.randint(1, 7)
        return Order(
            symbol=rng.choice(SYMBOLS),
            side=rng.choice(list(Side)),
            lots=lots if not self.large or rng.random() < 0.9 else MOST,
            price_ticks=rng.randint(1, 99),
            hold=int(self.money(0, 60).scaleb(6)),
            price=Decimal(1),
            size=Decimal(lots),
            order_id=rng.choice([None, self.fresh(), self.fresh(), self.name()]),
            reduce_only=rng.random() < 0.2,
            leg=rng.choice(["long", "short"]) if self.hedge or rng.random() < 0.02 else None,
        )

    def name(self) -> str:
        return self.rng.choice(self.ids) if self.ids and self.rng.random() < 0.95 else "nobody"

    def ask(self, op: str, *values: Any, **named: Any) -> Outcome:
        first, *others = [getattr(book, op)(A, *values, **named) for book in self.books]
        for other in others:
            assert other == first, (op, values, named)
        return first

    def step(self) -> None:
        rng, fresh = self.rng, self.fresh
        kind = rng.choices(
            ["reserve", "fill", "end", "note", "cash", "mark", "sweep", "again", "execute", "close", "rare", "amends"],
            [14, 14, 6, 10, 3, 5, 2, 6, 5, 5, 4, 8],
        )[0]
        if kind == "again" and self.asked:
            op, values, named = rng.choice(self.asked)
            if rng.random() < 0.15 and values and type(values[-1]) is int:
                values = (*values[:-1], values[-1] + 1)
            self.ask(op, *values, **named)
            return
        op, values, named = getattr(self, kind if hasattr(self, kind) else "reserve")(rng, fresh)
        outcome = self.ask(op, *values, **named)
        self.asked.append((op, values, named))
        if op in ("reserve", "execute"):
            self.ids += [*outcome.granted, *([outcome.order_id] if outcome.ok and outcome.order_id else [])]
        if op == "acknowledge" and outcome.ok and values[1]:
            self.ids.append(values[1])

    def reserve(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        orders = [self.order() for _ in range(rng.choice([1, 2, 3, 4, 5, 60]))]
        seen: set[str | None] = set()
        orders = [o for o in orders if o.order_id is None or not (o.order_id in seen or seen.add(o.order_id))]  # type: ignore[func-returns-value]
        now = self.clock()
        named: dict[str, Any] = {
            "request_id": fresh(),
            "policy": rng.choice(["all_or_nothing", "best_effort"]),
            "owner": rng.choice(["", "", "ann", "bob"]),
            "send": rng.choice(["claim", "caller", "outbox"]),
            "order_type": rng.choice(["limit", "limit", "market"]),
            "terms_version": rng.choice([None, None, None, 1, 2]),
            "good_till_us": rng.choice([None, now + 40_000_000]),
        }
        if rng.random() < 0.1:
            named |= {"issued_at_us": now - rng.choice([10, 10**11]), "not_after_us": now + rng.choice([-1, 10])}
        elif rng.random() < 0.1:
            # By a clock that is ahead: the id is kept the longer.
            named |= {"issued_at_us": now + 2 * 10**11, "not_after_us": now + 3 * 10**11}
        return "reserve", (orders,), named

    def execute(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        pnl = rng.choice([None, self.money(-9, 9)])
        named = {"request_id": fresh(), "realised_pnl": pnl, "fee": self.money(-2, 5), "owner": rng.choice(["", "ann"])}
        return "execute", (self.order(),), {**named, "terms_version": rng.choice([None, None, 1])}

    def fill(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        named = {
            "fill_id": fresh(),
            "margin": rng.choice([None, self.money(0, 90)]),
            "realised_pnl": rng.choice([None, self.money(-9, 9)]),
            "fee": self.money(-1, 3),
        }
        return "fill", (self.name(), rng.randint(1, 9)), named

    def end(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        named = {"reason": rng.choice(["", "post only", 'no "room"\n', "rejected", "rejected: late"])}
        if rng.random() < 0.5:
            named["event_id"] = fresh()
        return rng.choice(["reject", "cancel", "expire"]), (self.name(),), named

    def note(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        op = rng.choice(["claim", "acknowledge", "request_cancel", "resolve"])
        if op == "claim":
            return op, (self.name(),), {"event_id": fresh()}
        if op == "acknowledge":
            return op, (self.name(), rng.choice([None, fresh(), self.name()])), {}
        if op == "request_cancel":
            due = self.clock() + rng.randint(-5, 30) * 1_000_000
            return op, (self.name(),), rng.choice([{"deadline_us": due, "event_id": fresh()}, {"event_id": fresh()}])
        outcome = rng.choice([OrderState.LIVE, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED])
        named = {"evidence": rng.choice(["venue", "operator", "not_at_venue"]), "operator": 'o"p', "event_id": fresh()}
        return op, (self.name(), outcome), named

    def amends(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        if self.amended and rng.random() < 0.5:
            name, amend_id = rng.choice(self.amended)
            named = {"amend_id": amend_id, "venue_id": rng.choice([None, fresh()])}
            return "settle_amend", (name, rng.choice(["accepted", "refused"])), named
        live = [order.order_id for order in self.books[0].orders(A, [OrderState.SENT, OrderState.LIVE])]
        name, ident = rng.choice(live) if live and rng.random() < 0.8 else self.name(), fresh()
        self.amended.append((name, ident))
        named = {
            "event_id": ident,
            "price_ticks": rng.choice([None, 7]),
            "client_id": rng.choice([None, fresh(), self.name()]),
            "terms_version": rng.choice([None, None, 1]),
            "deadline_us": self.clock() + rng.choice([-1, 10, 30]) * 1_000_000,
        }
        return "amend", (name, rng.randint(1, 9), self.money(0, 90)), named

    def cash(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        op = rng.choice(["deposit", "withdraw", "adjust"])
        if op == "adjust":
            return op, (self.money(-30, 30), rng.choice(["fee", "funding"])), {"request_id": fresh()}
        return op, (self.money(0, 90),), {"request_id": fresh()}

    def mark(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        legs = ["long", "short"] if self.hedge else [""]
        values = {
            (symbol, rng.choice(legs)): self.money(-40, 40)
            for symbol in rng.sample(SYMBOLS, rng.randint(1, len(SYMBOLS)))
        }
        return "mark", (values,), {"as_of_us": self.clock() - rng.choice([0, 0, 0, 5_000_000, -5_000_000, -(10**9)])}

    def sweep(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        self.clock.advance(rng.choice([1, 20, 60]))
        return "sweep", (), {}

    def close(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        lots = rng.choice([None, rng.randint(1, 5)])
        pnl = rng.choice([None, self.money(-9, 9)])
        return "close", (self.name(), lots), {"event_id": fresh(), "realised_pnl": pnl, "fee": self.money(-1, 3)}

    def rare(self, rng: random.Random, fresh: Callable[[], str]) -> Any:
        op = rng.choice(
            ["archive", "export", "set_terms", "suspend", "suspend", "abandon", "revalue", "revalue", "open_account"]
        )
        if op == "export":
            version = self.books[0].account(A).version
            self.confirmed = max(self.confirmed, rng.randint(version // 2, version))
            self.ask("export", confirmed_version=self.confirmed)
            op = "archive"
        if op == "archive":
            # An id that the archive let go must not be used again while its outbox entry is open: entries go by id.
            self.asked = [past for past in self.asked if past[2].get("send") != "outbox"]
            self.clock.advance(rng.choice([10, 90_000]))
            return op, (), {}
        if op == "set_terms":
            return op, (), {"request_id": fresh(), **rng.choice(TERMS)}
        if op == "suspend":
            return op, (rng.random() < 0.3,), {"request_id": fresh()}
        if op == "abandon":
            past = [named["request_id"] for _, _, named in self.asked if "request_id" in named]
            return op, (rng.choice([*past, fresh()]),), {}
        if op == "open_account":
            return op, (), {"balance": 1}
        leg = rng.choice(["long", "short"]) if self.hedge else None
        named = {"leg": leg, "as_of_us": self.clock() - rng.choice([0, 10**7, -(10**9)])}
        if rng.random() < 0.5:
            named["request_id"] = fresh()
        return op, (rng.choice(SYMBOLS), self.money(0, 90)), named

    def compare(self) -> None:
        first, *others = [
            (
                book.account(A),
                book.orders(A),
                book.orders(A, every=True),
                book.symbols(A),
                [book.order(A, name) for name in self.ids],
                book.orders(A, overdue=True, age_ms=2_000),
                book.outbox(A),
                book.history(A, limit=10**6),
            )
            for book in self.books
        ]
        for other in others:
            for mine, theirs in zip(first, other, strict=True):
                assert theirs == mine


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(str(value) for value in terms.values())[:30])
@pytest.mark.parametrize("seed", range(4))
def test_i18_random_histories_over_every_operation_answer_and_keep_the_same(
    clock: Any, sqlite_path: Path, terms: dict[str, Any], seed: int
) -> None:
    with side_by_side(clock, sqlite_path) as books:
        history = History(books, clock, seed, terms)
        assert history.ask("open_account", balance=Decimal("0.000300"), **terms).ok
        for number in range(250):
            history.step()
            if number % 25 == 0:
                history.compare()
        history.compare()
        for book in history.books:
            assert book.audit(A).findings == ()
