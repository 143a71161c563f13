"""Where the benches of the Redis store run: cores and servers; and what each of them asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path

from tests import servers

from benches.harness import bound_to, cores
from equipoise.orders import Order, Side
from equipoise.reservation import Outcome
from equipoise.reservation.redis_links import slot_of

__all__ = ["cluster_in_memory", "done", "middle_account", "on_cores", "one_core", "order"]


@contextmanager
def on_cores(servers_on: set[int], ours: set[int], *beside: servers.Server) -> Iterator[None]:
    """These servers on one set of cores and this process on another, where the system allows it."""
    for server in beside if cores() else ():
        assert server.process is not None
        for task in Path(f"/proc/{server.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), servers_on)
    with bound_to(ours):
        yield


@contextmanager
def one_core(*beside: servers.Server) -> Iterator[None]:
    """This process and these servers on one core."""
    core = {max(cores(), default=0)}
    with on_cores(core, core, *beside):
        yield


@contextmanager
def cluster_in_memory() -> Iterator[servers.Cluster]:
    """Three masters that write no file; what a replica of the first costs is kept out by the choice of the account."""
    cluster = servers.shared_cluster()
    for setting in ("no", "yes"):
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "appendonly", setting)
        if setting == "no":
            yield cluster


def middle_account(start: str = "") -> str:
    """An account whose slot the second of three masters has."""
    return next(name for name in (f"{start}{n}" for n in range(1000)) if 5461 <= slot_of(name) < 10923)


@cache
def order(hold: int = 11, side: str = "bid") -> Order:
    """An order as a caller has it before it asks: made once."""
    return Order(
        symbol="HYPE",
        side=Side(side),
        lots=5,
        price_ticks=27110,
        hold=hold,
        price=Decimal("27.110"),
        size=Decimal("0.05"),
    )


def done(outcome: Outcome) -> None:
    assert outcome.ok, outcome
