"""The SQLite library under a book: which one, which version, what its errors mean."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from equipoise.errors import StoreCorrupt, StoreError, StoreTimeout, StoreUnavailable

try:
    import apsw
except ImportError:  # the extra is not installed
    apsw = None  # type: ignore[assignment]

__all__ = [
    "FAILURES",
    "SQLITE_OLDEST",
    "Connection",
    "Cursor",
    "apsw",
    "close_quietly",
    "engine_version",
    "failure_of",
    "index_fault",
    "open_engine",
    "run_script",
    "schema_of",
    "wal_reset_is_fixed",
]

SQLITE_OLDEST = (3, 37, 0)
"""STRICT tables."""

# Primary result codes of the engine, from sqlite3.h.
_BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 7, 8, 10, 11, 13, 14, 26
_NOTHING_HAPPENED = frozenset({_BUSY, _LOCKED, _NOMEM, _READONLY, _FULL, _CANTOPEN})
_CHECKSUM = _IOERR | 32 << 8


def wal_reset_is_fixed(version: tuple[int, int, int]) -> bool:
    """Whether an SQLite of this version may share a WAL file between processes."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


class Cursor(Protocol):
    """Rows of a statement."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""


class Connection:
    """An open file, through apsw or the standard library; its statements share a cursor, so fetch rows at once."""

    __slots__ = ("_raw", "execute", "executemany", "seen")

    execute: Callable[..., Cursor]
    """Run one statement, with its values."""
    executemany: Callable[[str, Iterable[Sequence[Any]]], object]
    """Run one statement for each row of values."""
    seen: Callable[[], int | None]
    """A number that is another one once this file has been changed, by whomever; None where it costs too much.

    It stands for the content as of the beginning of the open transaction, or of the last one.
    """

    def __init__(self, raw: Any) -> None:
        cursor = raw.cursor()
        self._raw = raw
        self.seen = (lambda: None) if isinstance(raw, sqlite3.Connection) else raw.data_version
        self.execute = cursor.execute
        self.executemany = cursor.executemany

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._raw.in_transaction)

    def close(self) -> None:
        """Release the file."""
        self._raw.close()


FAILURES: tuple[type[Exception], ...] = (sqlite3.Error,) if apsw is None else (sqlite3.Error, apsw.Error)


def engine_version(*, through_apsw: bool) -> tuple[int, int, int]:
    """Version of the library that runs the statements."""
    text = apsw.sqlite_lib_version() if through_apsw else sqlite3.sqlite_version
    major, minor, patch = (int(part) for part in text.split(".")[:3])
    return major, minor, patch


def open_engine(path: str, *, through_apsw: bool, read_only: bool = False) -> Connection:
    """A connection through apsw or the standard library."""
    if through_apsw:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        return Connection(apsw.Connection(path, flags))
    name = f"file:{quote(path)}?mode=ro" if read_only else path
    raw = sqlite3.connect(name, isolation_level=None, check_same_thread=False, cached_statements=256, uri=read_only)
    return Connection(raw)


def failure_of(error: Exception, *, at_commit: bool) -> StoreError:
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


def schema_of(connection: Connection) -> int:
    """Version of the schema, as the file says."""
    return int(connection.execute("PRAGMA user_version").fetchall()[0][0])


def run_script(connection: Connection, script: str) -> None:
    """Run several statements inside the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


_DERIVED = "orders_live"
"""The index that no money rests on: `reconcile` makes it anew. The one over order ids tells which are taken."""


def index_fault(connection: Connection) -> str:
    """The first contradiction that the engine finds between an index and its table; empty: none.

    Raises StoreCorrupt where there is one in anything else than the index that is derived.
    """
    verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchall()[0][0])
    if verdict == "ok":
        return ""
    for (found,) in connection.execute(f"PRAGMA integrity_check({2**31 - 1})").fetchall():
        if not found.endswith(_DERIVED):
            raise StoreCorrupt(found)
    return verdict


def close_quietly(connection: Connection | None) -> None:
    """Close a connection whose work is done or lost."""
    if connection is not None:
        with contextlib.suppress(*FAILURES):
            connection.close()
