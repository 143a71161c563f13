"""The paper venue behind the asynchronous protocol."""

from __future__ import annotations

import asyncio

import pytest

from equipoise.errors import InputError, VenueUnavailable
from equipoise.orders import Side
from equipoise.tape.events import Quotes, Taker, Trade
from equipoise.venues.contract import Acknowledged, Cancelled, Filled, Venue
from equipoise.venues.paper import Latency, LockStep

MS = 1_000_000


def test_paper_venue_in_lock_step_is_a_venue(desk):
    assert isinstance(LockStep(desk().venue), Venue)


def test_orders_travel_and_answers_come_back_only_as_steps_are_made(desk):
    async def run() -> None:
        d = desk(latency=Latency.constant(5 * MS, 5 * MS))
        venue = LockStep(d.venue)
        first = Quotes(0, 0, 27_100, 10, 27_102, 10)
        venue.step(first)
        await venue.place([d.order(Side.BID, 500, 27_101, name="a"), d.order(Side.BID, 500, 27_000, name="b")])
        assert await venue.open_orders() == ()
        print_ = Trade(6 * MS, 6 * MS, 27_050, 1, Taker.SELL, 1)
        venue.step(print_)
        await venue.cancel(["b"])
        assert [order.order_id for order in await venue.open_orders()] == ["b"]
        venue.step(30 * MS)
        assert (await venue.account()).position_lots == 500
        await venue.replace([], [])
        await venue.cancel_all()
        await venue.close()
        assert [type(e) async for e in venue.events()] == [Acknowledged, Acknowledged, Filled, Cancelled]
        assert [e async for e in venue.book()] == [first]
        assert [e async for e in venue.trades()] == [print_]
        assert (await venue.calibrate()).fits
        assert (await venue.instrument("HYPE")).symbol == "HYPE"
        with pytest.raises(InputError, match="symbol must be HYPE"):
            await venue.instrument("BTC")
        with pytest.raises(VenueUnavailable, match="nothing was sent"):
            await venue.place([d.order(Side.BID, 500, 27_000)])

    asyncio.run(run())
