"""The venue's margin check: the same order-margin rule that quoter and book use, asked for the venue's own state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from equipoise._rust import Acceptance, Market, OrderMarginRule
    from equipoise.venues.contract import Instrument
    from equipoise.venues.paper.market import ShownMarket
    from equipoise.venues.paper.queue import Resting

__all__ = ["MarginDesk"]

Columns = tuple[list[bool], list[int], list[int], list[bool]]


class MarginDesk:
    """Asks the rule about the state of the account, with the market object kept until the market moves."""

    __slots__ = ("_instrument", "_leverage", "_market", "_rule", "_shown", "_version")

    def __init__(self, rule: OrderMarginRule, instrument: Instrument, leverage: Decimal, shown: ShownMarket) -> None:
        self._rule = rule
        self._instrument = instrument
        self._leverage = leverage
        self._shown = shown
        self._market: Market | None = None
        self._version = -1

    def required(self, position_lots: int, orders: Iterable[Resting]) -> int:
        """Requirement in micro-units of a position and what is left of orders."""
        return self._rule.required_micros(self._now(), self._leverage, position_lots, *_columns(orders))

    def accepts(
        self, position_lots: int, resting: Iterable[Resting], candidate: Resting, margin_available: int
    ) -> Acceptance:
        """The rule's verdict on one more resting order."""
        return self._rule.accepts_micros(
            self._now(), self._leverage, position_lots, _columns(resting), _columns((candidate,)), margin_available
        )

    def _now(self) -> Market:
        shown = self._shown
        if self._market is None or shown.version != self._version:
            mark = shown.mark_price(self._instrument.tick)
            assert mark is not None, "asked for margin before the first market"  # noqa: S101
            instrument = self._instrument
            bid, ask = instrument.price(shown.best_bid), instrument.price(shown.best_ask)
            last = mark if shown.last is None else instrument.price(shown.last)
            if self._market is None:
                self._market = instrument.market(bid, ask, mark, last)
            else:
                self._market = self._market.moved(bid=bid, ask=ask, mark=mark, last=last)
            self._version = shown.version
        return self._market


def _columns(orders: Iterable[Resting]) -> Columns:
    live = [order for order in orders if order.left > 0]
    return (
        [order.is_bid for order in live],
        [order.left for order in live],
        [order.price for order in live],
        [order.reduce_only for order in live],
    )
