"""The book in one SQLite file: the default store, for one host.

Every step is one BEGIN IMMEDIATE transaction in WAL mode; steps of callers that wait for one another share one, and
nobody is answered before its COMMIT. Through `apsw` (extra `sqlite`) the file may be shared by processes; the
standard library's SQLite has, before 3.51.3, 3.50.7 and 3.44.6, a race in resetting the WAL, so with an older one the
book holds a lock file and is open in one process only.

===============================================  ================================================================
what the engine says                             what the caller gets
===============================================  ================================================================
BUSY at BEGIN, FULL, READONLY, CANTOPEN, NOMEM   StoreUnavailable: nothing happened
an error of the file system at COMMIT            StoreTimeout: unknown; the file is reopened, ask again with the same id
CORRUPT, NOTADB, a checksum, a row that          StoreCorrupt: stop
cannot be a record of the book
nothing, and the file is not the one that was    StoreUnavailable: connect again
opened, or has a newer schema
===============================================  ================================================================
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from equipoise.errors import InputError, StoreCorrupt, StoreError, StoreUnavailable
from equipoise.reservation.audit import Holdings
from equipoise.reservation.contract import Clock, ReservationBook, Which
from equipoise.reservation.foreign import UNREADABLE
from equipoise.reservation.forks import generation, not_across_forks
from equipoise.reservation.group import Group, GroupMember, GroupQueue
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OutboxEntry,
    Outcome,
)
from equipoise.reservation.requests import Request
from equipoise.reservation.scales import OtherScale
from equipoise.reservation.sqlite_engine import (
    FAILURES,
    SQLITE_OLDEST,
    Connection,
    apsw,
    close_quietly,
    engine_version,
    failure_of,
    index_fault,
    open_engine,
    run_script,
    schema_of,
    wal_reset_is_fixed,
)
from equipoise.reservation.sqlite_rows import (
    GET_DUE,
    GET_HELD,
    GET_JOURNAL,
    GET_LIVE,
    GET_ORDERS,
    GET_OUTBOX,
    GET_SYMBOLS,
    NEVER_US,
    entry_of,
    holdings,
    journal_of,
    must_account,
    order_of,
)
from equipoise.reservation.sqlite_view import Rows, foresee
from equipoise.reservation.sqlite_workers import unsent
from equipoise.reservation.sqlite_writes import write
from equipoise.reservation.steps import STEPS
from equipoise.reservation.workers import Delivery, OutboxReader, PolledReader

__all__ = ["SqliteBook", "wal_reset_is_fixed"]

SCHEMA_VERSION = 8
APPLICATION_ID = 0x45515049
"""Written into the file's header, so that another database is not taken for a book."""
MIGRATIONS: dict[int, str] = {version: f"schema_{version}_to_{version + 1}.sql" for version in range(1, SCHEMA_VERSION)}
"""File beside this one whose SQL lifts a book from the version named to the next, in the transaction that opens it."""
VIEWS = "views.sql"
"""Made anew by every migration, because they name the columns of the tables."""

CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log (16 MB) before they are copied back into the file."""
VIEWS_MAX = 1_000
"""Accounts whose totals are remembered from one transaction to the next, about."""

_NOT_OURS: tuple[type[Exception], ...] = (StoreCorrupt, *UNREADABLE)
"""What a step raises that meets a record it can make nothing of, or a figure that no column holds."""
_FAULTS: tuple[type[Exception], ...] = (*FAILURES, *_NOT_OURS)
"""The same, or what it raises where the file fails."""

_Result = TypeVar("_Result")


class _ClockError(Exception):
    """The clock has failed in a step, or a signal has struck there: neither the file's fault nor a record's."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once a step, and a sixth quicker than through a Path
    except OSError:
        return None
    return found.st_dev, found.st_ino


class SqliteBook(ReservationBook):
    """A reservation book in a SQLite file. Opened by `ReservationBook.connect("sqlite:///...")`."""

    def __init__(
        self,
        path: str,
        *,
        durability: str = "full",
        read_only: bool = False,
        clock: Clock | None = None,
        timeout_ms: int = 5_000,
        horizon_s: int = 86_400,
        through_apsw: bool | None = None,
    ) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._path = path
        self._place = str(Path(path).absolute())
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that was opened; None before that."""
        self._durability = durability
        self._read_only = read_only
        self._timeout_ms = timeout_ms
        self._apsw = apsw is not None if through_apsw is None else through_apsw
        self._lock = threading.Lock()
        self._queue = GroupQueue()
        self._scales: dict[str, int] = {}
        self._views: dict[str, Rows] = {}
        """What was read and written of accounts, as long as the file is still as `_seen`."""
        self._seen: int | None = None
        self._generation = generation()
        self._closed = False
        self._connection: Connection | None = None
        self._index_fault = False
        """Whether the file was opened with indexes that contradict their tables."""
        self._in_doubt: Connection | None = None
        """What an interrupt kept from being closed."""
        self._lock_file: int | None = None
        self._carried: int | None = None
        """The generation at a fork that found the file in use and took it along."""
        self._known_sound = False
        """The file has been looked at since this process or the one it was forked from opened the book."""
        version = engine_version(through_apsw=self._apsw)
        if version < SQLITE_OLDEST:
            raise StoreUnavailable(f"SQLite {'.'.join(map(str, version))} is below 3.37; get equipoise[sqlite]")
        self._shared = wal_reset_is_fixed(version)
        with self._lock:
            if not self._shared:
                self._take_lock_file()
            try:
                self._connection = self._open()
            except BaseException:
                self._release_lock_file()
                raise
            self._file = _identity(self._place)
        not_across_forks(self)

    @property
    def engine(self) -> str:
        """Library and version, and whether processes may share the file."""
        library = "apsw" if self._apsw else "sqlite3"
        version = ".".join(map(str, engine_version(through_apsw=self._apsw)))
        return f"{library} {version}, {'shared by processes' if self._shared else 'one process only'}"

    # Opening ---------------------------------------------------------------------------------------------------------

    def _take_lock_file(self) -> None:
        """Keep other processes out while the WAL-reset race is not fixed."""
        import fcntl  # not on every platform; only needed with an old SQLite

        try:
            handle = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}.lock: {error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise StoreUnavailable(
                f"{self._path} is open elsewhere, and this SQLite cannot share it safely; install equipoise[sqlite]"
            ) from error
        self._lock_file = handle

    def _release_lock_file(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _open(self) -> Connection:
        """Open, check and if need be create or migrate the file."""
        self._check_file()
        connection: Connection | None = None
        try:
            connection = open_engine(self._path, through_apsw=self._apsw, read_only=self._read_only)
            connection.execute(f"PRAGMA busy_timeout = {self._timeout_ms:d}")
            self._refuse_foreign(connection)
            wanted = "" if self._read_only else " = WAL"
            mode = connection.execute(f"PRAGMA journal_mode{wanted}").fetchall()[0][0]
            if mode != "wal":
                raise StoreUnavailable(f"{self._path}: journal mode is {mode}, WAL is not possible here")  # noqa: TRY301
            # A page that many steps write is copied back once: more steps between checkpoints make each cheaper.
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'full' else 'NORMAL'}")
            if not self._known_sound:
                self._index_fault = index_fault(connection) != ""
            if self._index_fault:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
                if verdict != "ok":
                    raise StoreCorrupt(f"{self._path}: {verdict}")  # noqa: TRY301
                # An index alone is made anew from its table by `reconcile`, for which the book must be open.
            if self._read_only:
                self._refuse_schema(schema_of(connection), SCHEMA_VERSION)
            else:
                self._prepare(connection)
        except FAILURES as error:
            close_quietly(connection)
            raise failure_of(error, at_commit=False) from error
        except BaseException:
            close_quietly(connection)
            raise
        return connection

    def _check_file(self) -> None:
        """Refuse to go on once the file was moved: others open what is in its place, and grant the same margin."""
        if self._file is not None and _identity(self._place) != self._file:
            raise StoreUnavailable(
                f"{self._path} was moved, deleted or replaced since this book opened it: connect again"
            )

    def _refuse_foreign(self, connection: Connection) -> None:
        """Leave the database of another program as it is."""
        owner = connection.execute("PRAGMA application_id").fetchall()[0][0]
        if owner != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
            raise StoreCorrupt(f"{self._path} is a database of something else")

    def _refuse_schema(self, version: int, oldest: int) -> None:
        """Leave a book alone that a newer version has written, or that cannot be lifted because it is only read."""
        if not oldest <= version <= SCHEMA_VERSION:
            raise StoreUnavailable(f"{self._path} has schema {version}, this version knows {SCHEMA_VERSION}")

    def _prepare(self, connection: Connection) -> None:
        """Create the schema, or lift it to this version."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = schema_of(connection)
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
            if not tables:
                run_script(connection, _sql("schema.sql"))
                run_script(connection, _sql(VIEWS))
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            elif version != SCHEMA_VERSION:
                self._refuse_schema(version, 0)
                for name in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
                    connection.execute(f"DROP VIEW {name[0]}")
                for step in range(version, SCHEMA_VERSION):
                    run_script(connection, _sql(MIGRATIONS[step]))
                run_script(connection, _sql(VIEWS))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(*FAILURES):
                connection.execute("ROLLBACK")
            raise

    def _ready(self) -> Connection:
        """The open connection of this process; call under the lock."""
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._connection is None:
            self._forget_views()
            close_quietly(self._in_doubt)
            self._in_doubt = None
            self._connection = self._open()
            self._known_sound = False
        return self._connection

    def before_fork(self) -> bool:
        """Close the file: SQLite knows which locks it has by process, and a fork has the knowledge without the locks.

        Its steps would be written into a log that the parent takes away. The lock is kept until the fork is done.
        """
        if not self._lock.acquire(timeout=self._timeout_ms / 1000):
            self._carried = self._generation  # perhaps this very thread has it, and a signal has interrupted it
            return False
        self._carried = None
        self._forget_views()
        self._known_sound = self._connection is not None
        for opened in (self._connection, self._in_doubt):
            close_quietly(opened)
        self._connection = self._in_doubt = None
        return True

    def after_fork(self) -> None:
        """Both processes may open the file again."""
        self._lock.release()

    def _forget_views(self) -> None:
        self._views, self._seen = {}, None

    def _guard(self) -> threading.Lock:
        """The lock; after a fork, a fresh one with the file reopened."""
        if self._generation != generation():
            if not self._shared:
                raise StoreUnavailable("this SQLite allows one process only, and this is a fork of it")
            if self._carried == self._generation:
                # Closing the parent's connection here could remove the WAL under it: never let it be collected.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
                raise StoreUnavailable(f"{self._path} was in use while this process was forked")
            self._lock = threading.Lock()
            self._queue = GroupQueue()
            self._generation = generation()
        return self._lock

    # Running ---------------------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> Outcome:
        """Run a step alone when nobody else is writing, else with everybody who is waiting by then."""
        self._guard()
        return self._queue.run(GroupMember(request), self._run_group)

    def _run_group(self, group: Group) -> None:
        """One transaction for all members; no member is answered before its COMMIT."""
        with self._guard():
            try:
                connection = self._ready()
                if self._read_only:
                    raise StoreUnavailable(f"{self._path} was opened with mode=ro")
            except StoreError as error:
                for member in group:
                    member.fail(type(error)(str(error)), error)
                return
            committing = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._check_file()
                seen = connection.seen()
                if seen is None or seen != self._seen or len(self._views) > VIEWS_MAX:
                    self._views = {}
                if seen is None or seen != self._seen:
                    # Somebody else has written; a newer version may have lifted the schema.
                    self._refuse_schema(schema_of(connection), SCHEMA_VERSION)
                # Until the COMMIT nothing vouches for what the views take over.
                self._seen = None
                wrote = self._steps(connection, group)
                committing = wrote
                connection.execute("COMMIT" if wrote else "ROLLBACK")
                group.stands = True
                self._seen = connection.seen()
            except _ClockError as failed:
                self._give_up(connection, reopen=False)
                for member in group:
                    member.outcome = None
                raise failed.error from failed.error.__cause__
            except StoreUnavailable as error:
                self._give_up(connection, reopen=False)
                for member in group:
                    member.fail(StoreUnavailable(str(error)), error)
            except FAILURES as error:
                failure = failure_of(error, at_commit=committing)
                self._give_up(connection, reopen=not isinstance(failure, StoreUnavailable))
                # A refusal too may rest on what another member had written, so nobody's answer stands.
                for member in group:
                    member.fail(failure_of(error, at_commit=committing), error)
            except _NOT_OURS as error:
                self._give_up(connection, reopen=False)
                for member in group:
                    member.fail(self._not_ours(error), error)
            except BaseException:
                # Where it struck as the COMMIT came back, the engine knows whether it was done; else nothing was.
                group.stands = group.stands or (committing and not connection.in_transaction)
                self._give_up(connection, reopen=True)
                if not group.stands:
                    for member in group:
                        member.outcome = None
                raise

    def _view(self, connection: Connection, account_id: str) -> Rows:
        """The view of an account."""
        rows = self._views.get(account_id)
        if rows is None or rows.connection is not connection:
            rows = self._views[account_id] = Rows(account_id, connection)
        return rows

    def _steps(self, connection: Connection, group: list[GroupMember]) -> bool:
        """Run all steps in the open transaction, and write once what they leave; whether that was anything.

        When one of them meets a record that cannot be read or written, all are undone and run again one by one.
        """
        try:
            steps = [(member, self._view(connection, member.request.account_id)) for member in group]
            if len(group) > 1:
                foresee(steps)
            wrote = [self._step(member, rows) for member, rows in steps].count(True) > 0
            write(connection, list(dict.fromkeys([rows for _, rows in steps])))
        except _FAULTS as error:
            if len(group) == 1 or not self._only_one(error):
                raise
            self._forget_views()
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            # In between the file was anybody's.
            self._check_file()
            self._refuse_schema(schema_of(connection), SCHEMA_VERSION)
            return [self._step_apart(member, connection) for member in group].count(True) > 0
        return wrote

    def _step(self, member: GroupMember, rows: Rows) -> bool:
        """Run one step; whether it leaves anything to write."""
        request = member.request
        rows.begin(request)
        if request.at_scale is not None:
            account = rows.account()
            if account is not None and account.scale != request.at_scale:
                self._scales[request.account_id] = account.scale
                member.fail(OtherScale(request.account_id, account.scale), None)
                return False
        effect = STEPS[request.op](rows, request, self._now())
        member.outcome = effect.outcome
        if effect.account is None and not effect.symbols and effect.lease is None:
            return False
        rows.take(effect)
        return True

    def _now(self) -> int:
        try:
            return self._clock()
        except Exception as error:
            raise _ClockError(error) from error

    def _step_apart(self, member: GroupMember, connection: Connection) -> bool:
        """The same under a savepoint: a record that cannot be read or written fails its own caller only."""
        connection.execute("SAVEPOINT member")
        member.error = None  # of the first run, which is undone
        try:
            rows = self._view(connection, member.request.account_id)
            wrote = self._step(member, rows)
            rows.flush()
        except _FAULTS as error:
            if not self._only_one(error):
                raise
            member.fail(self._defect(error), error)
        else:
            connection.execute("RELEASE member")
            return wrote
        # What a member that fails has read is read again by the next; what it wrote is undone.
        self._views.pop(member.request.account_id, None)
        connection.execute("ROLLBACK TO member")
        connection.execute("RELEASE member")
        return False

    def _only_one(self, error: Exception) -> bool:
        """Whether a record or a figure is at fault; else the disk is full or the like, and the transaction is lost."""
        return isinstance(self._defect(error), StoreCorrupt | InputError)

    def _defect(self, error: Exception) -> StoreError | InputError:
        return failure_of(error, at_commit=False) if isinstance(error, FAILURES) else self._not_ours(error)

    def _not_ours(self, error: Exception) -> StoreCorrupt | InputError:
        if isinstance(error, OverflowError):
            # The calls let nothing through that is out of range: this is for what they know nothing of, a clock's time.
            return InputError("request", None, "of figures that the file can hold", error)
        return StoreCorrupt(f"{self._path}: a row is not a record of the book ({error})")

    def _give_up(self, connection: Connection, *, reopen: bool) -> None:
        """Undo what is under way; drop the connection when its state is in doubt."""
        self._forget_views()
        if reopen:
            # First: another signal may strike before the rest is done, and then the next caller does it.
            self._in_doubt, self._connection = connection, None
        try:
            connection.execute("ROLLBACK")
        except FAILURES as error:
            # A BUSY at BEGIN leaves nothing to roll back.
            reopen = reopen or "no transaction" not in str(error)
        if reopen:
            close_quietly(connection)
            self._connection = self._in_doubt = None

    def _read(self, query: Callable[[Connection], _Result]) -> _Result:
        """Run a query on one consistent snapshot."""
        with self._guard():
            connection = self._ready()
            try:
                connection.execute("BEGIN")
                self._check_file()
                result = query(connection)
                connection.execute("COMMIT")
            except FAILURES as error:
                self._give_up(connection, reopen=True)
                raise failure_of(error, at_commit=False) from error
            except (InputError, StoreUnavailable):
                self._give_up(connection, reopen=False)
                raise
            except UNREADABLE as error:
                self._give_up(connection, reopen=False)
                raise self._not_ours(error) from error
            except BaseException:
                self._give_up(connection, reopen=True)
                raise
            return result

    def _scale(self, account_id: str) -> int:
        scale = self._scales.get(account_id)
        if scale is None:
            found = self._read(
                lambda c: c.execute("SELECT scale FROM accounts WHERE account_id = ?", (account_id,)).fetchall()
            )
            if not found:
                return MICRO_SCALE
            scale = self._scales[account_id] = int(found[0][0])
        return scale

    def close_book(self) -> None:
        """Close the file. Idempotent."""
        with self._guard():
            self._closed = True
            close_quietly(self._connection)
            close_quietly(self._in_doubt)
            self._connection = self._in_doubt = None
            self._release_lock_file()

    # Reads -----------------------------------------------------------------------------------------------------------

    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""
        rows = self._read(lambda c: c.execute("SELECT account_id FROM accounts").fetchall())
        return tuple(sorted(row[0] for row in rows))

    def _account(self, account_id: str) -> BookAccount:
        return self._read(lambda c: must_account(c, account_id))

    def _order(self, account_id: str, order_id: str) -> BookOrder | None:

        def query(connection: Connection) -> BookOrder | None:
            must_account(connection, account_id)
            return Rows(account_id, connection).order(order_id)

        return self._read(query)

    def _orders(self, account_id: str, which: Which, *, every: bool) -> tuple[BookOrder, ...]:
        due = which.overdue_at
        sql, values = (GET_LIVE, (account_id,)) if due is None else (GET_DUE, (account_id, due))
        if every:
            sql, values = GET_ORDERS, (account_id,)

        def query(connection: Connection) -> list[BookOrder]:
            must_account(connection, account_id)
            return [order_of(row) for row in connection.execute(sql, values).fetchall()]

        return which.among(self._read(query))

    def _awaiting(self, account_id: str) -> tuple[BookOrder, ...]:
        rows = self._read(lambda connection: connection.execute(GET_DUE, (account_id, NEVER_US)).fetchall())
        return tuple(map(order_of, rows))

    def _held(self, account_id: str) -> int:
        return int(self._read(lambda connection: connection.execute(GET_HELD, (account_id,)).fetchall())[0][0])

    def _symbols(self, account_id: str) -> tuple[BookSymbol, ...]:

        def query(connection: Connection) -> tuple[BookSymbol, ...]:
            must_account(connection, account_id)
            rows = connection.execute(GET_SYMBOLS, (account_id,)).fetchall()
            return tuple(sorted(BookSymbol._make(row) for row in rows))

        return self._read(query)

    def _history(self, account_id: str, after_version: int, limit: int) -> tuple[JournalRecord, ...]:

        def query(connection: Connection) -> tuple[JournalRecord, ...]:
            must_account(connection, account_id)
            rows = connection.execute(GET_JOURNAL, (account_id, after_version, limit)).fetchall()
            return tuple([journal_of(row) for row in rows])

        return self._read(query)

    def _outbox(self, account_id: str, after_version: int, limit: int) -> tuple[OutboxEntry, ...]:

        def query(connection: Connection) -> tuple[OutboxEntry, ...]:
            must_account(connection, account_id)
            rows = connection.execute(GET_OUTBOX, (account_id, after_version, limit)).fetchall()
            return tuple([entry_of(row) for row in rows])

        return self._read(query)

    def _outbox_reader(self, name: str, partitions: frozenset[int], takeover_ms: int) -> OutboxReader:  # noqa: ARG002
        return PolledReader(self._unsent, partitions, takeover_ms / 1000)

    def _unsent(self, partitions: frozenset[int]) -> list[Delivery]:
        return self._read(lambda connection: unsent(connection, partitions))

    def _outbox_size(self, account_id: str) -> int:
        query = "SELECT count(*) FROM outbox WHERE account_id = ?"
        return int(self._read(lambda connection: connection.execute(query, (account_id,)).fetchall()[0][0]))

    def _knows_event(self, account_id: str, order_id: str, ident: str) -> bool:
        return self._read(lambda connection: Rows(account_id, connection).event(order_id, ident)) is not None

    def _holdings(self, account_id: str) -> Holdings:
        def read(connection: Connection) -> Holdings:
            kept = holdings(connection, account_id)
            if not self._index_fault:
                return kept
            # Somebody may have repaired it since.
            fault = index_fault(connection)
            self._index_fault = fault != ""
            return replace(kept, index_fault=fault or kept.index_fault)

        return self._read(read)


def _sql(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
