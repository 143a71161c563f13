"""Random histories in which a venue has its say: the stores answer and keep the same, and no audit ever contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.reservation.test_redis_same import SYMBOLS, TERMS, A, History, side_by_side

from equipoise.errors import EquipoiseError
from equipoise.orders import Side
from equipoise.reservation import BookOrder, ReservationBook, VenueFill, VenueOrder, VenueView

STEPS = 120


class WithVenue(History):
    """A history with views that agree with the book in part, archives, leases, and a clock that jumps."""

    def ask(self, op: str, *values: Any, **named: Any) -> Any:
        answers = [self.answer(book, op, *values, **named) for book in self.books]
        assert all(answer == answers[0] for answer in answers), (op, values, named)
        return answers[0]

    @staticmethod
    def answer(book: ReservationBook, op: str, *values: Any, **named: Any) -> Any:
        try:
            return getattr(book, op)(A, *values, **named)
        except EquipoiseError as error:
            return type(error), str(error)

    def step(self) -> None:
        part = self.rng.random()
        if part < 0.06:
            self.look()
        elif part < 0.08:
            self.ask("archive", compact_after_s=self.rng.choice([None, 0, 60]))
        elif part < 0.10:
            self.ask("sweep", sweeper=self.rng.choice(["a", "b"]), lease_ms=self.rng.choice([1, 100_000]))
        elif part < 0.11:
            self.clock.advance(self.rng.choice([-30, -1, 90_000]))
        else:
            super().step()

    def look(self) -> None:
        """Reconcile with a view: dry, then applied, then the same view once more."""
        rng = self.rng
        view, grace_ms = self.view(), rng.choice([0, 0, 5_000])
        self.ask("reconcile", view, grace_ms=grace_ms)
        for _ in range(2):
            self.ask("reconcile", view, apply=True, grace_ms=grace_ms, operator="ann")
        self.ids += [order.order_id for order in self.books[0].orders(A) if order.order_id not in self.ids]

    def view(self) -> VenueView:
        rng, book = self.rng, self.books[0]
        orders = [self.listed(order) for order in book.orders(A) if rng.random() < 0.7]
        # What the book has ended may be open there, and what it has never heard of.
        ended = [order for order in book.orders(A, every=True) if order.terminal and rng.random() < 0.05]
        orders += [self.listed(order) for order in ended]
        if rng.random() < 0.3:
            orders.append(self.stranger())
        rng.shuffle(orders)
        named = [order.order_id or order.venue_id or "nobody" for order in orders]
        fills = [self.fill_of(rng.choice([self.name(), *named])) for _ in range(rng.randint(0, 3))]
        positions = {(row.symbol, row.leg): row.lots for row in book.symbols(A)}
        return VenueView(
            as_of_us=self.clock() - rng.choice([0, 0, 10**7]),
            orders=tuple(orders),
            fills=(*fills, *fills[:1]),
            positions=rng.choice([None, positions]),
            balance=rng.choice([None, book.account(A).balance, self.money(0, 300)]),
        )

    def listed(self, order: BookOrder) -> VenueOrder:
        rng = self.rng
        lots = rng.choice([order.lots, order.lots, order.amend_lots or order.lots, rng.randint(1, 9)])
        return VenueOrder(
            symbol=order.symbol,
            side=Side(order.side),
            lots=lots,
            filled=min(lots, order.filled + rng.choice([0, 0, 1, 2])),
            price_ticks=rng.randint(0, 9),
            hold=self.money(0, 90),
            leg=order.leg or None,
            order_id=rng.choice([order.order_id, order.order_id, None]),
            venue_id=rng.choice([order.venue_id, order.venue_id, self.fresh(), None]),
        )

    def stranger(self) -> VenueOrder:
        rng = self.rng
        return VenueOrder(
            symbol=rng.choice(SYMBOLS),
            side=rng.choice(list(Side)),
            lots=rng.randint(1, 9),
            price_ticks=3,
            hold=self.money(0, 90),
            leg=rng.choice(["long", "short"]) if self.hedge else None,
            order_id=rng.choice([None, self.fresh()]),
            venue_id=rng.choice([None, self.fresh()]),
            reduce_only=rng.random() < 0.3,
        )

    def fill_of(self, name: str) -> VenueFill:
        rng = self.rng
        return VenueFill(
            fill_id=self.fresh(),
            order_id=name,
            lots=rng.randint(1, 9),
            margin=rng.choice([None, self.money(0, 90)]),
            realised_pnl=rng.choice([None, self.money(-9, 9)]),
            fee=self.money(-1, 3),
        )


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(map(str, terms.values()))[:60])
@pytest.mark.parametrize("seed", [1, 2])
def test_i18_histories_with_a_venue_answer_and_keep_the_same_and_contradict_nothing(
    clock: Any, sqlite_path: Path, terms: dict[str, Any], seed: int
) -> None:
    with side_by_side(clock, sqlite_path) as books:
        history = WithVenue(books, clock, seed, terms)
        assert history.ask("open_account", balance="0.000300", **terms).ok
        for number in range(STEPS):
            history.step()
            assert books[0].audit(A).findings == (), number
            if number % 20 == 0:
                history.compare()
        history.compare()
        for book in history.books:
            assert book.audit(A).findings == ()
