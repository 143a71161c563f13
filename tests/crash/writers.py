"""What the children do that get killed. Each says on its pipe how far it is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

from equipoise.errors import StoreError
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook

__all__ = ["CLOCK_US", "GROUP_EACH", "GROUP_THREADS", "A", "alone", "answered", "in_group", "on_server"]

A = "acc"
GROUP_THREADS, GROUP_EACH = 16, 25
CLOCK_US = 10**15
ROUNDS = 40


def _micros(rng: random.Random) -> Decimal:
    return Decimal(rng.randint(0, 10**6)).scaleb(-6)


def _order(rng: random.Random) -> Order:
    return Order(
        symbol="SYM",
        side=rng.choice(list(Side)),
        lots=rng.randint(1, 9),
        price_ticks=1,
        hold=rng.randint(0, 10**6),
        price=Decimal(1),
        size=Decimal(1),
    )


def _trade(
    book: ReservationBook,
    account: str,
    rng: random.Random,
    n: int,
    rounds: int,
    again: Callable[[Callable[[], Any]], Any],
    say: Callable[[str], None],
) -> None:
    """One ladder of four through every kind of event, half way an export; two orders of the last ladder stay."""
    orders = [_order(rng) for _ in range(4)]
    say(str(again(lambda: book.reserve(account, orders, request_id=f"r{n}", send="outbox")).version))
    for place, order in enumerate(orders):
        name = f"r{n}:{place}"
        lots = rng.randint(1, order.lots)
        again(lambda name=name: book.claim(account, name, event_id="sender"))  # type: ignore[misc]
        if place % 2:
            more, total = _micros(rng), rng.randint(1, 12)
            word: Literal["accepted", "refused"] = rng.choice(["accepted", "refused"])
            named: dict[str, Any] = {"event_id": "a", "client_id": f"{name}+"}
            again(
                lambda name=name, total=total, more=more, named=named: book.amend(account, name, total, more, **named)
            )  # type: ignore[misc]
            again(lambda name=name, word=word: book.settle_amend(account, name, word, amend_id="a"))  # type: ignore[misc]
        filled = {"margin": _micros(rng), "realised_pnl": "0.01", "fee": "0.001"}
        again(lambda name=name, lots=lots, filled=filled: book.fill(account, name, lots, fill_id="f", **filled))  # type: ignore[misc]
        if n < rounds - 1 or place < 2:
            again(lambda name=name: book.cancel(account, name))  # type: ignore[misc]
    if n == ROUNDS // 2:
        say("exports")
        again(lambda: book.export(account, confirmed_version=50, limit=10))


def answered(said: list[str]) -> int:
    """The last version of the account that a child had said."""
    return max((int(line) for line in said if line.isdecimal()), default=0)


def alone(say: Callable[[str], None], path: str, seed: int) -> None:
    """One thread on a file."""
    rng = random.Random(seed)
    say("starts")
    with ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=lambda: CLOCK_US) as book:
        say("connected")
        book.open_account(A, 1000, rule="worst_side")
        say("ready")
        for n in range(ROUNDS):
            _trade(book, A, rng, n, ROUNDS, lambda step: step(), say)
    say("done")


def in_group(say: Callable[[str], None], path: str) -> None:
    """Threads that share commits; each says what it has been answered."""
    say("starts")
    book = ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=lambda: CLOCK_US)
    say("connected")
    book.open_account(A, 1000)
    order = Order(symbol="SYM", side=Side.BID, lots=2, price_ticks=1, hold=10, price=Decimal(1), size=Decimal(1))
    gate = threading.Barrier(GROUP_THREADS)

    def work(thread: int) -> None:
        gate.wait()
        for n in range(GROUP_EACH):
            name = f"{thread}-{n}"
            assert book.reserve(A, [order], request_id=name).done
            say(f"reserve {name}")
            assert book.fill(A, f"{name}:0", 1, fill_id="f", margin="0.000007").done
            say(f"fill {name}")
            assert book.cancel(A, f"{name}:0").done
            say(f"cancel {name}")

    workers = [threading.Thread(target=work, args=(n,)) for n in range(GROUP_THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    book.close_book()
    say("done")


def on_server(say: Callable[[str], None], url: str, account: str, seed: int, rounds: int = ROUNDS) -> None:
    """One client of a server that may be killed and started again: every id is asked until it is settled."""
    rng = random.Random(seed)
    until = time.monotonic() + 800

    def again(step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except StoreError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    say("starts")
    book = again(lambda: ReservationBook.connect(url, clock=lambda: CLOCK_US, timeout_ms=2000))
    say("connected")
    again(lambda: book.open_account(account, 1000, rule="worst_side"))
    say("ready")
    for n in range(rounds):
        _trade(book, account, rng, n, rounds, again, say)
    say("done")
