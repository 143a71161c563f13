"""What the reader of replies (`equipoise._rust.Replies`) gives out: errors as values, and a sign of no whole reply yet.

redis-py connects, authenticates and selects; from then on the book reads for itself: a step has one short reply, for
which a general client goes through several layers.
"""

from __future__ import annotations

from typing import Final

import redis.exceptions as failures

__all__ = ["PENDING", "error_of"]

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
