"""What every call on a book needs: a clock, a time-out, and a store that runs the request."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from equipoise.errors import InputError
from equipoise.reservation.arguments import TIME_MAX, span_of, time_of, timeout_of
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Request

__all__ = ["Calls", "Clock", "system_clock"]

Clock = Callable[[], int]


def system_clock() -> int:
    """Microseconds since the epoch by this host's clock."""
    return time.time_ns() // 1000


class Calls(ABC):
    """Base of the calls on a book: each checks its arguments, makes a request and runs it."""

    def __init__(self, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400) -> None:
        if clock is not None:
            if not callable(clock):
                raise InputError("clock", None, "a function that returns microseconds", type(clock).__name__)
            time_of(clock(), "clock")  # a float of seconds would be written into every record
        self._clock: Clock = clock or system_clock
        self._timeout_us = timeout_of(timeout_ms) * 1000
        self._horizon_us = span_of(horizon_s, "horizon_s", 1_000_000)

    @abstractmethod
    def _run(self, request: Request) -> Outcome:
        """Run one step atomically."""

    @abstractmethod
    def _scale(self, account_id: str) -> int:
        """Scale of an account; MICRO_SCALE when there is none (the step will say so)."""

    def _validity(self, issued_at_us: int | None, not_after_us: int | None) -> tuple[int, int]:
        """(issued_at, not_after), defaulted from the clock and the call's time-out."""
        if issued_at_us is None:
            issued = self._clock()
            until = issued + self._timeout_us  # no clock is within a time-out of the last time there is
        else:
            issued = time_of(issued_at_us, "issued_at_us")
            until = min(issued + self._timeout_us, TIME_MAX)
        return issued, until if not_after_us is None else time_of(not_after_us, "not_after_us")
