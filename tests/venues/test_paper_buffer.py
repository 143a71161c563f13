"""A ladder that fits the margin with a mark buffer is carried through every market within the buffer."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from equipoise.orders import Side
from equipoise.venues.contract import Acknowledged, Cancelled, CancelReason, Rejected, RejectReason, TimeInForce

MID = 27_100
BUFFER_BPS = 40
FEE = Fraction(15, 100_000)
UNIT = 10


def ladder(side: Side, budget: Fraction, leverage: int, buffer: Fraction, levels: list[int]) -> list[tuple[int, int]]:
    """(lots, price) of a ladder whose charges with buffer and fee stay within the budget; even, floored to lots."""
    prices = [MID - depth if side is Side.BID else MID + depth for depth in levels]
    charges = [price * UNIT * (Fraction(1, leverage) + buffer * (1 + Fraction(1, leverage)) + FEE) for price in prices]
    lots = int(max(budget, Fraction(0)) // sum(charges))
    return [(lots, price) for price in prices if lots >= 40]


def carried(desk, rule, leverage, position, path, levels, share, range_bps):
    """Quote on a mark, then move the market along a path; returns how often margin was refused, and how often tried."""
    settings = {"maker_fee_bps": Decimal("1.5"), "leverage": Decimal(leverage), "balance": 300_000_000}
    d = desk(rule, **settings)
    book = [(MID - 1, 10**9)], [(MID + 1, 10**9)]
    d.book(0, *book)
    if position:
        side, price = (Side.BID, MID + 1) if position > 0 else (Side.ASK, MID - 1)
        lots = int(abs(position) * 300_000_000 * leverage // (MID * UNIT))
        assume(lots >= 40)
        d.send(0, side, lots, price, tif=TimeInForce.IOC)
        d.settle(0)
        assume(d.venue.account().position_lots != 0)
    account = d.venue.account()
    held = abs(account.position_lots) * MID * UNIT
    buffer = Fraction(BUFFER_BPS, 10_000)
    usable = account.margin_available - held * buffer * (1 + Fraction(1, leverage))
    for side in Side:
        opposes = account.position_lots != 0 and (account.position_lots > 0) is (side is Side.ASK)
        if rule == "sum":
            budget = usable * (share if side is Side.BID else 1 - share)
        else:
            budget = usable + (Fraction(2 * held, leverage) if opposes else 0)
        for lots, price in ladder(side, budget, leverage, buffer, levels):
            d.send(1, side, lots, price)
    placed = d.settle(1)
    for at, (step, trade) in enumerate(path, start=2):
        mid = MID + int(MID * range_bps * step / 10_000)
        d.quotes(at * 2, mid - 1, 1, mid + 1, 1)
        if trade:
            d.trade(at * 2 + 1, mid + trade, 1)
    events = placed + d.settle(10**6)
    refused = [
        event
        for event in events
        if (isinstance(event, Rejected) and event.code is RejectReason.MARGIN)
        or (isinstance(event, Cancelled) and event.reason is CancelReason.MARGIN)
    ]
    return refused, sum(isinstance(event, Acknowledged) for event in events)


paths = st.lists(st.tuples(st.fractions(-1, 1, max_denominator=20), st.integers(-3, 3)), max_size=12)
depths = st.lists(st.integers(2, 80), min_size=1, max_size=6, unique=True).map(sorted)


@given(
    st.sampled_from(["sum", "worst_side", "per_side"]),
    st.sampled_from([1, 3, 10, 25]),
    st.fractions(-1, 1, max_denominator=10),
    paths,
    depths,
    st.fractions(0, 1, max_denominator=10),
)
def test_ladder_within_the_buffered_margin_is_never_refused_while_the_mark_stays_within(
    desk, rule, leverage, position, path, levels, share
):
    refused, _ = carried(desk, rule, leverage, position, path, levels, share, Fraction(BUFFER_BPS))
    assert refused == []


def test_jump_of_the_whole_buffer_is_carried_with_the_margin_on_the_move(desk):
    # A short loses on a rising mark and needs more margin at it as well: b on the charge alone would fall short by b/L.
    refused, placed = carried(desk, "sum", 2, 0, [(Fraction(1), 0)], [2], Fraction(0), Fraction(BUFFER_BPS))
    assert placed == 1
    assert refused == []


def test_market_beyond_the_buffer_is_refused_and_says_how_far_it_went(desk):
    refused, placed = carried(desk, "sum", 10, 0, [(Fraction(1), 0)], [2, 3], Fraction(0), Fraction(200))
    assert placed == 2
    # What the first refusal gives back carries the other order.
    assert [event.reason for event in refused] == [CancelReason.MARGIN]
    assert 199 < refused[0].mark_moved_bps < 201
