"""Queue position by hand: who stands ahead, what moves the queue, and when we fill."""

from __future__ import annotations

import pytest

from equipoise.orders import Side
from equipoise.tape.events import Taker
from equipoise.venues.contract import Acknowledged, Filled, Liquidity, OpenOrder
from equipoise.venues.paper import CancelsAhead, UnseenQueue
from equipoise.venues.paper.queue import LOOKS_KEPT

BIDS = [(27_100, 10_000), (27_098, 20_000), (27_095, 30_000)]
ASKS = [(27_102, 11_000), (27_105, 21_000), (27_110, 31_000)]


def open_order(d, name: str) -> OpenOrder | None:
    return next((order for order in d.venue.open_orders() if order.order_id == name), None)


@pytest.fixture
def quoted(desk):
    """A desk with a book and one bid of 5 000 lots at the best price: 10 000 lots are ahead."""

    def make(**settings):
        d = desk(**settings)
        d.book(0, BIDS, ASKS)
        d.send(0, Side.BID, 5_000, 27_100, name="mine")
        d.settle(0)
        return d

    return make


@pytest.mark.parametrize(
    ("side", "price", "ahead"),
    [
        (Side.BID, 27_101, 0),  # inside the spread
        (Side.BID, 27_100, 10_000),  # at the best
        (Side.BID, 27_099, 0),  # an empty price between visible levels
        (Side.BID, 27_095, 30_000),  # the last visible level
        (Side.BID, 27_000, 30_000),  # beyond: assumed as large as the last visible level
        (Side.ASK, 27_101, 0),
        (Side.ASK, 27_102, 11_000),
        (Side.ASK, 27_104, 0),
        (Side.ASK, 27_500, 31_000),
    ],
)
def test_orders_ahead_at_placement_are_the_displayed_lots(desk, side, price, ahead):
    d = desk()
    d.book(0, BIDS, ASKS)
    d.send(0, side, 500, price, name="mine")
    d.settle(0)
    assert d.venue.lots_ahead("mine") == ahead


def test_unseen_queue_none_starts_at_the_front(desk):
    d = desk(unseen_queue=UnseenQueue.NONE)
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 500, 27_000, name="mine")
    d.settle(0)
    assert d.venue.lots_ahead("mine") == 0


def test_unseen_level_that_comes_into_view_cannot_have_more_ahead_than_it_shows(desk):
    d = desk()
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 500, 27_090, name="mine")
    d.settle(0)
    d.book(1, [(27_098, 100), (27_090, 12_345)], ASKS)
    assert d.venue.lots_ahead("mine") == 12_345


def test_newer_best_quote_replaces_the_snapshot_for_orders_ahead(desk):
    d = desk()
    d.book(0, BIDS, ASKS)
    d.quotes(1, 27_098, 777, 27_102, 11_000)
    d.send(1, Side.BID, 500, 27_098, name="at")
    d.send(1, Side.BID, 500, 27_100, name="above")
    d.settle(1)
    assert (d.venue.lots_ahead("at"), d.venue.lots_ahead("above")) == (777, 0)


def test_trades_take_the_lots_ahead_first_then_ours(quoted):
    d = quoted()
    d.trade(1, 27_100, 6_000)
    assert d.venue.lots_ahead("mine") == 4_000
    assert not d.fills()
    d.trade(2, 27_100, 6_000)
    (fill,) = d.fills()
    assert (fill.lots, fill.lots_left, fill.price_ticks, fill.liquidity) == (2_000, 3_000, 27_100, Liquidity.MAKER)
    d.trade(3, 27_100, 50_000)
    assert [(f.lots, f.lots_left) for f in d.fills()] == [(2_000, 3_000), (3_000, 0)]
    assert d.venue.open_orders() == ()


def test_two_own_orders_at_a_price_fill_in_order_of_arrival_with_others_between(desk):
    d = desk()
    d.book(0, [(27_100, 100)], ASKS)
    d.send(0, Side.BID, 1_000, 27_100, name="first")
    d.settle(0)
    d.book(1, [(27_100, 150)], ASKS)  # 50 lots joined behind the first
    d.send(1, Side.BID, 1_000, 27_100, name="second")
    d.settle(1)
    assert (d.venue.lots_ahead("first"), d.venue.lots_ahead("second")) == (100, 150)
    # 100 ahead, 1 000 of the first, and 40 of the 50 between.
    d.trade(2, 27_100, 1_140)
    assert [(f.order_id, f.lots) for f in d.fills()] == [("first", 1_000)]
    assert d.venue.lots_ahead("second") == 10
    d.trade(3, 27_100, 15)
    assert [(f.order_id, f.lots) for f in d.fills()] == [("first", 1_000), ("second", 5)]


@pytest.mark.parametrize(
    ("assumption", "ahead"), [(CancelsAhead.PESSIMISTIC, 10_000), (CancelsAhead.PROPORTIONAL, 7_500)]
)
def test_cancels_of_others_move_the_queue_by_the_stated_assumption(quoted, assumption, ahead):
    d = quoted(cancels_ahead=assumption)
    d.book(1, [(27_100, 20_000)], ASKS)  # 10 000 join behind
    assert d.venue.lots_ahead("mine") == 10_000
    d.book(2, [(27_100, 15_000)], ASKS)  # 5 000 of 20 000 cancel: a quarter
    assert d.venue.lots_ahead("mine") == ahead


@pytest.mark.parametrize("assumption", list(CancelsAhead))
def test_level_that_shows_less_than_was_ahead_bounds_the_queue_whatever_the_assumption(quoted, assumption):
    d = quoted(cancels_ahead=assumption)
    d.book(1, [(27_100, 4_000)], ASKS)
    assert d.venue.lots_ahead("mine") == 4_000
    d.book(2, [(27_098, 4_000)], ASKS)  # the level is empty now
    assert d.venue.lots_ahead("mine") == 0


def test_shrinkage_that_trades_explain_is_not_taken_for_cancels(quoted):
    d = quoted(cancels_ahead=CancelsAhead.PROPORTIONAL)
    d.book(1, [(27_100, 20_000)], ASKS)
    d.trade(2, 27_100, 4_000)
    d.book(3, [(27_100, 16_000)], ASKS)
    assert d.venue.lots_ahead("mine") == 6_000
    # Of the next 4 000, 1 000 traded: 3 000 of 15 000 cancel, a fifth of the 5 000 ahead.
    d.trade(4, 27_100, 1_000)
    d.book(5, [(27_100, 12_000)], ASKS)
    assert d.venue.lots_ahead("mine") == 4_000


@pytest.mark.parametrize("assumption", list(CancelsAhead))
def test_trade_reported_after_the_depth_that_contains_it_counts_once(quoted, assumption):
    d = quoted(cancels_ahead=assumption)
    d.book(5, [(27_100, 4_000)], ASKS)
    d.trade(4, 27_100, 6_000)
    assert d.venue.lots_ahead("mine") == 4_000
    assert not d.fills()
    assert d.venue.counters["late_trades"] == 1
    # A late trade that was larger than everything ahead did reach us.
    e = quoted(cancels_ahead=assumption)
    e.book(5, [(27_098, 4_000)], ASKS)
    e.trade(4, 27_100, 12_000)
    assert [f.lots for f in e.fills()] == [2_000]


def test_late_trade_leaves_orders_that_came_after_the_depth_alone(quoted):
    d = quoted(cancels_ahead=CancelsAhead.PROPORTIONAL)
    d.book(1, [(27_100, 20_000)], ASKS)
    d.book(5, [(27_100, 15_000)], ASKS)
    d.send(6, Side.BID, 500, 27_100, name="later")
    d.venue.advance(6)
    assert (d.venue.lots_ahead("mine"), d.venue.lots_ahead("later")) == (7_500, 15_000)
    d.trade(4, 27_100, 1_000)
    # 9 000 ahead after the trade; 4 000 of 19 000 cancelled.
    assert (d.venue.lots_ahead("mine"), d.venue.lots_ahead("later")) == (9_000 - 4_000 * 9_000 // 19_000, 15_000)


def test_late_trade_is_put_before_the_later_ones(quoted):
    d = quoted(cancels_ahead=CancelsAhead.PROPORTIONAL)
    d.book(5, [(27_100, 5_000)], ASKS)
    d.book(7, [(27_100, 5_000)], ASKS)
    d.trade(8, 27_100, 1_000)
    assert d.venue.lots_ahead("mine") == 4_000
    d.trade(6, 27_100, 2_000)  # then 2 000 joined behind, and 3 000 less are ahead in all
    assert d.venue.lots_ahead("mine") == 2_000


def test_late_trade_older_than_every_look_that_is_kept_is_counted_and_left_out(quoted):
    d = quoted()
    for at in range(2, 2 + 2 * LOOKS_KEPT + 1):
        d.book(at, [(27_100, 9_000)], ASKS)
    d.trade(1, 27_100, 1_000)
    assert d.venue.lots_ahead("mine") == 9_000
    assert d.venue.counters["late_trades_unplaced"] == 1
    d.trade(2 + LOOKS_KEPT, 27_100, 1_000)
    assert d.venue.counters["late_trades"] == 1
    assert d.venue.lots_ahead("mine") == 8_000


def test_older_snapshot_than_the_newest_quote_tells_only_about_the_levels_behind(desk):
    d = desk(cancels_ahead=CancelsAhead.PROPORTIONAL)
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 500, 27_098, name="behind")
    d.send(0, Side.BID, 500, 27_100, name="at")
    d.settle(0)
    d.quotes(10, 27_100, 9_000, 27_102, 1)
    d.trade(11, 27_100, 1_000)
    mark = d.venue.mark
    # Its best ask would cross our bids, but it is older than the quote.
    d.book(8, [(27_099, 5), (27_098, 1_000)], [(27_100, 5)])
    assert (d.venue.lots_ahead("at"), d.venue.lots_ahead("behind")) == (8_000, 1_000)
    assert d.venue.mark == mark
    assert not d.fills()
    d.quotes(12, 27_100, 8_000, 27_102, 1)  # the trade explains it
    assert d.venue.lots_ahead("at") == 8_000
    d.book(7, [(27_098, 1)], [(27_102, 5)])
    assert d.venue.counters["stale_depth"] == 1


@pytest.mark.parametrize("taker", list(Taker))
def test_trade_beyond_our_price_fills_in_full_whatever_its_size(quoted, taker):
    d = quoted()
    d.trade(1, 27_099, 1, taker)
    assert [(f.lots, f.price_ticks) for f in d.fills()] == [(5_000, 27_100)]


def test_trade_of_the_other_aggressor_at_our_price_does_not_touch_the_queue(quoted):
    d = quoted()
    d.trade(1, 27_100, 50_000, Taker.BUY)
    assert not d.fills()
    assert d.venue.lots_ahead("mine") == 10_000


@pytest.mark.parametrize(("price", "filled"), [(27_100, 2_000), (27_101, 0)])
def test_trade_of_unknown_aggressor_belongs_to_the_quote_it_is_nearer_to(desk, price, filled):
    d = desk()
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 5_000, price, name="mine")
    d.settle(0)
    d.trade(1, price, 12_000, Taker.UNKNOWN)
    assert sum(f.lots for f in d.fills()) == filled


@pytest.mark.parametrize("ask", [27_100, 27_099])
def test_opposite_quote_at_or_through_our_price_fills_in_full(quoted, ask):
    d = quoted()
    d.quotes(1, 27_090, 1, ask, 1)
    assert [(f.lots, f.price_ticks) for f in d.fills()] == [(5_000, 27_100)]


def test_opposite_quote_through_our_ask_fills_best_price_first(desk):
    d = desk()
    d.book(0, BIDS, ASKS)
    for name, price in [("far", 27_108), ("near", 27_103), ("safe", 27_120)]:
        d.send(0, Side.ASK, 500, price, name=name)
    d.settle(0)
    d.quotes(1, 27_110, 5, 27_111, 5)
    assert [(f.order_id, f.price_ticks) for f in d.fills()] == [("near", 27_103), ("far", 27_108)]
    assert open_order(d, "safe") is not None


@pytest.mark.parametrize("bid", [27_099, 27_100])
def test_crossed_or_locked_tape_neither_fills_nor_moves_the_mark(quoted, bid):
    d = quoted()
    mark = d.venue.mark
    d.quotes(1, bid, 1, 27_099, 1)
    assert not d.fills()
    assert d.venue.mark == mark
    assert d.venue.counters["unsound_book"] == 1


def test_market_at_or_before_the_arrival_of_an_order_cannot_fill_it(desk):
    d = desk()
    d.book(100, BIDS, ASKS)
    d.send(200, Side.BID, 500, 27_101, name="mine")
    d.venue.advance(200)
    d.trade(150, 27_050, 10_000)  # reported late
    d.trade(200, 27_050, 10_000)  # at the same nanosecond
    d.trade(150, 27_101, 10_000)  # at its price
    d.trade(200, 27_101, 10_000)
    assert [type(event) for event in d.venue.drain(1 << 62)] == [Acknowledged]
    d.trade(201, 27_050, 10_000)
    assert [type(event) for event in d.venue.drain(1 << 62)] == [Filled]


def test_request_at_the_nanosecond_of_an_event_takes_effect_after_it(desk):
    d = desk()
    d.book(0, BIDS, ASKS)
    d.send(0, Side.BID, 500, 27_101, name="mine")
    d.settle(0)
    d.send(9, Side.BID, 500, 27_000, name="other")
    d.venue.cancel(["mine"], 10)
    d.trade(10, 27_050, 1)
    assert [f.lots for f in d.fills()] == [500]
    assert open_order(d, "other") is not None
