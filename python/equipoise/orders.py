"""The order as every part of equipoise passes it on: what the quoter returns, the book holds and a venue receives."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

__all__ = ["Order", "Side"]


class Side(StrEnum):
    """Buying or selling side of a ladder."""

    BID = "bid"
    ASK = "ask"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.ASK if self is Side.BID else Side.BID


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One limit order of a ladder, in integers.

    Parameters
    ----------
    symbol
        Instrument at the venue.
    side
        Bid or ask.
    lots
        Size in lots; positive.
    price_ticks
        Limit price in ticks; positive.
    hold
        Charge of the order under the order-margin rule, in micro-units of the account currency, rounded up. Zero for an
        order that can only reduce.
    price, size
        The same price and size as exact decimals, for people and wire formats.
    reduce_only
        The order may only shrink the position.
    order_id
        Client order id; None until somebody (usually the reservation book) names it.
    leg
        Hedge mode: "long" or "short"; None where positions are netted.
    """

    symbol: str
    side: Side
    lots: int
    price_ticks: int
    hold: int
    price: Decimal
    size: Decimal
    reduce_only: bool = False
    order_id: str | None = None
    leg: str | None = None
