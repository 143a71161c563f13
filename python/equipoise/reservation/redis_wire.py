"""Replies of a server, read from its bytes: the part of the protocol (RESP2) that is in the path of every step.

redis-py connects, authenticates and selects; from then on the book reads for itself: a step has one short reply, for
which a general client goes through several layers.
"""

from __future__ import annotations

from typing import Any, Final

import redis.exceptions as failures

__all__ = ["PENDING", "Replies", "error_of"]

_ERRORS: dict[str, type[failures.RedisError]] = {
    "ASK": failures.AskError,
    "CLUSTERDOWN": failures.ClusterDownError,
    "LOADING": failures.BusyLoadingError,
    "MASTERDOWN": failures.MasterDownError,
    "MOVED": failures.MovedError,
    "NOAUTH": failures.AuthenticationError,
    "NOPERM": failures.NoPermissionError,
    "NOSCRIPT": failures.NoScriptError,
    "OOM": failures.OutOfMemoryError,
    "READONLY": failures.ReadOnlyError,
    "TRYAGAIN": failures.TryAgainError,
    "WRONGPASS": failures.AuthenticationError,
}
"""Errors that are told apart, by their first word, which the exception's text leaves out."""


class _Pending:
    """The type of PENDING."""


PENDING: Final = _Pending()
"""No whole reply yet."""


def error_of(text: str) -> failures.RedisError:
    """An error reply as the exception that redis-py would raise; some are no ResponseError but a ConnectionError."""
    word, _, rest = text.partition(" ")
    kind = _ERRORS.get(word)
    if kind is not None:
        return kind(rest)
    return failures.ResponseError(rest if word == "ERR" else text)


class Replies:
    """Replies of one connection in their order; an error reply is a value."""

    __slots__ = ("_at", "_data", "_open")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._open: list[tuple[list[Any], int]] = []
        """Arrays that have begun, each with its length."""

    def feed(self, data: bytes) -> None:
        """Bytes in the order in which they came; none at all: the server has closed the connection."""
        if not data:
            raise failures.ConnectionError("the server closed the connection")
        self._data = data if self._at == len(self._data) else self._data[self._at :] + data
        self._at = 0

    def take(self) -> Any:
        """The next reply, or PENDING.

        Raises
        ------
        redis.ConnectionError
            The bytes are not the protocol: the connection is of no more use.
        """
        data = self._data
        while True:
            end = data.find(b"\r\n", self._at)
            if end < 0:
                return PENDING
            kind, start = data[self._at], end + 2
            if kind == 36:  # $ a text
                size = int(data[self._at + 1 : end])
                value: Any = None
                if size >= 0:
                    stop = start + size
                    if len(data) < stop + 2:
                        return PENDING
                    value, start = data[start:stop], stop + 2
            elif kind == 58:  # : an integer
                value = int(data[self._at + 1 : end])
            elif kind == 43:  # + a word
                value = data[self._at + 1 : end]
            elif kind == 45:  # - an error
                value = error_of(data[self._at + 1 : end].decode())
            elif kind == 42:  # * an array
                size = int(data[self._at + 1 : end])
                self._at = start
                if size > 0:
                    self._open.append(([], size))
                    continue
                value = [] if size == 0 else None
            else:
                raise failures.ConnectionError(f"not a reply: {data[self._at : self._at + 20]!r}")
            self._at = start
            while self._open:
                items, size = self._open[-1]
                items.append(value)
                if len(items) < size:
                    break
                self._open.pop()
                value = items
            else:
                return value
