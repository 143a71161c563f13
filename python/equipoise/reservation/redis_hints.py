"""Hints to workers that a Redis book for asyncio gives: after a step, without waiting, few of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from equipoise.reservation.redis_line import Line
from equipoise.reservation.redis_registry import Registry

__all__ = ["LoopHints"]

HINT_S = 0.005
"""Between two hints to workers of the same account: half of the time between two of their looks for hints."""
HINTED_MAX = 10_000
"""Accounts whose last hint is remembered; beyond, the next hint of each is given at once."""


class LoopHints:
    """The hints of one book. Used by one thread, that of the loop; a hint that is lost costs up to the next walk."""

    def __init__(self, registry: Registry, threads: ThreadPoolExecutor, line_to: Callable[[int], Line | None]) -> None:
        self._registry = registry
        self._threads = threads
        self._line_to = line_to
        """Of a slot: the line to its node, or None; then one may be on its way for the next hint."""
        self._given: dict[str, float] = {}
        """When workers were last told of an account."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        """Accounts of which they are to be told in a moment."""
        self._lock = threading.Lock()
        self._owed: set[str] = set()
        """Accounts of which a thread is to tell them; only one does, since each may wait for a node that is silent."""
        self._paying = False

    @property
    def waiting(self) -> bool:
        """Whether a hint has been put off."""
        return bool(self._timers)

    def give(self, account_id: str) -> None:
        """Tell workers of an account, at most once in `HINT_S`: the first of many at once."""
        if account_id in self._timers:
            return
        now = time.monotonic()
        wait_s = self._given.get(account_id, 0.0) + HINT_S - now
        if wait_s <= 0:
            self._tell(account_id)
        else:
            self._timers[account_id] = asyncio.get_running_loop().call_later(wait_s, self._tell, account_id)

    def _tell(self, account_id: str) -> None:
        self._timers.pop(account_id, None)
        if len(self._given) > HINTED_MAX:
            self._given.clear()
        self._given[account_id] = time.monotonic()
        if self._registry.silent(account_id):
            return
        hint = self._registry.passing_hint(account_id)
        line = self._line_to(self._registry.hint_slot(account_id))
        if hint is not None and line is not None:
            line.tell(hint, 1)
        else:
            self._owe([account_id])

    def give_all(self) -> None:
        """Give the hints that were put off: their timers run in a loop that has ended, or is about to."""
        left, self._timers = self._timers, {}
        for timer in left.values():
            timer.cancel()
        if left:
            self._owe(left)

    def _owe(self, account_ids: Iterable[str]) -> None:
        with self._lock:
            self._owed.update(account_ids)
            if self._paying:
                return
            self._paying = True
        self._threads.submit(self._pay)

    def _pay(self) -> None:
        """In a thread: whole hints, until none is owed any more."""
        try:
            while owed := self._next():
                self._registry.hint(owed)
        except BaseException:
            self._paying = False
            raise

    def _next(self) -> set[str]:
        with self._lock:
            owed, self._owed = self._owed, set()
            self._paying = bool(owed)
        return owed
