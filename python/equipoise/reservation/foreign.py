"""Content of a store that no step of the book writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from equipoise.errors import EquipoiseError, StoreCorrupt

__all__ = ["UNREADABLE", "known_texts", "texts", "understood"]

UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading such content, or computing with it, fails with."""


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Makes StoreCorrupt of what reading such content, or computing with it, fails with. `what` begins the message."""
    try:
        yield
    except EquipoiseError:
        raise  # an InputError is a ValueError
    except UNREADABLE as error:
        raise StoreCorrupt(f"{what} is not as the book writes it ({error!r})") from error


def texts(found: Iterable[Any]) -> list[str]:
    """Words of a reply."""
    try:
        return [item.decode() if isinstance(item, bytes) else item for item in found]
    except UnicodeDecodeError as error:
        raise StoreCorrupt(f"{error.object[:80]!r} is no text of the book") from error


def known_texts(found: Iterable[bytes]) -> list[str]:
    """Words of a reply that names accounts. One that is no text names none of the book's."""
    named = []
    for item in found:
        try:
            named.append(item.decode())
        except UnicodeDecodeError:
            continue
    return named
