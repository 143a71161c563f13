"""A small market to play on: build events in a line each, send orders, read what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from equipoise.orders import Order, Side
from equipoise.tape.events import BookSnapshot, Quotes, Taker, Trade
from equipoise.venues.contract import Filled, Instrument, TimeInForce, VenueEvent
from equipoise.venues.paper import Latency, PaperConfig, PaperVenue

HYPE = Instrument(
    symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10), significant_figures=5
)


class SumRule:
    """Stand-in for the `sum` rule: position at mark and every order at its limit, each rounded up."""

    def __init__(self, combine: str = "sum") -> None:
        self.combine = combine

    def required_micros(
        self,
        market: Any,
        leverage: Any,
        position_lots: int,
        side: Sequence[bool],
        lots: Sequence[int],
        price_ticks: Sequence[int],
        reduce_only: Sequence[bool] | None = None,
    ) -> int:
        instrument, mark = market
        unit = instrument.unit_micros / Fraction(leverage)
        position = -(-(abs(position_lots) * Fraction(mark) / Fraction(instrument.tick) * unit) // 1)
        bids = asks = 0
        for index, is_bid in enumerate(side):
            if reduce_only is not None and reduce_only[index]:
                continue
            charge = -(-(lots[index] * price_ticks[index] * unit) // 1)
            if is_bid:
                bids += charge
            else:
                asks += charge
        if self.combine == "sum":
            return int(position + bids + asks)
        signed = position if position_lots > 0 else -position
        return int(max(abs(signed + bids), abs(signed - asks)))

    def accepts_micros(
        self, market: Any, leverage: Any, position_lots: int, resting: Any, candidates: Any, margin_available: int
    ) -> SimpleNamespace:
        """Accepted iff what is raised over the position fits, or nothing is raised."""
        position = self.required_micros(market, leverage, position_lots, [], [], [])
        before = self.required_micros(market, leverage, position_lots, *resting)
        both = [[*rest, *more] for rest, more in zip(resting, candidates, strict=True)]
        after = self.required_micros(market, leverage, position_lots, *both)
        missing = after - position - margin_available
        accepted = missing <= 0 or after <= before
        return SimpleNamespace(accepted=accepted, shortfall=0 if accepted else missing)


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


@pytest.fixture(autouse=True, scope="session")
def _stand_in_market() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "equipoise.venues.paper.margin.market_at",
            lambda instrument, bid, ask, mark, last, earlier=None: (instrument, mark),
        )
        yield


@pytest.fixture(scope="session")
def desk() -> Callable[..., Desk]:
    """Make a desk; no latency, plenty of money and no fees unless told."""

    def make(rule: Any = None, instrument: Instrument = HYPE, **settings: Any) -> Desk:
        settings = {
            "leverage": Decimal(10),
            "balance": 1_000_000_000_000,
            "maker_fee_bps": Decimal(0),
            "taker_fee_bps": Decimal(0),
            "latency": Latency.none(),
        } | settings
        return Desk(instrument, rule or SumRule(), PaperConfig(**settings))

    return make


@pytest.fixture(scope="session")
def rule() -> type[SumRule]:
    """The stand-in rule, by combine name."""
    return SumRule
