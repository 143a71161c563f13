"""Why equipoise exists: one account, one market, both sides quoted, before and after.

An account of 397.49 at 10x quotes HYPE at 27.11. Giving *each* side the whole margin asks for twice what there is.
Run with `python -m examples.mission`.
"""

from __future__ import annotations

from decimal import Decimal

import equipoise as eq
from equipoise.orders import Order, Side
from equipoise.tape.events import BookSnapshot
from equipoise.venues.contract import Acknowledged, Instrument, Rejected
from equipoise.venues.paper import PaperConfig, PaperVenue

__all__ = ["RULES", "compare", "place", "table"]

RULES = ("sum", "worst_side", "per_side")
BALANCE = Decimal("397.49")
LEVERAGE = Decimal(10)
HYPE = Instrument(symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10))
LEVELS = eq.Levels(
    depth_bps=[2.0, 4.0, 8.0, 16.0, 32.0],
    fill_probability=[0.78, 0.65, 0.45, 0.27, 0.02],
    edge_bps=[0.1, 1.2, 5.4, 14.1, 30.4],
)


def place(rule: str, orders: list[Order]) -> tuple[int, list[str]]:
    """Send orders to a fresh paper venue under a rule: how many it accepted, and what it said to the others."""
    config = PaperConfig(leverage=LEVERAGE, balance=int(BALANCE * 1_000_000))
    venue = PaperVenue(HYPE, eq.OrderMarginRule.venue(rule), config)
    second = 1_000_000_000
    venue.advance(BookSnapshot(second, second, (27_100,), (10_000,), (27_120,), (10_000,)))
    venue.submit(orders, second)
    venue.advance(10 * second)
    answers = venue.drain(20 * second)
    refused = [event.text for event in answers if isinstance(event, Rejected)]
    return sum(isinstance(event, Acknowledged) for event in answers), refused


def before() -> list[Order]:
    """The older way: each side sized as if it had the account to itself, 146.62 contracts at the mark."""
    lots = int(BALANCE * LEVERAGE / Decimal("27.11") / HYPE.lot)
    return [
        HYPE.order(Side.BID, lots, 27_100, order_id="bid"),
        HYPE.order(Side.ASK, lots, 27_120, order_id="ask"),
    ]


def after(rule: str) -> eq.Quote:
    """Equipoise: both sides from one margin under the venue's own rule."""
    market = HYPE.market(Decimal("27.10"), Decimal("27.12"), Decimal("27.11"), Decimal("27.11"))
    state = eq.AccountState(margin_available=BALANCE, position=0, leverage=LEVERAGE, position_max="146.62")
    return eq.Quoter().quote(market, state, rule=eq.OrderMarginRule.venue(rule), bids=LEVELS, asks=LEVELS)


def compare(rule: str) -> dict[str, object]:
    """Both ways under one rule, placed on the paper venue."""
    old = before()
    used = eq.OrderMarginRule.venue(rule)
    market = HYPE.market(Decimal("27.10"), Decimal("27.12"), Decimal("27.11"), Decimal("27.11"))
    needed = used.required_micros(
        market, LEVERAGE, 0, [o.side is Side.BID for o in old], [o.lots for o in old], [o.price_ticks for o in old]
    )
    old_accepted, old_refused = place(rule, old)
    quote = after(rule)
    new = [HYPE.order(o.side, o.lots, o.price_ticks, order_id=str(i)) for i, o in enumerate(quote.orders())]
    new_accepted, new_refused = place(rule, new)
    return {
        "rule": rule,
        "old_needed": Decimal(needed) / 1_000_000,
        "old_accepted": old_accepted,
        "old_refused": old_refused,
        "new_held": quote.margin_held,
        "new_bids": quote.bids.total,
        "new_asks": quote.asks.total,
        "new_accepted": new_accepted,
        "new_refused": new_refused,
    }


def table() -> str:
    """The comparison as text."""
    lines = [
        "Mission scenario: 397.49 available, 10x, HYPE at 27.11, capacity 146.62 contracts",
        "",
        f"{'rule':<12} {'before: both sides get all':<34} {'after: one margin, split':<40}",
        (
            f"{'':<12} {'needs':>9}  {'accepted':>8}  {'refused':>7}      "
            f"{'holds':>9}  {'bids':>7}  {'asks':>7}  {'accepted':>8}"
        ),
    ]
    for rule in RULES:
        row = compare(rule)
        old_refused, new_refused = row["old_refused"], row["new_refused"]
        assert isinstance(old_refused, list)
        assert isinstance(new_refused, list)
        new_total = int(str(row["new_accepted"])) + len(new_refused)
        lines.append(
            f"{rule:<12} {row['old_needed']:>9.2f}  {row['old_accepted']:>8}  {len(old_refused):>7}      "
            f"{row['new_held']:>9.2f}  {row['new_bids']:>7.2f}  {row['new_asks']:>7.2f}  "
            f"{row['new_accepted']:>4} of {new_total}"
        )
        if old_refused:
            lines.append(f"{'':<12} the venue said: {old_refused[0]}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
