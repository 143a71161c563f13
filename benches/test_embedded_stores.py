"""The reservation book in memory and on SQLite beside its own API layer, and beside the disk.

Everything is on: validation, ids, journal, indexes. `API layer` makes the request (validation, fingerprint) and the
outcome of one that is granted, and nothing between. `append + fdatasync` writes as many bytes as one reserve adds to
the write-ahead log of a book that holds as much as the one that is timed. What the imports left is frozen before
anything is timed: the garbage collector's walks over it are not the book's. Peers run in both orders: a call that
comes after a flush of the disk costs a fifth more. The books' logs have been around once and are written over; an
append makes its file longer, which costs about as much again, so that the same bytes written over stand beside it.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from benches.harness import bound_to, command_line, cores, interleave, machine, print_rows, ratio, summary
from equipoise.orders import Order, Side
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook, RequestMaker
from equipoise.reservation.records import new_record
from equipoise.reservation.requests import Request, Reserve
from equipoise.reservation.sqlite import SqliteBook

A = "bench"
NOTHING = (0, 0, 0, 0)
RING = 1 << 24
"""Bytes of a file that is written over, as many as a write-ahead log has at most."""
TARGETS = {
    "memory reserve / API layer": "at most 2.5",
    "memory reserve with outbox / API layer": "at most 2.5",
    "ladder of 40 / reserve, SQLite full": "at most 8",
    "SQLite full / append + fdatasync": "at most 1.4",
    "SQLite full with outbox / append + fdatasync": "at most 1.4",
    "50 callers / one caller, SQLite full": "at least 4",
    "50 callers / one caller, on one core": "at least 4",
    "50 tasks / one task, SQLite full": "at least 4",
    "p99 / p50 of 50 callers": "at most 5",
    "p99 / p50 of 50 tasks": "at most 5",
}


def _order(hold: int = 10) -> Order:
    return Order(symbol="SYM", side=Side.BID, lots=5, price_ticks=1, hold=hold, price=Decimal(1), size=Decimal(1))


class _Desk:
    """One book, and calls that never repeat an id."""

    def __init__(self, book: ReservationBook) -> None:
        self.book = book
        self.count = 0
        self.order, self.ladder = _order(), [_order() for _ in range(40)]
        self.held: list[int] = []
        self.fills = 0

    def reserve(self, _: int) -> None:
        self.count += 1
        self.book.reserve(A, [self.order], request_id=f"r{self.count}")
        self.held.append(self.count)

    def post(self, _: int) -> None:
        """A reservation with an outbox entry."""
        self.count += 1
        self.book.reserve(A, [self.order], request_id=f"r{self.count}", send="outbox")
        self.held.append(self.count)

    def many(self, _: int) -> None:
        self.count += 1
        self.book.reserve(A, self.ladder, request_id=f"r{self.count}")

    def fill(self, _: int) -> None:
        self.fills += 1
        number = self.held[self.fills % len(self.held)]
        self.book.fill(A, f"r{number}:0", 1, fill_id=f"f{self.fills}", margin="0.000002")

    def release(self, _: int) -> None:
        self.book.cancel(A, f"r{self.held.pop()}:0")


def _desk(url: str) -> _Desk:
    """A desk at a book that has the account."""
    book = ReservationBook.connect(url)
    book.open_account(A, 10**9)
    return _Desk(book)


class _Layer(RequestMaker):
    """The calls on a book without a book: every reserve is granted."""

    def _run(self, request: Request) -> Outcome:
        asks = cast("Reserve", request).asks
        assert request.fingerprint  # made when it is asked for
        rows = tuple([(ask.order_id, "OK", ask.hold, 0, 0) for ask in asks])
        values = (Code.OK, request.op, request.account_id, 1, 6, NOTHING, NOTHING, None, None, (), rows, None, None)
        return new_record(Outcome, values)


def _wal_bytes(folder: Path, held: int) -> tuple[int, int]:
    """What one reserve adds to the write-ahead log of a book that holds so many, and one with an outbox entry."""
    path = folder / "bytes.db"
    with SqliteBook(str(path), durability="normal") as book:
        book._ready().execute("PRAGMA wal_autocheckpoint = 0")
        book.open_account(A, 10**9)
        desk = _Desk(book)
        for index in range(held):
            desk.reserve(index)
        log = path.with_name(f"{path.name}-wal")
        sizes = []
        for call in (desk.reserve, desk.post):
            call(0)
            before = log.stat().st_size
            for index in range(50):
                call(index)
            sizes.append((log.stat().st_size - before) // 50)
        return sizes[0], sizes[1]


def _tail(times: list[float]) -> float:
    """p99 over p50 of latencies in order."""
    return times[int(0.99 * len(times))] / times[len(times) // 2]


def _crowd(book: ReservationBook, callers: int, each: int, name: str) -> tuple[float, list[float]]:
    """(reserves a second, latencies in order) of many threads."""
    order, times = _order(1), list[float]()
    gate = threading.Barrier(callers + 1)

    def work(caller: int) -> None:
        mine = []
        gate.wait()
        for n in range(each):
            start = time.perf_counter()
            book.reserve(A, [order], request_id=f"{name}-{caller}-{n}")
            mine.append(time.perf_counter() - start)
        times.extend(mine)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(callers)]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return callers * each / (time.perf_counter() - start), sorted(times)


async def _tasks(path: Path, callers: int, each: int, name: str) -> tuple[float, list[float]]:
    """(reserves a second, latencies in order) of many tasks of one loop, on a file that is there."""
    order, times = _order(1), list[float]()
    async with await AsyncReservationBook.connect(f"sqlite:///{path}?durability=full") as book:

        async def work(caller: int) -> None:
            for n in range(each):
                start = time.perf_counter()
                await book.reserve(A, [order], request_id=f"{name}-{caller}-{n}")
                times.append(time.perf_counter() - start)

        await book.account(A)
        start = time.perf_counter()
        await asyncio.gather(*[work(n) for n in range(callers)])
        return callers * each / (time.perf_counter() - start), sorted(times)


def _latencies(desks: dict[str, _Desk], count: int) -> dict[str, dict[str, float]]:
    """Single calls, the stores in turn: p50, p99, p99.9 and the longest of each kind."""
    times: dict[str, list[float]] = {}
    for _ in range(10):
        for name, desk in desks.items():
            calls = (("reserve", desk.reserve, 10), ("fill", desk.fill, 10), ("cancel", desk.release, 10))
            for kind, call, part in (*calls, ("ladder of 40", desk.many, 50)):
                mine = times.setdefault(f"{name}, {kind}", [])
                for index in range(max(1, count // part)):
                    start = time.perf_counter()
                    call(index)
                    mine.append(time.perf_counter() - start)
    rows = {}
    for name, mine in times.items():
        mine.sort()
        rows[name] = {f"p{100 * q:g}": mine[min(len(mine) - 1, int(q * len(mine)))] for q in (0.5, 0.99, 0.999)}
        rows[name]["max"] = mine[-1]
    return rows


def measure(rounds: int, batch: int, count: int) -> dict[str, Any]:
    """Everything, interleaved; `count` single calls of each kind."""
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        page, larger = (b"x" * size for size in _wal_bytes(folder, count // 2))
        layer = _Desk(cast("ReservationBook", _Layer(clock=None, timeout_ms=5_000, horizon_s=86_400)))
        memory = _desk("memory:")
        normal = _desk(f"sqlite:///{folder}/normal.db?durability=normal")
        full = _desk(f"sqlite:///{folder}/full.db?durability=full")
        desks = (memory, normal, full)
        for index in range(2 * batch):
            memory.reserve(index)
        for index in range(count // 2):
            for desk in (normal, full):
                desk.reserve(index)
        log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        ring = os.open(folder / "ring", os.O_CREAT | os.O_WRONLY)
        places = RING // len(page)
        os.pwrite(ring, bytes(RING), 0)
        os.fdatasync(ring)

        def append(_: int, written: bytes = page) -> None:
            os.write(log, written)
            os.fdatasync(log)

        def write_over(index: int) -> None:
            os.pwrite(ring, page, index % places * len(page))
            os.fdatasync(ring)

        calls: dict[str, tuple[int, Callable[[int], object]]] = {
            "API layer": (batch, layer.reserve),
            "memory reserve": (batch, memory.reserve),
            "memory reserve with outbox": (batch, memory.post),
            "memory fill": (batch, memory.fill),
            "memory release": (batch, memory.release),
            "memory ladder of 40": (max(1, batch // 20), memory.many),
            "SQLite normal reserve": (batch, normal.reserve),
            "SQLite full reserve": (batch, full.reserve),
            "SQLite full ladder of 40": (max(1, batch // 20), full.many),
            "append + fdatasync": (batch, append),
            "SQLite full reserve with outbox": (batch, full.post),
            "append of so much + fdatasync": (batch, lambda index: append(index, larger)),
            "written over + fdatasync": (batch, write_over),
        }
        figures = interleave(calls, rounds, both_ways=True)
        singles = _latencies({"memory": memory, "SQLite normal": normal, "SQLite full": full}, count)
        alone, crowd, bound, tails, waits = [], [], [], [], list[float]()
        tasks, task_tails = [], []
        for turn in range(max(2, min(rounds, 7))):
            alone.append(_crowd(full.book, 1, 4 * batch, f"one{turn}")[0])
            speed, times = _crowd(full.book, 50, batch, f"many{turn}")
            crowd.append(speed)
            tails.append(_tail(times))
            waits.extend(times)
            single, _ = asyncio.run(_tasks(folder / "full.db", 1, 4 * batch, f"task{turn}"))
            speed, times = asyncio.run(_tasks(folder / "full.db", 50, batch, f"tasks{turn}"))
            tasks.append(speed / single)
            task_tails.append(_tail(times))
            with bound_to({max(cores(), default=0)}):
                one = _crowd(full.book, 1, 4 * batch, f"bound{turn}")[0]
                bound.append(_crowd(full.book, 50, batch, f"together{turn}")[0] / one)
        held = cast("int", full.book.account(A).all_units)
        clean = all(desk.book.audit(A).ok for desk in desks)
        for desk in desks:
            desk.book.close_book()
        os.close(log)
        os.close(ring)
    ratios = {
        "memory reserve / API layer": ratio(figures, "memory reserve", "API layer"),
        "memory reserve with outbox / API layer": ratio(figures, "memory reserve with outbox", "API layer"),
        "ladder of 40 / reserve, SQLite full": ratio(figures, "SQLite full ladder of 40", "SQLite full reserve"),
        "SQLite full / append + fdatasync": ratio(figures, "SQLite full reserve", "append + fdatasync"),
        "SQLite full with outbox / append + fdatasync": ratio(
            figures, "SQLite full reserve with outbox", "append of so much + fdatasync"
        ),
        "50 callers / one caller, SQLite full": statistics.median(
            many / one for many, one in zip(crowd, alone, strict=True)
        ),
        "50 callers / one caller, on one core": statistics.median(bound),
        "50 tasks / one task, SQLite full": statistics.median(tasks),
        "p99 / p50 of 50 callers": statistics.median(tails),
        "p99 / p50 of 50 tasks": statistics.median(task_tails),
    }
    answer = hashlib.sha256(f"{held} {clean}".encode()).hexdigest()[:12]
    if not clean:
        raise SystemExit("an audit is not clean: nothing that was timed counts")
    gc.unfreeze()
    waits.sort()
    crowded = {"one a second": statistics.median(alone), "50 a second": statistics.median(crowd)}
    crowded |= {f"50 p{100 * q:g}": waits[int(q * len(waits))] for q in (0.5, 0.99, 0.999)}
    return {
        "machine": machine(),
        "bytes": len(page),
        "rows": summary(figures),
        "singles": singles,
        "crowd": crowded,
        "ratios": ratios,
        "answer": answer,
    }


def show(report: dict[str, Any]) -> None:
    """The table and the ratios."""
    print(f"{report['machine']}; {report['bytes']} bytes a reserve; answers {report['answer']}")
    print_rows(report["rows"], "memory reserve")
    print(f"\n{'single calls, us':28}{'p50':>10}{'p99':>10}{'p99.9':>10}{'max':>10}")
    for name, row in report["singles"].items():
        print(f"{name:28}" + "".join(f"{value * 1e6:10.1f}" for value in row.values()))
    crowd = report["crowd"]
    print(
        f"\nSQLite full: one caller {crowd['one a second']:.0f} a second, 50 callers {crowd['50 a second']:.0f}, ",
        end="",
    )
    print("p50, p99, p99.9 of 50 in ms " + ", ".join(f"{1e3 * crowd[f'50 p{q}']:.2f}" for q in ("50", "99", "99.9")))
    for name, value in report["ratios"].items():
        print(f"{name:40}{value:8.2f}   target {TARGETS[name]}")


def test_the_bench_runs_small() -> None:
    report = measure(2, 4, 20)
    assert set(report["ratios"]) == set(TARGETS)
    assert report["bytes"] > 4_096


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    command_line(
        __doc__,
        arguments,
        quick=lambda: measure(2, 4, 20),
        full=lambda rounds: measure(min(rounds, 40), 40, 2_000),
        show=show,
    )


if __name__ == "__main__":
    main()
