"""A small market to play on: build events in a line each, send orders, read what came back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from equipoise import OrderMarginRule
from equipoise.orders import Order, Side
from equipoise.tape.events import BookSnapshot, Quotes, Taker, Trade
from equipoise.venues.contract import Filled, Instrument, TimeInForce, VenueEvent
from equipoise.venues.paper import Latency, PaperConfig, PaperVenue

HYPE = Instrument(
    symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10), significant_figures=5
)


class Desk:
    """A paper venue and a hand that plays it; times are in nanoseconds from 0, local = exchange unless said."""

    def __init__(self, instrument: Instrument, rule: Any, config: PaperConfig) -> None:
        self.instrument = instrument
        self.venue = PaperVenue(instrument, rule, config)
        self.count = 0
        self.seen: list[VenueEvent] = []

    def book(self, at: int, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], *, lag: int = 0) -> None:
        self.venue.advance(
            BookSnapshot(
                at,
                at + lag,
                tuple(price for price, _ in bids),
                tuple(lots for _, lots in bids),
                tuple(price for price, _ in asks),
                tuple(lots for _, lots in asks),
            )
        )

    def quotes(self, at: int, bid: int, bid_lots: int, ask: int, ask_lots: int, *, lag: int = 0) -> None:
        self.venue.advance(Quotes(at, at + lag, bid, bid_lots, ask, ask_lots))

    def trade(self, at: int, price: int, lots: int, taker: Taker = Taker.SELL, *, lag: int = 0) -> None:
        self.count += 1
        self.venue.advance(Trade(at, at + lag, price, lots, taker, self.count))

    def send(
        self,
        at: int,
        side: Side,
        lots: int,
        price: int,
        *,
        name: str | None = None,
        reduce_only: bool = False,
        tif: TimeInForce = TimeInForce.POST_ONLY,
    ) -> str:
        order = self.order(side, lots, price, name=name, reduce_only=reduce_only)
        self.venue.submit([order], at, tif)
        assert order.order_id is not None
        return order.order_id

    def order(self, side: Side, lots: int, price: int, *, name: str | None = None, reduce_only: bool = False) -> Order:
        self.count += 1
        return self.instrument.order(side, lots, price, order_id=name or f"o{self.count}", reduce_only=reduce_only)

    def settle(self, at: int) -> list[VenueEvent]:
        """Let everything arrive that was sent by `at`; returns what is new."""
        self.venue.advance(at)
        fresh = self.venue.drain(1 << 62)
        self.seen += fresh
        return fresh

    def fills(self) -> list[Filled]:
        self.seen += self.venue.drain(1 << 62)
        return [event for event in self.seen if isinstance(event, Filled)]


@pytest.fixture(scope="session")
def desk() -> Callable[..., Desk]:
    """Make a desk; no latency, plenty of money and no fees unless told."""

    def make(rule: str = "sum", instrument: Instrument = HYPE, **settings: Any) -> Desk:
        settings = {
            "leverage": Decimal(10),
            "balance": 1_000_000_000_000,
            "maker_fee_bps": Decimal(0),
            "taker_fee_bps": Decimal(0),
            "latency": Latency.none(),
        } | settings
        return Desk(instrument, OrderMarginRule.venue(rule), PaperConfig(**settings))

    return make
