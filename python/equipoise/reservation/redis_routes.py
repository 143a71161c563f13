"""Which node serves an account: one node, the master that Sentinels name, or the slots of a Cluster."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import redis
import redis.exceptions as failures

from equipoise.errors import InputError, StoreUnavailable
from equipoise.reservation.redis_links import Address, Links, PerProcess, Target

__all__ = ["Clustered", "Fixed", "Route", "Sentinels"]

REFRESH_S = 0.1
"""Between two looks at the map of a Cluster or at the Sentinels: many calls fail at once when a node does."""


def _shown(addresses: tuple[Address, ...]) -> list[tuple[str, str]]:
    return [(address.host, str(address.port)) for address in addresses]


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
        self._seen = 0.0
        self._master: Address | None = None
        self._look()

    def _look(self) -> None:
        """Ask the Sentinels, the first that answers."""
        with self._lock():
            if time.monotonic() - self._seen < REFRESH_S:
                return
            said = []
            for sentinel in self._target.addresses:
                try:
                    with redis.Redis(
                        host=sentinel.host, port=sentinel.port, socket_timeout=self._timeout_s, protocol=2
                    ) as client:
                        found = client.sentinel_get_master_addr_by_name(self._target.service)
                except failures.RedisError as error:
                    said.append(f"{sentinel.host}:{sentinel.port}: {error}")
                    continue
                if found:
                    host = found[0].decode() if isinstance(found[0], bytes) else str(found[0])
                    self._master = Address(host, int(found[1]))
                    self._seen = time.monotonic()
                    return
                said.append(f"{sentinel.host}:{sentinel.port} knows no {self._target.service}")
            if self._master is None:
                raise StoreUnavailable("; ".join(said))

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
        """Read the map from the first node that answers."""
        with self._lock():
            if time.monotonic() - self._seen < REFRESH_S:
                return
            for address in dict.fromkeys([*self._slots.values(), *self._seeds]):
                try:
                    link = self._links.take(address, identified=False)
                    reply = link.ask("CLUSTER", "SLOTS")
                except failures.RedisError:
                    self._links.drop(address)
                    continue
                self._links.put(link)
                slots: dict[int, Address] = {}
                for first, last, master, *_ in reply:
                    host = (master[0] or b"").decode() or address.host
                    slots.update(dict.fromkeys(range(first, last + 1), Address(host, master[1])))
                if slots:
                    self._slots = slots
                    break
            self._seen = time.monotonic()

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
