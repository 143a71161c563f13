"""The book in one SQLite file: the default store, for one host.

Every step is one BEGIN IMMEDIATE transaction in WAL mode. Through `apsw` (extra `sqlite`) the file may be shared by
processes; the standard library's SQLite has, before 3.51.3, 3.50.7 and 3.44.6, a race in resetting the WAL, so with an
older one the book holds a lock file and is open in one process only.

===============================================  ================================================================
what the engine says                             what the caller gets
===============================================  ================================================================
BUSY at BEGIN, FULL, READONLY, CANTOPEN, NOMEM   StoreUnavailable: nothing happened
an error of the file system at COMMIT            StoreTimeout: unknown; the file is reopened, ask again with the same id
CORRUPT, NOTADB, a checksum, a row that          StoreCorrupt: stop
cannot be a record of the book
===============================================  ================================================================
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from equipoise.errors import InputError, StoreCorrupt, StoreError, StoreTimeout, StoreUnavailable
from equipoise.reservation.audit import AuditReport, Holdings, audit
from equipoise.reservation.codes import AccountStatus, OrderState
from equipoise.reservation.contract import Clock, ReservationBook
from equipoise.reservation.memory import selected
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    Outcome,
    RawJournal,
    Remembered,
    Terms,
    journal_record,
)
from equipoise.reservation.requests import Request, Reserve
from equipoise.reservation.steps import STEPS, Effect, RateKey

try:
    import apsw
except ImportError:  # the extra is not installed
    apsw = None  # type: ignore[assignment]

__all__ = ["SqliteBook", "wal_reset_is_fixed"]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x45515049
"""Written into the file's header, so that another database is not taken for a book."""
MIGRATIONS: dict[int, str] = {}
"""SQL that lifts a file from the version named to the next; run in one transaction when the file is opened."""
SQLITE_OLDEST = (3, 37, 0)
"""STRICT tables."""

# Primary result codes of the engine, from sqlite3.h.
_BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 7, 8, 10, 11, 13, 14, 26
_NOTHING_HAPPENED = frozenset({_BUSY, _LOCKED, _NOMEM, _READONLY, _FULL, _CANTOPEN})
_CHECKSUM = _IOERR | 32 << 8

_Result = TypeVar("_Result")


def wal_reset_is_fixed(version: tuple[int, int, int]) -> bool:
    """Whether an SQLite of this version may share a WAL file between processes."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


# --- engines --------------------------------------------------------------------------------------------------------


class _Cursor(Protocol):
    def fetchall(self) -> list[tuple[Any, ...]]: ...


class _Connection(Protocol):
    """What apsw and the standard library have in common."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> _Cursor: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...

    def close(self) -> None: ...


_FAILURES: tuple[type[Exception], ...] = (sqlite3.Error,) if apsw is None else (sqlite3.Error, apsw.Error)


def _engine_version(*, through_apsw: bool) -> tuple[int, int, int]:
    text = apsw.sqlite_lib_version() if through_apsw else sqlite3.sqlite_version
    major, minor, patch = (int(part) for part in text.split(".")[:3])
    return major, minor, patch


def _open_engine(path: str, *, through_apsw: bool) -> _Connection:
    if through_apsw:
        connection: _Connection = apsw.Connection(path)
        return connection
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)


def _failure(error: Exception, *, at_commit: bool) -> StoreError:
    """The exception a caller gets for what the engine said."""
    extended = getattr(error, "extendedresult", None) or getattr(error, "sqlite_errorcode", None) or 0
    primary = extended & 0xFF or getattr(error, "result", 0)
    text = f"{type(error).__name__}: {error}"
    if primary in (_CORRUPT, _NOTADB) or extended == _CHECKSUM:
        return StoreCorrupt(text)
    if primary in _NOTHING_HAPPENED:
        return StoreUnavailable(text)
    if at_commit:
        return StoreTimeout(text)
    if primary == _IOERR:
        return StoreUnavailable(text)
    return StoreCorrupt(text)  # a missing table, a broken constraint: not the book we wrote


# --- rows and records -----------------------------------------------------------------------------------------------

_TERMS_NAMES = tuple(item.name for item in fields(Terms) if item.init)
_ORDER_BOOLS = tuple(BookOrder._fields.index(name) for name in ("reduce_only", "reduces"))
_ORDER_STATE = BookOrder._fields.index("state")
_ORDER_FLAGS = BookOrder._fields.index("flags")
_ACCOUNT_STATUS = BookAccount._fields.index("status")
_ACCOUNT_TERMS = BookAccount._fields.index("terms")


def _insert(table: str, names: Sequence[str], keys: Sequence[str], update: Sequence[str] | None = None) -> str:
    """INSERT that replaces everything but the key when the row is there."""
    changed = [name for name in names if name not in keys] if update is None else update
    columns = ", ".join(names)
    holes = ", ".join("?" * len(names))
    after = ", ".join(f"{name} = excluded.{name}" for name in changed)
    return f"INSERT INTO {table} ({columns}) VALUES ({holes}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {after}"  # noqa: S608


_ACCOUNT_COLUMNS = ", ".join(BookAccount._fields)
_SYMBOL_COLUMNS = ", ".join(BookSymbol._fields)
_ORDER_COLUMNS = ", ".join(BookOrder._fields)
_PUT_ACCOUNT = _insert("accounts", BookAccount._fields, ("account_id",))
_PUT_SYMBOL = _insert("symbols", ("account_id", *BookSymbol._fields), ("account_id", "symbol", "leg"))
_PUT_ORDER = _insert(
    "orders", ("account_id", *BookOrder._fields), ("account_id", "order_id"), BookOrder._fields[_ORDER_STATE:]
)
_GET_ACCOUNT = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE account_id = ?"  # noqa: S608
_GET_SYMBOL = f"SELECT {_SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? AND symbol = ? AND leg = ?"  # noqa: S608
_GET_SYMBOLS = f"SELECT {_SYMBOL_COLUMNS} FROM symbols WHERE account_id = ? ORDER BY symbol, leg"  # noqa: S608
_GET_ORDER = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? AND order_id = ?"  # noqa: S608
_GET_BY_ALIAS = f"{_GET_ORDER[:-1]}(SELECT order_id FROM aliases WHERE account_id = ? AND alias = ?)"  # noqa: S608
_GET_ORDERS = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? ORDER BY place_made"  # noqa: S608
_GET_SETTLED = (
    f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? AND changed_us <= ? "  # noqa: S608
    "AND open_lots = 0 ORDER BY place_made"
)
_GET_LIVE = (
    f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account_id = ? "  # noqa: S608
    "AND state IN ('RESERVED', 'SENT', 'LIVE', 'UNKNOWN') ORDER BY place_made"
)
_GET_TAKEN = (
    "SELECT order_id FROM orders WHERE account_id = ?1 AND order_id IN (SELECT value FROM json_each(?2)) UNION ALL "
    "SELECT alias FROM aliases WHERE account_id = ?1 AND alias IN (SELECT value FROM json_each(?2))"
)
_GET_RATES = (
    "SELECT rate, count FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? ORDER BY rate DESC"
)
_PUT_RATE = (
    "INSERT INTO rates (account_id, symbol, leg, kind, rate, count) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (account_id, symbol, leg, kind, rate) DO UPDATE SET count = count + excluded.count"
)
_GET_JOURNAL = (
    "SELECT version, at_us, op, ident, order_id, code, record FROM journal "
    "WHERE account_id = ? AND version > ? ORDER BY version LIMIT ?"
)


def _text(value: object) -> str:
    """Compact JSON; unicode as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, all the way down."""
    return tuple([_tuples(item) for item in value]) if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _terms(text: str) -> Terms:
    return Terms(**{name: _tuples(value) for name, value in json.loads(text).items()})


@lru_cache(maxsize=256)
def _terms_text(terms: Terms) -> str:
    return _text({name: getattr(terms, name) for name in _TERMS_NAMES})


def _account_of(row: Sequence[Any]) -> BookAccount:
    values = list(row)
    values[_ACCOUNT_STATUS] = AccountStatus(values[_ACCOUNT_STATUS])
    values[_ACCOUNT_TERMS] = _terms(values[_ACCOUNT_TERMS])
    return BookAccount._make(values)


def _account_row(account: BookAccount) -> list[Any]:
    values: list[Any] = list(account)
    values[_ACCOUNT_STATUS] = account.status.value
    values[_ACCOUNT_TERMS] = _terms_text(account.terms)
    return values


def _order_of(row: Sequence[Any]) -> BookOrder:
    values = list(row)
    for place in _ORDER_BOOLS:
        values[place] = bool(values[place])
    values[_ORDER_STATE] = OrderState(values[_ORDER_STATE])
    flags = values[_ORDER_FLAGS]
    values[_ORDER_FLAGS] = tuple(flags.split()) if flags else ()
    return BookOrder._make(values)


def _order_row(account_id: str, order: BookOrder) -> list[Any]:
    values: list[Any] = [account_id, *order]
    values[_ORDER_STATE + 1] = order.state.value
    values[_ORDER_FLAGS + 1] = " ".join(order.flags)
    return values


def _journal_row(account_id: str, raw: RawJournal) -> tuple[Any, ...]:
    return (account_id, *raw[:6], _text(raw[6:]))


def _journal_of(row: Sequence[Any]) -> JournalRecord:
    return journal_record((*row[:6], *_tuples(json.loads(row[6]))))


def _remembered(row: Sequence[Any]) -> Remembered:
    text = row[2]
    return (row[0], row[1], None if text is None else _tuples(json.loads(text)))


class _Rows:
    """View of one account inside a transaction; loads what a step asks for."""

    __slots__ = ("_absent", "_account_id", "_execute", "_held", "_loaded")

    def __init__(self, connection: _Connection, request: Request) -> None:
        self._execute = connection.execute
        self._account_id = request.account_id
        self._loaded = False
        self._held: BookAccount | None = None
        self._absent: frozenset[str] = frozenset()
        if isinstance(request, Reserve):
            ids = [ask.order_id for ask in request.asks]
            taken = self._execute(_GET_TAKEN, (self._account_id, _text(ids))).fetchall()
            self._absent = frozenset(ids).difference(row[0] for row in taken)

    def account(self) -> BookAccount | None:
        if not self._loaded:
            found = self._execute(_GET_ACCOUNT, (self._account_id,)).fetchall()
            self._held = _account_of(found[0]) if found else None
            self._loaded = True
        return self._held

    def symbol(self, symbol: str, leg: str) -> BookSymbol | None:
        found = self._execute(_GET_SYMBOL, (self._account_id, symbol, leg)).fetchall()
        return BookSymbol._make(found[0]) if found else None

    def symbols(self) -> Iterable[BookSymbol]:
        return [BookSymbol._make(row) for row in self._execute(_GET_SYMBOLS, (self._account_id,)).fetchall()]

    def order(self, order_id: str) -> BookOrder | None:
        if order_id in self._absent:
            return None
        found = self._execute(_GET_ORDER, (self._account_id, order_id)).fetchall()
        if not found:
            found = self._execute(_GET_BY_ALIAS, (self._account_id, self._account_id, order_id)).fetchall()
        return _order_of(found[0]) if found else None

    def live(self) -> Iterable[BookOrder]:
        return [_order_of(row) for row in self._execute(_GET_LIVE, (self._account_id,)).fetchall()]

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        return [
            order
            for row in self._execute(_GET_SETTLED, (self._account_id, until_us)).fetchall()
            if (order := _order_of(row)).terminal
        ]

    def request(self, ident: str) -> Remembered | None:
        found = self._execute(
            "SELECT fingerprint, issued_us, outcome FROM requests WHERE account_id = ? AND ident = ?",
            (self._account_id, ident),
        ).fetchall()
        return _remembered(found[0]) if found else None

    def event(self, order_id: str, ident: str) -> Remembered | None:
        found = self._execute(
            "SELECT fingerprint, at_us, outcome FROM events WHERE account_id = ? AND order_id = ? AND ident = ?",
            (self._account_id, order_id, ident),
        ).fetchall()
        return _remembered(found[0]) if found else None

    def owned(self, owner: str) -> int:
        found = self._execute(
            "SELECT held FROM owners WHERE account_id = ? AND owner = ?", (self._account_id, owner)
        ).fetchall()
        return int(found[0][0]) if found else 0

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        best = 0
        for rate, change in deltas.items():
            if rate > best and change > 0:
                best = rate
        # At most one stored rate more than the step touches is read: the first the step does not take away.
        limit = len(deltas) + 1
        for rate, count in self._execute(f"{_GET_RATES} LIMIT {limit}", (self._account_id, *key)).fetchall():
            if count + deltas.get(rate, 0) > 0:
                return max(best, int(rate))
        return best


def _write(connection: _Connection, account_id: str, effect: Effect) -> None:
    """Write a step, its journal record first."""
    execute = connection.execute
    if effect.journal is not None:
        execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _journal_row(account_id, effect.journal))
    if effect.account is not None:
        execute(_PUT_ACCOUNT, _account_row(effect.account))
    for row in effect.symbols:
        execute(_PUT_SYMBOL, (account_id, *row))
    if effect.orders:
        connection.executemany(_PUT_ORDER, [_order_row(account_id, order) for order in effect.orders])
    for alias, order_id in effect.aliases:
        execute("INSERT INTO aliases VALUES (?, ?, ?)", (account_id, alias, order_id))
    for owner, held in effect.owners:
        execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", (account_id, owner, held))
    if effect.rates is not None:
        changes = [
            (account_id, *key, rate, n) for key, deltas in effect.rates.items() for rate, n in deltas.items() if n
        ]
        connection.executemany(_PUT_RATE, changes)
        connection.executemany(
            "DELETE FROM rates WHERE account_id = ? AND symbol = ? AND leg = ? AND kind = ? AND rate = ? AND count = 0",
            [change[:5] for change in changes],
        )
    if effect.request is not None:
        ident, (print_, at_us, packed) = effect.request
        text = None if packed is None else _text(packed)
        execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", (account_id, ident, print_, at_us, text))
    if effect.event is not None:
        order_id, ident, (print_, at_us, packed) = effect.event
        text = None if packed is None else _text(packed)
        execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (account_id, order_id, ident, print_, at_us, text))
    if effect.watermark_us is not None:
        execute("DELETE FROM requests WHERE account_id = ? AND issued_us <= ?", (account_id, effect.watermark_us))
        ids = _text(effect.archived)
        for table in ("orders", "events", "aliases"):
            where = "account_id = ? AND order_id IN (SELECT value FROM json_each(?))"
            execute(f"DELETE FROM {table} WHERE {where}", (account_id, ids))  # noqa: S608


# --- the book -------------------------------------------------------------------------------------------------------


class SqliteBook(ReservationBook):
    """A reservation book in a SQLite file. Opened by `ReservationBook.connect("sqlite:///...")`."""

    def __init__(
        self,
        path: str,
        *,
        durability: str = "full",
        clock: Clock | None = None,
        timeout_ms: int = 5_000,
        horizon_s: int = 86_400,
        through_apsw: bool | None = None,
    ) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._path = path
        self._durability = durability
        self._timeout_ms = timeout_ms
        self._apsw = apsw is not None if through_apsw is None else through_apsw
        self._lock = threading.Lock()
        self._scales: dict[str, int] = {}
        self._process = os.getpid()
        self._closed = False
        self._connection: _Connection | None = None
        self._lock_file: int | None = None
        version = _engine_version(through_apsw=self._apsw)
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

    @property
    def engine(self) -> str:
        """Library and version, and whether processes may share the file."""
        library = "apsw" if self._apsw else "sqlite3"
        version = ".".join(map(str, _engine_version(through_apsw=self._apsw)))
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

    def _open(self) -> _Connection:
        """Open, check and if need be create or migrate the file."""
        connection: _Connection | None = None
        try:
            connection = _open_engine(self._path, through_apsw=self._apsw)
            connection.execute(f"PRAGMA busy_timeout = {self._timeout_ms:d}")
            self._refuse_foreign(connection)
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
            if mode != "wal":
                raise StoreUnavailable(f"{self._path}: journal mode is {mode}, WAL is not possible here")  # noqa: TRY301
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'full' else 'NORMAL'}")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
            if verdict != "ok":
                raise StoreCorrupt(f"{self._path}: {verdict}")  # noqa: TRY301
            self._prepare(connection)
        except _FAILURES as error:
            _close_quietly(connection)
            raise _failure(error, at_commit=False) from error
        except BaseException:
            _close_quietly(connection)
            raise
        return connection

    def _refuse_foreign(self, connection: _Connection) -> None:
        """Leave the database of another program as it is."""
        owner = connection.execute("PRAGMA application_id").fetchall()[0][0]
        if owner != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
            raise StoreCorrupt(f"{self._path} is a database of something else")

    def _prepare(self, connection: _Connection) -> None:
        """Create the schema, or lift it to this version."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchall()[0][0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
            if not tables:
                _run_script(connection, Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"))
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            elif version > SCHEMA_VERSION:
                raise StoreUnavailable(f"{self._path} has schema {version}, this version knows {SCHEMA_VERSION}")  # noqa: TRY301
            else:
                for step in range(version, SCHEMA_VERSION):
                    _run_script(connection, MIGRATIONS[step])
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(*_FAILURES):
                connection.execute("ROLLBACK")
            raise

    def _ready(self) -> _Connection:
        """The open connection of this process; call under the lock."""
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _guard(self) -> threading.Lock:
        """The lock; after a fork, a fresh one with the file reopened."""
        if self._process != os.getpid():
            if not self._shared:
                raise StoreUnavailable("this SQLite allows one process only, and this is a fork of it")
            if self._connection is not None:
                # Closing the parent's connection here could remove the WAL under it: never let it be collected.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
            self._connection = None
            self._lock = threading.Lock()
            self._process = os.getpid()
        return self._lock

    # Running ---------------------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> Outcome:
        with self._guard():
            connection = self._ready()
            committing = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                effect = STEPS[request.op](_Rows(connection, request), request, self._clock())
                if effect.account is None and not effect.symbols:
                    connection.execute("ROLLBACK")
                    return effect.outcome
                _write(connection, request.account_id, effect)
                committing = True
                connection.execute("COMMIT")
            except _FAILURES as error:
                failure = _failure(error, at_commit=committing)
                self._give_up(connection, reopen=not isinstance(failure, StoreUnavailable))
                raise failure from error
            except (ValueError, TypeError, KeyError) as error:
                self._give_up(connection, reopen=False)
                raise StoreCorrupt(f"{self._path}: a row is not a record of the book ({error})") from error
            except BaseException:
                self._give_up(connection, reopen=True)
                raise
            return effect.outcome

    def _give_up(self, connection: _Connection, *, reopen: bool) -> None:
        """Undo what is under way; drop the connection when its state is in doubt."""
        try:
            connection.execute("ROLLBACK")
        except _FAILURES as error:
            # A BUSY at BEGIN leaves nothing to roll back.
            reopen = reopen or "no transaction" not in str(error)
        if reopen:
            _close_quietly(connection)
            self._connection = None

    def _read(self, query: Callable[[_Connection], _Result]) -> _Result:
        """Run a query on one consistent snapshot."""
        with self._guard():
            connection = self._ready()
            try:
                connection.execute("BEGIN")
                result = query(connection)
                connection.execute("COMMIT")
            except _FAILURES as error:
                self._give_up(connection, reopen=True)
                raise _failure(error, at_commit=False) from error
            except InputError:
                self._give_up(connection, reopen=False)
                raise
            except (ValueError, TypeError, KeyError) as error:
                self._give_up(connection, reopen=False)
                raise StoreCorrupt(f"{self._path}: a row is not a record of the book ({error})") from error
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
            _close_quietly(self._connection)
            self._connection = None
            self._release_lock_file()

    # Reads -----------------------------------------------------------------------------------------------------------

    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""
        rows = self._read(lambda c: c.execute("SELECT account_id FROM accounts").fetchall())
        return tuple(sorted(row[0] for row in rows))

    def account(self, account_id: str) -> BookAccount:
        """The account as of its latest step; InputError where there is none."""
        return self._read(lambda c: _must_account(c, account_id))

    def order(self, account_id: str, order_id: str) -> BookOrder | None:
        """An order by its id or an alias."""

        def query(connection: _Connection) -> BookOrder | None:
            _must_account(connection, account_id)
            return _Rows(connection, Request("order", account_id, "", "")).order(order_id)

        return self._read(query)

    def orders(
        self,
        account_id: str,
        state: OrderState | Iterable[OrderState] | None = None,
        *,
        symbol: str | None = None,
        overdue: bool = False,
        every: bool = False,
    ) -> tuple[BookOrder, ...]:
        """Orders in the order they were made."""
        sql = _GET_ORDERS if every or state is not None else _GET_LIVE

        def query(connection: _Connection) -> list[BookOrder]:
            _must_account(connection, account_id)
            return [_order_of(row) for row in connection.execute(sql, (account_id,)).fetchall()]

        return selected(self._read(query), state, symbol, self._clock() if overdue else None)

    def symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        """Running totals per symbol and leg, sorted."""

        def query(connection: _Connection) -> tuple[BookSymbol, ...]:
            _must_account(connection, account_id)
            rows = connection.execute(_GET_SYMBOLS, (account_id,)).fetchall()
            return tuple(sorted(BookSymbol._make(row) for row in rows))

        return self._read(query)

    def history(self, account_id: str, *, after_version: int = 0, limit: int = 1_000) -> tuple[JournalRecord, ...]:
        """Journal records above a version, oldest first."""

        def query(connection: _Connection) -> tuple[JournalRecord, ...]:
            _must_account(connection, account_id)
            rows = connection.execute(_GET_JOURNAL, (account_id, after_version, limit)).fetchall()
            return tuple([_journal_of(row) for row in rows])

        return self._read(query)

    def audit(self, account_id: str) -> AuditReport:
        """Prove the totals from orders alone and from the journal alone."""
        return self._read(lambda connection: audit(_holdings(connection, account_id)))


def _must_account(connection: _Connection, account_id: str) -> BookAccount:
    found = connection.execute(_GET_ACCOUNT, (account_id,)).fetchall()
    if not found:
        raise InputError("account_id", None, "an open account", repr(account_id))
    return _account_of(found[0])


def _holdings(connection: _Connection, account_id: str) -> Holdings:
    """Everything kept of an account, from one snapshot."""
    execute = connection.execute
    mine = (account_id,)
    rates: dict[RateKey, dict[int, int]] = {}
    for symbol, leg, kind, rate, count in execute(
        "SELECT symbol, leg, kind, rate, count FROM rates WHERE account_id = ?", mine
    ).fetchall():
        rates.setdefault((symbol, leg, kind), {})[rate] = count
    orders = [_order_of(row) for row in execute(_GET_ORDERS, mine).fetchall()]
    live = [_order_of(row).order_id for row in execute(_GET_LIVE, mine).fetchall()]
    return Holdings(
        _must_account(connection, account_id),
        tuple([BookSymbol._make(row) for row in execute(_GET_SYMBOLS, mine).fetchall()]),
        {order.order_id: order for order in orders},
        frozenset(live),
        _mapping(execute("SELECT alias, order_id FROM aliases WHERE account_id = ?", mine)),
        _mapping(execute("SELECT owner, held FROM owners WHERE account_id = ?", mine)),
        rates,
        (_journal_of(row) for row in execute(_GET_JOURNAL, (account_id, 0, -1)).fetchall()),
    )


def _mapping(cursor: _Cursor) -> dict[str, Any]:
    """First column to second."""
    return {row[0]: row[1] for row in cursor.fetchall()}


def _run_script(connection: _Connection, script: str) -> None:
    """Run several statements inside the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _close_quietly(connection: _Connection | None) -> None:
    """Close a connection whose work is done or lost."""
    if connection is not None:
        with contextlib.suppress(*_FAILURES):
            connection.close()
