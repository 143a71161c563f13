"""Identifiers and the fingerprint of a request's content."""

from __future__ import annotations

from hashlib import blake2b

from equipoise.errors import InputError

__all__ = ["ID_LENGTH_MAX", "account_id_of", "derived_id", "fingerprint", "id_of", "is_id", "plain"]

ID_LENGTH_MAX = 200
_TEXT_MAX = 48


def plain(text: str) -> str:
    """The text itself. One of a class of its own, a StrEnum's member for one, shows itself in another way."""
    return text if type(text) is str else str.__str__(text)


def id_of(value: object, argument: str, index: int | None = None) -> str:
    """A request, order, event or venue id: 1-200 printable characters, any alphabet, passed on as plain text."""
    # Written out: every id of every call comes through here.
    if type(value) is str:
        if 0 < len(value) <= ID_LENGTH_MAX and value.isprintable():
            return value
    elif isinstance(value, str):
        return id_of(plain(value), argument, index)
    raise InputError(argument, index, f"1-{ID_LENGTH_MAX} printable characters", _quoted(value))


def is_id(text: str) -> bool:
    """Whether a text may be an id."""
    return 0 < len(text) <= ID_LENGTH_MAX and text.isprintable()


def _quoted(value: object) -> object:
    """A text with what cannot be seen in it escaped; anything else as it is."""
    return repr(value) if isinstance(value, str | bytes) else value


def account_id_of(value: object) -> str:
    """An account id: like any id, without braces or spaces, because stores put it into key names."""
    if type(value) is not str and isinstance(value, str):
        value = plain(value)
    if isinstance(value, str) and 0 < len(value) <= ID_LENGTH_MAX and value.isprintable():
        if "{" not in value and "}" not in value and " " not in value:
            return value
        raise InputError("account_id", None, "free of braces and spaces", _quoted(value))
    raise InputError("account_id", None, f"1-{ID_LENGTH_MAX} printable characters", _quoted(value))


def derived_id(start: str, ident: str, end: str = "") -> str:
    """An id made of another one, no longer than an id may be; of two that differ the derived ones differ."""
    whole = f"{start}{ident}{end}"
    if len(whole) <= ID_LENGTH_MAX:
        return whole
    # Cut off, two long ids with the same beginning would become one.
    digest = blake2b(ident.encode(), digest_size=16).hexdigest()
    return f"{start}{ident[: ID_LENGTH_MAX - len(start) - len(end) - len(digest) - 1]}~{digest}{end}"


def fingerprint(*content: object) -> str:
    """Short text that is equal for equal canonical content and differs otherwise.

    Content is ints, strings, booleans, None and tuples of them, already normalised: Decimal("1.0") and 1 must have
    become the same integer before, and strings be `plain`.
    """
    text = repr(content)
    if len(text) <= _TEXT_MAX:
        return text
    return blake2b(text.encode(), digest_size=16).hexdigest()
