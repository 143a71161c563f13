"""Group commit without a thread of its own: of the callers that wait, one writes for all of them."""

from __future__ import annotations

import threading
from collections import deque

from equipoise.errors import StoreError
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Request

__all__ = ["GROUP_MAX", "GroupMember", "GroupQueue"]

GROUP_MAX = 128
"""Steps in one transaction, at most: it bounds how long the first of them waits for the last."""


class GroupMember:
    """One caller's step, and what became of it."""

    __slots__ = ("cause", "error", "group", "outcome", "request", "woken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Outcome | None = None
        self.error: StoreError | None = None
        self.cause: BaseException | None = None
        self.group: list[GroupMember] | None = None
        """Set when this caller is to write for the members named; it is one of them."""
        self.woken = threading.Lock()
        self.woken.acquire()

    def fail(self, error: StoreError, cause: BaseException) -> None:
        """Answer with an error."""
        self.outcome, self.error, self.cause = None, error, cause

    def answer(self) -> Outcome:
        """What the caller gets."""
        if self.error is not None:
            raise self.error from self.cause
        assert self.outcome is not None  # noqa: S101 - a member is answered or failed before it is woken
        return self.outcome


class GroupQueue:
    """Who writes now, and who waits. The one who writes hands over to the next, who takes everybody that waits."""

    __slots__ = ("_busy", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[GroupMember] = deque()

    def join(self, member: GroupMember) -> list[GroupMember] | None:
        """The members this caller has to write for; None when another has written for it meanwhile.

        With nobody writing the caller goes ahead alone, without waiting for company.
        """
        with self._lock:
            if not self._busy:
                self._busy = True
                return [member]
            self._waiting.append(member)
        try:
            member.woken.acquire()
        except BaseException:
            self._withdraw(member)
            raise
        group = member.group
        if group is not None:
            with self._lock:  # whoever has come since it was told
                while self._waiting and len(group) < GROUP_MAX:
                    group.append(self._waiting.popleft())
        return group

    def leave(self, group: list[GroupMember]) -> None:
        """Hand over to those who wait, then wake the members of this group."""
        self._hand_over()
        for member in group[1:]:
            member.woken.release()

    def _hand_over(self) -> None:
        with self._lock:
            if not self._waiting:
                self._busy = False
                return
            count = min(len(self._waiting), GROUP_MAX)
            group = [self._waiting.popleft() for _ in range(count)]
            group[0].group = group
            group[0].woken.release()

    def _withdraw(self, member: GroupMember) -> None:
        """An exception struck a caller while it waited."""
        with self._lock:
            if member in self._waiting:
                self._waiting.remove(member)
                return
            group = member.group
        if group is not None:
            # It had just been told to write. Those behind it go back to the head of the queue.
            with self._lock:
                self._waiting.extendleft(reversed(group[1:]))
            self._hand_over()
