"""Hints to workers that a Redis book for asyncio gives: after a step, without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from equipoise.reservation.redis_line import Line
from equipoise.reservation.redis_registry import Registry

__all__ = ["LoopHints"]


class LoopHints:
    """The hints of one book. Used by one thread, that of the loop; a hint that is lost costs up to the next walk."""

    def __init__(self, registry: Registry, threads: ThreadPoolExecutor, line_to: Callable[[int], Line | None]) -> None:
        self._registry = registry
        self._threads = threads
        self._line_to = line_to
        """Of a slot: the line to its node, or None; then one may be on its way for the next hint."""
        self._lock = threading.Lock()
        self._owed: set[str] = set()
        """Accounts of which a thread is to tell them; only one does, since each may wait for a node that is silent."""
        self._paying = False

    def give(self, account_id: str) -> None:
        """Tell workers that something was written into the outbox of an account, where a hint is due."""
        registry = self._registry
        if not registry.due(account_id):
            return
        hint = registry.passing_hint(account_id)
        line = self._line_to(registry.hint_slot(account_id))
        if hint is not None and line is not None:
            line.tell(hint, 1)
        else:
            self._owe(account_id)

    def _owe(self, account_id: str) -> None:
        with self._lock:
            self._owed.add(account_id)
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
