"""Workers: what stands in the outbox is handed to whoever sends, and an order is sent at most once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import InputError, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import PARTITIONS, Code, Delivery, OrderState, ReservationBook, Worker, partition_of
from equipoise.reservation.awaited import AsyncReservationBook

Make = Callable[..., Order]
A = "acc"


def names(deliveries: tuple[Delivery, ...]) -> list[str]:
    return [order.order_id for delivery in deliveries for order in delivery.orders]


def until(worker: Worker, seconds: float = 5.0) -> tuple[Delivery, ...]:
    """What a worker is handed once there is something."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if found := worker.take():
            return found
        time.sleep(0.01)
    return ()


def test_what_is_written_is_handed_out_once_and_only_a_claim_permits_the_bytes(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, 1)
    worker = proven.worker("one")
    assert worker.take() == ()
    made = [order(hold=1, lots=3), order("ask", hold=2)]
    proven.reserve(A, made, request_id="r", send="outbox")
    proven.reserve(A, made, request_id="c", send="claim")
    (delivery,) = until(worker)
    assert (delivery.account_id, delivery.entry, names((delivery,))) == (A, proven.outbox(A)[0], ["r:0", "r:1"])
    assert delivery.orders == tuple([proven.order(A, name) for name in ("r:0", "r:1")])
    assert worker.take() == ()
    assert worker.claim(delivery, "r:0").ok
    again = worker.claim(delivery, "r:0")
    assert (again.code, again.ok) == (Code.DUPLICATE, False)
    assert proven.worker("two").claim(delivery, "r:0").code is Code.ILLEGAL_TRANSITION


def test_an_order_that_took_the_id_of_one_archived_is_not_handed_out_with_that_ones_entry(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    far = clock() + 7 * 86_400_000_000
    first = [order(hold=1, order_id=name) for name in ("a", "b", "r:0", "d")]
    proven.reserve(A, first, request_id="r", send="outbox", deadline_us=far)
    for name in ("a", "b", "r:0"):
        assert proven.cancel(A, name).ok
    clock.advance(86_401)
    proven.archive(A)
    assert [found.order_id for found in proven.orders(A, every=True)] == ["d"]
    # Their ids are free: one for the caller to send, one in an entry of its own, one under the same request id.
    assert proven.reserve(A, [order(hold=2, order_id="a")], request_id="mine").ok
    assert proven.reserve(A, [order(hold=3, order_id="b")], request_id="s", send="outbox").ok
    assert proven.reserve(A, [order(hold=4)], request_id="r").granted == ("r:0",)
    worker = proven.worker("one")
    handed = until(worker)
    assert [(delivery.entry.request_id, names((delivery,))) for delivery in handed] == [("r", ["d"]), ("s", ["b"])]
    assert [worker.claim(delivery, name).ok for delivery, name in zip(handed, "db", strict=True)] == [True, True]
    assert proven.claim(A, "a", event_id="caller").ok


def test_an_entry_whose_worker_died_before_the_claim_is_handed_to_another(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(hold=1)] * 3, request_id="r", send="outbox")
    dead, other = proven.worker("dead"), proven.worker("other", takeover_ms=300)
    (delivery,) = until(dead)
    assert dead.claim(delivery, "r:1").ok
    # The claimed one is in the dead worker's hands for ever: overdue, then UNKNOWN, asked after by client id.
    first = until(other)
    assert names(first) == ["r:0", "r:2"]
    assert [other.claim(first[0], name).ok for name in ("r:0", "r:1", "r:2")] == [True, False, True]
    time.sleep(0.4)
    time.sleep(1.0 if hasattr(proven, "registry") else 0.0)
    assert other.take() == ()
    assert len(proven.outbox(A)) == 1


def test_a_worker_reads_its_own_partition_and_together_they_read_all(proven: ReservationBook, order: Make) -> None:
    accounts = [f"acc{n}" for n in range(12)]
    for account_id in accounts:
        proven.open_account(account_id, 1)
        proven.reserve(account_id, [order(hold=1)], request_id="r", send="outbox")
    seen: dict[str, int] = {}
    for place in range(PARTITIONS):
        for delivery in proven.worker("w", partition=place).take():
            assert partition_of(delivery.account_id) == place
            seen[delivery.account_id] = seen.get(delivery.account_id, 0) + 1
    assert seen == dict.fromkeys(accounts, 1)


def test_more_entries_than_one_look_takes_are_all_handed_out_in_order(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    for n in range(25):
        proven.reserve(A, [order(hold=1)], request_id=f"r{n}", send="outbox")
    worker, found = proven.worker("w"), list[str]()
    while batch := until(worker, 2.0):
        assert len(batch) <= 10
        found += names(batch)
    assert found == [f"r{n}:0" for n in range(25)]


def test_an_account_that_recovers_is_read_and_its_claims_wait(proven: ReservationBook, order: Make) -> None:
    from tests.reservation.test_codes import set_status

    from equipoise.reservation import AccountStatus

    proven.open_account(A, 1)
    proven.reserve(A, [order(hold=1)], request_id="r", send="outbox")
    set_status(proven, AccountStatus.RECOVERING)
    worker = proven.worker("w", takeover_ms=200)
    (delivery,) = until(worker)
    assert worker.claim(delivery, "r:0").code is Code.ACCOUNT_RECOVERING
    set_status(proven, AccountStatus.ACTIVE)
    (delivery,) = until(worker)
    assert worker.claim(delivery, "r:0").ok


def test_workers_of_many_threads_claim_every_order_once(proven: ReservationBook, order: Make) -> None:
    accounts, workers, sent = [f"acc{n}" for n in range(4)], list[Worker](), list[str]()
    for account_id in accounts:
        proven.open_account(account_id, 1)

    def work(number: int) -> None:
        worker = proven.worker(f"w{number}", poll_ms=1, takeover_ms=500)
        workers.append(worker)
        for delivery in worker:
            for found in delivery.orders:
                if worker.claim(delivery, found.order_id).ok:
                    sent.append(f"{delivery.account_id}/{found.order_id}")
                    proven.acknowledge(delivery.account_id, found.order_id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        for account_id in accounts:
            assert proven.reserve(account_id, [order(hold=1)] * 2, request_id=f"r{n}", send="outbox").ok
    stop = time.monotonic() + 20
    while any(proven.outbox(account_id) for account_id in accounts) and time.monotonic() < stop:
        time.sleep(0.01)
    for worker in workers:
        worker.stop()
    for thread in threads:
        thread.join()
    assert len(sent) == len(set(sent)) == 4 * 20 * 2
    assert all(found.state is OrderState.LIVE for name in accounts for found in proven.orders(name))


@pytest.mark.parametrize("store", ["memory", "sqlite", "valkey", "valkey-cluster"])
def test_an_awaited_worker_is_handed_the_same(store: str, sqlite_path: Path, order: Make) -> None:
    from tests.reservation.test_async import url

    async def main() -> list[str]:
        sent = []
        async with await AsyncReservationBook.connect(url(store, sqlite_path)) as book:
            await book.open_account(A, 1)
            async with book.worker("one") as worker:
                for n in range(3):
                    await book.reserve(A, [order(hold=1)] * 2, request_id=f"r{n}", send="outbox")
                async for delivery in worker:
                    for found in delivery.orders:
                        if (await worker.claim(delivery, found.order_id)).ok:
                            sent.append(found.order_id)
                            await book.acknowledge(A, found.order_id)
                    if len(sent) == 6:
                        worker.stop()
            assert await book.outbox(A) == ()
            assert (await book.accounts(), await book.rebuild_registry()) == ((A,), (A,))
        return sent

    assert asyncio.run(main()) == [f"r{n}:{place}" for n in range(3) for place in range(2)]


def test_what_is_no_name_or_partition_is_refused(proven: ReservationBook) -> None:
    for named in ({"name": ""}, {"partition": PARTITIONS}, {"partition": -1}, {"poll_ms": 0}, {"takeover_ms": 0}):
        with pytest.raises(InputError):
            proven.worker(**{"name": "w", **named})  # type: ignore[arg-type]


@pytest.mark.parametrize("store", ["sqlite", "valkey"])
@pytest.mark.parametrize("by", ["anext", "take"])
def test_what_a_cancelled_call_has_read_is_handed_to_the_next_one(
    sqlite_path: Path, order: Make, store: str, by: str
) -> None:
    from tests.reservation.test_async import url

    async def main() -> None:
        async with await AsyncReservationBook.connect(url(store, sqlite_path)) as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)] * 2, request_id="r0", send="outbox")
            await book.reserve(A, [order(hold=1)], request_id="r1", send="outbox")
            worker = book.worker("one", takeover_ms=60_000)
            read, gate = threading.Event(), threading.Event()
            take = worker._reader.take

            def held_up(most: int) -> list[Delivery]:
                found = take(most)
                read.set()
                assert gate.wait(10)
                return found

            worker._reader.take = held_up  # type: ignore[method-assign]
            call = asyncio.ensure_future(anext(worker) if by == "anext" else worker.take())
            await asyncio.to_thread(read.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            gate.set()
            if by == "anext":
                found = [await asyncio.wait_for(anext(worker), 5) for _ in range(2)]
            else:
                # One an account at a time, from what has been read.
                found = [(await worker.take(1))[0] for _ in range(2)]
            assert [delivery.entry.request_id for delivery in found] == ["r0", "r1"]
            assert await worker.take() == ()

    asyncio.run(main())


@pytest.mark.parametrize("store", ["memory", "sqlite", "valkey"])
def test_a_worker_that_is_asked_with_short_patience_loses_nothing(sqlite_path: Path, order: Make, store: str) -> None:
    from tests.reservation.test_async import url

    async def main() -> list[str]:
        async with await AsyncReservationBook.connect(url(store, sqlite_path)) as book:
            await book.open_account(A, 1)
            worker = book.worker("one", poll_ms=1, takeover_ms=60_000)
            got: list[str] = []
            for n in range(60):
                await book.reserve(A, [order(hold=1)], request_id=f"r{n}", send="outbox")
                for patience in (0.0, 0.0002, 0.001):
                    with contextlib.suppress(TimeoutError):
                        got.append((await asyncio.wait_for(anext(worker), patience)).entry.request_id)
            until = time.monotonic() + 20
            while len(got) < 60 and time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    got.append((await asyncio.wait_for(anext(worker), 2)).entry.request_id)
            return got

    assert asyncio.run(main()) == [f"r{n}" for n in range(60)]


def test_tasks_that_share_a_worker_are_handed_each_entry_once(sqlite_path: Path, order: Make) -> None:
    async def main() -> list[str]:
        async with await AsyncReservationBook.connect(f"sqlite:///{sqlite_path}?durability=normal") as book:
            await book.open_account(A, 1)
            worker = book.worker("one", poll_ms=1, takeover_ms=60_000)
            calls = [asyncio.ensure_future(anext(worker)) for _ in range(9)]
            await asyncio.sleep(0.01)
            for n in range(9):
                await book.reserve(A, [order(hold=1)], request_id=f"r{n}", send="outbox")
            return [delivery.entry.request_id for delivery in await asyncio.wait_for(asyncio.gather(*calls), 5)]

    assert sorted(asyncio.run(main())) == [f"r{n}" for n in range(9)]


def test_an_error_that_nobody_waited_for_is_not_the_next_calls(sqlite_path: Path, order: Make) -> None:
    async def main() -> None:
        async with await AsyncReservationBook.connect(f"sqlite:///{sqlite_path}?durability=normal") as book:
            await book.open_account(A, 1)
            await book.reserve(A, [order(hold=1)], request_id="r", send="outbox")
            worker = book.worker("one", takeover_ms=60_000)
            read, gate = threading.Event(), threading.Event()
            take = worker._reader.take

            def fail(_: int) -> list[Delivery]:
                read.set()
                assert gate.wait(10)
                worker._reader.take = take  # type: ignore[method-assign]
                raise StoreUnavailable("once")

            worker._reader.take = fail  # type: ignore[method-assign]
            call = asyncio.ensure_future(anext(worker))
            await asyncio.to_thread(read.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            gate.set()
            await asyncio.sleep(0.05)
            assert (await asyncio.wait_for(anext(worker), 5)).entry.request_id == "r"

    asyncio.run(main())
