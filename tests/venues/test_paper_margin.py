"""The venue's own margin check, at placement and at match."""

from __future__ import annotations

from decimal import Decimal

from equipoise.orders import Side
from equipoise.tape.events import Taker
from equipoise.venues.contract import Acknowledged, Cancelled, CancelReason, Rejected, RejectReason

MISSION_MICROS = 397_490_000


def test_mission_scenario_full_size_on_both_sides_is_refused_and_half_is_accepted(desk):
    old = desk(balance=MISSION_MICROS)
    old.book(0, [(27_109, 100)], [(27_111, 100)])
    # 146.6 + 146.6 contracts at 27.11 need 794.98; the second side finds nothing left.
    old.send(0, Side.BID, 14_660, 27_110, name="bid")
    old.send(0, Side.ASK, 14_660, 27_111, name="ask")
    first, second = old.settle(1)
    assert isinstance(first, Acknowledged)
    assert isinstance(second, Rejected)
    assert second.order_id == "ask"
    assert (second.code, second.text) == (RejectReason.MARGIN, "Insufficient margin to place order.")

    new = desk(balance=MISSION_MICROS)
    new.book(0, [(27_109, 100)], [(27_111, 100)])
    new.send(0, Side.BID, 7_331, 27_110)
    new.send(0, Side.ASK, 7_330, 27_111)
    assert [type(event) for event in new.settle(1)] == [Acknowledged, Acknowledged]
    assert new.venue.margin_held() == 198_743_410 + 198_723_630


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
