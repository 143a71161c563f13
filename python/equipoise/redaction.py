"""Which settings are secrets, and what is shown in their place."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "has_literal_secret", "is_secret_name", "redact"]

HIDDEN = "(hidden)"
_NAME = re.compile(
    r"(^|_)(key|secret|passw(or)?d|passphrase|token|mnemonic|seed_phrase|private)(_|$)|apikey", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/?#@\s:]*):([^/?#@\s]*)(?=@)")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret.

    >>> is_secret_name("api_key"), is_secret_name("keyboard"), is_secret_name("levels")
    (True, False, False)
    """
    return bool(_NAME.search(name))


def redact(name: str, value: object) -> str:
    """The value as text that may be shown: secrets hidden, passwords taken out of URLs.

    >>> redact("private_key", "0xabc"), redact("url", "redis://bot:hunter2@host/0")
    ('(hidden)', 'redis://bot:***@host/0')
    """
    return HIDDEN if is_secret_name(name) else _URL_PASSWORD.sub(r"\1:***", str(value))


def has_literal_secret(name: str, text: str) -> bool:
    """Whether a text, as written in a file, contains a secret that is not a reference to the environment."""
    if is_secret_name(name):
        return bool(text) and not _REFERENCE.fullmatch(text)
    found = _URL_PASSWORD.search(text)
    return bool(found and found[2] and not _REFERENCE.fullmatch(found[2]))
