"""Which node serves an account: one node, the master that Sentinels name, or the slots of a Cluster."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import redis
import redis.exceptions as failures

from equipoise.errors import InputError, StoreError, StoreUnavailable
from equipoise.reservation.redis_links import DRIVER, Address, Link, Links, PerProcess, Target, command

__all__ = ["Clustered", "Fixed", "Route", "Sentinels"]

REFRESH_S = 0.1
"""Between two looks at the map of a Cluster or at the Sentinels: many calls fail at once when a node does."""

SLOTS = 16_384


class Route(Protocol):
    """Which node serves a slot."""

    def address(self, slot: int) -> Address:
        """The node of a slot as far as known."""

    def moved(self, slot: int, address: Address) -> None:
        """A node said that the slot is elsewhere."""

    def lost(self, address: Address) -> bool:
        """A node cannot be reached or is no master; whether it is worth asking again."""

    def masters(self) -> tuple[Address, ...]:
        """Every node that holds accounts."""


class Fixed:
    """One node."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self, slot: int) -> Address:  # noqa: ARG002 - one node has every slot
        """The node."""
        return self._address

    def moved(self, slot: int, address: Address) -> None:  # noqa: ARG002
        """A Cluster behind redis:// is a mistake in the URL."""
        raise InputError("url", None, "redis+cluster:// for a node of a Cluster", str(self._address))

    def lost(self, address: Address) -> bool:  # noqa: ARG002
        """There is no other node to go to."""
        return False

    def masters(self) -> tuple[Address, ...]:
        """The node."""
        return (self._address,)


class Sentinels:
    """The master of a service, as a Sentinel names it."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._lock = PerProcess(threading.Lock)
        self._sentinels = target.addresses
        """The one that answered last comes first: those before it were silent or knew nothing."""
        self._rest_until = 0.0
        self._master: Address | None = None
        self._look()

    def _look(self) -> None:
        """Ask the Sentinels, the first that answers; all of them together have one time-out."""
        with self._lock():
            began = time.monotonic()
            if began < self._rest_until:
                return
            said, rest_s = [], 0.0
            for sentinel in self._sentinels:
                try:
                    found = self._ask(sentinel, self._timeout_s / len(self._sentinels))
                except failures.RedisError as error:
                    said.append(f"{sentinel}: {error}")
                    continue
                if found:
                    self._master = Address(found[0].decode(), int(found[1]))
                    self._sentinels = (sentinel, *[other for other in self._sentinels if other != sentinel])
                    break
                said.append(f"{sentinel} knows no {self._target.service}")
            else:
                # Where all are silent, who comes next goes on without: nobody waits for them again at once.
                rest_s = 2 * (time.monotonic() - began)
            self._rest_until = time.monotonic() + max(REFRESH_S, rest_s)
            if self._master is None:
                raise StoreUnavailable("; ".join(said))

    def _ask(self, sentinel: Address, timeout_s: float) -> list[bytes] | None:
        """Host and port of the master, by a connection of its own; none: this Sentinel does not know the service."""
        waits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        settings: dict[str, Any] = waits | {"protocol": 2, "driver_info": DRIVER}
        connection = redis.Connection(host=sentinel.host, port=sentinel.port, **settings)  # type: ignore[no-untyped-call]
        connection.connect()  # type: ignore[no-untyped-call]
        link = Link(sentinel, connection)
        try:
            found: list[bytes] | None = link.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.service)
        finally:
            link.close()
        return found

    def confirm(self, address: Address) -> None:
        """Raise redis.ConnectionError if a Sentinel names another master.

        One that was replaced calls itself master until it hears of it, and takes steps that it will lose.
        """
        self._look()
        if address != self._master:
            raise failures.ConnectionError(f"not the master any more: a Sentinel names {self._master}")

    def address(self, slot: int) -> Address:  # noqa: ARG002 - one node has every slot
        """The master as last named."""
        assert self._master is not None  # noqa: S101 - looked up when opened
        return self._master

    def moved(self, slot: int, address: Address) -> None:  # noqa: ARG002
        """Sentinels watch no Cluster."""
        raise InputError("url", None, "redis+cluster:// for a Cluster", str(self._master))

    def lost(self, address: Address) -> bool:  # noqa: ARG002
        """Ask the Sentinels again: another node may have been promoted."""
        self._look()
        return True

    def masters(self) -> tuple[Address, ...]:
        """The master."""
        return (self.address(0),)


class Clustered:
    """The slots of a Cluster. Follows MOVED at once and reads the map again when a node is lost."""

    def __init__(self, target: Target, links: Links) -> None:
        self._links = links
        self._seeds = target.addresses
        self._lock = PerProcess(threading.Lock)
        self._seen = 0.0
        self._slots: dict[int, Address] = {}
        self._refresh()
        if not self._slots:
            raise StoreUnavailable(f"no node of the Cluster answers: {', '.join(str(a) for a in self._seeds)}")

    def _refresh(self) -> None:
        """Read the map: of the first node for which the Cluster is up and whole, else of the one that knows most."""
        with self._lock():
            if time.monotonic() - self._seen < REFRESH_S:
                return
            most = (False, 0)
            # Those that did not answer in time a moment ago last, and only if no other does.
            for address in sorted(dict.fromkeys([*self._slots.values(), *self._seeds]), key=self._links.silent):
                if most[1] and self._links.silent(address):
                    break
                up, slots = self._map_of(address)
                # One that is cut off says so, or knows its own slots only; where the whole Cluster is down, all say so.
                if (up, len(slots)) > most:
                    most, self._slots = (up, len(slots)), slots
                if most == (True, SLOTS):
                    break
            self._seen = time.monotonic()

    def _map_of(self, address: Address) -> tuple[bool, dict[int, Address]]:
        """Whether the Cluster is up as a node sees it, and the masters of its slots: none if it does not answer."""
        slots: dict[int, Address] = {}
        try:
            link = self._links.take(address, identified=False)
            state, reply = link.exchange(command("CLUSTER", "INFO") + command("CLUSTER", "SLOTS"), 2)
        except (failures.RedisError, StoreError) as error:
            self._links.drop(address, error)
            return False, slots
        self._links.put(link)
        if isinstance(state, bytes) and isinstance(reply, list):
            for first, last, master, *_ in reply:
                host = (master[0] or b"").decode() or address.host
                slots.update(dict.fromkeys(range(first, last + 1), Address(host, master[1])))
        return b"cluster_state:ok" in state if slots else False, slots

    def address(self, slot: int) -> Address:
        """The master of a slot; any node where none is known, which will say so."""
        found = self._slots.get(slot)
        return found if found is not None else next(iter(self._slots.values()))

    def moved(self, slot: int, address: Address) -> None:
        """Remember the new node of one slot; the rest of the map is read when it is needed."""
        self._slots[slot] = address

    def lost(self, address: Address) -> bool:  # noqa: ARG002
        """Read the map again: a replica may have been promoted."""
        self._refresh()
        return True

    def masters(self) -> tuple[Address, ...]:
        """Every master that has slots."""
        self._refresh()
        return tuple(sorted(set(self._slots.values())))
