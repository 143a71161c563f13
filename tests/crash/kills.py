"""Where clients get killed: at moments spread over the whole of what one of them does."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from tests.warm import Child

from equipoise.errors import InputError
from equipoise.reservation import ReservationBook

__all__ = ["POINTS", "Kills", "version_of"]

POINTS = int(os.environ.get("CRASH_POINTS", "20"))


def version_of(url: str, account: str) -> int:
    """Version of an account, whose audit must be clean; 0 where it is not open."""
    with ReservationBook.connect(url) as book:
        try:
            version = book.account(account).version
        except InputError:
            return 0
        findings = book.audit(account).findings
        assert findings == (), findings
    return version


class Kills:
    """Moments to kill children like an undisturbed one, until so many of them have cut off work.

    The first `points` are one in each of as many equal parts of the lines that it said, whose time between one line and
    the next is measured. For each that came too late there is one more, anywhere: on a busy machine a child may have
    written everything before it dies.
    """

    def __init__(self, seed: int, points: int, undisturbed: Child) -> None:
        said = [time.perf_counter() for _ in undisturbed]
        assert undisturbed.end() == 0
        self.gaps = [after - before for before, after in pairwise(said)]
        self.points = points
        self.rng = random.Random(seed)
        self.landed: list[int] = []
        """Version that each kill left."""
        self.late = 0

    def __iter__(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """After how many lines, and what to do before the kill; `left` is to be called for each."""
        for part in range(2 * self.points):
            place = (part + self.rng.random()) / self.points if part < self.points else self.rng.random()
            line, share = divmod(place * len(self.gaps), 1)
            yield int(line) + 1, partial(time.sleep, share * self.gaps[int(line)])
            assert len(self.landed) + self.late == part + 1
            if len(self.landed) == self.points:
                return
        raise AssertionError(f"{self.late} of {2 * self.points} children were through before they were killed")

    def left(self, version: int, whole: int) -> None:
        """A killed child has left this version of the account, of so many."""
        assert 0 <= version <= whole, version
        if version < whole:
            self.landed.append(version)
        else:
            self.late += 1

    def are_spread(self, whole: int) -> None:
        """Hardly two of them left the same, and they did so all over the history."""
        print(f"{self.points} kills at versions {sorted(self.landed)} of {whole}; {self.late} too late")
        assert len(self.landed) == self.points
        assert len(set(self.landed)) >= self.points // 2, self.landed
        if self.points >= 20:
            assert {4 * version // whole for version in self.landed} == {0, 1, 2, 3}, self.landed
