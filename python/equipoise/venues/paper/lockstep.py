"""The paper venue behind the asynchronous `Venue` protocol: time moves when `step` is called, never by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from equipoise.errors import InputError, VenueUnavailable
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Trade
from equipoise.venues.contract import Calibration, Instrument, OpenOrder, TimeInForce, VenueAccount, VenueEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from equipoise.orders import Order
    from equipoise.venues.paper.venue import PaperVenue

__all__ = ["LockStep"]

T = TypeVar("T")


class LockStep:
    """A `Venue` over a `PaperVenue`.

    Whoever drives calls `step` with market events or moments of local time; streams then deliver what that step
    produced. Requests are sent at the local time of the last step. Streams hold everything until it is read and end
    after `close`.
    """

    def __init__(self, venue: PaperVenue, *, now_ns: int = 0) -> None:
        self._venue = venue
        self._now_ns = now_ns
        self._closed = False
        self._book: asyncio.Queue[BookSnapshot | Quotes | None] = asyncio.Queue()
        self._trades: asyncio.Queue[Trade | None] = asyncio.Queue()
        self._events: asyncio.Queue[VenueEvent | None] = asyncio.Queue()

    @property
    def now_ns(self) -> int:
        """Our time."""
        return self._now_ns

    def step(self, to: MarketEvent | int) -> None:
        """Move time on to a market event (by its local time) or to a moment, and deliver what has arrived by then."""
        self._venue.advance(to)
        if isinstance(to, int):
            self._now_ns = max(self._now_ns, to)
        else:
            self._now_ns = max(self._now_ns, to.local_ns)
            if isinstance(to, Trade):
                self._trades.put_nowait(to)
            else:
                self._book.put_nowait(to)
        for event in self._venue.drain(self._now_ns):
            self._events.put_nowait(event)

    async def instrument(self, symbol: str) -> Instrument:
        """Steps, minimum and limits of the one instrument here."""
        if symbol != self._venue.instrument.symbol:
            raise InputError("symbol", None, self._venue.instrument.symbol, symbol)
        return self._venue.instrument

    def book(self) -> AsyncIterator[BookSnapshot | Quotes]:
        """Depth and best quotes of the steps so far and to come."""
        return _until_none(self._book)

    def trades(self) -> AsyncIterator[Trade]:
        """Trades of the steps so far and to come."""
        return _until_none(self._trades)

    def events(self) -> AsyncIterator[VenueEvent]:
        """What happened to our orders, as it reaches us."""
        return _until_none(self._events)

    async def account(self) -> VenueAccount:
        """The account at the venue, without travel time."""
        return self._venue.account()

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """What rests at the venue, without travel time."""
        return self._venue.open_orders()

    async def place(self, orders: Sequence[Order], *, time_in_force: TimeInForce = TimeInForce.POST_ONLY) -> None:
        """Send new orders now."""
        self._open()
        self._venue.submit(orders, self._now_ns, time_in_force)

    async def cancel(self, order_ids: Sequence[str]) -> None:
        """Send cancels now."""
        self._open()
        self._venue.cancel(order_ids, self._now_ns)

    async def replace(
        self, order_ids: Sequence[str], orders: Sequence[Order], *, time_in_force: TimeInForce = TimeInForce.POST_ONLY
    ) -> None:
        """Send pairwise replacements now."""
        self._open()
        self._venue.replace(order_ids, orders, self._now_ns, time_in_force)

    async def cancel_all(self) -> None:
        """Send a cancel of everything now."""
        self._open()
        self._venue.cancel_all(self._now_ns)

    async def calibrate(self) -> Calibration:
        """The paper venue asks the very rule it is compared with: there is nothing to measure."""
        return Calibration(rule="paper", differences=())

    async def close(self) -> None:
        """End the streams."""
        if not self._closed:
            self._closed = True
            self._book.put_nowait(None)
            self._trades.put_nowait(None)
            self._events.put_nowait(None)

    def _open(self) -> None:
        if self._closed:
            raise VenueUnavailable("the venue is closed; nothing was sent")


async def _until_none(queue: asyncio.Queue[T | None]) -> AsyncIterator[T]:
    while (item := await queue.get()) is not None:
        yield item
