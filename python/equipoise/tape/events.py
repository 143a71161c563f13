"""One event form for every tape: what happened at the market, in exchange and local time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["BookSnapshot", "MarketEvent", "Quotes", "Taker", "Trade"]


class Taker(StrEnum):
    """Who crossed the spread in a trade."""

    BUY = "buy"
    SELL = "sell"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """The N best levels of both sides, best first, in ticks and lots.

    Times are nanoseconds since the epoch: `exchange_ns` by the venue's clock, `local_ns` by the recorder's.
    """

    exchange_ns: int
    local_ns: int
    bid_ticks: tuple[int, ...]
    bid_lots: tuple[int, ...]
    ask_ticks: tuple[int, ...]
    ask_lots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Quotes:
    """A change of the best bid and offer, both sides applied together."""

    exchange_ns: int
    local_ns: int
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade between others. `trade_id` is the venue's; duplicates are removed by the reader."""

    exchange_ns: int
    local_ns: int
    price_ticks: int
    lots: int
    taker: Taker
    trade_id: int


MarketEvent = BookSnapshot | Quotes | Trade
