"""Travel times, clocks, and what is known when."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.venues.contract import Acknowledged, Cancelled, CancelRejected, Filled
from equipoise.venues.paper import Latency, TravelTime

MS = 1_000_000
BIDS, ASKS = [(27_100, 1_000)], [(27_102, 1_000)]


@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=6),
    st.lists(st.integers(1, 999_999), min_size=4, max_size=4, unique=True),
    st.integers(0, 2**32),
)
def test_draws_stay_between_the_first_and_the_last_quantile(times, shares, seed):
    inner = sorted(shares)[: len(times) - 2]
    travel = TravelTime(tuple(zip([0, *inner, 1_000_000], sorted(times), strict=True)))
    random = Random(seed)
    draws = [travel.draw(random) for _ in range(50)]
    assert min(times) <= min(draws)
    assert max(draws) <= max(times)


def test_draws_have_the_stated_quantiles():
    travel = Latency().to_venue
    random = Random(5)
    draws = sorted(travel.draw(random) for _ in range(20_000))
    assert draws[10_000] == pytest.approx(100 * MS, rel=0.02)
    assert draws[19_800] == pytest.approx(450 * MS, rel=0.1)


@pytest.mark.parametrize(
    "quantiles",
    [
        (),
        ((0, 5),),
        ((1, 5), (1_000_000, 6)),
        ((0, 5), (999_999, 6)),
        ((0, -1), (1_000_000, 6)),
        ((0, 5), (1_000_000, 4)),
        ((0, 5), (500_000, 6), (500_000, 7), (1_000_000, 8)),
    ],
)
def test_quantiles_that_are_no_distribution_are_refused(quantiles):
    with pytest.raises(InputError, match="quantiles"):
        TravelTime(quantiles)


def test_order_takes_effect_after_its_way_and_is_heard_of_after_the_way_back(desk):
    d = desk(latency=Latency.constant(30 * MS, 20 * MS))
    d.book(0, BIDS, ASKS)
    d.send(10 * MS, Side.BID, 500, 27_101, name="mine")
    d.trade(39 * MS, 27_050, 1)
    assert d.venue.open_orders() == ()
    d.trade(41 * MS, 27_050, 1)
    assert d.venue.drain(59 * MS) == []
    (ack,) = d.venue.drain(60 * MS)
    (fill,) = d.venue.drain(61 * MS)
    assert isinstance(ack, Acknowledged)
    assert isinstance(fill, Filled)
    assert (ack.exchange_ns, ack.local_ns, fill.exchange_ns, fill.local_ns) == (40 * MS, 60 * MS, 41 * MS, 61 * MS)
    assert d.venue.drain(1 << 62) == []
    assert d.venue.in_flight == 0


def test_fill_during_the_way_of_the_cancel_wins(desk):
    d = desk(latency=Latency.constant(30 * MS, 20 * MS))
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 500, 27_101, name="mine")
    d.venue.advance(60 * MS)
    d.venue.cancel(["mine"], 70 * MS)
    d.trade(90 * MS, 27_050, 1)
    kinds = [type(event) for event in d.settle(200 * MS)]
    assert kinds == [Acknowledged, Filled, CancelRejected]


def test_moment_does_not_run_ahead_of_a_market_that_is_still_on_its_way_to_us(desk):
    d = desk(latency=Latency.constant(30 * MS, 20 * MS))
    d.book(0, BIDS, ASKS, lag=400 * MS)
    d.send(400 * MS, Side.BID, 500, 27_101, name="mine")
    d.quotes(450 * MS, 27_100, 5, 27_102, 5, lag=400 * MS)
    d.venue.cancel(["mine"], 860 * MS)
    d.venue.advance(900 * MS)
    d.trade(880 * MS, 27_050, 1, lag=400 * MS)
    assert [type(event) for event in d.settle(1_400 * MS)] == [Acknowledged, Filled, CancelRejected]


def test_requests_and_answers_never_overtake_each_other(desk):
    d = desk(latency=Latency(TravelTime.uniform(0, 500 * MS), TravelTime.uniform(0, 500 * MS)))
    d.book(0, BIDS, ASKS)
    for index in range(50):
        d.send(index * MS, Side.BID, 500, 27_000, name=f"o{index}")
        d.venue.cancel([f"o{index}"], index * MS)
    events = d.settle(2_000 * MS)
    assert [type(event) for event in events] == [Acknowledged, Cancelled] * 50
    assert [event.order_id for event in events[::2]] == [f"o{index}" for index in range(50)]
    for times in ([event.exchange_ns for event in events], [event.local_ns for event in events]):
        assert times == sorted(times)


def test_one_message_carries_everything_of_one_step(desk):
    d = desk(latency=Latency(TravelTime.constant(0), TravelTime.uniform(0, 500 * MS)))
    d.book(0, BIDS, ASKS)
    d.venue.submit([d.order(Side.BID, 500, price) for price in (27_000, 27_001, 27_002)], 0)
    assert len({event.local_ns for event in d.settle(0)}) == 1


def test_recorder_clock_behind_the_venue_delays_requests_instead_of_sending_them_to_the_past(desk):
    # The venue's clock is 1.5 s ahead of ours; the fastest message needed 10 ms more than that shows.
    d = desk(latency=Latency.constant(30 * MS, 20 * MS))
    d.book(1_500 * MS, BIDS, ASKS, lag=-1_500 * MS)
    assert d.venue.clock_offset_ns == 1_500 * MS
    d.send(0, Side.BID, 500, 27_101, name="mine")
    d.trade(1_529 * MS, 27_050, 1, lag=-1_490 * MS)
    assert d.venue.open_orders() == ()
    d.trade(1_531 * MS, 27_050, 1, lag=-1_490 * MS)
    ack, fill = d.venue.drain(1 << 62)
    assert (ack.exchange_ns, ack.local_ns) == (1_530 * MS, 50 * MS)
    assert fill.local_ns == 51 * MS


def test_feed_that_arrives_late_lets_requests_meet_the_market_of_their_own_moment(desk):
    # Each event reaches us 400 ms after it happened. An order sent on the first meets what happened in between.
    d = desk(latency=Latency.constant(30 * MS, 20 * MS))
    d.book(0, BIDS, ASKS, lag=400 * MS)
    d.send(400 * MS, Side.BID, 500, 27_101, name="mine")
    d.quotes(300 * MS, 27_090, 5, 27_092, 5, lag=400 * MS)
    d.quotes(500 * MS, 27_090, 5, 27_093, 5, lag=400 * MS)
    (refused,) = d.venue.drain(1 << 62)
    assert refused.exchange_ns == 430 * MS
    assert "bbo was 27.090@27.092" in refused.text
