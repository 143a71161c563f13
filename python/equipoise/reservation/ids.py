"""Identifiers and the fingerprint of a request's content."""

from __future__ import annotations

from hashlib import blake2b

from equipoise.errors import InputError

__all__ = ["account_id_of", "fingerprint", "id_of"]

ID_LENGTH_MAX = 200
_TEXT_MAX = 48


def id_of(value: object, argument: str, index: int | None = None) -> str:
    """A request, order, event or venue id: 1-200 printable characters, any alphabet, passed on unchanged."""
    if isinstance(value, str) and 0 < len(value) <= ID_LENGTH_MAX and value.isprintable():
        return value
    raise InputError(argument, index, f"1-{ID_LENGTH_MAX} printable characters", repr(value))


def account_id_of(value: object) -> str:
    """An account id: like any id, without braces or spaces, because stores put it into key names."""
    if isinstance(value, str) and 0 < len(value) <= ID_LENGTH_MAX and value.isprintable():
        if "{" not in value and "}" not in value and " " not in value:
            return value
        raise InputError("account_id", None, "free of braces and spaces", repr(value))
    raise InputError("account_id", None, f"1-{ID_LENGTH_MAX} printable characters", repr(value))


def fingerprint(*content: object) -> str:
    """Short text that is equal for equal canonical content and differs otherwise.

    Content is ints, strings, booleans, None and tuples of them, already normalised: Decimal("1.0") and 1 must have
    become the same integer before.
    """
    text = repr(content)
    if len(text) <= _TEXT_MAX:
        return text
    return blake2b(text.encode(), digest_size=16).hexdigest()
