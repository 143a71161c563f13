"""The Redis book awaited: many tasks on one connection, lost answers, forgotten scripts, a clean end."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
from tests import servers

from equipoise.errors import StoreCorrupt, StoreTimeout, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook, RequestMaker
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_awaited import RedisInLoop
from equipoise.reservation.redis_links import slot_of
from equipoise.reservation.redis_registry import HINT_S

Make = Callable[..., Order]
A = "acc"


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def valid_long() -> dict[str, int]:
    issued = time.time_ns() // 1000
    return {"issued_at_us": issued, "not_after_us": issued + 60_000_000}


def test_schedule_1_50_tasks_with_room_for_20_get_exactly_20(client: redis.Redis, order: Make) -> None:
    async def main() -> list[Code]:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, "0.000200")
            client.script_flush()  # and nobody minds
            tasks = [book.reserve(A, [order(hold=10)], request_id=str(n)) for n in range(50)]
            return [outcome.code for outcome in await asyncio.gather(*tasks)]

    codes = run(main())
    assert codes.count(Code.OK) == 20
    assert codes.count(Code.INSUFFICIENT_MARGIN) == 30
    assert client.hget(f"user_portfolio:{{{A}}}", "used_margin_all") == b"200"
    with ReservationBook.connect(servers.shared().url) as book:
        assert book.audit(A).findings == ()


def test_tasks_share_one_connection_and_few_writes(client: redis.Redis, order: Make) -> None:
    async def main() -> tuple[int, int]:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="warm")
            before = client.info("stats")
            await asyncio.gather(*[book.reserve(A, [order(hold=1)], request_id=str(n)) for n in range(200)])
            after = client.info("stats")
            return (
                after["total_connections_received"] - before["total_connections_received"],
                after["total_reads_processed"] - before["total_reads_processed"],
            )

    connections, reads = run(main())
    assert connections == 0
    assert reads < 60


def test_an_answer_that_is_lost_is_a_timeout_for_its_caller_and_the_same_id_settles_it(
    client: redis.Redis, order: Make
) -> None:
    proxy = servers.Proxy(servers.shared().port)

    async def main() -> None:
        async with await AsyncReservationBook.connect(proxy.url, timeout_ms=200) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="warm")
            named = [{"request_id": str(n), **valid_long()} for n in range(5)]
            proxy.answering = False
            answers = await asyncio.gather(
                *[book.reserve(A, [order(hold=10)], **these) for these in named], return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {StoreTimeout}
            proxy.answering = True
            for these in named:
                assert (await book.reserve(A, [order(hold=10)], **these)).code is Code.DUPLICATE
            assert (await book.account(A)).all_units == 51

    run(main())
    proxy.close()


def test_an_awaited_answer_that_is_no_string_is_asked_for_again_and_then_store_corrupt(
    client: redis.Redis, order: Make
) -> None:
    proxy = servers.Proxy(servers.shared().port)

    async def main() -> None:
        async with await AsyncReservationBook.connect(proxy.url, timeout_ms=500) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="warm")
            proxy.instead = b":1\r\n"
            with pytest.raises(StoreCorrupt, match="may have been done"):
                await book.reserve(A, [order(hold=10)], request_id="r")
            proxy.instead = b""
            assert (await book.reserve(A, [order(hold=10)], request_id="r")).code is Code.DUPLICATE
            assert (await book.account(A)).all_units == 11

    run(main())
    proxy.close()


def test_a_step_whose_task_is_cancelled_before_its_turn_is_not_done_later(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, ran = threading.Event(), list[str]()
    maker = RequestMaker(clock=None, timeout_ms=5_000, horizon_s=86_400)

    async def main() -> None:
        async with await AsyncReservationBook.connect(servers.shared().url, timeout_ms=5_000) as opened:
            book: Any = opened
            await book.open_account(A, 1)
            whole = book._redis.run

            def run_late(request: Any) -> Any:
                gate.wait(10)
                ran.append(request.ident)
                return whole(request)

            monkeypatch.setattr(book._redis, "run", run_late)
            # As many threads as there are for such steps, and one step more than these begin.
            requests: list[Any] = [maker.reserve(A, [order(hold=1)], request_id=f"r{n}") for n in range(6)]
            steps = [asyncio.create_task(book._in_turn(request)) for request in requests]
            await asyncio.sleep(0.2)
            steps[5].cancel()
            await asyncio.gather(steps[5], return_exceptions=True)
            gate.set()
            assert all(outcome.ok for outcome in await asyncio.gather(*steps[:5]))

    run(main())
    assert sorted(ran) == [f"r{n}" for n in range(5)]


def test_a_server_that_dies_is_a_timeout_for_who_waits_and_then_unavailable(order: Make) -> None:
    async def main() -> None:
        with servers.Server() as server:
            async with await AsyncReservationBook.connect(server.url, timeout_ms=1_000) as book:
                await book.open_account(A, 1)
                await book.reserve(A, [order(hold=1)], request_id="warm")
                server.signal(19)
                waiting = [asyncio.ensure_future(book.reserve(A, [order(hold=1)], request_id=str(n))) for n in range(3)]
                await asyncio.sleep(0.05)
                server.kill()
                answers = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(answer) for answer in answers} == {StoreTimeout}
                with pytest.raises(StoreUnavailable):
                    await book.reserve(A, [order(hold=1)], request_id="after")

    run(main())


def test_a_server_that_stands_still_is_an_answer_within_the_timeout_to_every_call(order: Make) -> None:
    async def main() -> None:
        with servers.Server() as server:
            async with await AsyncReservationBook.connect(server.url, timeout_ms=300) as book:
                await book.open_account(A, 1)
                await book.reserve(A, [order(hold=1)], request_id="warm")
                server.signal(signal.SIGSTOP)
                # The first is written and not answered; from then on the server only takes connections.
                for number, failure in enumerate((StoreTimeout, StoreUnavailable, StoreUnavailable)):
                    began = time.monotonic()
                    calls = [book.deposit(A, 1, request_id=f"{number} {n}") for n in range(20)]
                    async with asyncio.timeout(5):
                        answers = await asyncio.gather(*calls, return_exceptions=True)
                    assert {type(answer) for answer in answers} == {failure}
                    assert time.monotonic() - began < 2
                server.signal(signal.SIGCONT)
                assert (await book.deposit(A, 1, request_id="after")).ok
                # What was unavailable had not been sent.
                kept = await book.abandon(A, "1 0")
                assert kept.code is Code.OK

    run(main())


def test_a_read_begins_within_the_timeout_or_not_at_all(order: Make) -> None:
    async def main() -> None:
        with servers.Server() as server:
            async with await AsyncReservationBook.connect(server.url, timeout_ms=300) as book:
                await book.open_account(A, 1)
                server.signal(signal.SIGSTOP)
                began = time.monotonic()
                async with asyncio.timeout(10):
                    answers = await asyncio.gather(*[book.account(A) for _ in range(60)], return_exceptions=True)
                assert {type(answer) for answer in answers} == {StoreUnavailable}
                assert time.monotonic() - began < 1.5
                server.signal(signal.SIGCONT)
                assert (await book.account(A)).balance == 1

    run(main())


def test_a_first_step_into_silence_is_unavailable_within_the_timeout(client: redis.Redis, order: Make) -> None:
    proxy = servers.Proxy(servers.shared().port)

    async def main() -> None:
        async with await AsyncReservationBook.connect(proxy.url, timeout_ms=300) as book:
            await book.open_account(A, 1)
            proxy.flowing.clear()
            calls = [book.reserve(A, [order(hold=1)], request_id=str(n)) for n in range(20)]
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailable}
            proxy.flowing.set()
            for n in range(20):
                assert (await book.reserve(A, [order(hold=1)], request_id=str(n))).ok
            assert (await book.account(A)).all_units == 20

    run(main())
    proxy.close()


def test_a_cancelled_task_leaves_the_connection_in_step(client: redis.Redis, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(servers.shared().url) as book:
            await book.open_account(A, 1)
            for n in range(20):
                task = asyncio.ensure_future(book.reserve(A, [order(hold=1)], request_id=f"c{n}", **valid_long()))
                await asyncio.sleep(0)
                task.cancel()
                outcome = await book.deposit(A, n + 1, request_id=f"d{n}")
                assert (outcome.op, outcome.code) == ("deposit", Code.OK)
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert (await book.reserve(A, [order(hold=1)], request_id=f"c{n}", **valid_long())).done
            assert (await book.account(A)).all_units == 20

    run(main())


def test_close_joins_its_threads_and_refuses_the_rest(client: redis.Redis) -> None:
    async def main() -> None:
        book = await AsyncReservationBook.connect(servers.shared().url)
        await book.open_account(A, 1)
        await book.account(A)
        await book.close_book()
        await book.close_book()
        with pytest.raises(StoreUnavailable, match="closed"):
            await book.deposit(A, 1, request_id="d")

    run(main())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("equipoise-book")]


def test_a_close_whose_caller_is_cancelled_goes_on_and_the_next_waits_for_its_end(order: Make) -> None:
    def own_threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("equipoise-")]

    async def main() -> None:
        with servers.Server() as server, server.client() as client:
            book = await AsyncReservationBook.connect(server.url, timeout_ms=5_000)
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="warm")
            server.signal(signal.SIGSTOP)
            reading = asyncio.ensure_future(book.account(A))
            await asyncio.sleep(0.1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(book.close_book(), 0.1)
            with pytest.raises(StoreUnavailable, match="closed"):
                await book.deposit(A, 1, request_id="d")
            server.signal(signal.SIGCONT)
            await book.close_book()
            assert (await reading).balance == 1
            assert own_threads() == []
            until = time.monotonic() + 5
            while client.info("clients")["connected_clients"] > 1:
                assert time.monotonic() < until
                await asyncio.sleep(0.01)

    run(main())


def test_a_close_whose_loop_ends_leaves_no_thread_and_no_connection(order: Make) -> None:
    with servers.Server() as server, server.client() as client:

        async def leave() -> AsyncReservationBook:
            book = await AsyncReservationBook.connect(server.url, timeout_ms=5_000)
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="warm")
            server.signal(signal.SIGSTOP)
            later = threading.Timer(0.4, server.signal, [signal.SIGCONT])
            later.start()
            reading = asyncio.ensure_future(book.account(A))
            await asyncio.sleep(0.1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(book.close_book(), 0.1)
            assert not reading.done()
            return book

        left = run(leave())
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("equipoise-")]
        until = time.monotonic() + 5
        while client.info("clients")["connected_clients"] > 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        # In another loop, to no further effect.
        run(left.close_book())


def test_hints_of_a_burst_are_few_and_the_last_entry_does_not_wait_for_a_walk(
    client: redis.Redis, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk_s = 10.0
    monkeypatch.setattr("equipoise.reservation.redis_workers.WALK_S", walk_s)

    async def main() -> float:
        url = servers.shared().url
        with ReservationBook.connect(url) as reading:
            async with await AsyncReservationBook.connect(url) as book:
                await book.open_account(A, 1)
                worker = reading.worker("w")
                worker.take()
                client.config_resetstat()
                calls = [book.reserve(A, [order(hold=1)], request_id=f"r{n}", send="outbox") for n in range(300)]
                asked = time.monotonic()
                await asyncio.gather(*calls)
                # One at once, which is a whole hint of two commands, and one each 20 ms of the burst.
                most = 3 + (time.monotonic() - asked) / HINT_S
                assert client.info("commandstats")["cmdstat_sadd"]["calls"] <= most < 150
                began, found = time.monotonic(), set[str]()
                while len(found) < 300 and time.monotonic() < began + walk_s:
                    await asyncio.sleep(0.005)
                    found |= {delivery.entry.request_id for delivery in worker.take()}
                assert len(found) == 300
                return time.monotonic() - began

    assert run(main()) < 0.8 * walk_s


def other_node(account: str, url: str) -> bool:
    """Whether the hints of an account are on another node than the account."""
    with ReservationBook.connect(url) as book:
        assert isinstance(book, RedisBook)
        return book.address_of(slot_of(account)) != book.address_of(book.registry.hint_slot(account))


def test_hints_to_another_node_go_by_a_line_of_their_own_after_the_first(
    order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.reservation.redis_registry.HINT_S", 0.0)
    servers.shared_cluster().flush()
    url = servers.shared_cluster().url
    account = next(name for n in range(100) if other_node(name := f"hints{n}", url))

    async def main() -> None:
        async with await AsyncReservationBook.connect(url) as book:
            await book.open_account(account, 1)
            # So that the node knows the script, and no step goes to a thread.
            await book.reserve(account, [order(hold=1)], request_id="before")
            inner: Any = book
            whole: list[object] = []
            hint = inner._redis.registry.hint
            inner._redis.registry.hint = lambda names: (whole.append(names), hint(names))
            assert (await book.reserve(account, [order(hold=1)], request_id="first", send="outbox")).ok
            until = time.monotonic() + 5
            while len(inner._lines) < 2 and time.monotonic() < until:
                await asyncio.sleep(0.001)
            assert len(inner._lines) == 2
            for n in range(20):
                assert (await book.reserve(account, [order(hold=1)], request_id=f"r{n}", send="outbox")).ok
            assert 1 <= len(whole) <= 2  # one more where a second has passed

    run(main())


def test_a_line_that_opens_while_the_book_is_closed_is_closed_too(order: Make) -> None:
    servers.shared_cluster().flush()
    url = servers.shared_cluster().url
    account = next(name for n in range(100) if other_node(name := f"closing{n}", url))

    async def main() -> None:
        book = await AsyncReservationBook.connect(url)
        await book.open_account(account, 1)
        await book.reserve(account, [order(hold=1)], request_id="before")
        assert (await book.reserve(account, [order(hold=1)], request_id="first", send="outbox")).ok
        opening = list(book._opening.values())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        await book.close_book()
        assert [task.done() for task in opening] == [True]
        with pytest.raises(StoreUnavailable):
            await opening[0]
        assert not book._lines  # type: ignore[attr-defined]

    run(main())


async def leave_loop(book: AsyncReservationBook) -> None:
    """Close what would be found open when the loop has ended: it is the book's as long as that is not closed."""
    assert isinstance(book, RedisInLoop)
    if book._loop is asyncio.get_running_loop():
        for line in book._lines.values():
            line.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("first", ["step", "read"])
def test_a_second_loop_that_runs_beside_the_first_is_refused_and_one_after_it_is_served(
    order: Make, first: str
) -> None:
    server = servers.shared()
    with server.client() as client:
        client.flushall()
    begun, done = threading.Event(), threading.Event()
    opened: list[AsyncReservationBook] = []
    outcomes: list[Outcome] = []

    async def owner() -> None:
        book = await AsyncReservationBook.connect(server.url)
        await book.open_account(A, 10)
        opened.append(book)
        begun.set()
        n = 0
        while not done.is_set():
            outcomes.append(await book.reserve(A, [order(hold=1)], request_id=f"r{n}"))
            n += 1
        await leave_loop(book)

    def asked(book: AsyncReservationBook) -> Coroutine[Any, Any, object]:
        return book.account(A) if first == "read" else book.reserve(A, [order(hold=1)], request_id="x")

    async def another() -> None:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="event loop"):
                await asked(opened[0])
            with pytest.raises(StoreUnavailable, match="event loop"):
                await asyncio.gather(*[asked(opened[0]) for _ in range(9)])

    thread = threading.Thread(target=asyncio.run, args=(owner(),))
    thread.start()
    assert begun.wait(10)
    try:
        asyncio.run(another())
    finally:
        done.set()
        thread.join()
    assert {outcome.code for outcome in outcomes} == {Code.OK}

    async def after() -> None:
        book = opened[0]
        assert (await book.account(A)).all_units == len(outcomes)
        assert (await book.reserve(A, [order(hold=1)], request_id="x")).ok
        await book.close_book()

    asyncio.run(after())


@pytest.mark.parametrize("attempt", range(5))
def test_loops_that_begin_at_once_share_no_connection(order: Make, attempt: int) -> None:
    server, account_id = servers.shared(), f"{A}{attempt}"
    with server.client() as client:
        client.flushall()
    with ReservationBook.connect(server.url) as opening:
        opening.open_account(account_id, 10)
    book = asyncio.run(AsyncReservationBook.connect(server.url))
    at_once = threading.Barrier(3)
    said: list[object] = []

    async def use(name: int) -> None:
        at_once.wait()
        calls = [book.reserve(account_id, [order(hold=1)], request_id=f"{name}-{n}") for n in range(20)]
        said.extend(await asyncio.gather(*calls, return_exceptions=True))
        await leave_loop(book)

    threads = [threading.Thread(target=asyncio.run, args=(use(name),)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 60
    assert {type(answer) for answer in said} <= {Outcome, StoreUnavailable}
    done = [answer for answer in said if isinstance(answer, Outcome)]
    assert len(done) >= 20
    assert asyncio.run(book.account(account_id)).all_units == len(done)
    asyncio.run(book.close_book())


def test_a_book_closed_from_another_loop_leaves_no_connection_of_the_first(order: Make) -> None:
    server = servers.shared()
    with server.client() as client:
        client.flushall()
        before = len(client.client_list())
        begun, done = threading.Event(), threading.Event()
        opened: list[AsyncReservationBook] = []

        async def owner() -> None:
            book = await AsyncReservationBook.connect(server.url)
            await book.open_account(A, 10)
            await book.deposit(A, 1, request_id="d")
            opened.append(book)
            begun.set()
            while not done.is_set():
                await asyncio.sleep(0.01)
            with pytest.raises(StoreUnavailable, match="closed"):
                await book.deposit(A, 1, request_id="e")

        thread = threading.Thread(target=asyncio.run, args=(owner(),))
        thread.start()
        assert begun.wait(10)
        asyncio.run(opened[0].close_book())
        until = time.monotonic() + 5
        while len(client.client_list()) > before and time.monotonic() < until:
            time.sleep(0.01)
        left = len(client.client_list())
        done.set()
        thread.join()
        assert left == before
