"""The flows of earlier systems, recreated: they check first and write from outside the check.

They are shown beside the book on the same server in the same run: what a placement costs with many open orders, and
that callers who check at the same moment are all accepted. A flow says which command comes next and is told its reply;
`Earlier` sends them with a synchronous client, `EarlierInLoop` with one of asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, cast

import redis
from redis.asyncio.cluster import RedisCluster

__all__ = ["Earlier", "EarlierInLoop", "Race", "earlier_race", "fill_up", "oversold"]

MARGIN = 600

Flow = Generator[tuple[Any, ...], Any, bool]
"""Yields a method of the client and its arguments, is sent the reply, and returns whether the order was accepted."""


def _portfolio(account: str) -> str:
    return f"flat_portfolio:{{{account}}}"


def _holding(account: str, name: str) -> str:
    return f"flat_holdings:{{{account}}}:{name}"


def _active(account: str) -> str:
    return f"flat_active:{{{account}}}"


def fill_up(client: redis.Redis, account: str, balance: int, open_orders: int) -> None:
    """An account in the flat layout with this many orders open, of one unit each."""
    pipe = client.pipeline(transaction=False)
    fields = {"balance": balance, "used_margin_executed": open_orders, "used_margin_all": open_orders}
    pipe.hset(_portfolio(account), mapping=fields)
    for n in range(open_orders):
        fields = {"order_status": "OPEN", "execution_status": "EXECUTED", "margin": 1, "symbol": "HYPE"}
        pipe.hset(_holding(account, f"o{n}"), mapping=fields)
        pipe.sadd(_active(account), f"o{n}")
    pipe.execute()


def local(account: str, name: str, margin: int) -> Flow:
    """Local flow: used margin recomputed over all open orders, then checked, then written."""
    portfolio = _portfolio(account)
    yield "hget", portfolio, "used_margin_all"
    used = 0
    for open_order in (yield "smembers", _active(account)):
        order = yield "hgetall", _holding(account, open_order.decode())
        used += int(order.get(b"margin") or order.get(b"reserved_margin") or 0)
    balance = int((yield "hget", portfolio, "balance") or 0)
    if balance - used < margin:
        return False
    fields = {"order_status": "OPEN", "execution_status": "EXECUTED", "margin": margin, "symbol": "HYPE"}
    yield "hset", _holding(account, name), fields
    yield "sadd", _active(account), name
    yield "hset", portfolio, {"used_margin_all": used + margin, "used_margin_executed": used + margin}
    return True


def provider(account: str, name: str, margin: int) -> Flow:
    """Provider flow: no recomputation, eleven commands one after the other, and no lock around them."""
    portfolio, holding = _portfolio(account), _holding(account, name)
    if not (yield "set", f"flat_seen:{{{account}}}:{name}", 1):
        return False
    balance = int((yield "hget", portfolio, "balance") or 0)
    yield "hget", portfolio, "used_margin_executed"
    used = int((yield "hget", portfolio, "used_margin_all") or 0)
    if (yield "exists", holding) or balance - used < margin:
        return False
    fields = {"order_status": "QUEUED", "execution_status": "QUEUED", "reserved_margin": margin, "symbol": "HYPE"}
    yield "hset", holding, fields
    yield "sadd", _active(account), name
    yield "hset", f"flat_lookup:{{{account}}}", {name: account}
    yield "sadd", f"flat_symbol:{{{account}}}:HYPE", name
    yield "hset", portfolio, {"used_margin_all": used + margin}
    yield "lpush", f"flat_queue:{{{account}}}", name
    return True


def _asked(client: Any, command: tuple[Any, ...]) -> Any:
    """What a client's method returns for a command: the reply, or something to await."""
    method, *values = command
    if method == "hset":
        key, fields = values
        return client.hset(key, mapping=fields)
    if method == "set":
        return client.set(*values, ex=60, nx=True)
    return getattr(client, method)(*values)


class _Account:
    """Placements on one account, each under a name of its own."""

    def __init__(self, account: str) -> None:
        self.account, self.made = account, 0

    def flow(self, kind: str, margin: int) -> Flow:
        self.made += 1
        place = {"local": local, "provider": provider}[kind]
        return place(self.account, self._name(), margin)

    def _name(self) -> str:
        return f"{threading.get_ident()}-{self.made}"

    def take_back(self, client: redis.Redis) -> None:
        """Remove the order placed last, so that the next placement finds as many open as this one did."""
        client.delete(_holding(self.account, self._name()))
        client.srem(_active(self.account), self._name())


class Earlier(_Account):
    """The flows by a synchronous client."""

    def __init__(self, client: redis.Redis, account: str) -> None:
        super().__init__(account)
        self.client = client

    def place(self, kind: str, margin: int = 1) -> bool:
        flow, reply = self.flow(kind, margin), None
        try:
            while True:
                reply = _asked(self.client, flow.send(reply))
        except StopIteration as ended:
            return cast(bool, ended.value)


class EarlierInLoop(_Account):
    """The flows as they ran: awaited one command after the other, by the asyncio client of a Cluster."""

    def __init__(self, client: RedisCluster, account: str) -> None:
        super().__init__(account)
        self.client = client

    async def place(self, kind: str, margin: int = 1) -> bool:
        flow, reply = self.flow(kind, margin), None
        try:
            while True:
                reply = await _asked(self.client, flow.send(reply))
        except StopIteration as ended:
            return cast(bool, ended.value)


class Race(NamedTuple):
    """Callers of one account: how it is made, with room for one, and what each asks on a connection of its own."""

    prepare: Callable[[str], object]
    sit_down: Callable[[str], AbstractContextManager[Callable[[], bool]]]


def earlier_race(connect: Callable[[], redis.Redis], kind: str) -> Race:
    """A race of the recreated flows."""

    def prepare(account: str) -> None:
        with connect() as client:
            fill_up(client, f"{kind}-{account}", MARGIN, 0)

    @contextmanager
    def sit_down(account: str) -> Iterator[Callable[[], bool]]:
        with connect() as client:
            client.ping()
            yield lambda: Earlier(client, f"{kind}-{account}").place(kind, MARGIN)

    return Race(prepare, sit_down)


def oversold(race: Race, callers: int, runs: int) -> int:
    """Runs out of `runs` in which more than one of the callers who came at the same moment was granted."""
    over = 0
    for number in range(runs):
        account = f"race-{number}"
        race.prepare(account)
        gate, granted = threading.Barrier(callers), []

        def place(account: str = account, gate: threading.Barrier = gate, granted: list[bool] = granted) -> None:
            with race.sit_down(account) as ask:
                gate.wait()
                granted.append(ask())

        threads = [threading.Thread(target=place) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert any(granted), "nobody got the room there was"
        over += sum(granted) > 1
    return over
