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


LOOKS_KEPT = 16
"""How many looks at a level are kept at least, for trades that are reported late."""


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
        self.ahead_before: list[int] = []


class Level:
    """Our orders at one price, first come first, and what others showed there over time.

    Between two looks at the displayed size, trades take lots from the front; a look then settles what cancels must have
    done. The newest looks are kept, because feeds report trades after the depth that contains them: such a trade is put
    back into its interval, and the looks after it are settled again.
    """

    __slots__ = ("_base", "_base_ns", "_looks", "orders", "price", "traded")

    def __init__(self, price: int, displayed: int | None) -> None:
        self.price = price
        self.orders: list[Resting] = []
        self.traded = 0
        """Lots traded at the price since the last look."""
        self._base = displayed
        self._base_ns = -(1 << 62)
        self._looks: list[tuple[int, int, int]] = []
        """(time, displayed lots, lots traded since the look before); the level showed `_base` before the first."""

    @property
    def looks(self) -> int:
        """Number of looks that are kept."""
        return len(self._looks)

    def add(self, order: Resting) -> None:
        """Append an order; what was looked at before does not concern it."""
        order.ahead_before = [0] * len(self._looks)
        self.orders.append(order)

    def observe(self, displayed: int, shown_ns: int, *, proportional: bool) -> None:
        """Take in what the level showed at a moment; orders that came later are not touched by it."""
        looks = self._looks
        if shown_ns < (looks[-1][0] if looks else self._base_ns):
            return
        looks.append((shown_ns, displayed, self.traded))
        self.traded = 0
        remaining = self._remaining(len(looks) - 1)
        for order in self.orders:
            order.ahead_before.append(order.ahead)
            if order.placed_ns < shown_ns:
                order.ahead = _settled(order.ahead, remaining, displayed, proportional)
        if len(looks) > 2 * LOOKS_KEPT:
            self._base_ns, self._base, _ = looks[LOOKS_KEPT - 1]
            del looks[:LOOKS_KEPT]
            for order in self.orders:
                del order.ahead_before[:LOOKS_KEPT]

    def interval(self, trade_ns: int) -> int | None:
        """Index of the look that first contains a trade of that time, the count for none; None when forgotten."""
        if trade_ns <= self._base_ns:
            return None
        index = len(self._looks)
        while index and self._looks[index - 1][0] >= trade_ns:
            index -= 1
        return index

    def rewind(self, index: int, trade_ns: int) -> None:
        """Put the queue of the orders that a late trade concerns back to where it stood before look `index`."""
        for order in self.orders:
            if order.placed_ns < trade_ns:
                order.ahead = order.ahead_before[index]

    def replay(self, index: int, trade_ns: int, lots: int, *, proportional: bool) -> None:
        """Note a late trade that was matched before look `index`, and settle from that look on again."""
        looks = self._looks
        shown_ns, displayed, traded = looks[index]
        looks[index] = (shown_ns, displayed, traded + lots)
        for position in range(index, len(looks)):
            displayed, remaining = looks[position][1], self._remaining(position)
            traded = looks[position + 1][2] if position + 1 < len(looks) else self.traded
            for order in self.orders:
                if order.placed_ns < trade_ns:
                    order.ahead_before[position] = order.ahead
                    settled = _settled(order.ahead, remaining, displayed, proportional)
                    order.ahead = max(0, settled - traded)

    def _remaining(self, index: int) -> int | None:
        """What a look would have shown without cancels and newcomers; None for the first sight of a level."""
        before = self._looks[index - 1][1] if index else self._base
        return None if before is None else max(0, before - self._looks[index][2])


def _settled(ahead: int, remaining: int | None, displayed: int, proportional: bool) -> int:
    """Lots ahead once the level shows `displayed` where `remaining` were expected."""
    if proportional and remaining is not None and remaining > displayed:
        ahead -= (remaining - displayed) * ahead // remaining
    # Whatever the assumption, no more lots can be ahead of us than the level shows.
    return min(ahead, displayed)


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
        level.add(order)

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
