"""The venue's own margin check, at placement and at match."""

from __future__ import annotations

from decimal import Decimal

import pytest

from equipoise.orders import Side
from equipoise.tape.events import Taker
from equipoise.venues.contract import Acknowledged, Cancelled, CancelReason, Rejected, RejectReason

MISSION_MICROS = 397_490_000


def both_sides(d, bid_lots: int, ask_lots: int) -> list:
    d.book(0, [(27_109, 100)], [(27_111, 100)])
    # The sides rest a tick from the mark of 27.11 on the ask, at it on the bid.
    d.send(0, Side.BID, bid_lots, 27_110, name="bid")
    d.send(0, Side.ASK, ask_lots, 27_111, name="ask")
    return d.settle(1)


def test_mission_scenario_full_size_on_both_sides_is_refused_and_half_is_accepted(desk):
    # 146.6 + 146.6 contracts at 27.11 need 794.9: the second side finds nothing left.
    first, second = both_sides(desk("sum", balance=MISSION_MICROS), 14_660, 14_660)
    assert isinstance(first, Acknowledged)
    assert isinstance(second, Rejected)
    assert second.order_id == "ask"
    assert (second.code, second.text) == (RejectReason.MARGIN, "Insufficient margin to place order.")
    assert second.shortfall == 397_432_600 + 397_447_260 - MISSION_MICROS
    assert second.mark == Decimal("27.11")

    new = desk("sum", balance=MISSION_MICROS)
    assert [type(event) for event in both_sides(new, 7_331, 7_330)] == [Acknowledged, Acknowledged]
    assert new.venue.margin_held() == 198_743_410 + 198_723_630
    account = new.venue.account()
    assert (account.margin_orders, account.margin_position) == (397_467_040, 0)
    assert account.margin_free == MISSION_MICROS - 397_467_040


@pytest.mark.parametrize("name", ["worst_side", "per_side"])
def test_mission_scenario_may_carry_the_full_size_on_each_side_where_sides_share_the_margin(desk, name):
    d = desk(name, balance=MISSION_MICROS)
    assert [type(event) for event in both_sides(d, 14_660, 14_660)] == [Acknowledged, Acknowledged]
    assert d.venue.margin_held() == 397_447_260
    # Asks priced above the mark cost more than the mark says: the size that fits at the mark is refused by a hair.
    hair = desk(name, balance=MISSION_MICROS)
    ack, refused = both_sides(hair, 14_662, 14_662)
    assert isinstance(ack, Acknowledged)
    assert (refused.code, refused.shortfall) == (RejectReason.MARGIN, 397_501_482 - MISSION_MICROS)


def test_order_that_raises_nothing_is_accepted_though_the_account_is_under_water(desk):
    d = desk(balance=100_000_000)
    d.book(0, [(27_000, 100)], [(27_010, 100)])
    d.send(0, Side.BID, 3_600, 27_005)
    d.settle(1)
    d.trade(2, 27_004, 1)
    d.book(3, [(24_000, 100)], [(24_010, 100)])
    assert d.venue.account().equity < 0
    d.send(3, Side.ASK, 100, 24_100, name="opens")
    d.send(3, Side.ASK, 100, 24_100, name="reduces", reduce_only=True)
    codes = {event.order_id: type(event) for event in d.settle(4) if event.order_id != "o1"}
    assert codes == {"opens": Rejected, "reduces": Acknowledged}


def test_match_that_the_account_cannot_carry_ends_the_order_and_tells_how_far_the_mark_moved(desk):
    d = desk(balance=100_000_000)
    d.book(0, [(27_000, 100)], [(27_010, 100)])
    d.send(0, Side.BID, 1_800, 27_000, name="low")
    d.send(0, Side.ASK, 1_800, 27_010, name="high")
    d.settle(1)
    # The ask fills at 27.01, and the mark runs 2.7 % away: the short's loss eats what the bid holds, so a second short
    # would not be carried, while the bid only closes.
    d.trade(2, 27_010, 100 + 900, Taker.BUY)
    d.book(3, [(27_700, 100)], [(27_720, 100)])
    d.seen += d.venue.drain(10)
    ended = [event for event in d.seen if isinstance(event, Cancelled)]
    assert [event.order_id for event in ended] == ["high"]
    assert ended[0].reason is CancelReason.MARGIN
    assert ended[0].text == "Insufficient margin to place order."
    assert ended[0].mark == Decimal("27.71")
    assert ended[0].mark_moved_bps == float(Decimal(705) / Decimal(27_005) * 10_000)
    assert ended[0].lots_left == 900


def test_match_that_raises_nothing_goes_through_though_the_account_falls_short(desk):
    d = desk(balance=270_000_000)
    d.book(0, [(27_000, 100)], [(27_010, 100)])
    d.send(0, Side.BID, 10_000, 27_000)
    d.settle(1)
    assert d.venue.margin_held() == 270_000_000
    # The loss exceeds what is free (nothing), but the position needs less than the order held.
    d.book(2, [(26_000, 100)], [(26_010, 100)])
    (fill,) = d.fills()
    assert (fill.lots, fill.position_after) == (10_000, 10_000)
    account = d.venue.account()
    assert account.equity < account.margin_position < 270_000_000
