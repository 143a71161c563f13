"""What the recorded market shows: best quotes, visible levels, mark."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from equipoise.venues.paper.queue import UnseenQueue

if TYPE_CHECKING:
    from decimal import Decimal

    from equipoise.tape.events import BookSnapshot, Quotes

__all__ = ["ShownMarket", "ShownSide"]


class ShownSide:
    """One side of the recorded book.

    The best price comes from the newest snapshot or quote; deeper levels from the newest snapshot. `taken` is what
    our own taker orders took since the level was last shown: nobody can take it twice.
    """

    __slots__ = ("_is_bid", "_levels", "_lots", "_prices", "best", "best_lots", "taken")

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._prices: tuple[int, ...] = ()
        self._lots: tuple[int, ...] = ()
        self._levels: dict[int, int] | None = None
        self.best: int | None = None
        self.best_lots = 0
        self.taken: dict[int, int] = {}

    def show(self, prices: tuple[int, ...], lots: tuple[int, ...], *, newest: bool) -> None:
        """Take in a snapshot of this side; the best price only when it is the newest word."""
        self._prices, self._lots = prices, lots
        self._levels = None
        if self.taken:
            self.taken = {}
        if not newest:
            return
        if prices:
            self.best, self.best_lots = prices[0], lots[0]
        else:
            self.best, self.best_lots = None, 0

    def quote(self, price: int, lots: int) -> None:
        """Take in a new best price."""
        self.best, self.best_lots = price, lots
        if self.taken:
            self.taken.pop(price, None)

    def displayed(self, price: int) -> int | None:
        """Lots that others show at a price; None where the book does not reach."""
        best = self.best
        if best is None:
            return None
        if price == best:
            return self.best_lots
        if price > best if self._is_bid else price < best:
            return 0
        if self._levels is None:
            self._levels = dict(zip(self._prices, self._lots, strict=True))
        lots = self._levels.get(price)
        if lots is not None:
            return lots
        if not self._prices:
            return None
        worst = self._prices[-1]
        return 0 if (price > worst if self._is_bid else price < worst) else None

    def ahead(self, price: int, unseen: UnseenQueue) -> int:
        """Lots ahead of an order that joins at a price now."""
        lots = self.displayed(price)
        if lots is not None:
            return lots
        if unseen is UnseenQueue.NONE or self.best is None:
            return 0
        return self._lots[-1] if self._lots else self.best_lots

    def takeable(self) -> list[tuple[int, int]]:
        """Visible levels that an order of ours can take, best first, without what we took already."""
        if self.best is None:
            return []
        best = self.best
        levels = [(best, self.best_lots)]
        levels += [
            (price, lots)
            for price, lots in zip(self._prices, self._lots, strict=True)
            if (price < best if self._is_bid else price > best)
        ]
        return [(price, left) for price, lots in levels if (left := lots - self.taken.get(price, 0)) > 0]

    def take(self, price: int, lots: int) -> None:
        """Remember what we took from a level."""
        self.taken[price] = self.taken.get(price, 0) + lots


class ShownMarket:
    """Both sides and the mark.

    The mark is the mid of the best quotes, exact in half ticks, as long as they are not crossed or locked; or the
    price that `set_mark` gave last. A crossed or one-sided book leaves the mark, and the quotes the margin rule sees,
    where they were.
    """

    __slots__ = (
        "_given",
        "asks",
        "best_ask",
        "best_bid",
        "best_ns",
        "bids",
        "last",
        "levels_ns",
        "mark",
        "version",
    )

    def __init__(self) -> None:
        self.bids = ShownSide(is_bid=True)
        self.asks = ShownSide(is_bid=False)
        self.best_ns = -(1 << 62)
        self.levels_ns = -(1 << 62)
        self.best_bid = 0
        self.best_ask = 0
        self.mark: int | Fraction | None = None
        self.last: int | None = None
        self.version = 0
        self._given: Decimal | None = None

    @property
    def sound(self) -> bool:
        """Whether both sides are shown and do not touch."""
        bid, ask = self.bids.best, self.asks.best
        return bid is not None and ask is not None and bid < ask

    def take_snapshot(self, event: BookSnapshot) -> None:
        """Show a new book."""
        self.levels_ns = event.exchange_ns
        newest = event.exchange_ns >= self.best_ns
        self.bids.show(event.bid_ticks, event.bid_lots, newest=newest)
        self.asks.show(event.ask_ticks, event.ask_lots, newest=newest)
        if not newest:
            return
        self.best_ns = event.exchange_ns
        self._settle()

    def take_quotes(self, event: Quotes) -> None:
        """Show new best quotes."""
        self.best_ns = event.exchange_ns
        self.bids.quote(event.bid_ticks, event.bid_lots)
        self.asks.quote(event.ask_ticks, event.ask_lots)
        self._settle()

    def take_last(self, price: int) -> None:
        """Note the price of a trade; some rules charge by it."""
        if price != self.last:
            self.last = price
            self.version += 1

    def set_mark(self, mark: Decimal, tick: Decimal) -> None:
        """Use a given mark from now on instead of the mid."""
        self.mark = Fraction(mark) / Fraction(tick) * 2
        self._given = mark
        self.version += 1

    def mark_price(self, tick: Decimal) -> Decimal | None:
        """The mark as an exact price; None before the first sound market."""
        if self._given is not None:
            return self._given
        return None if self.mark is None else tick * int(self.mark) / 2

    def _settle(self) -> None:
        bid, ask = self.bids.best, self.asks.best
        if bid is None or ask is None or bid >= ask or (bid == self.best_bid and ask == self.best_ask):
            return
        self.best_bid, self.best_ask = bid, ask
        self.version += 1
        if self._given is None:
            self.mark = bid + ask
