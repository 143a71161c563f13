"""Group commit: callers that wait for one another share a transaction, and nobody is answered before its COMMIT."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from equipoise.errors import InputError, StoreCorrupt, StoreTimeout, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, group
from equipoise.reservation import sqlite_engine as engine
from equipoise.reservation.awaited import RequestMaker
from equipoise.reservation.group import GroupMember
from equipoise.reservation.requests import Request
from equipoise.reservation.sqlite import SqliteBook

Make = Callable[..., Order]
A, B = "acc", "other"
CALLERS = 12

through = pytest.mark.parametrize(
    "through_apsw",
    [
        pytest.param(True, marks=pytest.mark.skipif(engine.apsw is None, reason="the extra `sqlite` is not installed")),
        False,
    ],
)


class Held:
    """Passes everything on and writes it down; COMMIT waits for `gate`, or fails after it was done."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.said: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.tear_in = 0
        self.strike: BaseException | None = None
        self.strike_at = "INSERT INTO journal"
        self.spared = 0
        """How often it does not strike there yet."""
        self.strike_again: BaseException | None = None

    def execute(self, sql: str, *values: Any) -> Any:
        self.said.append(sql.split(" ", 1)[0] if not sql.startswith("ROLLBACK TO") else "ROLLBACK TO")
        if sql == "COMMIT":
            assert self.gate.wait(20)
            self.perhaps_strike("before COMMIT")
            answer = self.inner.execute(sql, *values)
            self.perhaps_strike("after COMMIT")
            self.tear_in -= 1
            if self.tear_in == 0:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return answer
        self.perhaps_strike(sql)
        if self.strike_again is not None and self.strike is None and sql == "ROLLBACK":
            error_now, self.strike_again = self.strike_again, None
            raise error_now
        return self.inner.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> Any:
        self.said.append(sql.split(" ", 1)[0])
        self.perhaps_strike(sql)
        return self.inner.executemany(sql, rows)

    def perhaps_strike(self, sql: str) -> None:
        if self.strike is not None and sql.startswith(self.strike_at):
            self.spared -= 1
            if self.spared >= 0:
                return
            error_now, self.strike = self.strike, None
            raise error_now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def opened(sqlite_path: Path, through_apsw: bool) -> Iterator[SqliteBook]:
    with SqliteBook(str(sqlite_path), durability="normal", through_apsw=through_apsw) as book:
        book.open_account(A, "0.000100")
        book._connection = Held(book._connection)  # type: ignore[assignment]
        yield book


def wire(book: SqliteBook) -> Held:
    assert isinstance(book._connection, Held)
    return book._connection


def waiting(book: SqliteBook) -> int:
    return len(book._queue._waiting)


def gather(book: SqliteBook, pool: ThreadPoolExecutor, calls: list[Callable[[], Outcome]]) -> list[Future[Outcome]]:
    """One call holds its COMMIT; the others queue behind it in the order given."""
    held = wire(book)
    held.gate.clear()
    begun = len(held.said)
    futures = [pool.submit(calls[0])]
    while "INSERT" not in held.said[begun:]:
        time.sleep(0.001)
    for place, call in enumerate(calls[1:], 1):
        futures.append(pool.submit(call))
        while waiting(book) < place:
            time.sleep(0.001)
    return futures


def reserve(book: SqliteBook, order: Make, n: int, hold: int = 10, account: str = A) -> Callable[[], Outcome]:
    return lambda: book.reserve(account, [order(hold=hold)], request_id=f"r{n}")


@through
def test_a_clock_that_fails_strikes_who_writes_and_the_others_are_done_after(
    opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = opened._clock
    failing = threading.Event()

    def clock() -> int:
        if failing.is_set() and len(wire(opened).said) > begun + 2:
            failing.clear()
            raise ZeroDivisionError("no time")
        return now()

    with ThreadPoolExecutor(4) as pool:
        futures = gather(opened, pool, [reserve(opened, order, n) for n in range(4)])
        begun = len(wire(opened).said)
        monkeypatch.setattr(opened, "_clock", clock)
        failing.set()
        wire(opened).gate.set()
        found = [future.exception(20) or future.result() for future in futures]
    (struck,) = [answer for answer in found if isinstance(answer, Exception)]
    assert isinstance(struck, ZeroDivisionError)
    assert sorted(answer.version for answer in found if isinstance(answer, Outcome)) == [2, 3, 4]
    assert opened.account(A).all_units == 30
    assert opened.audit(A).findings == ()


@through
def test_callers_that_wait_share_one_commit_and_get_what_they_would_have_got_alone(
    opened: SqliteBook, order: Make
) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, [reserve(opened, order, n) for n in range(CALLERS)])
        begun = len(wire(opened).said)
        assert not any(future.done() for future in futures)
        wire(opened).gate.set()
        outcomes = [future.result(20) for future in futures]
    assert [outcome.code for outcome in outcomes] == [Code.OK] * 10 + [Code.INSUFFICIENT_MARGIN] * 2
    assert [outcome.version for outcome in outcomes[:10]] == list(range(2, 12))
    said = wire(opened).said[begun:]
    assert said.count("COMMIT") == 1
    assert said.count("BEGIN") == 1
    # The account and the symbol are written once, of the rest all rows at once.
    assert said.count("INSERT") + said.count("UPDATE") == 5
    assert "SAVEPOINT" not in said
    assert opened.audit(A).findings == ()


@through
@pytest.mark.parametrize("apart", [False, True])
def test_whoever_shares_a_transaction_knows_the_ids_in_the_file_and_those_used_before_it(
    opened: SqliteBook, order: Make, apart: bool
) -> None:
    make, ask = RequestMaker(clock=None, timeout_ms=5_000, horizon_s=86_400), [order(hold=1)]
    named = [order(hold=1, order_id="q:0")]
    steps = [
        (make.reserve(A, ask, request_id="r"), Code.DUPLICATE),
        (make.deposit(A, 1, request_id="r"), Code.REQUEST_CONFLICT),
        (make.reserve(A, [order(hold=1, order_id="other")], request_id="r"), Code.REQUEST_CONFLICT),
        (make.reserve(A, ask, request_id="n"), Code.OK),
        (make.deposit(A, 1, request_id="n"), Code.REQUEST_CONFLICT),
        (make.reserve(A, ask, request_id="n"), Code.DUPLICATE),
        (make.cancel(A, "n:0"), Code.OK),
        (make.reserve(A, ask, request_id="n"), Code.DUPLICATE),
        (make.reserve(A, named, request_id="z"), Code.OK),
        (make.reserve(A, ask, request_id="q"), Code.ORDER_EXISTS),
        (make.deposit(A, 1, request_id="q"), Code.OK),
        (make.reserve(A, named, request_id="z"), Code.DUPLICATE),
        (make.abandon(A, "r"), Code.DUPLICATE),
        (make.abandon(A, "new"), Code.OK),
        (make.reserve(A, ask, request_id="new"), Code.REQUEST_ABANDONED),
    ]
    assert opened.reserve(A, ask, request_id="r").ok
    members = [GroupMember(cast("Request", request)) for request, _ in steps]
    for together in [[member] for member in members] if apart else [members]:
        opened._run_group(group.Group(together))
    assert [member.answer().code for member in members] == [code for _, code in steps]
    assert opened.audit(A).findings == ()


@through
@pytest.mark.parametrize("apart", [True, False])
def test_an_archived_id_whose_entry_is_open_is_refused_to_one_of_those_who_share_a_transaction(
    sqlite_path: Path, through_apsw: bool, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    # The key of the outbox would refuse the entry as well, and have all of them run again.
    monkeypatch.delattr(SqliteBook, "_step_apart")
    make, ask = RequestMaker(clock=clock, timeout_ms=5_000, horizon_s=86_400), [order(hold=1)]
    with SqliteBook(str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw) as book:
        book.open_account(A, 1)
        book.open_account(B, 1)
        book.reserve(A, [order(hold=1, order_id="o")], request_id="old", send="outbox")
        clock.advance(90_000)
        assert book.archive(A).ok
        asked = [(A, "new"), (B, "old"), (A, "old"), (A, "newer"), (A, "new")]
        members = [
            GroupMember(cast("Request", make.reserve(name, ask, request_id=ident, send="outbox")))
            for name, ident in asked
        ]
        for together in [[member] for member in members] if apart else [members]:
            book._run_group(group.Group(together))
        codes = [member.answer().code for member in members]
        assert codes == [Code.OK, Code.OK, Code.REQUEST_CONFLICT, Code.OK, Code.DUPLICATE]
        assert [entry.request_id for entry in book.outbox(A)] == ["old", "new", "newer"]
        assert [entry.request_id for entry in book.outbox(B)] == ["old"]
        assert [book.audit(name).findings for name in (A, B)] == [(), ()]


@through
def test_nobody_is_answered_before_the_commit(opened: SqliteBook, order: Make) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, [reserve(opened, order, n) for n in range(4)])
        wire(opened).gate.set()
        futures[0].result(20)
        wire(opened).gate.clear()
        more = gather(opened, pool, [reserve(opened, order, n) for n in range(4, 7)])
        time.sleep(0.05)
        assert not any(future.done() for future in more)
        wire(opened).gate.set()
        assert all(future.result(20).ok for future in [*futures, *more])


@through
def test_one_caller_alone_goes_without_savepoint_or_queue(opened: SqliteBook, order: Make) -> None:
    begun = len(wire(opened).said)
    assert reserve(opened, order, 1)().ok
    said = wire(opened).said[begun:]
    assert "SAVEPOINT" not in said
    assert (said.count("BEGIN"), said.count("COMMIT")) == (1, 1)
    assert not opened._queue._turn.locked()
    assert waiting(opened) == 0


@through
def test_a_figure_that_no_column_holds_fails_its_own_caller_only(opened: SqliteBook, order: Make) -> None:
    def beyond(request_id: str) -> Outcome:
        # No call lets such a time through: this is what a defect in one would hand over.
        maker = RequestMaker(clock=None, timeout_ms=5_000, horizon_s=60)
        request = cast(Any, maker.reserve(A, [order(hold=10)], request_id=request_id))
        request.deadline_us = 2**63
        return opened._run(request)

    calls = [reserve(opened, order, n) for n in range(3)]
    calls.insert(2, lambda: beyond("in a group"))
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).gate.set()
        with pytest.raises(InputError, match="the file can hold"):
            futures.pop(2).result(20)
        assert [future.result(20).code for future in futures] == [Code.OK] * 3
    with pytest.raises(InputError, match="the file can hold"):
        beyond("alone")
    assert opened.account(A).all_units == 30
    assert opened.audit(A).findings == ()
    assert reserve(opened, order, 3)().ok


@through
@pytest.mark.parametrize("damage", ["UPDATE orders SET state = 'GONE'", "DELETE FROM symbols"])
def test_a_record_that_cannot_be_read_or_is_lost_fails_its_own_caller_only(
    opened: SqliteBook, order: Make, sqlite_path: Path, damage: str
) -> None:
    opened.open_account("bad", 1)
    opened.reserve("bad", [order(hold=1, order_id="o")], request_id="r")
    assert opened._scale("bad") == 6  # read beforehand: it would wait for the one who writes
    wire(opened).inner.execute(f"{damage} WHERE account_id = 'bad'")
    calls = [reserve(opened, order, n) for n in range(3)]
    calls.insert(2, lambda: opened.fill("bad", "o", 1, fill_id="f"))
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).gate.set()
        with pytest.raises(StoreCorrupt):
            futures[2].result(20)
        assert [futures[place].result(20).ok for place in (0, 1, 3)] == [True] * 3
    assert "ROLLBACK TO" in wire(opened).said
    assert opened.account(A).all_units == 30


@through
def test_a_commit_whose_answer_is_lost_is_a_timeout_for_all_and_the_same_ids_settle_it(
    opened: SqliteBook, order: Make
) -> None:
    calls = [reserve(opened, order, n) for n in range(5)]
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).tear_in = 2
        wire(opened).gate.set()
        assert futures[0].result(20).ok
        for future in futures[1:]:
            assert isinstance(future.exception(20), StoreTimeout)
    again = [call() for call in calls]
    assert all(outcome.code is Code.DUPLICATE for outcome in again)
    assert opened.account(A).all_units == 50


@through
@pytest.mark.parametrize("extended", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
def test_a_full_disk_in_a_group_is_unavailable_for_all_and_nothing_happened(
    opened: SqliteBook, order: Make, extended: int
) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = extended
    calls = [reserve(opened, order, n) for n in range(5)]
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).strike = error
        wire(opened).gate.set()
        assert futures[0].result(20).ok
        for future in futures[1:]:
            assert isinstance(future.exception(20), StoreUnavailable)
    assert opened.account(A).all_units == 10
    assert [call().code for call in calls] == [Code.DUPLICATE] + [Code.OK] * 4
    assert opened.audit(A).findings == ()


@through
def test_an_interrupt_of_the_one_who_writes_is_not_felt_by_those_it_writes_for(
    opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are next at once, and not because they lose patience.
    monkeypatch.setattr(group, "HEAL_S", 60.0)
    calls = [reserve(opened, order, n) for n in range(4)]
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).strike = KeyboardInterrupt()
        wire(opened).gate.set()
        assert isinstance(futures[1].exception(20), KeyboardInterrupt)
        assert [futures[place].result(20).code for place in (0, 2, 3)] == [Code.OK] * 3
    assert [call().code for call in calls] == [Code.DUPLICATE, Code.OK, Code.DUPLICATE, Code.DUPLICATE]
    assert opened.audit(A).findings == ()


@through
@pytest.mark.parametrize("moment", ["before COMMIT", "after COMMIT", "once it has been written"])
def test_an_interrupt_around_the_commit_is_not_felt_by_those_who_were_written_for(
    opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(group, "HEAL_S", 60.0)
    write = opened._run_group

    def struck(members: group.Group) -> None:
        write(members)
        if moment == "once it has been written" and len(members) > 1 and not hits:
            hits.append(1)
            raise KeyboardInterrupt

    hits: list[int] = []
    monkeypatch.setattr(opened, "_run_group", struck)
    calls = [reserve(opened, order, n) for n in range(4)]
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).strike, wire(opened).strike_at, wire(opened).spared = KeyboardInterrupt(), moment, 1
        wire(opened).gate.set()
        assert isinstance(futures[1].exception(20), KeyboardInterrupt)
        assert [futures[place].result(20).code for place in (0, 2, 3)] == [Code.OK] * 3
    was_done = moment != "before COMMIT"
    again = [call().code for call in calls]
    assert again == [Code.DUPLICATE, Code.DUPLICATE if was_done else Code.OK, Code.DUPLICATE, Code.DUPLICATE]
    assert opened.account(A).all_units == 40
    assert opened.audit(A).findings == ()


@through
def test_a_second_interrupt_while_the_first_is_cleared_up_answers_nobody_before_the_commit(
    opened: SqliteBook, order: Make
) -> None:
    calls = [reserve(opened, order, n) for n in range(4)]
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, calls)
        wire(opened).strike = wire(opened).strike_again = KeyboardInterrupt()
        wire(opened).gate.set()
        assert isinstance(futures[1].exception(20), KeyboardInterrupt)
        for place in (0, 2, 3):
            # The file may still be held by what was interrupted; nothing that was answered OK is missing from it.
            with contextlib.suppress(StoreUnavailable):
                assert futures[place].result(20).code is Code.OK
                assert calls[place]().code is Code.DUPLICATE
    for call in calls:
        assert call().done
    assert opened.account(A).all_units == 40
    assert opened.audit(A).findings == ()


@through
@pytest.mark.timeout(60, method="thread")
def test_a_caller_interrupted_while_it_waits_leaves_the_queue(opened: SqliteBook, order: Make) -> None:
    class Struck(Exception):
        pass

    def strike(*_: object) -> None:
        raise Struck

    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, [reserve(opened, order, n) for n in range(2)])
        before = signal.signal(signal.SIGALRM, strike)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Struck):
                reserve(opened, order, 7)()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert waiting(opened) == 1
        wire(opened).gate.set()
        assert all(future.result(20).ok for future in futures)
    assert reserve(opened, order, 7)().code is Code.OK
    assert opened.account(A).all_units == 30


@pytest.mark.timeout(60, method="thread")  # the other method needs the signal that this test sends
def test_interrupts_at_any_moment_leave_a_queue_that_goes_on(
    sqlite_path: Path, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals strike the main thread hundreds of times while it takes its turn among others."""

    class Struck(Exception):
        pass

    # One may strike in a callback of the garbage collector or of a weak reference, where nothing can be raised.
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_type))

    def strike(*_: object) -> None:
        raise Struck

    stop = threading.Event()
    with SqliteBook(str(sqlite_path), durability="normal") as book:
        book.open_account(A, 1)

        def work(worker: int) -> int:
            done = 0
            while not stop.is_set():
                try:
                    done += book.deposit(A, 1, request_id=f"{worker}-{done}").done
                except StoreTimeout:  # the main thread was struck in its COMMIT: the same id settles it
                    continue
            return done

        before = signal.signal(signal.SIGALRM, strike)
        struck = done = 0
        answered: list[str] = []
        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(work, n) for n in range(3)]
            try:
                until = time.monotonic() + 2
                while time.monotonic() < until:
                    done += 1
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.0002 + (done % 17) * 0.0001)
                        if book.deposit(A, 1, request_id=f"main-{done}").ok:
                            answered.append(f"main-{done}")
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    except (Struck, StoreUnavailable, StoreTimeout):
                        struck += 1
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
                stop.set()
            others = sum(worker.result(20) for worker in workers)
        assert struck > 20
        assert set(lost) <= {Struck}
        for name in answered:
            assert book.deposit(A, 1, request_id=name).code is Code.DUPLICATE
        balance = int(book.account(A).balance)
        assert 1 + others + len(answered) <= balance <= 1 + others + done
        assert book.audit(A).findings == ()


@through
def test_a_caller_struck_as_it_joins_the_queue_leaves_it(opened: SqliteBook, order: Make) -> None:
    class Striking(deque[GroupMember]):
        def append(self, member: GroupMember) -> None:
            super().append(member)
            raise KeyboardInterrupt

    whole, opened._queue._waiting = opened._queue._waiting, Striking()
    with pytest.raises(KeyboardInterrupt):
        reserve(opened, order, 0)()
    assert waiting(opened) == 0
    opened._queue._waiting = whole
    assert reserve(opened, order, 0)().code is Code.OK


@through
def test_a_caller_that_is_gone_without_leaving_the_queue_holds_nobody_up(
    opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a signal between joining the queue and everything that would take the caller out of it leaves it.
    asked: list[Request] = []
    with monkeypatch.context() as patch:
        patch.setattr(opened, "_run", asked.append)
        opened.deposit(A, 1, request_id="gone")
    opened._queue._waiting.append(GroupMember(asked[0]))
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = [pool.submit(reserve(opened, order, n)) for n in range(4)]
        assert [future.result(20).code for future in futures] == [Code.OK] * 4
    # It was done with the others, like a request that the network delivers late.
    assert waiting(opened) == 0
    assert opened.deposit(A, 1, request_id="gone").code is Code.DUPLICATE


@through
def test_a_book_closed_while_callers_wait_answers_all_of_them(opened: SqliteBook, order: Make) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = gather(opened, pool, [reserve(opened, order, n) for n in range(4)])
        opened._closed = True
        wire(opened).gate.set()
        assert futures[0].result(20).ok
        for future in futures[1:]:
            assert isinstance(future.exception(20), StoreUnavailable)
        opened._closed = False


def test_64_threads_on_a_full_file_share_commits_and_never_over_commit(sqlite_path: Path, order: Make) -> None:
    with SqliteBook(str(sqlite_path), durability="full") as book:
        book.open_account(A, "0.000200")
        held = Held(book._connection)
        book._connection = held  # type: ignore[assignment]
        gate = threading.Barrier(64)

        def place(client: int) -> list[Code]:
            gate.wait()
            return [book.reserve(A, [order(hold=10)], request_id=f"{client}-{n}").code for n in range(3)]

        with ThreadPoolExecutor(64) as pool:
            codes = [code for answers in pool.map(place, range(64)) for code in answers]
        assert codes.count(Code.OK) == 20
        assert held.said.count("BEGIN") < 3 * 64
        assert book.account(A).all_units == 200
        assert book.audit(A).findings == ()
