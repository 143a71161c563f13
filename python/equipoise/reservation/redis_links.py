"""Connections of the Redis store: where an account's slot lives, and one exchange with that node.

redis-py's `Connection` does sockets, TLS and authentication. What is sent and read afterwards is decided here, because
the book must know for every failure whether the server can have seen the step:

=================================================  ==============================================================
what happens                                       what the caller gets
=================================================  ==============================================================
no connection could be made                        StoreUnavailable: nothing happened
MOVED, ASK                                         followed: the step was not run there
NOSCRIPT                                           the script is loaded and called again
TRYAGAIN, CLUSTERDOWN, LOADING, MASTERDOWN, BUSY,  asked again until the time-out, then StoreUnavailable
READONLY
OOM, MISCONF, NOREPLICAS, NOAUTH, NOPERM           StoreUnavailable: the step was refused before it began
a command of the scripts that the user may not     StoreUnavailable, at connect: nothing was sent (redis_permissions)
run
the same, where it was taken from the user later   StoreCorrupt: stop, the step may be half done
time-out or end of the connection after a byte     StoreTimeout: unknown; the same id settles it. Never asked again
has left                                           by itself
WAIT or WAITAOF not met                            StoreTimeout: done here, perhaps not there; the same id waits again
WRONGTYPE, CORRUPT, any other error                StoreCorrupt: stop
=================================================  ==============================================================
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeGuard, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
import redis.exceptions as failures
from redis.crc import key_slot
from redis.driver_info import DriverInfo

from equipoise._rust import Replies, __version__
from equipoise.errors import InputError, StoreCorrupt, StoreError, StoreTimeout, StoreUnavailable
from equipoise.reservation.contract import REDIS_SCHEMES
from equipoise.reservation.forks import generation
from equipoise.reservation.redis_wire import PENDING, error_of

__all__ = [
    "DRIVER",
    "Address",
    "Link",
    "Links",
    "PerProcess",
    "Target",
    "command",
    "connection_settings",
    "failure_of",
    "is_stopped",
    "parse_target",
    "retry_later",
    "slot_of",
    "timed_out",
]

_Value = TypeVar("_Value")
DURABILITIES = ("memory", "aof", "replicated")
PIECE = 1 << 16
"""Bytes read at once."""
PORT_MAX = 65_535
DIGITS_MAX = 9
"""Of a number in a URL."""
LOCAL_SCHEMES = ("unix", "redis+unix")
IDLE_S = 1.0
"""A connection idle for longer is looked at before it is used: a closed one would turn a call into a time-out."""
SILENT_S = 5.0
"""How long who asks many nodes passes over one that did not answer in time: each look would wait for its time-out."""
PAUSE_S = 0.02
"""Between two attempts at a node that said: not now."""
KNOWN_S = 1.0
"""A node is asked again who it is after this time in use: it may have lost its part and got it back meanwhile."""
_LATER = (
    failures.TryAgainError,
    failures.ClusterDownError,
    failures.BusyLoadingError,
    failures.MasterDownError,
    failures.ReadOnlyError,
)
_REFUSED = (
    failures.OutOfMemoryError,
    failures.AuthenticationError,
    failures.NoPermissionError,
    failures.NoScriptError,
)
_STOPPED = ("ACL failure in script", "The user executing the script can't")
"""How a server says that a user may not run a command of a script: the second before 7.0.16."""
_REFUSED_WORDS = ("MISCONF", "NOREPLICAS", "DENIED", "NOAUTH", "NOPERM", "OOM")


class Address(NamedTuple):
    """Where a node listens: a host and its port, or the path of a socket on this host and port 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


@dataclass(frozen=True, slots=True)
class Target:
    """A connection URL, taken apart."""

    scheme: str
    addresses: tuple[Address, ...]
    prefix: str = ""
    durability: str = "memory"
    service: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    authorities: str | None = None
    """File of the certificates that a server's may be signed with; none: those that OpenSSL trusts."""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme.startswith("rediss")

    @property
    def cluster(self) -> bool:
        """Whether the nodes are a Cluster."""
        return self.scheme.endswith("+cluster")


def parse_target(url: str) -> Target:
    """Take a URL apart; InputError names what is wrong and never repeats a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # What it says may repeat the password.
        raise InputError("url", None, "a URL", f"{url.partition(':')[0]}://…") from None
    shown = f"{parts.scheme}://…"
    if parts.scheme not in REDIS_SCHEMES:
        raise InputError("url", None, f"one of {', '.join(f'{scheme}://' for scheme in REDIS_SCHEMES)}", shown)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix, durability = options.pop("prefix", ""), options.pop("durability", "memory")
    local = parts.scheme in LOCAL_SCHEMES
    number = options.pop("db", "") if local else ""
    tls = parts.scheme.startswith("rediss")
    authorities = options.pop("ca", None) if tls else None
    if options:
        last = ", durability and db" if local else ", durability and ca" if tls else " and durability"
        raise InputError("url", None, f"free of options but prefix{last}", ", ".join(sorted(options)))
    if authorities is not None and not _is_file(authorities):
        raise InputError("url", None, "given a file of certificates as ca", repr(authorities))
    if durability not in DURABILITIES:
        raise InputError("url", None, f"durability {', '.join(DURABILITIES)}", durability)
    if not prefix.isprintable() or "{" in prefix or "}" in prefix or " " in prefix:
        raise InputError("url", None, "a prefix free of braces and spaces", repr(prefix))
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    sentinel = parts.scheme == "redis+sentinel"
    default = 26379 if sentinel else 6379
    addresses = tuple([_address(host, default) for host in hosts.split(",") if host])
    if local and (addresses or not parts.path.strip("/")):
        raise InputError("url", None, f"{parts.scheme}:///path/of/the/socket", shown)
    if local:
        addresses = (Address(unquote(parts.path), 0),)
    elif not addresses:
        raise InputError("url", None, "given with a host", shown)
    service, path = "", parts.path.strip("/")
    if sentinel:
        service, _, number = path.partition("/")
    elif not local:
        number = path
    if sentinel and not service:
        raise InputError("url", None, "redis+sentinel://host:port/service[/db]", shown)
    if number and (not number.isdecimal() or len(number) > DIGITS_MAX or parts.scheme.endswith("+cluster")):
        raise InputError("url", None, "a database number after the host (a Cluster has only 0)", shown)
    return Target(
        parts.scheme,
        addresses,
        prefix,
        durability,
        unquote(service),
        unquote(user) or None,
        unquote(password) or None,
        int(number or 0),
        authorities,
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:
        return False  # no name that a file can have


def _address(text: str, default: int) -> Address:
    host, _, port = text.rpartition(":") if text.rpartition(":")[2].isdecimal() else (text, "", "")
    try:
        host.encode("idna")
    except UnicodeError:
        raise InputError("url", None, "given with a name that a host can have", repr(host)) from None
    if len(port) > DIGITS_MAX or not 0 < int(port or default) <= PORT_MAX:
        raise InputError("url", None, f"given with a port from 1 to {PORT_MAX}", port[:DIGITS_MAX])
    return Address(host.strip("[]"), int(port or default))


@lru_cache(maxsize=4096)
def slot_of(account_id: str) -> int:
    """Cluster slot of every key of an account: its hash tag is the account id."""
    return int(key_slot(account_id.encode()))


def _bulk(raw: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def command(*words: str | bytes) -> bytes:
    """A whole command in the protocol."""
    raw = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n%b" % (len(raw), b"".join([_bulk(word) for word in raw]))


def retry_later(error: BaseException) -> bool:
    """Whether the server refused for now and ran nothing."""
    return isinstance(error, _LATER) or str(error).startswith("BUSY ")


def is_stopped(error: object) -> TypeGuard[failures.ResponseError]:
    """Whether a script was stopped at a command that was taken from the user after the connection was made."""
    return isinstance(error, failures.ResponseError) and str(error).startswith(_STOPPED)


def failure_of(error: BaseException) -> StoreError:
    """The exception a caller gets for an error reply that is not followed or asked again."""
    text = str(error)
    if is_stopped(error):
        return StoreCorrupt(f"the step may have been done in part: {text}")
    if isinstance(error, _REFUSED + _LATER) or text.startswith(_REFUSED_WORDS) or "OOM " in text[:40]:
        return StoreUnavailable(text)
    return StoreCorrupt(text)


_socket_of: Callable[[redis.connection.AbstractConnection], socket.socket] = attrgetter("_sock")
"""The socket of a connection just made; redis-py has no public name for it."""


class Link:
    """One connection to one node, and who that node is."""

    __slots__ = ("_owed", "_replies", "address", "connection", "denied", "home", "known", "used")

    def __init__(self, address: Address, connection: redis.connection.AbstractConnection) -> None:
        self.address = address
        self.connection = connection
        self.used = time.monotonic()
        self.home = ""
        self.known = self.used
        self.denied: tuple[str, ...] | None = None
        """Commands of the scripts that its user may not run; None: the node has not been asked."""
        self._replies = Replies(PENDING, error_of)
        self._owed = 0
        """Replies to what was told: nobody needs them, and they come before those of the next exchange."""

    def tell(self, payload: bytes, replies: int) -> None:
        """Send commands whose replies nobody needs; they are read and dropped by the way, errors among them."""
        self._owed += replies
        self.exchange(payload, 0)

    def exchange(self, payload: bytes, replies: int) -> list[Any]:
        """Send commands in one piece and read their replies; an error reply is returned, not raised.

        Raises
        ------
        redis.ConnectionError, redis.TimeoutError
            After which nothing is known; the link is of no more use.
        """
        found: list[Any] = []
        ready = self._replies
        # Not kept in the link, and the connection kept at hand: it must be found first when both are let go unclosed.
        connection = self.connection
        wire = _socket_of(connection)
        try:
            wire.sendall(payload)
            while len(found) < replies:
                reply = ready.take()
                if reply is PENDING:
                    ready.feed(wire.recv(PIECE))
                elif self._owed:
                    self._owed -= 1
                else:
                    found.append(reply)
        except (OSError, ValueError, failures.RedisError) as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise failures.TimeoutError("no answer in time") from error
            raise failures.ConnectionError(str(error)) from error
        self.used = time.monotonic()
        return found

    def ask(self, *words: str | bytes) -> Any:
        """One command and its reply."""
        reply = self.exchange(command(*words), 1)[0]
        if isinstance(reply, failures.RedisError):
            if isinstance(reply, failures.ConnectionError):
                # Of these nobody expects that the link is still of use.
                self.close()
            raise reply
        return reply

    def identify(self, *, cluster: bool) -> None:
        """Learn which node this is, and since which promotion: shard/node/replication id.

        A node gets a new replication id when it is promoted and when it is started.
        """
        role, replication, _ = self.replication()
        if role != "master":
            raise failures.ConnectionError(f"{self.address} is not a master")
        shard, node = "", str(self.address)
        if cluster:
            node = self.ask("CLUSTER", "MYID").decode()
            try:
                shard = self.ask("CLUSTER", "MYSHARDID").decode()
            except failures.ResponseError:
                shard = ""  # before 7.2: every move counts as a promotion
        self.home = f"{shard}/{node}/{replication}"
        self.known = time.monotonic()

    def replication(self) -> tuple[str, str, str]:
        """A node's role, its replication id, and the one that it had before it was promoted: zeros if it never was."""
        said = self.ask("INFO", "replication").decode()
        found = dict(re.findall(r"^(\w+):(\S*)", said, re.MULTILINE))
        return found.get("role", ""), found.get("master_replid", ""), found.get("master_replid2", "")

    def stale(self) -> bool:
        """Whether an idle connection was closed from the other side, or has not answered all that it was told."""
        if time.monotonic() - self.used < IDLE_S:
            return False
        try:
            if self._owed:
                self._drop_owed()
            return bool(self.connection.can_read(0))
        except (failures.RedisError, ValueError, OSError):
            return True

    def _drop_owed(self) -> None:
        """Read the replies that nobody needs; OSError where they are not all there."""
        wire = _socket_of(self.connection)
        patience = wire.gettimeout()
        wire.settimeout(0)
        try:
            while self._owed:
                if self._replies.take() is PENDING:
                    self._replies.feed(wire.recv(PIECE))
                else:
                    self._owed -= 1
        finally:
            wire.settimeout(patience)

    def close(self) -> None:
        """Drop the connection."""
        self.connection.disconnect()  # type: ignore[no-untyped-call]


def _fields(reply: list[Any]) -> dict[bytes, Any]:
    """Names and what follows each, of a reply that is one list."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


class PerProcess(Generic[_Value]):
    """A value that a fork makes anew: what threads of the parent hold, or leave half done, does not come along."""

    def __init__(self, make: Callable[[], _Value]) -> None:
        self._make = make
        self._values: dict[int, _Value] = {}

    def __call__(self) -> _Value:
        """The value of this process."""
        now = generation()
        found = self._values.get(now)
        if found is None:
            # One for all threads that come here at once.
            found = self._values.setdefault(now, self._make())
            for before in [*self._values]:
                if before != now:
                    self._values.pop(before, None)
        return found


class _Idle:
    """Connections nobody uses now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.links: dict[Address, list[Link]] = {}


class Links:
    """Idle connections by node; a call takes one and puts it back. Safe from threads; a fork starts anew."""

    def __init__(self, target: Target, timeout_s: float, introduce: Callable[[Link], None]) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._introduce = introduce
        self.confirm: Callable[[Address], None] = lambda _: None
        """Raises redis.ConnectionError for a master that was replaced and has not heard of it."""
        self._identified = target.cluster or bool(target.service)
        # The sockets of a parent are forgotten without a word on the wire.
        self._idle = PerProcess(_Idle)
        self._silent: dict[Address, float] = {}
        """When a node last failed to answer in time."""
        self._closed = False

    def take(self, address: Address, *, identified: bool = True) -> Link:
        """A connected link to a node that was seen to be a master within the last second, where there are several.

        Raises
        ------
        redis.RedisError
            No connection; nothing of any step was sent.
        """
        idle = self._idle()
        while True:
            with idle.lock:
                links = idle.links.get(address)
                link = links.pop() if links else None
            if link is None:
                link = self._connect(address)
            elif link.stale():
                link.close()
                continue
            if identified and self._identified and (not link.home or time.monotonic() - link.known > KNOWN_S):
                try:
                    link.identify(cluster=self._target.cluster)
                    self.confirm(address)
                except BaseException:
                    link.close()
                    raise
            return link

    def put(self, link: Link) -> None:
        """Give a link back for the next call; after `close` there is none, and the link is closed."""
        self._silent.pop(link.address, None)
        idle = self._idle()
        with idle.lock:
            if not self._closed:
                idle.links.setdefault(link.address, []).append(link)
                return
        link.close()

    def silent(self, address: Address) -> bool:
        """Whether a node has not answered in time a moment ago, and nothing was heard of it since."""
        return time.monotonic() - self._silent.get(address, -SILENT_S) < SILENT_S

    def drop(self, address: Address, error: BaseException | None = None) -> None:
        """Close every idle link to a node that has failed or changed its part; `error`: how it failed."""
        if isinstance(error, failures.TimeoutError):
            self._silent[address] = time.monotonic()
        idle = self._idle()
        with idle.lock:
            links = idle.links.pop(address, [])
        for link in links:
            link.close()

    def close(self) -> None:
        """Close all idle links, and from now on each that is given back."""
        idle = self._idle()
        with idle.lock:
            self._closed = True
            addresses = list(idle.links)
        for address in addresses:
            self.drop(address)

    def planned(self, link: Link, home: str, key: str) -> bool:
        """Whether the slot of a key that `home` wrote last was moved to the node of `link` while both were up.

        A promotion keeps the shard, a planned move leaves it. But the node that wrote last may have lost steps before
        the move, or its successor may never have had them: it must say itself that it is the master that it was, and
        that it has handed the slot over. One that cannot be asked counts as lost. So does a slot on a node that was
        promoted, whether before the move or after it.
        """
        shard, _, rest = home.partition("/")
        node, _, replication = rest.partition("/")
        if link.home.partition("/")[0] == shard or link.replication()[2].strip("0"):
            return False
        address, until = self._listed(link, node), time.monotonic() + self._timeout_s
        if address is None:
            return False
        try:
            # A connection of its own: that an idle one was closed would say nothing of the node.
            before = self._connect(address)
        except (failures.RedisError, StoreError):
            return False
        try:
            while before.replication()[:2] == ("master", replication):
                said = before.exchange(command("EXISTS", key), 1)[0]
                if isinstance(said, failures.AskError):  # or MOVED, which is one of these
                    return True
                # It has not heard yet that the move has ended; or it is cut off from the others, and never will.
                if time.monotonic() >= until:
                    break
                time.sleep(PAUSE_S)
        except failures.RedisError:
            return False
        finally:
            before.close()
        return False

    def _listed(self, link: Link, node: str) -> Address | None:
        """Where a node of the Cluster listens, as far as the one of `link` knows."""
        try:
            shards = link.ask("CLUSTER", "SHARDS")
        except failures.ResponseError:
            return None
        for shard in shards:
            for found in map(_fields, _fields(shard)[b"nodes"]):
                if found[b"id"] == node.encode():
                    host = (found[b"endpoint"] or b"").decode().strip("?")
                    return Address(host or link.address.host, found[b"tls-port" if self._target.tls else b"port"])
        return None

    def _connect(self, address: Address) -> Link:
        target = self._target
        connection: redis.connection.AbstractConnection
        settings = connection_settings(target, self._timeout_s)
        if address.port:
            kind = redis.SSLConnection if target.tls else redis.Connection
            connection = kind(host=address.host, port=address.port, **settings)
        else:
            # Abstract only in what its types say.
            connection = redis.UnixDomainSocketConnection(path=address.host, **settings)  # type: ignore[abstract, no-untyped-call]
        connection.connect()  # type: ignore[no-untyped-call]
        link = Link(address, connection)
        try:
            self._introduce(link)
        except BaseException:
            link.close()
            raise
        return link


DRIVER = DriverInfo().add_upstream_driver("equipoise", __version__)
"""What CLIENT LIST calls the book's connections. Made once: each would else look for redis-py's version on the disk."""


def connection_settings(target: Target, timeout_s: float | None) -> dict[str, Any]:
    """What a connection of either kind of client is made with."""
    settings = {
        "db": target.db,
        "username": target.username,
        "password": target.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
        "driver_info": DRIVER,
    }
    return settings | {"ssl_ca_certs": target.authorities} if target.authorities else settings


def timed_out(error: BaseException, what: str) -> StoreTimeout:
    """What a caller gets when the answer did not come."""
    return StoreTimeout(f"{what}: {type(error).__name__}: {error}; ask again with the same id, or abandon it")
