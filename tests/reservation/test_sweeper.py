"""Sweepers take a lease: one of many does the work, a dead one loses it, and a wrong clock releases nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from tests import servers

import equipoise.reservation.redis
from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook
from equipoise.reservation.memory import _Shelf
from equipoise.reservation.sqlite_view import Rows

Make = Callable[..., Order]
A = "acc"


def overdue(book: ReservationBook, order: Make, clock: Any, request_id: str = "r") -> None:
    """Three orders past their deadline: one nobody claimed, one sent, one being cancelled."""
    book.reserve(A, [order(hold=5)] * 3, request_id=request_id)
    book.claim(A, f"{request_id}:1", event_id="w")
    book.claim(A, f"{request_id}:2", event_id="w")
    book.acknowledge(A, f"{request_id}:2")
    book.request_cancel(A, f"{request_id}:2")
    clock.advance(100)


def states(book: ReservationBook) -> list[str]:
    return [found.state.value for found in book.orders(A, every=True)]


def test_a_second_sweeper_does_nothing_within_the_lease_and_says_so(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    assert proven.sweep(A, sweeper="one", lease_ms=10_000).flags == ()
    overdue(proven, order, clock)
    assert proven.sweep(A, sweeper="one").granted == ("r:0", "r:1", "r:2")
    before, version = states(proven), proven.account(A).version
    assert before == ["CANCELLED", "UNKNOWN", "UNKNOWN"]
    overdue(proven, order, clock, "q")
    proven.sweep(A, sweeper="one")
    overdue(proven, order, clock, "p")
    clock.advance(-91)  # nine seconds after the last sweep
    left = proven.account(A)
    refused = proven.sweep(A, sweeper="two")
    assert (refused.code, refused.flags, refused.orders) == (Code.OK, ("leased",), ())
    assert proven.account(A) == left
    assert left.version > version
    assert states(proven)[-3:] == ["RESERVED", "SENT", "LIVE"]


def test_the_lease_of_a_dead_sweeper_runs_out(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    overdue(proven, order, clock)
    proven.sweep(A, sweeper="dead", lease_ms=10_000)
    overdue(proven, order, clock, "q")
    clock.advance(-91)
    assert proven.sweep(A, sweeper="other").flags == ("leased",)
    clock.advance(1)
    taken = proven.sweep(A, sweeper="other")
    assert (taken.flags, taken.granted) == ((), ("q:2",))
    # It is the other's now.
    assert proven.sweep(A, sweeper="dead").flags == ("leased",)
    clock.advance(90)
    assert proven.sweep(A, sweeper="other").granted == ("q:0", "q:1")


def test_a_sweeper_takes_its_own_lease_anew_and_one_without_a_name_takes_none(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    for _ in range(5):
        clock.advance(6)
        assert proven.sweep(A, sweeper="one").flags == ()
        assert proven.sweep(A, sweeper="two").flags == ("leased",)
    overdue(proven, order, clock)
    clock.advance(-95)
    proven.sweep(A, sweeper="one")
    clock.advance(95)
    proven.sweep(A, sweeper="one")
    assert states(proven) == ["CANCELLED", "UNKNOWN", "UNKNOWN"]
    overdue(proven, order, clock, "q")
    assert proven.sweep(A).granted == ("q:0", "q:1", "q:2")
    assert proven.account(A).version == proven.history(A, limit=100)[-1].version


def test_i19_a_lease_under_a_wrong_clock_releases_nothing_and_is_held_no_longer_than_asked(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    overdue(proven, order, clock)
    proven.sweep(A, sweeper="one")
    held = proven.account(A).all_units
    assert held == 10
    clock.advance(10**6)  # the clock jumps ahead: the lease has run out, what was sent stays held
    assert proven.sweep(A, sweeper="two").flags == ()
    clock.advance(-(10**6))  # and back: two's lease begins in the future and binds nobody
    assert proven.sweep(A, sweeper="three").flags == ()
    assert proven.sweep(A, sweeper="two").flags == ("leased",)
    assert proven.account(A).all_units == held
    assert states(proven) == ["CANCELLED", "UNKNOWN", "UNKNOWN"]


def test_a_lease_is_kept_under_a_clock_before_its_epoch(proven: ReservationBook, clock: Any) -> None:
    clock.now_us = -(10**12)
    proven.open_account(A, 1)
    assert proven.sweep(A, sweeper="one").flags == ()
    assert proven.sweep(A, sweeper="two").flags == ("leased",)
    clock.advance(11)
    assert proven.sweep(A, sweeper="two").flags == ()
    assert proven.sweep(A, sweeper="one").flags == ("leased",)


def rate_looks(book: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the highest rate of a set was looked for since."""
    if hasattr(book, "_links"):
        nodes = [redis.Redis(host=node.host, port=node.port) for node in book.masters()]

        def commands() -> int:
            stats = [node.info("commandstats").get("cmdstat_zrevrangebylex", {"calls": 0}) for node in nodes]
            return sum(int(found["calls"]) for found in stats)

        before = commands()
        return lambda: commands() - before
    view = _Shelf if hasattr(book, "_shelves") else Rows
    found: list[object] = []
    whole = view.rate_top

    def counted(self: Any, key: Any, deltas: Any) -> int:
        found.append(key)
        return whole(self, key, deltas)

    monkeypatch.setattr(view, "rate_top", counted)
    return lambda: len(found)


def test_a_sweep_looks_at_the_rates_of_a_symbol_once_however_many_orders_it_takes(
    proven: ReservationBook, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.open_account(A, 1, rule="larger_leg")
    symbols = ("AAA", "BBB")
    for symbol in symbols:
        ladder = [order(hold=100 + n, symbol=symbol) for n in range(40)]
        assert proven.reserve(A, ladder, request_id=symbol).ok
        assert proven.reserve(A, [order(lots=2, hold=21, symbol=symbol)], request_id=f"{symbol} s", send="caller").ok
    assert proven.account(A).all_units == 2 * 139 * 42
    clock.advance(60)
    looks = rate_looks(proven, monkeypatch)
    assert len(proven.sweep(A).granted) == 82
    assert looks() == len(symbols)
    # Two lots of each symbol are still held, at 10.5 a lot rounded up.
    assert proven.account(A).all_units == 2 * 11 * 2


def test_of_many_sweepers_at_once_one_has_the_lease_and_the_work_is_done_once(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    overdue(proven, order, clock)
    gate = threading.Barrier(8)

    def run(number: int) -> tuple[bool, int]:
        gate.wait()
        outcome = proven.sweep(A, sweeper=f"s{number}")
        return "leased" in outcome.flags, len(outcome.orders)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(run, range(8)))
    assert sorted(answers) == [(False, 3)] + [(True, 0)] * 7
    assert sum(record.op == "sweep" for record in proven.history(A)) == 1
    assert proven.order(A, "r:1").state is OrderState.UNKNOWN  # type: ignore[union-attr]


def test_what_is_no_sweeper_is_refused(proven: ReservationBook) -> None:
    for named in ({"sweeper": ""}, {"sweeper": "x", "lease_ms": 0}):
        with pytest.raises(InputError):
            proven.sweep(A, **named)  # type: ignore[arg-type]


def test_a_sweep_and_a_scrape_look_at_what_is_due_and_not_at_what_rests(
    proven: ReservationBook, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the records of orders that are made from what a store keeps."""
    pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
    from prometheus_client import CollectorRegistry

    from equipoise.reservation import memory, metrics, redis_reads, sqlite, sqlite_view

    proven.open_account(A, 1)
    for n in range(4):
        proven.reserve(A, [order(hold=1)] * 100, request_id=f"rest{n}", send="caller", deadline_us=clock() + 10**12)
        for place in range(100):
            proven.acknowledge(A, f"rest{n}:{place}")
    overdue(proven, order, clock)
    read: list[str] = []
    whole = memory._Shelf.order

    def counted(self: Any, order_id: str) -> Any:
        read.append(order_id)
        return whole(self, order_id)

    monkeypatch.setattr(memory._Shelf, "order", counted)
    for module in (redis_reads, sqlite, sqlite_view):
        make = module.order_of

        def seen(*values: Any, make: Any = make) -> Any:
            read.append("one")
            return make(*values)

        monkeypatch.setattr(module, "order_of", seen)
    with metrics.BookMetrics(proven, CollectorRegistry()) as watched:
        list(watched.collect())  # the first looks for a leak, at every order
        read.clear()
        found = {
            sample.labels.get("state"): sample.value
            for family in watched.collect()
            for sample in family.samples
            if sample.name == "equipoise_book_orders"
        }
        assert found == {"RESERVED": 1, "SENT": 1, "UNKNOWN": 0, "LIVE": 401}
        assert 3 <= len(read) <= 6
    read.clear()
    with monkeypatch.context() as patch:
        patch.delattr(memory._Shelf, "live")
        assert proven.sweep(A).granted == ("r:0", "r:1", "r:2")
        assert proven.sweep(A).orders == ()
    # Memory and the file read within the step; a script reads nothing here.
    assert len(read) <= 12
    assert [found.order_id for found in proven.orders(A, overdue=True)] == ["r:1", "r:2"]


@pytest.mark.parametrize("asked", ["amend", "cancel", "both", "cancel of what is unknown"])
def test_i12_an_unknown_order_is_overdue_whatever_is_asked_of_it(
    proven: ReservationBook, order: Make, clock: Any, asked: str
) -> None:
    later = clock() + 3_600_000_000
    proven.open_account(A, "0.001")
    proven.reserve(A, [order(lots=10, hold=400, order_id="x")], request_id="r", send="caller")
    if asked in ("amend", "both"):
        assert proven.amend(A, "x", 12, "0.00048", event_id="a", deadline_us=later).ok
    if asked in ("cancel", "both"):
        assert proven.request_cancel(A, "x", deadline_us=later + 1).ok
    clock.advance(100)
    assert [found.order_id for found in proven.orders(A, overdue=True)] == ["x"]
    assert proven.sweep(A).granted == ("x",)
    if asked == "cancel of what is unknown":
        assert proven.request_cancel(A, "x", deadline_us=later).ok
    assert [found.state for found in proven.orders(A, overdue=True)] == [OrderState.UNKNOWN]
    version = proven.account(A).version
    for _ in range(2):
        clock.advance(1)
        assert [found.order_id for found in proven.orders(A, overdue=True)] == ["x"]
        assert proven.sweep(A).order_rows == ()
        assert proven.sweep(A, sweeper="one").order_rows == ()
    assert proven.account(A).version == version
    assert [record.op for record in proven.history(A)].count("sweep") == 1


def test_an_unknown_order_is_overdue_since_the_first_answer_that_failed_to_come(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    start, later = clock(), clock() + 3_600_000_000
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=2, hold=9, order_id="x")], request_id="r", send="caller", deadline_us=later)
    proven.acknowledge(A, "x")
    proven.request_cancel(A, "x", deadline_us=start + 5_000_000)
    proven.amend(A, "x", 3, "0.000012", event_id="a", deadline_us=start + 3_000_000)

    def due_us() -> int | None:
        found = proven.order(A, "x")
        assert found is not None
        return found.overdue_us

    clock.advance(4)
    assert proven.sweep(A).granted == ("x",)
    assert due_us() == start + 3_000_000
    assert proven.settle_amend(A, "x", "refused", amend_id="a").state is OrderState.UNKNOWN
    # What is left is due later than the state was known not to be known.
    assert due_us() == start + 4_000_000
    clock.advance(2)
    proven.request_cancel(A, "x", deadline_us=later)
    assert due_us() == start + 6_000_000
    assert proven.orders(A, overdue=True) == ()
    clock.advance(0.000001)
    assert [found.order_id for found in proven.orders(A, overdue=True)] == ["x"]
    assert proven.resolve(A, "x", OrderState.LIVE, evidence="operator").ok
    assert (due_us(), proven.orders(A, overdue=True)) == (None, ())


def test_an_unknown_order_is_counted_as_overdue_and_with_its_age(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
    from prometheus_client import CollectorRegistry

    from equipoise.reservation.metrics import BookMetrics

    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=10, hold=400, order_id="x")], request_id="r", send="caller")
    proven.amend(A, "x", 12, "0.00048", event_id="a", deadline_us=clock() + 3_600_000_000)
    clock.advance(100)
    proven.sweep(A)
    with BookMetrics(proven, CollectorRegistry()) as watched:
        found = {
            sample.name.removeprefix("equipoise_book_"): sample.value
            for family in watched.collect()
            for sample in family.samples
            if sample.labels.get("state", "UNKNOWN") == "UNKNOWN"
        }
    assert (found["overdue_orders"], found["orders"]) == (1, 1)
    assert (found["order_age_seconds_count"], found["order_age_seconds_sum"]) == (1, 100)


def test_what_is_due_is_found_after_the_indexes_were_made_anew(order: Make, clock: Any) -> None:
    with ReservationBook.connect("memory:", clock=clock) as book:
        book.open_account(A, 1)
        overdue(book, order, clock)
        shelf = book._shelves[A]  # type: ignore[attr-defined]
        shelf.working.clear()
        assert book.reconcile(A, apply=True).settled
        assert book.sweep(A).granted == ("r:0", "r:1", "r:2")


def test_the_file_finds_what_is_due_by_its_index(sqlite_path: Any) -> None:
    from equipoise.reservation.sqlite import SqliteBook
    from equipoise.reservation.sqlite_rows import GET_DUE

    with SqliteBook(str(sqlite_path), durability="normal") as book:
        plan = book._ready().execute(f"EXPLAIN QUERY PLAN {GET_DUE}", (A, 1)).fetchall()
    assert "USING INDEX orders_live (account_id=? AND due_us<?)" in plan[0][3]


@pytest.mark.parametrize("most", [2, 3])
def test_a_sweep_gets_to_every_order_however_many_are_unknown_already(
    client: redis.Redis, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(equipoise.reservation.redis, "CANDIDATES_MAX", most)
    with ReservationBook.connect(servers.shared().url, clock=clock) as book:
        book.open_account(A, 1)
        book.reserve(A, [order(hold=1)] * 7, request_id="r", send="caller")
        clock.advance(100)
        swept: list[str] = []
        while found := book.sweep(A).granted:
            assert len(found) <= most
            swept += found
        assert swept == [f"r:{n}" for n in range(7)]
        assert {found.state for found in book.orders(A)} == {OrderState.UNKNOWN}
        # And to one that is due after all of them.
        book.reserve(A, [order(hold=1)], request_id="late", send="caller")
        clock.advance(100)
        assert book.sweep(A).granted == ("late:0",)
        assert book.audit(A).ok
