"""What the venue refuses and why, takers, reduce-only, self-trades, cancels and replacements."""

from __future__ import annotations

from decimal import Decimal

import pytest

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.tape.events import Taker
from equipoise.venues.contract import (
    Acknowledged,
    Cancelled,
    CancelReason,
    CancelRejected,
    Filled,
    Instrument,
    Liquidity,
    Rejected,
    RejectReason,
    TimeInForce,
)

BIDS = [(27_100, 1_000), (27_098, 2_000), (27_095, 3_000)]
ASKS = [(27_102, 1_100), (27_105, 2_100), (27_110, 3_100)]
IOC, GTC = TimeInForce.IOC, TimeInForce.GTC


@pytest.fixture
def d(desk):
    made = desk()
    made.book(0, BIDS, ASKS)
    return made


def only(events):
    (event,) = events
    return event


@pytest.mark.parametrize(
    ("lots", "price", "code", "text"),
    [
        (0, 27_000, RejectReason.LOT, "Order has invalid size."),
        (-5, 27_000, RejectReason.LOT, "Order has invalid size."),
        (500, 0, RejectReason.TICK, "Price must be divisible by tick size."),
        (500, 271_001, RejectReason.TICK, "Price must be divisible by tick size."),
        (36, 27_100, RejectReason.MIN_NOTIONAL, "Order must have minimum value of $10."),
    ],
)
def test_order_off_the_grid_or_below_the_minimum_is_refused_with_the_venues_text(d, lots, price, code, text):
    d.send(0, Side.BID, lots, price)
    refused = only(d.settle(0))
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.text) == (code, text)


def test_smallest_order_and_whole_price_beyond_five_figures_are_accepted(d):
    d.send(0, Side.BID, 37, 27_100)
    d.send(0, Side.ASK, 50, 123_456_000)
    assert [type(event) for event in d.settle(0)] == [Acknowledged, Acknowledged]


@pytest.mark.parametrize(
    ("side", "price", "bbo"),
    [(Side.BID, 27_102, "27.100@27.102"), (Side.ASK, 27_100, "27.100@27.102"), (Side.ASK, 1_000, "27.100@27.102")],
)
def test_post_only_order_that_would_match_is_refused_and_told_the_best_quotes(d, side, price, bbo):
    d.send(0, side, 5_000, price)
    refused = only(d.settle(0))
    assert isinstance(refused, Rejected)
    assert refused.code is RejectReason.POST_ONLY
    assert refused.text == f"Post only order would have immediately matched, bbo was {bbo}."


def test_post_only_order_that_would_match_one_of_ours_is_refused(d):
    d.send(0, Side.BID, 500, 27_101)
    d.send(0, Side.ASK, 500, 27_101, name="meets")
    assert [type(event) for event in d.settle(0)] == [Acknowledged, Rejected]


def test_every_order_of_a_batch_has_its_own_status(d):
    orders = [
        d.order(Side.BID, 500, 27_100, name="good"),
        d.order(Side.BID, 1, 27_100, name="small"),
        d.order(Side.BID, 500, 27_102, name="crosses"),
        d.order(Side.ASK, 500, 27_103, name="fine"),
        d.order(Side.ASK, 500, 27_104, name="good"),
    ]
    d.venue.submit(orders, 0)
    statuses = [(event.order_id, getattr(event, "code", None)) for event in d.settle(0)]
    assert statuses == [
        ("good", None),
        ("small", RejectReason.MIN_NOTIONAL),
        ("crosses", RejectReason.POST_ONLY),
        ("fine", None),
        ("good", RejectReason.DUPLICATE_ID),
    ]


def test_order_before_the_first_market_is_refused(desk):
    e = desk()
    e.send(0, Side.BID, 500, 27_000)
    assert only(e.settle(0)).code is RejectReason.NO_MARKET


def test_more_open_orders_than_allowed_are_refused(desk):
    e = desk(orders_max=1)
    e.book(0, BIDS, ASKS)
    e.send(0, Side.BID, 500, 27_000)
    e.send(0, Side.BID, 500, 27_000)
    assert [getattr(event, "code", None) for event in e.settle(0)] == [None, RejectReason.ORDER_LIMIT]


def test_ioc_walks_the_visible_levels_up_to_its_limit_and_cancels_the_rest(d):
    d.send(0, Side.BID, 5_000, 27_105, name="mine", tif=IOC)
    ack, first, second, rest = d.settle(0)
    assert isinstance(ack, Acknowledged)
    assert isinstance(first, Filled)
    assert isinstance(second, Filled)
    assert isinstance(rest, Cancelled)
    assert [(f.price_ticks, f.lots, f.liquidity) for f in (first, second)] == [
        (27_102, 1_100, Liquidity.TAKER),
        (27_105, 2_100, Liquidity.TAKER),
    ]
    assert (rest.lots_left, rest.reason) == (1_800, CancelReason.IOC)


def test_ioc_is_partial_when_the_visible_book_is_exhausted(d):
    d.send(0, Side.ASK, 10_000, 20_000, tif=IOC)
    events = d.settle(0)
    assert sum(event.lots for event in events if isinstance(event, Filled)) == 6_000
    assert events[-1].lots_left == 4_000


def test_ioc_that_meets_nobody_is_refused(d):
    d.send(0, Side.BID, 500, 27_101, tif=IOC)
    refused = only(d.settle(0))
    assert refused.code is RejectReason.NO_LIQUIDITY
    assert refused.text == "Order could not immediately match against any resting orders."


def test_lots_we_took_are_gone_until_the_level_is_shown_again(d):
    for _ in range(2):
        d.send(0, Side.BID, 800, 27_102, tif=IOC)
    assert [event.lots for event in d.settle(0) if isinstance(event, Filled)] == [800, 300]
    d.quotes(1, 27_100, 1_000, 27_102, 1_100)
    d.send(1, Side.BID, 800, 27_102, tif=IOC)
    assert [event.lots for event in d.settle(1) if isinstance(event, Filled)] == [800]


def test_gtc_takes_what_it_can_and_rests_at_the_front_of_its_price(d):
    d.send(0, Side.BID, 2_000, 27_103, name="mine", tif=GTC)
    events = d.settle(0)
    assert [event.lots for event in events if isinstance(event, Filled)] == [1_100]
    (rests,) = d.venue.open_orders()
    assert (rests.lots_left, rests.price_ticks, d.venue.lots_ahead("mine")) == (900, 27_103, 0)


def test_reduce_only_order_without_a_position_to_reduce_is_refused(d):
    d.send(0, Side.BID, 500, 27_000, reduce_only=True)
    refused = only(d.settle(0))
    assert (refused.code, refused.text) == (RejectReason.REDUCE_ONLY, "Reduce only order would increase position.")


def test_reduce_only_orders_that_exceed_the_position_together_are_refused_where_the_rule_counts_them(desk):
    for rule, code in (("hyperliquid", RejectReason.REDUCE_ONLY), ("sum", None)):
        e = desk(rule)
        e.book(0, BIDS, ASKS)
        e.send(0, Side.BID, 600, 27_102, tif=IOC)
        e.send(0, Side.ASK, 400, 27_103, reduce_only=True)
        e.send(0, Side.ASK, 400, 27_104, name="too much", reduce_only=True)
        assert getattr(e.settle(0)[-1], "code", None) is code


def test_reduce_only_close_stops_at_zero_and_may_be_below_the_minimum_value(d):
    d.send(0, Side.BID, 500, 27_102, tif=IOC)
    d.settle(0)
    d.send(0, Side.ASK, 490, 27_000, tif=IOC, reduce_only=True)
    d.settle(0)
    d.send(0, Side.ASK, 15, 27_000, name="rest", tif=IOC, reduce_only=True)
    ack, fill, rest = d.settle(0)
    assert isinstance(ack, Acknowledged)
    assert isinstance(fill, Filled)
    assert isinstance(rest, Cancelled)
    assert (fill.lots, fill.position_after) == (10, 0)
    assert (rest.lots_left, rest.reason) == (5, CancelReason.REDUCE_ONLY)
    d.send(0, Side.BID, 1, 27_102, tif=IOC)
    assert only(d.settle(0)).code is RejectReason.MIN_NOTIONAL


def test_resting_reduce_only_orders_end_when_the_position_they_could_reduce_is_gone(d):
    d.send(0, Side.BID, 600, 27_102, tif=IOC)
    d.send(0, Side.ASK, 400, 27_103, name="near", reduce_only=True)
    d.send(0, Side.ASK, 400, 27_104, name="far", reduce_only=True)
    d.settle(0)
    d.trade(1, 27_110, 1, taker=Taker.BUY)
    fills = [(f.order_id, f.lots, f.position_after) for f in d.fills() if f.liquidity is Liquidity.MAKER]
    assert fills == [("near", 400, 200), ("far", 200, 0)]
    ended = [event for event in d.seen if isinstance(event, Cancelled)]
    assert [(event.order_id, event.lots_left, event.reason) for event in ended] == [
        ("far", 200, CancelReason.REDUCE_ONLY)
    ]
    assert d.venue.open_orders() == ()


def test_taker_that_would_meet_our_own_order_ends_the_resting_one(d):
    d.send(0, Side.ASK, 500, 27_103, name="near")
    d.send(0, Side.ASK, 500, 27_109, name="far")
    d.settle(0)
    d.send(0, Side.BID, 2_000, 27_105, name="taker", tif=IOC)
    events = d.settle(0)
    assert [(type(event).__name__, event.order_id) for event in events] == [
        ("Acknowledged", "taker"),
        ("Filled", "taker"),  # 1 100 at 27.102
        ("Cancelled", "near"),  # stood before the next level at 27.105
        ("Filled", "taker"),
    ]
    assert events[2].reason is CancelReason.SELF_TRADE
    assert [order.order_id for order in d.venue.open_orders()] == ["far"]


def test_rest_of_a_taker_never_stands_across_an_order_of_ours(d):
    d.send(0, Side.ASK, 500, 27_103, name="near")
    d.send(0, Side.BID, 2_000, 27_104, name="taker", tif=GTC)
    events = d.settle(0)
    assert [event.reason for event in events if isinstance(event, Cancelled)] == [CancelReason.SELF_TRADE]
    assert [(order.order_id, order.lots_left) for order in d.venue.open_orders()] == [("taker", 900)]


def test_taker_and_maker_pay_their_own_rates(desk):
    e = desk(maker_fee_bps=Decimal("1.5"), taker_fee_bps=Decimal("4.5"))
    e.book(0, BIDS, ASKS)
    e.send(0, Side.BID, 1_000, 27_102, tif=IOC)
    e.send(0, Side.ASK, 1_000, 27_103)
    e.settle(0)
    e.trade(1, 27_104, 1, Taker.BUY)
    # 10 contracts: 271.02 at 4.5 bps, 271.03 at 1.5 bps.
    assert [f.fee for f in e.fills()] == [121_959, 40_655]
    account = e.venue.account()
    assert (account.fees, account.realised_pnl) == (162_614, 10_000)
    assert account.balance == 1_000_000_000_000 + 10_000 - 162_614


def test_cancel_ends_an_open_order_once_and_refuses_what_is_not_open(d):
    d.send(0, Side.BID, 500, 27_000, name="mine")
    d.settle(0)
    d.venue.cancel(["mine", "never"], 0)
    d.venue.cancel(["mine"], 0)
    first, unknown, again = d.settle(0)
    assert isinstance(first, Cancelled)
    assert (first.order_id, first.lots_left, first.reason) == ("mine", 500, CancelReason.REQUESTED)
    for refused, name in ((unknown, "never"), (again, "mine")):
        assert isinstance(refused, CancelRejected)
        assert (refused.order_id, refused.text) == (name, "Order was never placed, already canceled, or filled.")


def test_cancel_all_ends_what_rests_when_it_arrives_and_nothing_later(d):
    d.send(0, Side.BID, 500, 27_000, name="one")
    d.send(0, Side.ASK, 500, 27_200, name="two")
    d.venue.cancel_all(0)
    d.send(0, Side.BID, 500, 27_000, name="three")
    events = d.settle(0)
    assert [(type(event).__name__, event.order_id) for event in events[2:]] == [
        ("Cancelled", "one"),
        ("Cancelled", "two"),
        ("Acknowledged", "three"),
    ]


def test_replace_ends_the_old_order_and_places_the_new_one_with_a_new_queue_position(d):
    d.send(0, Side.BID, 500, 27_100, name="old")
    d.settle(0)
    d.book(1, [(27_100, 1_500)], ASKS)
    new = d.order(Side.BID, 600, 27_100, name="new")
    d.venue.replace(["old"], [new], 1)
    assert [(type(event).__name__, event.order_id) for event in d.settle(1)] == [
        ("Cancelled", "old"),
        ("Acknowledged", "new"),
    ]
    assert d.venue.lots_ahead("new") == 1_500


def test_replace_of_an_order_that_is_gone_places_nothing(d):
    d.venue.replace(["gone"], [d.order(Side.BID, 600, 27_100, name="new")], 0)
    missing, refused = d.settle(0)
    assert isinstance(missing, CancelRejected)
    assert isinstance(refused, Rejected)
    assert (refused.order_id, refused.code) == ("new", RejectReason.MISSING_ORDER)


def test_malformed_request_raises_and_sends_nothing(d):
    nameless = d.instrument.order(Side.BID, 500, 27_000, order_id="")
    with pytest.raises(InputError, match=r"orders\[0\] must be an order with an order_id"):
        d.venue.submit([nameless], 0)
    other = Instrument(symbol="BTC", tick=Decimal(1), lot=Decimal("0.00001"))
    with pytest.raises(InputError, match="an order in HYPE, got BTC"):
        d.venue.submit([other.order(Side.BID, 500, 27_000, order_id="x")], 0)
    with pytest.raises(InputError, match="as many as order_ids"):
        d.venue.replace(["a", "b"], [d.order(Side.BID, 500, 27_000)], 0)
    assert d.venue.in_flight == 0
    assert d.settle(0) == []
