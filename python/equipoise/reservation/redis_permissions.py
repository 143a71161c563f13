"""Whether the user that a book is connected as may run every command of the scripts.

The server runs a script from its first command on, and stops at one that the user may not run: what was written before
stays. So whoever may not run all of them runs no step. That is asked on every connection before its first step, of the
server's own check, which runs nothing. Keys need no asking: a step declares all of its keys, and the server tries them
before the step begins.
"""

from __future__ import annotations

import redis.exceptions as failures

from equipoise.errors import StoreUnavailable
from equipoise.reservation.redis_links import Link, command
from equipoise.reservation.redis_scripts import COMMANDS, PERMITTED

__all__ = ["demand", "denied_to", "only_reads"]

FIRST_WRITES = frozenset({"XADD", "HSET"})
"""What a step writes begins with one of these: the journal record, or fields of the account or of its symbols."""
_ASKED = command("EVALSHA", PERMITTED.sha, "0", *COMMANDS)


def denied_to(link: Link) -> tuple[str, ...]:
    """Commands of the scripts that the user of a connection may not run.

    Raises
    ------
    redis.RedisError
        It cannot be said now.
    """
    reply = link.exchange(_ASKED, 1)[0]
    if isinstance(reply, failures.NoScriptError):
        loaded = link.exchange(command("SCRIPT", "LOAD", PERMITTED.text), 1)[0]
        if isinstance(loaded, failures.NoPermissionError):
            return ("SCRIPT LOAD",)
        reply = loaded if isinstance(loaded, failures.RedisError) else link.exchange(_ASKED, 1)[0]
    if isinstance(reply, failures.NoPermissionError):
        return ("EVALSHA",)
    if isinstance(reply, failures.RedisError):
        raise reply
    return tuple([name.decode() for name in reply])


def only_reads(denied: tuple[str, ...]) -> bool:
    """Whether who may not run these can write nothing of a step, and is welcome to read."""
    return "EVALSHA" in denied or FIRST_WRITES.issubset(denied)


def demand(link: Link) -> None:
    """Raise StoreUnavailable unless the user of a connection may run all that steps are made of."""
    if link.denied is None:
        link.denied = denied_to(link)
    if link.denied:
        names = ", ".join(link.denied)
        raise StoreUnavailable(f"{link.address}: the user may not run {names}; a step needs every command of the book")
