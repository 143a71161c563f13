"""The SQLite file: failures by name, processes, forks, schema, and a checker that reads rows and not the API."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from tests.forks import forked, is_true_of
from tests.reservation import clients, raw_rows
from tests.servers import Cluster
from tests.warm import Child

from equipoise.errors import StoreCorrupt, StoreTimeout, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook, sqlite_writes
from equipoise.reservation import sqlite as store
from equipoise.reservation import sqlite_engine as engine
from equipoise.reservation.awaited import RequestMaker
from equipoise.reservation.group import Group, GroupMember
from equipoise.reservation.order_calls import Policy
from equipoise.reservation.records import BookOrder, Outcome
from equipoise.reservation.sqlite import SqliteBook, wal_reset_is_fixed

Make = Callable[..., Order]
A = "acc"

needs_apsw = pytest.mark.skipif(engine.apsw is None, reason="the extra `sqlite` (apsw) is not installed")


def url(path: Path, durability: str = "normal") -> str:
    return f"sqlite:///{path}?durability={durability}"


def beside(book: SqliteBook, path: Path) -> Any:
    """Another connection of the same library: two libraries in one process do not see each other's file locks."""
    return engine.open_engine(str(path), through_apsw=book._apsw)


def unavailable(step: Callable[[], object]) -> bool:
    """Whether a call says so."""
    try:
        step()
    except StoreUnavailable:
        return True
    return False


def check_rows(path: Path) -> dict[str, tuple[int, int]]:
    """What a checker that knows the tables only makes of the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as rows:
        return raw_rows.check(rows)


def test_a_reopened_file_has_everything_and_answers_old_ids(sqlite_path: Path, order: Make, clock: Any) -> None:
    with ReservationBook.connect(url(sqlite_path, "full"), clock=clock) as book:
        book.open_account(A, "1", rule="sum")
        first = book.reserve(A, [order(lots=2, hold=10)], request_id="r")
        filled = book.fill(A, "r:0", 1, fill_id="f")
        kept = (book.account(A), book.orders(A, every=True), book.history(A))
    with ReservationBook.connect(url(sqlite_path), clock=clock) as book:
        assert (book.account(A), book.orders(A, every=True), book.history(A)) == kept
        again = book.reserve(A, [order(lots=2, hold=10)], request_id="r")
        assert (again.code, again.orders) == (Code.DUPLICATE, first.orders)
        assert book.fill(A, "r:0", 1, fill_id="f").version == filled.version
        assert book.audit(A).findings == ()
    assert check_rows(sqlite_path) == {A: (5, 10)}


@needs_apsw
def test_symbols_that_are_asked_for_and_never_held_take_no_memory(sqlite_path: Path, order: Make) -> None:
    with SqliteBook(str(sqlite_path), durability="normal") as book:
        book.open_account(A, 1)
        assert book.reserve(A, [order(hold=1, symbol="held")], request_id="r").ok
        for n in range(20):
            asked = [order(hold=2_000_000, symbol=f"{n}")]
            assert book.reserve(A, asked, request_id=f"{n}").code is Code.INSUFFICIENT_MARGIN
        # What was held is there for the next transaction, and nothing else.
        assert list(book._views[A].totals) == [("held", "")]


def test_views_show_decimals(sqlite_path: Path, order: Make) -> None:
    with ReservationBook.connect(url(sqlite_path)) as book:
        book.open_account(A, "-1.05", scale=2)
        book.open_account("b", 7, scale=0)
        book.reserve("b", [order(order_id="o")], request_id="r", holds=[2])
    with closing(sqlite3.connect(sqlite_path)) as rows:
        amounts = rows.execute("SELECT account_id, balance, free, used_margin_all FROM account_amounts").fetchall()
        held = rows.execute("SELECT order_id, reserved_margin FROM order_amounts").fetchall()
    assert amounts == [(A, "-1.05", "-1.05", "0.00"), ("b", "7", "5", "2")]
    assert held == [("o", "2")]


def test_durability_is_what_was_named(sqlite_path: Path) -> None:
    for name, level in (("full", 2), ("normal", 1)):
        with ReservationBook.connect(url(sqlite_path, name)) as book:
            connection = book._ready()  # type: ignore[attr-defined]
            assert connection.execute("PRAGMA synchronous").fetchall() == [(level,)]
            assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
            assert connection.execute("PRAGMA wal_autocheckpoint").fetchall() == [(4_000,)]


def without_index(path: Path, before: tuple[str, ...], unseen: str, index: str = "orders_live") -> None:
    """Plant a contradiction: run a statement while the file knows nothing of one of its indexes."""
    named = f"name = '{index}'"
    with closing(sqlite3.connect(path, isolation_level=None)) as rows:
        for statement in before:
            rows.execute(statement)
        entry = rows.execute(f"SELECT * FROM sqlite_master WHERE {named}").fetchone()
        rows.execute("PRAGMA writable_schema = 1")
        rows.execute(f"DELETE FROM sqlite_master WHERE {named}")
    with closing(sqlite3.connect(path, isolation_level=None)) as rows:
        rows.execute(unseen)
        rows.execute("PRAGMA writable_schema = 1")
        rows.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", entry)


ALL_BUT_ID = ", ".join(name for name in BookOrder._fields if name != "order_id")
COPY = f"INSERT INTO orders (account_id, place_made, order_id, {ALL_BUT_ID}) SELECT account_id, place_made"
CONTRADICTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "record without entry": (
        (
            "CREATE TABLE kept AS SELECT * FROM orders WHERE order_id = 'late'",
            "DELETE FROM orders WHERE order_id = 'late'",
        ),
        f"{COPY}, order_id, {ALL_BUT_ID} FROM kept",
    ),
    "entry at another time": ((), "UPDATE orders SET deadline_us = deadline_us - 10000000 WHERE order_id = 'late'"),
}


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
@pytest.mark.parametrize("planted", list(CONTRADICTIONS))
def test_i14_an_index_of_the_file_that_contradicts_its_records_is_found_and_made_anew(
    sqlite_path: Path, planted: str, through_apsw: bool, order: Make, clock: Any
) -> None:
    opened = partial(SqliteBook, str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw)
    with opened() as book:
        book.open_account(A, 1)
        for name in ("kept", "late"):
            book.reserve(A, [order(hold=10, order_id=name)], request_id=name, send="outbox")
        version = book.account(A).version
    without_index(sqlite_path, *CONTRADICTIONS[planted])
    with opened() as book:
        found = book.audit(A).findings
        assert {finding.kind for finding in found} == {"index"}
        dry = book.reconcile(A)
        assert [(item.kind, item.state) for item in dry.discrepancies] == [("index", "found")]
        assert book.account(A).version == version
        # Money does not rest on it: what is held stays held.
        assert book.account(A).all_units == 20
        assert book.reconcile(A, apply=True, operator="ann").settled
        assert [record.op for record in book.history(A, after_version=version)] == ["repair"]
        assert book.audit(A).findings == ()
    with closing(sqlite3.connect(sqlite_path)) as rows:
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with opened() as book:
        assert book.audit(A).findings == ()
        assert {found.order_id for found in book.orders(A)} == {"kept", "late"}
        assert [entry.order_ids for entry in book.outbox(A)] == [("kept",), ("late",)]
        clock.advance(60)
        assert book.sweep(A).granted == ("kept", "late")
        assert book.account(A).all_units == 0


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_i14_an_entry_of_the_files_index_without_a_record_is_passed_over(
    sqlite_path: Path, through_apsw: bool, order: Make, clock: Any
) -> None:
    # Not every version of the engine finds it.
    opened = partial(SqliteBook, str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw)
    with opened() as book:
        book.open_account(A, 1)
        book.reserve(A, [order(hold=10, order_id="late")], request_id="late")
    copy = f"{COPY} + (3 << 32), 'ghost', {ALL_BUT_ID} FROM orders WHERE order_id = 'late'"
    without_index(sqlite_path, (copy,), "DELETE FROM orders WHERE order_id = 'ghost'")
    with opened() as book:
        assert {finding.kind for finding in book.audit(A).findings} <= {"index"}
        clock.advance(60)
        assert [found.order_id for found in book.orders(A, overdue=True)] == ["late"]
        assert book.sweep(A).granted == ("late",)
        assert book.orders(A) == ()
        # It comes to life with the order made at its place, which is then in the index twice and released once.
        book.reserve(A, [order(hold=7, order_id="stays")], request_id="s", send="caller")
        assert book.reserve(A, [order(hold=10, order_id="ghost")], request_id="g").ok
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}
        clock.advance(60)
        assert book.sweep(A).granted == ("stays", "ghost")
        assert book.account(A).all_units == 7
        assert book.reserve(A, [order(hold=10, order_id="new")], request_id="n").ok
        book.reconcile(A, apply=True)
        assert book.audit(A).findings == ()
        assert {found.order_id for found in book.orders(A)} == {"stays", "new"}


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_orders_that_are_let_go_of_are_found_by_their_ids(
    sqlite_path: Path, through_apsw: bool, order: Make, clock: Any
) -> None:
    said: list[str] = []
    with SqliteBook(str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw) as book:
        book.open_account(A, 1)
        for name, wait in (("old", 100_000), ("ended", 10)):
            assert book.reserve(A, [order(hold=10)], request_id=name).ok
            assert book.cancel(A, f"{name}:0").ok
            clock.advance(wait)
        execute = book._ready().execute

        def listen(sql: str, *values: Any) -> Any:
            said.append(sql)
            return execute(sql, *values)

        book._ready().execute = listen  # type: ignore[method-assign]
        assert book.archive(A, compact_after_s=1).ok
        by_id = [sql for sql in said if "IN (SELECT value" in sql and "orders " in sql]
        assert len(by_id) == 2
        for sql in by_id:
            plan = execute(f"EXPLAIN QUERY PLAN {sql}", ("x",) * sql.count("?")).fetchall()
            assert "orders_by_id (account_id=? AND order_id=?)" in plan[0][3]


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
@pytest.mark.parametrize("also_derived", [False, True])
@pytest.mark.parametrize("name", ["other", "late"])
def test_a_file_whose_index_over_order_ids_lacks_one_is_not_opened(
    sqlite_path: Path, through_apsw: bool, also_derived: bool, name: str, order: Make, clock: Any
) -> None:
    # The order could be held for again under its id.
    opened = partial(SqliteBook, str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw)
    with opened() as book:
        book.open_account(A, 1)
        for held in ("kept", "late", "last"):
            book.reserve(A, [order(hold=10, order_id=held)], request_id=held)
    if also_derived:  # before the other in the engine's list
        without_index(sqlite_path, (), "UPDATE orders SET deadline_us = deadline_us - 10000000 WHERE order_id = 'kept'")
    index = "orders_by_id"
    without_index(sqlite_path, (), f"UPDATE orders SET order_id = '{name}' WHERE order_id = 'last'", index)
    with pytest.raises(StoreCorrupt, match=index):
        opened()
    with closing(sqlite3.connect(sqlite_path)) as rows:
        if name == "late":  # which is there twice now
            with pytest.raises(sqlite3.IntegrityError, match="orders"):
                rows.execute("REINDEX")
            return
        rows.execute("REINDEX")
    with opened() as book:
        assert {found.order_id for found in book.orders(A)} == {"kept", "other", "late"}


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 54, 1), True),
    ],
)
def test_which_versions_may_share_a_file(version: tuple[int, int, int], fixed: bool) -> None:
    assert wal_reset_is_fixed(version) is fixed


@pytest.mark.skipif(
    wal_reset_is_fixed(engine.engine_version(through_apsw=False)), reason="this sqlite3 may share the file"
)
def test_an_old_stdlib_sqlite_opens_one_process_only(sqlite_path: Path) -> None:
    with SqliteBook(str(sqlite_path), through_apsw=False) as book:
        assert "one process only" in book.engine
        with pytest.raises(StoreUnavailable, match="open elsewhere"):
            SqliteBook(str(sqlite_path), through_apsw=False)
        assert is_true_of(forked(lambda: unavailable(book.accounts)))
        assert book.accounts() == ()
    SqliteBook(str(sqlite_path), through_apsw=False).close_book()


@needs_apsw
def test_what_is_remembered_of_an_account_gives_way_to_what_another_book_wrote(sqlite_path: Path, order: Make) -> None:
    with ReservationBook.connect(url(sqlite_path)) as one, ReservationBook.connect(url(sqlite_path)) as other:
        one.open_account(A, "0.000100")
        books = [one, other]
        for n in range(20):
            # Each has seen the account as the other found it.
            assert books[n % 2].reserve(A, [order(hold=5)], request_id=f"r{n}").version == n + 2
        assert one.reserve(A, [order(hold=1)], request_id="over").code is Code.INSUFFICIENT_MARGIN
        assert other.cancel(A, "r0:0").ok
        assert one.reserve(A, [order(hold=5)], request_id="again").ok
        assert one.execute(A, order(hold=0), request_id="x", margin=0).ok
        assert other.fill(A, "r1:0", 1, fill_id="f").ok
        assert one.reserve(A, [order(hold=1)], request_id="full").code is Code.INSUFFICIENT_MARGIN
        assert one.audit(A).ok


def test_after_a_fork_the_sqlite_book_reopens_and_both_go_on(sqlite_path: Path, order: Make) -> None:
    with SqliteBook(str(sqlite_path), durability="normal", through_apsw=True) as book:
        book.open_account(A, "1")
        assert is_true_of(forked(lambda: book.reserve(A, [order(hold=3)], request_id="child").ok))
        assert book.reserve(A, [order(hold=4)], request_id="parent").ok
        assert book.account(A).all_units == 7
        assert book.audit(A).findings == ()
    check_rows(sqlite_path)


@needs_apsw
@pytest.mark.parametrize("anew", [False, True])
def test_a_fork_goes_on_in_the_file_after_its_parent_has_closed_the_book(
    sqlite_path: Path, order: Make, anew: bool
) -> None:
    """SQLite knows by process which locks it has: a child that took that along would write into a log that is gone."""
    closed, close = os.pipe()
    book = ReservationBook.connect(url(sqlite_path))
    book.open_account(A, "0.000010")

    def child() -> bool:
        mine = ReservationBook.connect(url(sqlite_path)) if anew else book
        assert mine.reserve(A, [order(hold=1)], request_id="first").ok
        os.read(closed, 1)
        return all(mine.reserve(A, [order(hold=1)], request_id=f"r{n}").ok for n in range(7))

    running = forked(child)
    with ReservationBook.connect(url(sqlite_path)) as watched:
        Cluster.until(lambda: watched.account(A).all_units == 1)
    book.close_book()
    os.write(close, b"x")
    assert is_true_of(running)
    with ReservationBook.connect(url(sqlite_path)) as third:
        assert third.account(A).all_units == 8
        assert third.reserve(A, [order(hold=3)], request_id="over").code is Code.INSUFFICIENT_MARGIN
        assert third.audit(A).ok
    check_rows(sqlite_path)


@needs_apsw
def test_forks_while_threads_are_in_steps_find_a_book_that_works(sqlite_path: Path) -> None:
    with ReservationBook.connect(url(sqlite_path)) as book:
        book.open_account(A, "1")
        ended = threading.Event()
        done: list[int] = []

        def work(name: int) -> None:
            while not ended.is_set():
                book.deposit(A, "0.000001", request_id=f"t{name}-{len(done)}")
                done.append(1)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        forks = 12
        children = [
            forked(lambda n=n: book.deposit(A, "0.000001", request_id=f"c{n}").ok)  # type: ignore[misc]
            for n in range(forks)
        ]
        assert [is_true_of(child) for child in children] == [True] * forks
        ended.set()
        for thread in threads:
            thread.join()
        assert book.account(A).version >= 1 + forks
        assert (
            len({record.ident for record in book.history(A, limit=100_000)} & {f"c{n}" for n in range(forks)}) == forks
        )
        assert book.audit(A).ok
    check_rows(sqlite_path)


@needs_apsw
def test_a_fork_that_finds_the_file_in_use_is_refused_in_the_child(sqlite_path: Path, order: Make) -> None:
    book = SqliteBook(str(sqlite_path), timeout_ms=1_000)
    book.open_account(A, "1")
    with book._lock:  # as a signal handler finds it that forks in the middle of a step
        child = forked(lambda: unavailable(lambda: book.reserve(A, [order(hold=3)], request_id="child")))
    assert is_true_of(child)
    assert book.reserve(A, [order(hold=4)], request_id="parent").ok
    assert is_true_of(forked(lambda: book.reserve(A, [order(hold=5)], request_id="next").ok))
    assert book.account(A).all_units == 9
    book.close_book()


def test_after_a_fork_a_memory_book_raises(order: Make) -> None:
    book = ReservationBook.connect("memory:")
    book.open_account(A, "1")
    calls: list[Callable[[], object]] = [
        lambda: book.reserve(A, [order(hold=3)], request_id="child"),
        lambda: book.account(A),
        book.accounts,
        lambda: book.orders(A),
        lambda: book.audit(A),
    ]
    with book._lock:  # type: ignore[attr-defined] # as it is while another thread takes a step
        child = forked(lambda: all(map(unavailable, calls)) and book.close_book() is None)  # type: ignore[func-returns-value]
    assert is_true_of(child)


def test_a_closed_book_is_unavailable(book: ReservationBook) -> None:
    book.close_book()
    book.close_book()
    with pytest.raises(StoreUnavailable, match="closed"):
        book.deposit(A, 1, request_id="d")
    with pytest.raises(StoreUnavailable, match="closed"):
        book.accounts()


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
class TestFailures:
    """What the engine says, and what the caller gets."""

    @pytest.fixture
    def opened(self, sqlite_path: Path, through_apsw: bool, order: Make) -> Any:
        book = SqliteBook(str(sqlite_path), durability="normal", timeout_ms=50, through_apsw=through_apsw)
        book.open_account(A, "1")
        book.reserve(A, [order(hold=10, order_id="o")], request_id="r")
        with book:
            yield book

    def test_i7_a_busy_file_is_unavailable_and_grants_nothing(
        self, opened: SqliteBook, sqlite_path: Path, order: Make
    ) -> None:
        with closing(beside(opened, sqlite_path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                opened.reserve(A, [order(hold=1)], request_id="q")
            other.execute("ROLLBACK")
        assert opened.account(A).all_units == 10
        assert opened.reserve(A, [order(hold=1)], request_id="q").code is Code.OK

    def test_i7_a_full_file_is_unavailable_and_grants_nothing(self, opened: SqliteBook, order: Make) -> None:
        connection = opened._ready()
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

        def fill_up() -> None:
            for n in range(1000):
                attempts.append(n)
                assert opened.reserve(A, [order(hold=1)] * 40, request_id=f"q{n}").ok

        attempts: list[int] = []
        with pytest.raises(StoreUnavailable, match="full"):
            fill_up()
        connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        assert opened.audit(A).findings == ()
        assert opened.reserve(A, [order(hold=1)] * 40, request_id=f"q{attempts[-1]}").code is Code.OK

    def test_an_error_at_commit_is_a_timeout_and_the_same_id_settles_it(
        self, opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Torn:
            """Passes everything on; COMMIT is done, and its answer lost."""

            def __init__(self, inner: Any) -> None:
                self.inner = inner

            def execute(self, sql: str, *values: Any) -> Any:
                answer = self.inner.execute(sql, *values)
                if sql == "COMMIT":
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                    raise error
                return answer

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        assert opened._scale(A) == 6
        opened._connection = Torn(opened._connection)  # type: ignore[assignment]
        with pytest.raises(StoreTimeout):
            opened.fill(A, "o", 1, fill_id="f")
        assert opened.fill(A, "o", 1, fill_id="f").code is Code.DUPLICATE
        assert opened.account(A).executed_units == 10

    def test_a_row_that_is_no_record_is_corrupt_and_no_total_is_lowered(
        self, opened: SqliteBook, sqlite_path: Path, order: Make
    ) -> None:
        with closing(beside(opened, sqlite_path)) as other:
            other.execute("UPDATE orders SET state = 'GONE'")
        with pytest.raises(StoreCorrupt):
            opened.fill(A, "o", 1, fill_id="f")
        with pytest.raises(StoreCorrupt):
            opened.orders(A, every=True)
        assert opened.account(A).all_units == 10

    def test_i7_pages_damaged_under_an_open_book_are_corrupt_and_grant_nothing(
        self, sqlite_path: Path, through_apsw: bool, order: Make
    ) -> None:
        with SqliteBook(str(sqlite_path), durability="normal", through_apsw=through_apsw) as book:
            book.open_account(A, "1")
            for n in range(60):
                book.reserve(A, [order(hold=1)] * 20, request_id=f"r{n}")
        # By another process: in this one, closing the file would drop the locks of the book.
        damage = (
            "import sys; f = open(sys.argv[1], 'r+b'); f.seek(0, 2); size = f.tell()\n"
            "for page in range(1, size // 4096): f.seek(page * 4096); f.write(b'\\xff' * 64)"
        )
        with SqliteBook(str(sqlite_path), durability="normal", through_apsw=through_apsw) as book:
            book._ready().execute("PRAGMA cache_size = 0").fetchall()
            subprocess.run([sys.executable, "-c", damage, str(sqlite_path)], check=True)
            for step in (
                lambda: book.reserve(A, [order(hold=1)], request_id="q"),
                lambda: book.cancel(A, "r7:3"),
                lambda: book.account(A),
                lambda: book.orders(A),
                lambda: book.audit(A),
            ):
                with pytest.raises(StoreCorrupt):
                    step()

    def test_a_missing_table_is_corrupt(self, opened: SqliteBook, sqlite_path: Path) -> None:
        with closing(beside(opened, sqlite_path)) as other:
            other.execute("DROP TABLE symbols")
        with pytest.raises(StoreCorrupt, match="symbols"):
            opened.fill(A, "o", 1, fill_id="f")

    def test_an_interrupt_in_a_step_rolls_back(
        self, opened: SqliteBook, order: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def torn(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(sqlite_writes.AccountWrites, "take_ladder", torn)
            with pytest.raises(KeyboardInterrupt):
                opened.reserve(A, [order(hold=1)], request_id="q")
        assert opened.reserve(A, [order(hold=1)], request_id="q").code is Code.OK
        assert opened.audit(A).findings == ()


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_a_file_that_is_no_database_or_is_torn_is_corrupt_at_open(sqlite_path: Path, through_apsw: bool) -> None:
    sqlite_path.write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(StoreCorrupt):
        SqliteBook(str(sqlite_path), through_apsw=through_apsw)
    sqlite_path.unlink()
    with SqliteBook(str(sqlite_path), through_apsw=through_apsw) as book:
        for n in range(200):
            book.open_account(f"a{n}", n)
    image = bytearray(sqlite_path.read_bytes())
    image[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    sqlite_path.write_bytes(image)
    with pytest.raises(StoreCorrupt):
        SqliteBook(str(sqlite_path), through_apsw=through_apsw)


def test_the_database_of_another_program_is_refused_and_left_alone(sqlite_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_path)) as other, other:
        other.execute("CREATE TABLE theirs (x)")
    image = sqlite_path.read_bytes()
    with pytest.raises(StoreCorrupt, match="something else"):
        ReservationBook.connect(url(sqlite_path))
    assert sqlite_path.read_bytes() == image


@pytest.mark.skipif(
    not wal_reset_is_fixed(engine.engine_version(through_apsw=engine.apsw is not None)), reason="one process"
)
def test_a_book_whose_file_was_replaced_grants_nothing_and_leaves_the_new_files_log(
    sqlite_path: Path, order: Make
) -> None:
    earlier = sqlite_path.with_name("earlier.db")
    with SqliteBook(str(sqlite_path)) as book:
        assert book.open_account("a", "1").ok
    earlier.write_bytes(sqlite_path.read_bytes())
    book = SqliteBook(str(sqlite_path))
    assert book.reserve("a", [order(hold=1_000_000)], request_id="before").ok
    # Put back under the open book, as nobody should: its own file goes on without a name.
    for end in ("-wal", "-shm"):
        sqlite_path.with_name(sqlite_path.name + end).unlink()
    earlier.replace(sqlite_path)
    with SqliteBook(str(sqlite_path)) as other:
        assert other.reserve("a", [order(hold=1_000_000)], request_id="after").ok
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced"):
                book.cancel("a", "before:0")
            with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced"):
                book.account("a")
        book.close_book()
        log = sqlite_path.with_name(f"{sqlite_path.name}-wal")
        assert log.stat().st_size > 0
        with SqliteBook(str(sqlite_path)) as third:
            assert [kept.order_id for kept in third.orders("a")] == ["after:0"]


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_a_book_whose_file_was_deleted_does_not_begin_another_one(
    sqlite_path: Path, through_apsw: bool, order: Make
) -> None:
    with SqliteBook(str(sqlite_path), through_apsw=through_apsw) as book:
        assert book.open_account("a", "1").ok
        sqlite_path.unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced"):
                book.reserve("a", [order(hold=1)], request_id="r")
        with pytest.raises(StoreUnavailable, match="was moved, deleted or replaced"):
            book.accounts()
    assert not sqlite_path.exists()


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_a_book_whose_file_a_newer_version_has_lifted_writes_nothing_more(
    sqlite_path: Path, through_apsw: bool, order: Make
) -> None:
    with SqliteBook(str(sqlite_path), through_apsw=through_apsw) as book:
        assert book.open_account("a", "1").ok
        newer = engine.open_engine(str(sqlite_path), through_apsw=through_apsw)
        newer.execute(f"PRAGMA user_version = {store.SCHEMA_VERSION + 1}")
        newer.close()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=f"has schema {store.SCHEMA_VERSION + 1}"):
                book.reserve("a", [order(hold=1)], request_id="r")
        assert book.orders("a") == ()


@pytest.mark.parametrize("meanwhile", ["lifted", "moved"])
@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_a_file_that_was_lifted_or_moved_before_steps_run_again_one_by_one_gets_none_of_them(
    sqlite_path: Path, through_apsw: bool, order: Make, clock: Any, meanwhile: str
) -> None:
    """The transaction in which one of them met a damaged record is over by then, and others have had their turn."""
    maker = RequestMaker(clock=clock, timeout_ms=5_000, horizon_s=86_400)
    calls = [maker.fill(A, "r:0", 1, fill_id="f"), maker.reserve(A, [order(hold=1)], request_id="s")]
    with SqliteBook(str(sqlite_path), clock=clock, through_apsw=through_apsw) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=1)], request_id="r")
        other = beside(book, sqlite_path)
        other.execute("UPDATE orders SET state = 'GONE'")
        connection = book._ready()
        execute, begun = connection.execute, list[str]()

        def between(sql: str, *values: Any) -> Any:
            if sql == "BEGIN IMMEDIATE":
                begun.append(sql)
                if len(begun) == 2 and meanwhile == "lifted":
                    other.execute(f"PRAGMA user_version = {store.SCHEMA_VERSION + 1}")
                elif len(begun) == 2:
                    sqlite_path.rename(sqlite_path.with_suffix(".old"))
            return execute(sql, *values)

        connection.execute = between
        group = Group([GroupMember(cast(Any, request)) for request in calls])
        book._run_group(group)
        assert len(begun) == 2
        for member in group:
            with pytest.raises(StoreUnavailable, match="has schema" if meanwhile == "lifted" else "was moved"):
                member.answer()
        assert other.execute("SELECT count(*) FROM journal").fetchall() == [(2,)]
        other.close()


def test_a_directory_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        ReservationBook.connect(url(tmp_path / "nowhere" / "margin.db"))


def test_the_schema_is_versioned_lifted_and_never_lowered(
    sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ReservationBook.connect(url(sqlite_path)).close_book()
    now = store.SCHEMA_VERSION
    lift = tmp_path / "lift.sql"
    lift.write_text("CREATE TABLE lifted (x INTEGER) STRICT;")
    monkeypatch.setattr(store, "SCHEMA_VERSION", now + 1)
    monkeypatch.setitem(store.MIGRATIONS, now, str(lift))
    ReservationBook.connect(url(sqlite_path)).close_book()
    with closing(sqlite3.connect(sqlite_path)) as rows:
        assert rows.execute("PRAGMA user_version").fetchone() == (now + 1,)
        assert rows.execute("SELECT count(*) FROM lifted").fetchone() == (0,)
        assert rows.execute("SELECT count(*) FROM account_amounts").fetchone() == (0,)
    monkeypatch.setattr(store, "SCHEMA_VERSION", now)
    with pytest.raises(StoreUnavailable, match=f"schema {now + 1}"):
        ReservationBook.connect(url(sqlite_path))


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5, 6, 7])
def test_a_book_of_an_earlier_schema_is_lifted_with_everything_in_it(
    sqlite_path: Path, project_root: Path, schema: int, through_apsw: bool, order: Make, clock: Any
) -> None:
    with closing(sqlite3.connect(sqlite_path)) as rows:
        rows.executescript((project_root / f"tests/vectors/book_schema_{schema}.sql").read_text())
        held = "SELECT order_id, state, hold, filled, working FROM orders WHERE account_id = 'acc' ORDER BY place_made"
        before = rows.execute(held).fetchall()
        if schema > 1:
            assert rows.execute("SELECT count(*) FROM outbox").fetchone() == (2,)
            clock.now_us = 1_700_090_002_000_000
    with SqliteBook(str(sqlite_path), clock=clock, through_apsw=through_apsw) as book:
        kept = [(o.order_id, o.state, o.hold, o.filled, o.working) for o in book.orders("acc", every=True)]
        assert kept == before
        for account_id in book.accounts():
            assert book.audit(account_id).findings == ()
        assert book.fill("acc", "v-a", 2, fill_id="f", margin="0.000019", fee="0.000001").code is Code.DUPLICATE
        assert book.deposit("desk", 1, request_id="d", issued_at_us=clock()).code is Code.DUPLICATE
        if schema == 1:
            assert book.amend("acc", "a", 4, "0.00006", event_id="a").ok
        else:
            assert [entry.order_ids for entry in book.outbox("acc")] == [("a", "b", "c"), ("late",)]
            assert book.settle_amend("acc", "a2", "accepted", amend_id="m").ok
        entries = len(book.outbox("acc"))
        assert book.reserve("acc", [order(lots=2, hold=9), order(hold=1)], request_id="new", send="outbox").ok
        assert len(book.outbox("acc")) == entries + 1
        made = [name for name, *_ in before] + ["new:0", "new:1"]
        assert [o.order_id for o in book.orders("acc", every=True)] == made
        assert book.close("desk", "t", event_id="c", realised_pnl=0).ok
        for account_id in book.accounts():
            assert book.audit(account_id).findings == ()
    fresh = sqlite_path.with_name("fresh.db")
    SqliteBook(str(fresh), through_apsw=through_apsw).close_book()
    shapes = []
    for path in (sqlite_path, fresh):
        with closing(sqlite3.connect(path)) as rows:
            names = [row[0] for row in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
            shape = "PRAGMA table_info({})", "PRAGMA index_list({})"
            tables = {n: [rows.execute(sql.format(n)).fetchall() for sql in shape] for n in names}
            others = rows.execute("SELECT type, name FROM sqlite_master WHERE type <> 'table' ORDER BY 1, 2").fetchall()
            shapes.append((tables, others, rows.execute("PRAGMA user_version").fetchone()))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_what_an_earlier_schema_has_answered_is_answered_again_from_the_lifted_file(
    sqlite_path: Path, project_root: Path, through_apsw: bool, order: Make, clock: Any
) -> None:
    with closing(sqlite3.connect(sqlite_path)) as rows:
        rows.executescript((project_root / "tests/vectors/book_schema_6.sql").read_text())
    clock.now_us, ask = 1_700_090_003_000_000, partial(order, price_ticks=1)
    with SqliteBook(str(sqlite_path), clock=clock, through_apsw=through_apsw) as book:
        both = [ask(lots=2, hold=30, order_id="h1"), ask("ask", hold=40, order_id="h2")]
        whole = book.reserve("whole", both, request_id="all")
        assert (whole.code, whole.version, whole.granted) == (Code.DUPLICATE, 2, ("h1", "h2"))
        some = [ask(hold=200, order_id="x"), ask(hold=7, order_id="p")]
        part = book.reserve("whole", some, request_id="part", policy="best_effort")
        assert (part.code, part.version, part.granted) == (Code.DUPLICATE, 3, ("p",))
        assert book.reserve("whole", [ask(hold=1)], request_id="gone").code is Code.REQUEST_ABANDONED


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_what_the_seventh_schema_has_answered_by_its_journal_is_answered_again_from_the_lifted_file(
    sqlite_path: Path, project_root: Path, through_apsw: bool, order: Make, clock: Any
) -> None:
    with closing(sqlite3.connect(sqlite_path)) as rows:
        rows.executescript((project_root / "tests/vectors/book_schema_7.sql").read_text())
    clock.now_us, ask = 1_700_090_003_000_000, partial(order, price_ticks=1)
    with SqliteBook(str(sqlite_path), clock=clock, through_apsw=through_apsw) as book:
        both = [ask(lots=2, hold=3, order_id="k1"), ask("ask", lots=5, hold=4, order_id="k2")]
        held = book.account("whole")
        some = [ask(lots=5, hold=10**9, order_id="k4"), ask(lots=5, hold=1, order_id="k5")]
        asked: dict[str, tuple[list[Any], Policy, int, tuple[str, ...]]] = {
            "kept": (both, "all_or_nothing", 6, ("k1", "k2")),
            "best": ([ask(lots=5, hold=2, order_id="k3")], "best_effort", 7, ("k3",)),
            "some": (some, "best_effort", 8, ("k5",)),
        }
        for request, (content, policy, version, granted) in asked.items():
            again = book.reserve("whole", content, request_id=request, policy=policy)
            assert (again.code, again.version, again.granted) == (Code.DUPLICATE, version, granted)
        assert book.reserve("whole", both[:1], request_id="kept").code is Code.REQUEST_CONFLICT
        assert book.account("whole") == held
        # Of another account at the same version.
        twin = [ask(lots=5, hold=9, order_id="t")]
        assert book.reserve("twin", twin, request_id="kept").granted == ("t",)


def test_a_reservation_held_whole_is_answered_again_from_its_journal_record(sqlite_path: Path, order: Make) -> None:
    ladders: dict[str, tuple[list[str], Policy]] = {
        "whole": (["0.003", "0.004"], "all_or_nothing"),
        "best": (["0.005", "0.006"], "best_effort"),
        "part": (["10", "0.007"], "best_effort"),
    }

    def ask(book: ReservationBook, name: str) -> Outcome:
        holds, policy = ladders[name]
        orders = [order(), order("ask")]
        return book.reserve(A, orders, request_id=name, holds=holds, policy=policy, owner="o", send="outbox")

    with SqliteBook(str(sqlite_path), durability="normal") as book:
        book.open_account(A, "1", currency="KWD", scale=3)
        first = {name: ask(book, name) for name in ladders}
        assert [len(outcome.granted) for outcome in first.values()] == [2, 2, 1]
        book.cancel(A, "whole:0")
    again = {name: outcome._replace(code=Code.DUPLICATE) for name, outcome in first.items()}
    with SqliteBook(str(sqlite_path), durability="normal") as book:
        assert {name: ask(book, name) for name in ladders} == again
        kept = book._ready().execute("SELECT ident, outcome IS NULL, version FROM requests")
        answered = [row for row in sorted(kept.fetchall()) if row[0] in ladders]
        assert answered == [("best", 1, first["best"].version), ("part", 0, None), ("whole", 1, first["whole"].version)]
        with closing(beside(book, sqlite_path)) as other:
            other.execute("DELETE FROM journal WHERE version = 2")
            other.execute("UPDATE journal SET fingerprint = NULL WHERE version = 3")
        held = book.account(A)
        for version, name in ((2, "whole"), (3, "best")):
            with pytest.raises(StoreCorrupt, match=f"no reservation at version {version}"):
                ask(book, name)
        assert book.account(A) == held
        assert ask(book, "part") == again["part"]
        assert book.reserve(A, [order()], request_id="new", holds=["0.001"]).ok


@pytest.mark.parametrize("through_apsw", [pytest.param(True, marks=needs_apsw), False])
def test_what_an_earlier_schema_took_for_not_overdue_is_overdue_once_the_file_is_lifted(
    sqlite_path: Path, project_root: Path, through_apsw: bool, clock: Any
) -> None:
    with closing(sqlite3.connect(sqlite_path)) as rows:
        rows.executescript((project_root / "tests/vectors/book_schema_5.sql").read_text())
        listed = "SELECT order_id, due_us FROM orders WHERE account_id = 'asked' ORDER BY order_id"
        later = 1_700_093_602_000_000
        assert rows.execute(listed).fetchall() == [("amended", later), ("cancelled", later)]
    clock.now_us = 1_700_090_005_000_000
    with SqliteBook(str(sqlite_path), clock=clock, through_apsw=through_apsw) as book:
        assert [found.order_id for found in book.orders("asked", overdue=True)] == ["amended", "cancelled"]
        assert book.sweep("asked").order_rows == ()


def test_the_file_has_each_order_due_when_its_record_says(sqlite_path: Path, order: Make, clock: Any) -> None:
    asked = (None, 3, 7)
    with SqliteBook(str(sqlite_path), durability="normal", clock=clock) as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=10, order_id="o")], request_id="r")
        execute = book._ready().execute
        for values in product(OrderState, asked, asked, (2, 5, 9), (1, 4, 8)):
            execute(
                "UPDATE orders SET state = ?, cancel_deadline_us = ?, amend_deadline_us = ?, deadline_us = ?, "
                "changed_us = ?",
                values,
            )
            found = book.order(A, "o")
            assert found is not None
            assert execute("SELECT due_us FROM orders").fetchall() == [(found.overdue_us,)], values


@needs_apsw
def test_schedule_1_8_processes_of_4_threads_on_one_file_get_exactly_what_is_free(sqlite_path: Path) -> None:
    workers, threads, room = 8, 4, 100
    with ReservationBook.connect(url(sqlite_path)) as book:
        for worker in range(workers):
            book.open_account(f"own{worker}", 1, rule="sum")
    words = [sys.executable, "-m", "tests.reservation.raw_rows", str(sqlite_path)]
    pipe = subprocess.PIPE
    checker = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert checker.stdout is not None
    assert checker.stdout.readline() == "ready\n"
    children = [Child(clients.on_file, str(sqlite_path), worker, threads) for worker in range(workers)]
    assert [next(iter(child)) for child in children] == ["ready"] * workers
    with ReservationBook.connect(url(sqlite_path)) as book:
        book.open_account("hot", "0.001000", rule="sum")
    answers = [[int(word) for word in child.killed_after(None)[0].split()] for child in children]
    assert sum(granted for granted, _ in answers) == room
    assert sum(refused for _, refused in answers) == workers * threads * clients.FILE_EACH - room
    # Over-commit was 0 at every look of a process that reads the rows and not the API, under load and after it.
    out, err = checker.communicate("stop", timeout=60)
    assert checker.returncode == 0, err
    looks, last = json.loads(out)
    assert looks > 3
    assert last["hot"] == [0, 1000]
    with ReservationBook.connect(url(sqlite_path)) as book:
        for account_id in book.accounts():
            assert book.audit(account_id).findings == ()
