"""The Lua scripts of the Redis store: one per operation, each with the shared prelude in front.

The text of `steps.py` is the definition of an operation; the scripts are its second implementation, and the same suites
run on both. A script is content-addressed: it is called by its SHA-1 and loaded again where a server does not know it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from textwrap import indent

__all__ = ["COMMANDS", "PERMITTED", "SCRIPTS", "Script", "keys_of"]

FIXED_KEYS = (
    "user_portfolio",
    "user_symbols",
    "user_orders",
    "user_due",
    "user_aliases",
    "user_requests",
    "user_journal",
    "user_owners",
    "user_rates",
    "user_outbox",
    "user_waiting",
    "user_base",
)
"""The first KEYS of every script, in the order of lua/prelude.lua."""


@dataclass(frozen=True, slots=True)
class Script:
    """One operation as the server knows it."""

    name: str
    text: bytes
    sha: str
    call: bytes
    """EVALSHA and the address, in the protocol."""


def keys_of(prefix: str, account_id: str) -> tuple[str, ...]:
    """The keys of an account that every script declares; one hash tag, so one slot."""
    return tuple(f"{prefix}{name}:{{{account_id}}}" for name in FIXED_KEYS)


# name of the file, parts in front of it, and whether it may run when the server's memory is full: facts may, because
# refusing them would leave margin held or a position unbooked; growth may not.
_FILES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "open_account": ("open_account", ("request",), False),
    "import_flat": ("import_flat", ("request", "orders"), False),
    "set_terms": ("set_terms", ("request",), False),
    "suspend": ("suspend", ("request",), True),
    "abandon": ("abandon", ("request",), True),
    "deposit": ("money", ("request",), True),
    "adjust": ("money", ("request",), True),
    "withdraw": ("money", ("request",), False),
    "mark": ("mark", (), True),
    "revalue": ("revalue", ("request",), True),
    "reserve": ("reserve", ("request",), False),
    "reserves": ("reserves", ("request",), False),
    "execute": ("execute", ("request", "orders"), False),
    "claim": ("claim", ("orders",), True),
    "acknowledge": ("acknowledge", ("orders",), True),
    "fill": ("fill", ("orders",), True),
    "reject": ("end_order", ("orders",), True),
    "cancel": ("end_order", ("orders",), True),
    "expire": ("end_order", ("orders",), True),
    "request_cancel": ("request_cancel", ("orders",), True),
    "resolve": ("resolve", ("orders",), True),
    "close": ("close", ("orders",), True),
    "amend": ("amend", ("orders", "amends"), False),
    "settle_amend": ("settle_amend", ("orders", "amends"), True),
    "adopt": ("adopt", ("orders",), True),
    "export": ("export", (), True),
    "repair": ("apply", ("orders",), True),
    "sweep": ("sweep", ("orders",), True),
    "archive": ("archive", ("orders",), True),
    "home": ("home", (), True),
    "snapshot": ("snapshot", (), True),
}


_PUT_IN = re.compile(r"^( *)--<(\w+)>--\n", re.MULTILINE)
"""Where the text of another file stands."""


@lru_cache(maxsize=64)
def _read(name: str) -> str:
    text = (Path(__file__).with_name("lua") / f"{name}.lua").read_text(encoding="utf-8")
    return _PUT_IN.sub(lambda match: indent(_read(match[2]), match[1]), text)


_BLOCK = re.compile(
    r"(?:^--[^\n]*\n)*^local (?:function (?P<function>\w+)\(.*?^end$|(?P<table>\w+) = \{\n.*?^\}$)\n*",
    re.MULTILINE | re.DOTALL,
)
"""A function or a table of the shared parts, with the comment above it."""


_COMMENT = re.compile(r"--[^\n]*")
"""No text of the scripts has two dashes in a row."""


def _needed(shared: str, operation: str) -> str:
    """The shared parts without the functions and tables that an operation does not use.

    The server runs the text of a script from its first line with every call, so each function costs something.
    """
    blocks = [(match["function"] or match["table"], match) for match in _BLOCK.finditer(shared)]
    rest = _BLOCK.sub("", shared)
    wanted: set[str] = set()
    texts = [rest, operation]
    while texts:
        text = _COMMENT.sub("", texts.pop())
        for name, match in blocks:
            if name not in wanted and re.search(rf"\b{name}\b", text):
                wanted.add(name)
                texts.append(match[0])
    return _BLOCK.sub(lambda match: match[0] if (match["function"] or match["table"]) in wanted else "", shared)


_CONSTANT = re.compile(r"^local (?P<names>\w+(?:, \w+)*) =(?P<values>[^\n]+)\n", re.MULTILINE)
_ASSIGNED = re.compile(r"^ *(?!local )(?P<names>\w+(?:, \w+)*) =(?!=)", re.MULTILINE)
"""What is given another value later is no constant."""
_VALUE = re.compile(r" (-?\d+|'[^'\n]*'|[a-z]+\.[a-z]+|(?:KEYS|ARGV)\[\d+\])(?:,|$)")


def _folded(shared: str, operation: str) -> str:
    """A script with the constants of its shared parts put in where they are used.

    For each name that a function takes from outside, the server searches a list and makes an object, with every call.
    """
    shared = re.sub(r"^(local \w+ = '[^'\n]*')\s*\.\.\s*'", lambda match: match[1][:-1], shared, flags=re.MULTILINE)
    text = shared + "\n" + operation
    changing = {name for match in _ASSIGNED.finditer(text) for name in match["names"].split(", ")}
    values: dict[str, str] = {}

    def noted(match: re.Match[str]) -> str:
        names, found = match["names"].split(", "), _VALUE.findall(match["values"])
        if "".join(f" {value}," for value in found)[:-1] != match["values"] or len(names) != len(found):
            return match[0]
        if not changing.isdisjoint(names):
            return match[0]
        values.update(zip(names, found, strict=True))
        return ""

    text = _CONSTANT.sub(noted, shared) + "\n" + operation
    used = re.compile(rf"(?<![\w.'\"])({'|'.join(values)})\b(?!['\"])")
    return used.sub(lambda match: values[match[0]], text)


def _assembled(name: str) -> Script:
    file, parts, when_full = _FILES[name]
    operation = _read(file)
    body = operation
    if name != "snapshot":
        body = _folded(_needed("\n".join([_read(part) for part in ("prelude", *parts)]), operation), operation)
    head = "#!lua flags=allow-oom\n" if when_full else "#!lua\n"
    return _script(name, head + body)


def _script(name: str, content: str) -> Script:
    text = content.encode()
    sha = sha1(text).hexdigest()  # noqa: S324 - the server's own addressing, not a secret
    return Script(name, text, sha, b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % sha.encode())


SCRIPTS: dict[str, Script] = {name: _assembled(name) for name in _FILES}

_CALLED = re.compile(rb"\bcall\(\s*'([A-Z]+)'")
COMMANDS = tuple(sorted({name.decode() for script in SCRIPTS.values() for name in _CALLED.findall(script.text)}))
"""Every command that a script runs."""
PERMITTED = _script("permitted", "#!lua flags=no-writes,allow-oom,allow-stale\n" + _read("permitted"))
"""Tells which commands the user may not run."""
