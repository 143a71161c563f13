"""Our resting orders by side and price, and where each stands in the queue of its level.

The recorded book shows what others have at a price. An order of ours remembers how many of their lots are `ahead` of
it. Trades at the price take those first. When the level shrinks by more than its trades explain, the rest was
cancelled by others, ahead of us or behind us: nobody can see which, so it is a stated assumption (`CancelsAhead`).
Lots that join stand behind us.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from equipoise.orders import Side
    from equipoise.venues.contract import TimeInForce

__all__ = ["CancelsAhead", "Level", "OwnSide", "Resting", "UnseenQueue"]


class CancelsAhead(StrEnum):
    """Where the lots stood that others cancelled at our price."""

    PESSIMISTIC = "pessimistic"
    """All behind us, as long as the level is large enough for that."""
    PROPORTIONAL = "proportional"
    """Ahead of us in proportion to the lots ahead of us, rounded down."""


class UnseenQueue(StrEnum):
    """How many lots are ahead of an order that rests beyond the visible levels."""

    LAST_LEVEL = "last_level"
    """As many as the deepest visible level of the side shows."""
    NONE = "none"
    """None."""


class Resting:
    """One accepted order of ours. Mutable; the venue owns it."""

    __slots__ = (
        "ahead",
        "ahead_before",
        "fills",
        "is_bid",
        "left",
        "live",
        "lots",
        "mark",
        "order_id",
        "placed_ns",
        "price",
        "reduce_only",
        "side",
        "time_in_force",
        "venue_order_id",
    )

    def __init__(
        self,
        *,
        order_id: str,
        venue_order_id: str,
        side: Side,
        is_bid: bool,
        lots: int,
        price: int,
        reduce_only: bool,
        time_in_force: TimeInForce,
        placed_ns: int,
        mark: int | Fraction,
    ) -> None:
        self.order_id = order_id
        self.venue_order_id = venue_order_id
        self.side = side
        self.is_bid = is_bid
        self.lots = lots
        self.left = lots
        self.live = True
        self.price = price
        self.reduce_only = reduce_only
        self.time_in_force = time_in_force
        self.placed_ns = placed_ns
        self.mark = mark
        self.fills = 0
        self.ahead = 0
        self.ahead_before = 0


class Level:
    """Our orders at one price, first come first, and what others show there.

    `displayed` is None until the level has been seen, `shown_ns` is when that was; `traded` is what traded here since.
    """

    __slots__ = ("_displayed_before", "_traded_before", "displayed", "orders", "price", "shown_ns", "traded")

    def __init__(self, price: int, displayed: int | None) -> None:
        self.price = price
        self.orders: list[Resting] = []
        self.displayed = displayed
        self.traded = 0
        self.shown_ns = -(1 << 62)
        self._displayed_before = displayed
        self._traded_before = 0

    def observe(self, displayed: int, shown_ns: int, *, proportional: bool) -> None:
        """Take in what the level showed at a moment; orders that came later are not touched by it."""
        self._displayed_before = self.displayed
        self._traded_before = self.traded
        remaining = cancelled = 0
        if self.displayed is not None:
            remaining = max(0, self.displayed - self.traded)
            cancelled = remaining - displayed
        for order in self.orders:
            if order.placed_ns >= shown_ns:
                break
            order.ahead_before = order.ahead
            if proportional and cancelled > 0:
                order.ahead -= cancelled * order.ahead // remaining
            # Whatever the assumption, no more lots can be ahead of us than the level shows.
            order.ahead = min(order.ahead, displayed)
        self.displayed = displayed
        self.shown_ns = shown_ns
        self.traded = 0

    def rewind(self) -> int | None:
        """Go back to before the last displayed size, for a trade that happened earlier but was reported later.

        The shrinkage that the trade explains had been taken for cancels. The caller matches the trade and then observes
        the returned size again. None, and nothing changes, when a later trade has been matched since.
        """
        displayed = self.displayed
        if displayed is None or self.traded:
            return None
        for order in self.orders:
            if order.placed_ns >= self.shown_ns:
                break
            order.ahead = order.ahead_before
        self.displayed, self.traded = self._displayed_before, self._traded_before
        return displayed


class OwnSide:
    """All levels of one side; `best` is the price that matches first, or a price that nothing reaches."""

    __slots__ = ("_is_bid", "_unreachable", "best", "levels")

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._unreachable = -1 if is_bid else 1 << 62
        self.levels: dict[int, Level] = {}
        self.best = self._unreachable

    def add(self, order: Resting, displayed: int | None) -> None:
        """Append the order to its level."""
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level(order.price, displayed)
            self._find_best()
        level.orders.append(order)

    def remove(self, order: Resting) -> None:
        """Take the order out; does nothing when it never rested."""
        level = self.levels.get(order.price)
        if level is None or order not in level.orders:
            return
        level.orders.remove(order)
        if not level.orders:
            del self.levels[order.price]
            self._find_best()

    def from_best(self) -> list[Level]:
        """Levels, best price first; a copy."""
        return [self.levels[price] for price in sorted(self.levels, reverse=self._is_bid)]

    def _find_best(self) -> None:
        if not self.levels:
            self.best = self._unreachable
        else:
            self.best = max(self.levels) if self._is_bid else min(self.levels)
