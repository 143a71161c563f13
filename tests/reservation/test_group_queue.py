"""Who writes for whom, who waits for whom and who tells whom, without a store behind it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from equipoise.reservation import Code, Outcome, group
from equipoise.reservation.group import Group, GroupMember, GroupQueue
from equipoise.reservation.requests import Request

CALLERS = 8
DONE = Outcome(Code.OK, "deposit", "acc")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is rescued by having waited for long."""
    monkeypatch.setattr(group, "HEAL_S", 60.0)


class Writer:
    """Answers all members, and notes how many; `before` is called with each group."""

    def __init__(self, before: Callable[[Group], object]) -> None:
        self.queue = GroupQueue()
        self.before = before
        self.sizes: list[int] = []

    def __call__(self, members: Group) -> None:
        self.sizes.append(len(members))
        self.before(members)
        for member in members:
            member.outcome = DONE
        members.stands = True

    def run(self) -> Outcome:
        return self.queue.run(GroupMember(Request("deposit", "acc", "", "")), self)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.0005)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS) as threads:
        yield threads


def test_those_who_were_answered_together_are_written_for_together(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "GATHER_S", 1.0)
    writer = Writer(lambda _: time.sleep(0.02))
    gate = threading.Barrier(CALLERS)

    def work() -> None:
        gate.wait()
        for _ in range(10):
            writer.run()

    for future in [pool.submit(work) for _ in range(CALLERS)]:
        future.result(20)
    assert sum(writer.sizes) == 10 * CALLERS
    # The first back would else write for itself alone every other time: 20 groups.
    assert len(writer.sizes) <= 15


def test_whoever_is_left_waits_for_the_others_no_longer_than_writing_takes(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "GATHER_S", 60.0)
    gate = threading.Event()
    writer = Writer(lambda members: gate.wait(20) if len(writer.sizes) == 1 else time.sleep(0.1))
    futures = [pool.submit(writer.run)]
    until(lambda: len(writer.sizes) == 1)
    futures += [pool.submit(writer.run) for _ in range(3)]
    until(lambda: len(writer.queue._waiting) == 3)
    gate.set()
    for future in futures:
        future.result(20)
    assert writer.sizes == [1, 3]
    for wait, more in ((True, 0.2), (False, 0.1)):
        begun = time.monotonic()
        writer.run()
        assert more <= time.monotonic() - begun < 10, wait
    assert writer.sizes == [1, 3, 1, 1]


def test_a_caller_that_is_always_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(GroupQueue, "_gather")
    writer = Writer(lambda _: None)
    for _ in range(5):
        assert writer.run() is DONE
    assert writer.sizes == [1] * 5


@pytest.mark.timeout(60, method="thread")  # the other method needs the signal that this test sends
def test_a_caller_struck_while_it_is_written_for_keeps_the_answer_from_nobody(pool: ThreadPoolExecutor) -> None:
    class Struck(Exception):
        pass

    def strike(*_: object) -> None:
        raise Struck

    gates = [threading.Event(), threading.Event()]
    writer = Writer(lambda _: gates[len(writer.sizes) - 1].wait(20))
    main = threading.get_ident()

    def direct() -> list[Outcome]:
        """The second group is one to write, this test's thread, and two behind it."""
        until(lambda: len(writer.queue._waiting) == 2)
        behind = [pool.submit(writer.run)]
        until(lambda: len(writer.queue._waiting) == 3)
        behind.append(pool.submit(writer.run))
        until(lambda: len(writer.queue._waiting) == 4)
        gates[0].set()
        until(lambda: len(writer.sizes) == 2)
        signal.pthread_kill(main, signal.SIGALRM)
        return [future.result(20) for future in behind]

    before = signal.signal(signal.SIGALRM, strike)
    try:
        first = [pool.submit(writer.run)]
        until(lambda: len(writer.sizes) == 1)
        first.append(pool.submit(writer.run))
        until(lambda: len(writer.queue._waiting) == 1)
        directed = pool.submit(direct)
        with pytest.raises(Struck):
            writer.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    gates[1].set()
    assert [future.result(20) for future in first] == directed.result(20) == [DONE, DONE]
    assert writer.sizes == [1, 4]
