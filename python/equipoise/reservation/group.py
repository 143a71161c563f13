"""Group commit without a thread of its own: of the callers that wait, one writes for all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from equipoise.errors import EquipoiseError
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Request

__all__ = ["GROUP_MAX", "Group", "GroupMember", "GroupQueue"]

GROUP_MAX = 128
"""Steps in one transaction, at most: it bounds how long the first of them waits for the last."""
HEAL_S = 1.0
"""How long a caller waits to be told before it asks for the turn itself: an exception from a signal handler can strike
the one who was to tell it."""
GATHER_S = 0.0003
"""How long the one who writes waits for the next of those who came along last time. About what a flush takes, which
they would otherwise each wait for."""


class GroupMember:
    """One caller's step, and what became of it."""

    __slots__ = ("cause", "error", "following", "gone", "outcome", "ready", "request", "woken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Outcome | None = None
        self.error: EquipoiseError | None = None
        self.cause: BaseException | None = None
        self.ready = False
        """Outcome or error stand: only after the COMMIT."""
        self.following: GroupMember | None = None
        """Whom this one tells, once it has been told itself."""
        self.gone = False
        """Does not wait to be told any more."""
        self.woken = threading.Lock()
        self.woken.acquire()

    def fail(self, error: EquipoiseError, cause: BaseException | None) -> None:
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
        try:  # noqa: SIM105 - every caller comes through here, and this costs nothing
            self.woken.release()
        except RuntimeError:
            pass

    def wake_following(self) -> None:
        """Pass on that everybody is answered, past those who have left."""
        following = self.following
        while following is not None:
            following.wake()
            following = following.following if following.gone else None


class Group(list[GroupMember]):
    """Members whose steps share a transaction."""

    __slots__ = ("stands",)

    def __init__(self, members: Iterable[GroupMember]) -> None:
        super().__init__(members)
        self.stands = False
        """The transaction has ended: outcomes are answers, whatever strikes the one who writes."""


class GroupQueue:
    """Whose turn it is to write, and who waits. Holding the lock is having the turn, so it cannot be lost.

    Threads that are woken all at once get into each other's way: in CPython one of them runs, the others sleep again.
    So whoever has been answered tells the next. And since they come back one by one, whoever is to write next waits
    for them: else the first one back would write alone, and all the others with the next flush.
    """

    __slots__ = ("_expected", "_gathering", "_took_s", "_turn", "_waiting")

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting: deque[GroupMember] = deque()
        self._expected = 1
        """Members of the last group."""
        self._took_s = 0.0
        """How long it took to write for them."""
        self._gathering: GroupMember | None = None
        """Who has the turn and waits until as many are there."""

    def run(self, member: GroupMember, write: Callable[[Group], None]) -> Outcome:
        """Run a step alone when nobody is writing, else with everybody who waits by then.

        `write` leaves every member with an outcome or an error, or raises what has struck this caller. Once the group
        stands, that is this caller's alone.
        """
        try:
            self._waiting.append(member)
            gathering = self._gathering
            if gathering is not None and len(self._waiting) >= self._expected:
                gathering.wake()
            while not member.ready:
                # Only the first in the queue asks for the turn: locks are not fair, and a crowd would starve some. One
                # that has slept for long asks too: whoever is before it may be struck and gone without leaving.
                if not self._is_first(member) and member.woken.acquire(timeout=HEAL_S):
                    continue
                with self._turn:
                    if not member.ready:
                        self._write(member, write)
        except BaseException:
            member.gone = True
            with contextlib.suppress(ValueError):
                self._waiting.remove(member)  # what nobody waits for any more is not to be done
            raise
        finally:
            member.wake_following()
            self._wake_first()
        return member.answer()

    def _write(self, member: GroupMember, write: Callable[[Group], None]) -> None:
        """Take everybody who waits, write for all, and tell them."""
        if len(self._waiting) < self._expected:
            self._gather(member)
        with contextlib.suppress(ValueError):
            self._waiting.remove(member)
        group = Group([member])
        while self._waiting and len(group) < GROUP_MAX:
            group.append(self._waiting.popleft())
        begun = time.monotonic()
        try:
            write(group)
        except BaseException:
            # This caller has been struck. Where nothing was written, the others are the next.
            if not group.stands:
                self._waiting.extendleft([other for other in reversed(group[1:]) if other.error is None])
            raise
        finally:
            self._expected, self._took_s = len(group), time.monotonic() - begun
            last = member
            for other in group:
                # An outcome without a COMMIT is none, however the writer was stopped from taking it back.
                other.ready = (group.stands and other.outcome is not None) or other.error is not None
                if other.ready and other is not member:
                    last.following = last = other

    def _gather(self, member: GroupMember) -> None:
        """Wait until as many are there as last time, or nobody comes, for as long as writing takes at most."""
        self._gathering = member
        try:
            now = time.monotonic()
            until = now + self._took_s
            while now < until and len(self._waiting) < self._expected:
                came = len(self._waiting)
                if not member.woken.acquire(timeout=min(GATHER_S, until - now)) and len(self._waiting) == came:
                    break
                now = time.monotonic()
        finally:
            self._gathering = None

    def _is_first(self, member: GroupMember) -> bool:
        try:
            return self._waiting[0] is member
        except IndexError:
            return False

    def _wake_first(self) -> None:
        """The first may have become so while it slept: others before it have been written for, or have gone."""
        if not self._waiting:  # as a rule, and an exception costs more than this
            return
        try:
            first = self._waiting[0]
        except IndexError:
            return
        if first is not self._gathering:
            first.wake()
