"""Group commit without a thread of its own: of the callers that wait, one writes for all of them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from equipoise.errors import StoreError
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Request

__all__ = ["GROUP_MAX", "GroupMember", "GroupQueue"]

GROUP_MAX = 128
"""Steps in one transaction, at most: it bounds how long the first of them waits for the last."""
HEAL_S = 1.0
"""How long a caller waits to be told before it asks for the turn itself: an exception from a signal handler can strike
the one who was to tell it."""


class GroupMember:
    """One caller's step, and what became of it."""

    __slots__ = ("cause", "error", "outcome", "ready", "request", "woken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Outcome | None = None
        self.error: StoreError | None = None
        self.cause: BaseException | None = None
        self.ready = False
        """Outcome or error stand: only after the COMMIT."""
        self.woken = threading.Lock()
        self.woken.acquire()

    def fail(self, error: StoreError, cause: BaseException) -> None:
        """Answer with an error."""
        self.outcome, self.error, self.cause = None, error, cause

    def answer(self) -> Outcome:
        """What the caller gets."""
        if self.error is not None:
            raise self.error from self.cause
        assert self.outcome is not None  # noqa: S101 - a member that is ready has one or the other
        return self.outcome

    def wake(self) -> None:
        """Tell the caller that it is answered, or that it is its turn. Twice is the same as once."""
        with contextlib.suppress(RuntimeError):
            self.woken.release()


class GroupQueue:
    """Whose turn it is to write, and who waits. Holding the lock is having the turn, so it cannot be lost."""

    __slots__ = ("_turn", "_waiting")

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting: deque[GroupMember] = deque()

    def run(self, member: GroupMember, write: Callable[[list[GroupMember]], None]) -> Outcome:
        """Run a step alone when nobody is writing, else with everybody who waits by then.

        `write` leaves every member with an outcome or an error, or raises what has struck this caller.
        """
        try:
            self._waiting.append(member)
            while not member.ready:
                # Only the first in the queue asks for the turn: locks are not fair, and a crowd would starve some. One
                # that has slept for long asks too: whoever is before it may be struck and gone without leaving.
                if not self._is_first(member) and member.woken.acquire(timeout=HEAL_S):
                    continue
                with self._turn:
                    if not member.ready:
                        self._write(member, write)
        except BaseException:
            with contextlib.suppress(ValueError):
                self._waiting.remove(member)  # what nobody waits for any more is not to be done
            raise
        finally:
            self._wake_first()
        return member.answer()

    def _write(self, member: GroupMember, write: Callable[[list[GroupMember]], None]) -> None:
        """Take everybody who waits, write for all, and tell them."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(member)
        group = [member]
        while self._waiting and len(group) < GROUP_MAX:
            group.append(self._waiting.popleft())
        written = False
        try:
            write(group)
            written = True
        except BaseException:
            # This caller has been struck, and nothing was written: the others are the next.
            self._waiting.extendleft([other for other in reversed(group[1:]) if other.error is None])
            raise
        finally:
            for other in group:
                # An outcome without a COMMIT is none, however the writer was stopped from taking it back.
                other.ready = (written and other.outcome is not None) or other.error is not None
            for other in group[1:]:
                if other.ready:
                    other.wake()

    def _is_first(self, member: GroupMember) -> bool:
        try:
            return self._waiting[0] is member
        except IndexError:
            return False

    def _wake_first(self) -> None:
        """The first may have become so while it slept: others before it have been written for, or have gone."""
        with contextlib.suppress(IndexError):
            self._waiting[0].wake()
