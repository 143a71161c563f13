"""What a reader remembers of the rows before: ids of trades, how long messages take, the venue's clock."""

from __future__ import annotations

from collections import deque

from equipoise.tape.tape import HOLE_NS

__all__ = ["RecentIds", "Transit", "VenueClock"]

IDS_MAX = 1 << 16
STALE_RUN_MAX = 16


class RecentIds:
    """The last 65 536 ids, to recognise a repeated one in constant memory."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._known: set[int] = set()

    def seen(self, number: int) -> bool:
        """Whether the id is among the remembered ones; it is remembered from now on."""
        if number in self._known:
            return True
        self._known.add(number)
        self._order.append(number)
        if len(self._order) > IDS_MAX:
            self._known.discard(self._order.popleft())
        return False


class Transit:
    """Local minus exchange time, against the least seen: clocks may differ by any amount and in either direction."""

    def __init__(self) -> None:
        self._least_ns: int | None = None

    def late(self, exchange_ns: int, local_ns: int) -> bool:
        """Whether this message took over 2 s longer than the fastest so far."""
        transit_ns = local_ns - exchange_ns
        if self._least_ns is None or transit_ns < self._least_ns:
            self._least_ns = transit_ns
            return False
        return transit_ns - self._least_ns > HOLE_NS


class VenueClock:
    """Exchange time of the newest row, to recognise an older one.

    One wrong stamp from the future must not make everything after it look old: the seventeenth old row in a row is
    believed.
    """

    def __init__(self) -> None:
        self._newest_ns = 0
        self._run = 0

    def older(self, exchange_ns: int) -> bool:
        """Whether this row is older than the newest; the newest it is from now on otherwise."""
        if exchange_ns < self._newest_ns and self._run < STALE_RUN_MAX:
            self._run += 1
            return True
        self._newest_ns = exchange_ns
        self._run = 0
        return False
