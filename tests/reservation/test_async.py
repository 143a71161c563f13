"""The book for asyncio: the same answers, one thread for a file, joined by close."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests import servers
from tests.forks import forked, is_true_of

import equipoise as eq
from equipoise.errors import InputError, StoreCorrupt, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, ReservationBook, VenueView, steps
from equipoise.reservation import sqlite_engine as engine
from equipoise.reservation.awaited import AsyncReservationBook, RequestMaker

Make = Callable[..., Order]
A = "acc"

stores = pytest.mark.parametrize("store", ["memory", "sqlite", "valkey", "valkey-cluster"])


def url(store: str, path: Path) -> str:
    if store == "valkey":
        with servers.shared().client() as client:
            client.flushall()
        return servers.shared().url
    if store == "valkey-cluster":
        servers.shared_cluster().flush()
        return servers.shared_cluster().url
    return "memory:" if store == "memory" else f"sqlite:///{path}?durability=normal"


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def worker_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "equipoise-book"]


def test_every_method_of_the_book_is_there_with_the_same_arguments() -> None:
    names = {name for name, _ in inspect.getmembers(ReservationBook, inspect.isfunction) if name[0] != "_"}
    assert len(names) > 30
    same = [list(inspect.signature(kind.worker).parameters) for kind in (ReservationBook, AsyncReservationBook)]
    assert same[0] == same[1]
    for name in names - {"close_book", "connect", "worker"}:
        awaited = getattr(AsyncReservationBook, name)
        assert inspect.iscoroutinefunction(awaited), name
        assert inspect.signature(awaited) == inspect.signature(getattr(ReservationBook, name)), name
        assert awaited.__doc__ == getattr(ReservationBook, name).__doc__
    assert eq.AsyncReservationBook is AsyncReservationBook


def history_of_calls(order: Make) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """A seeded history that uses every kind of call."""
    rng = random.Random(5)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("open_account", (A, "1"), {"rule": "worst_side", "scale": 6}),
        ("open_account", ("cents", "5.25"), {"scale": 2, "positions": "tickets"}),
        ("deposit", ("cents", "1.75"), {"request_id": "d"}),
        ("execute", ("cents", order(lots=2, order_id="t")), {"request_id": "x", "margin": "2.5"}),
        ("close", ("cents", "t", 1), {"event_id": "c", "realised_pnl": "-0.01"}),
        ("set_terms", ("cents",), {"request_id": "s", "positions": "tickets", "orders_max": 9}),
        ("suspend", ("cents",), {"request_id": "u"}),
        ("abandon", ("cents", "never"), {}),
        ("withdraw", ("nobody", 1), {"request_id": "w"}),
    ]
    for n in range(30):
        ladder = [order(rng.choice(["bid", "ask"]), rng.randint(1, 5), rng.randint(0, 10**5)) for _ in range(3)]
        name = f"r{n}:{rng.randint(0, 2)}"
        calls += [
            ("reserve", (A, ladder), {"request_id": f"r{n}", "send": rng.choice(["claim", "caller", "outbox"])}),
            ("claim", (A, name), {"event_id": "w"}),
            ("acknowledge", (A, name, f"v{n}"), {}),
            ("amend", (A, name, rng.randint(1, 9), "0.01"), {"event_id": "a"}),
            ("settle_amend", (A, name, rng.choice(["accepted", "refused"])), {"amend_id": "a"}),
            ("fill", (A, name, rng.randint(1, 4)), {"fill_id": "f", "realised_pnl": "0.001"}),
            (rng.choice(["cancel", "reject", "expire", "request_cancel"]), (A, name), {}),
            ("mark", (A, {"SYM": "-0.001"}), {"as_of_us": n}),
            ("outbox", (A,), {}),
        ]
    calls += [
        ("revalue", (A, "SYM", "0.02"), {"as_of_us": 7}),
        ("adjust", (A, "-0.01", "fee"), {"request_id": "adj"}),
        ("sweep", (A,), {}),
        ("archive", (A,), {}),
        ("export", (A,), {"confirmed_version": 9, "limit": 5}),
        ("reconcile", (A, VenueView(as_of_us=9 * 10**15)), {"apply": True}),
        ("import_flat", ("flat", {"balance": "3", "used_margin_executed": "0", "used_margin_all": "0"}, {}), {}),
        ("orders", (A,), {"every": True}),
        ("symbols", (A,), {}),
        ("audit", (A,), {}),
        ("account", (A,), {}),
        ("accounts", (), {}),
        ("history", (A,), {"limit": 10**6}),
        ("order", (A, "r1:0"), {}),
    ]
    return calls


@stores
def test_i18_the_same_calls_awaited_get_the_same_answers(
    store: str, sqlite_path: Path, order: Make, clock: Any
) -> None:
    calls = history_of_calls(order)
    with ReservationBook.connect("memory:", clock=clock) as plain:
        expected = [getattr(plain, name)(*values, **named) for name, values, named in calls]

    async def awaited() -> list[Any]:
        async with await AsyncReservationBook.connect(url(store, sqlite_path), clock=clock) as book:
            return [await getattr(book, name)(*values, **named) for name, values, named in calls]

    assert {name for name, _, _ in calls} >= {
        name for name in vars(AsyncReservationBook) if name in steps.STEPS and name != "resolve"
    } - {"cancel", "reject", "expire", "request_cancel"}
    assert run(awaited()) == expected


@stores
def test_many_tasks_never_over_commit(store: str, sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(url(store, sqlite_path)) as book:
            await book.open_account(A, "0.000200")
            calls = [book.reserve(A, [order(hold=10)], request_id=str(n)) for n in range(200)]
            codes = [outcome.code for outcome in await asyncio.gather(*calls)]
            assert codes.count(Code.OK) == 20
            assert codes.count(Code.INSUFFICIENT_MARGIN) == 180
            assert (await book.account(A)).all_units == 200
            assert (await book.audit(A)).findings == ()

    run(main())


def test_tasks_that_wait_share_one_transaction(sqlite_path: Path, order: Make) -> None:
    async def main() -> list[str]:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            await book.open_account(A, 1)
            inner = book._book  # type: ignore[attr-defined]
            said: list[str] = []
            whole = inner._connection

            class Listening:
                def execute(self, sql: str, *values: Any) -> Any:
                    said.append(sql)
                    return whole.execute(sql, *values)

                def __getattr__(self, name: str) -> Any:
                    return getattr(whole, name)

            inner._connection = Listening()
            await asyncio.gather(*(book.reserve(A, [order(hold=1)], request_id=str(n)) for n in range(100)))
            return said

    said = run(main())
    assert 1 <= said.count("COMMIT") <= 20


def test_close_answers_what_was_asked_joins_the_thread_and_refuses_the_rest(sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        book = await AsyncReservationBook.connect(url("sqlite", sqlite_path))
        assert worker_threads() == ["equipoise-book"]
        await book.open_account(A, 1)
        tasks = [asyncio.ensure_future(book.reserve(A, [order(hold=1)], request_id=str(n))) for n in range(20)]
        await asyncio.sleep(0)
        await book.close_book()
        await book.close_book()
        assert worker_threads() == []
        assert all(outcome.ok for outcome in await asyncio.gather(*tasks))
        with pytest.raises(StoreUnavailable, match="closed"):
            await book.deposit(A, 1, request_id="d")

    run(main())
    with ReservationBook.connect(url("sqlite", sqlite_path)) as book:
        assert book.account(A).all_units == 20


def test_a_clock_that_fails_in_a_step_is_said_as_it_is_to_who_awaits(sqlite_path: Path, order: Make) -> None:
    times: list[int | None] = []

    def clock() -> int:
        now = times.pop() if times else time.time_ns() // 1000
        if now is None:
            raise ZeroDivisionError("no time")
        return now

    async def main() -> None:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path), clock=clock) as book:
            await book.open_account(A, 1)
            now = clock()
            named = {"issued_at_us": now, "not_after_us": now + 10**7, "deadline_us": now + 10**7}
            times.append(None)
            with pytest.raises(ZeroDivisionError, match="no time"):
                await book.reserve(A, [order(hold=1)], request_id="r", **named)
            assert (await book.reserve(A, [order(hold=1)], request_id="r", **named)).ok
            assert (await book.audit(A)).findings == ()

    run(main())


def test_a_close_that_is_cancelled_does_not_hold_the_loop_and_goes_on(sqlite_path: Path, clock: Any) -> None:
    where = url("sqlite", sqlite_path)

    async def main() -> None:
        book = await AsyncReservationBook.connect(where, timeout_ms=5_000)
        await book.open_account(A, 1)
        with ReservationBook.connect(where) as other:
            writing: Any = other._ready()  # type: ignore[attr-defined]
            writing.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(book.deposit(A, 1, request_id="d"))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(book.close_book(), 0.05)
            assert time.monotonic() - began < 2
            assert worker_threads() == ["equipoise-book"]
            with pytest.raises(StoreUnavailable, match="closed"):
                await book.deposit(A, 1, request_id="late")
            writing.execute("ROLLBACK")
        await book.close_book()
        assert worker_threads() == []
        assert (await waiting).ok

    run(main())


def test_an_open_that_is_cancelled_does_not_hold_the_loop(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(*_: object, **__: object) -> None:
        gate.wait(5)
        raise StoreUnavailable("not today")

    monkeypatch.setattr(ReservationBook, "connect", slow)

    async def main() -> None:
        loop, began = asyncio.get_running_loop(), time.monotonic()
        # A loop that stands still does not come to it.
        loop.call_later(0.1, gate.set)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(AsyncReservationBook.connect(url("sqlite", sqlite_path)), 0.05)
        assert time.monotonic() - began < 2

    run(main())
    assert worker_threads() == []


@pytest.mark.parametrize("cancels", [1, 2])
def test_an_open_that_is_cancelled_leaves_the_file_to_the_next_one(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch, cancels: int
) -> None:
    # An engine with which a file is open in one process only, by a lock file.
    monkeypatch.setattr("equipoise.reservation.sqlite.engine_version", lambda **_: (3, 45, 0))
    connect, opened, gate = ReservationBook.connect, threading.Event(), threading.Event()

    def slow(*values: Any, **named: Any) -> ReservationBook:
        book = connect(*values, **named)
        opened.set()
        assert gate.wait(10)
        return book

    where = url("sqlite", sqlite_path)

    async def main() -> None:
        monkeypatch.setattr(ReservationBook, "connect", slow)
        opening = asyncio.ensure_future(AsyncReservationBook.connect(where))
        await asyncio.to_thread(opened.wait, 10)
        for _ in range(cancels):
            opening.cancel()
            await asyncio.sleep(0.05)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        monkeypatch.setattr(ReservationBook, "connect", connect)
        until = time.monotonic() + 5
        while worker_threads() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert worker_threads() == []
        async with await AsyncReservationBook.connect(where) as book:
            assert (await book.open_account(A, 1)).ok
            with pytest.raises(StoreUnavailable, match="open elsewhere"):
                connect(where)

    run(main())


def test_a_memory_book_has_no_thread(order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect("memory:") as book:
            await book.open_account(A, 1)
            assert worker_threads() == []
        with pytest.raises(StoreUnavailable, match="closed"):
            await book.deposit(A, 1, request_id="d")

    run(main())


def test_a_step_whose_task_was_cancelled_is_settled_by_the_same_id(sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            await book.open_account(A, 1)
            await book.account(A)
            task = asyncio.ensure_future(book.reserve(A, [order(hold=1)], request_id="r"))
            while not task.done():
                await asyncio.sleep(0)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            again = await book.reserve(A, [order(hold=1)], request_id="r")
            assert again.done
            assert (await book.account(A)).all_units == 1

    run(main())


def test_a_file_that_cannot_be_opened_raises_and_leaves_no_thread(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StoreUnavailable):
            await AsyncReservationBook.connect(f"sqlite:///{tmp_path}/nowhere/margin.db")
        with pytest.raises(InputError, match="url"):
            await AsyncReservationBook.connect("gopher:x")

    run(main())
    assert worker_threads() == []


def test_wrong_arguments_and_torn_rows_reach_the_task_that_asked(sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            await book.open_account(A, 1)
            await book.open_account("bad", 1)
            await book.reserve("bad", [order(hold=1, order_id="o")], request_id="r")
            book._book._ready().execute("UPDATE orders SET state = 'GONE'")  # type: ignore[attr-defined]
            answers = await asyncio.gather(
                book.reserve(A, [order(hold=1)], request_id="a"),
                book.fill("bad", "o", 1, fill_id="f"),
                book.deposit(A, 0.5, request_id="d"),  # type: ignore[arg-type]
                book.reserve(A, [order(hold=1)], request_id="b"),
                book.account("nobody"),
                return_exceptions=True,
            )
            assert [getattr(answer, "code", type(answer)) for answer in answers] == [
                Code.OK,
                StoreCorrupt,
                InputError,
                Code.OK,
                InputError,
            ]

    run(main())


def test_a_defect_in_a_step_reaches_who_asked_and_the_thread_lives_on(
    sqlite_path: Path, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            await book.open_account(A, 1)
            with monkeypatch.context() as patch:
                patch.setitem(steps.STEPS, "deposit", broken)
                with pytest.raises(NotImplementedError):
                    await book.deposit(A, 1, request_id="d")
            assert (await book.deposit(A, 1, request_id="d")).ok

    run(main())


def test_a_loop_that_is_closed_as_it_is_told_takes_nobody_along(sqlite_path: Path) -> None:
    """The thread of a book serves every loop that uses it."""

    class Closing(asyncio.SelectorEventLoop):
        closes = False

        def call_soon_threadsafe(self, *args: Any, **named: Any) -> Any:
            if self.closes:
                raise RuntimeError("Event loop is closed")
            return super().call_soon_threadsafe(*args, **named)

    loop = Closing()

    async def opened() -> AsyncReservationBook:
        book = await AsyncReservationBook.connect(f"sqlite:///{sqlite_path}")
        await book.open_account(A, 1)
        return book

    book = loop.run_until_complete(opened())
    asked = loop.create_task(book.deposit(A, 1, request_id="d"))
    loop.closes = True
    loop.run_until_complete(asyncio.sleep(0.2))
    loop.closes = False

    async def others() -> Outcome:
        async with asyncio.timeout(10):
            outcome = await book.deposit(A, 1, request_id="d2")
            await book.close_book()
            return outcome

    assert asyncio.run(others()).ok
    asked.cancel()
    loop.run_until_complete(asyncio.gather(asked, return_exceptions=True))
    loop.close()


def test_after_a_fork_an_asynchronous_book_raises(sqlite_path: Path) -> None:
    async def main() -> int:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            await book.open_account(A, 1)

            def refused() -> bool:
                with pytest.raises(StoreUnavailable):
                    book._ask(None)  # type: ignore[attr-defined]
                return True

            child = forked(refused)
            assert (await book.deposit(A, 1, request_id="d")).ok
            return child

    assert is_true_of(run(main()))


def test_a_maker_of_requests_has_nothing_to_read() -> None:
    maker = RequestMaker(clock=None, timeout_ms=1, horizon_s=1)
    reads = ("account", "accounts", "order", "orders", "symbols", "history", "outbox", "audit", "reconcile", "export")
    assert [name for name in reads if hasattr(maker, name)] == []
    assert [name for name in reads if not hasattr(AsyncReservationBook, name)] == []


@pytest.mark.skipif(engine.apsw is None, reason="the extra `sqlite` (apsw) is not installed")
def test_the_scale_of_an_account_that_was_not_there_is_asked_again(sqlite_path: Path) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(url("sqlite", sqlite_path)) as book:
            assert (await book.deposit("cents", "1.75", request_id="d")).code is Code.ACCOUNT_NOT_FOUND
            with ReservationBook.connect(url("sqlite", sqlite_path)) as other:
                other.open_account("cents", 0, scale=2)
            assert (await book.deposit("cents", "1.75", request_id="d")).ok
            assert (await book.account("cents")).balance_units == 175

    run(main())
