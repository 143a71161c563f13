"""What tasks of asyncio see: the earlier flows as they ran, on a Cluster, and many callers beside a plain pool."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Coroutine
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from tests import servers

from benches.earlier_flows import EarlierInLoop, fill_up
from benches.harness import cores
from benches.redis_places import cluster_in_memory, done, middle_account, on_cores, order
from equipoise.reservation import Outcome
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.requests import Ask, Reserve

__all__ = ["as_they_ran", "many_callers"]

EACH = 5
"""Calls of the book after each earlier call: the first finds the caches as the earlier one left them."""
WARM = 3
"""Rounds before the first that counts."""


class _Pair:
    """One earlier flow and the call of the book that stands for it, on an account with this many orders open."""

    def __init__(self, earlier: RedisCluster, book: AsyncReservationBook, kind: str, account: str) -> None:
        self.book, self.kind, self.account, self.calls = book, kind, account, 0
        self.flows = EarlierInLoop(earlier, account)
        self.forget()

    def forget(self) -> None:
        """Start counting."""
        self.seconds: dict[str, list[float]] = {"earlier": [], "HINCRBY": [], "book": []}

    def step(self) -> Coroutine[Any, Any, Outcome]:
        self.calls += 1
        ident = f"{self.kind}{self.calls}"
        if self.kind == "provider":
            return self.book.reserve(self.account, [order(1)], request_id=ident, send="outbox")
        return self.book.execute(self.account, order(1), request_id=ident, realised_pnl=0)

    async def timed(self, name: str, call: Coroutine[Any, Any, Any]) -> Any:
        """What a call returns; nothing is timed but the call."""
        start = time.perf_counter()
        answer = await call
        self.seconds[name].append(time.perf_counter() - start)
        return answer

    async def round(self, node: redis.Redis) -> None:
        await self.timed("earlier", self.flows.place(self.kind))
        self.flows.take_back(node)
        await self.timed("HINCRBY", self.flows.client.hincrby(f"bare{{{self.account}}}", "field", 1))
        for _ in range(EACH):
            done(await self.timed("book", self.step()))
        # The answer to a hint is not the earlier flow's to pay.
        inner: Any = self.book
        while any(line.busy for line in inner._lines.values()):
            await asyncio.sleep(0)


def as_they_ran(counts: list[int], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians, in seconds, of each earlier flow, of a bare command of its client, and of the book.

    All on one Cluster of three masters, on one core and then where the system puts them. One flow after the other: in
    every round the flow runs once, then its client's HINCRBY once, then the book's call `EACH` times, each of them
    counted.
    """

    async def main(cluster: servers.Cluster, node: redis.Redis) -> dict[str, dict[str, float]]:
        hosts = [redis.asyncio.cluster.ClusterNode("127.0.0.1", master.port) for master in cluster.masters]
        async with (
            RedisCluster(startup_nodes=hosts, protocol=2) as client,
            await AsyncReservationBook.connect(cluster.url) as book,
        ):
            pairs: dict[str, _Pair] = {}
            for kind, count in [("provider", 0), *[("local", count) for count in counts]]:
                account = middle_account(f"{kind}{count}-")
                fill_up(node, account, 10**9, count)
                await book.open_account(account, 10**6)
                for n in range(0, count, 500):
                    held = [order(1)] * min(500, count - n)
                    done(await book.reserve(account, held, request_id=f"open{n}"))
                pairs["provider" if kind == "provider" else str(count)] = _Pair(client, book, kind, account)
            found = {}
            for name, pair in pairs.items():
                for turn in range(WARM + rounds):
                    if turn == WARM:
                        pair.forget()
                    await pair.round(node)
                found[name] = {who: statistics.median(values) for who, values in pair.seconds.items()}
            return found

    found = {}
    for name, those in {"one core": {max(cores(), default=0)}, "free": set(cores())}.items():
        with cluster_in_memory() as cluster, cluster.masters[1].client() as node:
            cluster.flush()
            with on_cores(those, those, *cluster.nodes):
                found[name] = asyncio.run(main(cluster, node))
    return found


def many_callers(server: servers.Server, callers: int, calls: int, rounds: int) -> dict[str, dict[str, float]]:
    """Reserves a second of many tasks, through the book and by the same script through a plain pool, and the part of
    the time that the server was busy: all on one core, and the server on one core and the callers on another.
    """
    there = sorted(cores())
    places = {"one core": (there[-1:], there[-1:]), "two cores": (there[-1:], there[:1])}
    found = {}
    for name, (ours, its) in places.items():
        if name == "one core" or len(there) > 1:
            with on_cores(set(ours), set(its), server):
                found[name] = asyncio.run(_rates(server, callers, calls, rounds))
    return found


async def _rates(server: servers.Server, callers: int, calls: int, rounds: int) -> dict[str, float]:
    rates: dict[str, list[float]] = {"book": [], "pool": [], "book, server busy": [], "pool, server busy": []}
    plain = redis.asyncio.Redis(host="127.0.0.1", port=server.port, protocol=2, max_connections=callers)
    run = time.time_ns()
    async with plain, await AsyncReservationBook.connect(server.url) as book:
        inner: RedisBook = book._redis  # type: ignore[attr-defined]
        await book.open_account("pool", 10**6)

        async def caller(kind: str, name: str) -> None:
            for n in range(calls):
                if kind == "book":
                    done(await book.reserve("pool", [order(1)], request_id=f"{name}-{n}", send="outbox"))
                else:
                    reply = await plain.execute_command(*_words_of(inner, f"{name}-{n}"))
                    assert reply[:1] == b"O", reply

        for turn in range(rounds):
            for kind in ("book", "pool"):
                with server.client() as watcher:
                    busy, began = _cpu(watcher), time.perf_counter()
                    await asyncio.gather(*[caller(kind, f"{kind}-{run}-{turn}-{n}") for n in range(callers)])
                    spent = time.perf_counter() - began
                    rates[kind].append(callers * calls / spent)
                    rates[f"{kind}, server busy"].append((_cpu(watcher) - busy) / spent)
    return {name: statistics.median(values) for name, values in rates.items()}


def _words_of(book: RedisBook, ident: str) -> list[bytes]:
    """The EVALSHA that the book would send for one reserve, as words, for another client to send."""
    now = time.time_ns() // 1000
    until = now + 10**7
    ask = Ask(f"{ident}:0", "HYPE", "", "bid", 5, 27110, 1, False)
    content: Any = ((ask,), False, True, None, "", False, "limit", until, None, True)
    payload = book.packed_step(Reserve("reserve", "pool", ident, ident, now, until, *content), "")
    # The last word is MessagePack, which may have such bytes in it.
    *words, last = payload.split(b"\r\n", 2 * int(payload[1 : payload.index(b"\r")]))[2::2]
    return [*words, last[:-2]]


def _cpu(client: redis.Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_sys"]) + float(used["used_cpu_user"])
